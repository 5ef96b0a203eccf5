//! What the account of headcount's Pods may do.

use std::{collections::BTreeSet, fs};

use k8s_openapi::api::authorization::v1::{
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use kube::{
    Api, Client,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::cluster::{Cluster, HEADCOUNT, checkout};

/// Rights, each as `VERB RESOURCE.GROUP`.
pub(super) type Rights = BTreeSet<String>;

/// The rights that the chart's page documents: those of every release, and those that come with these values.
pub(super) fn documented(values: &[&str]) -> Rights {
    let page = fs::read_to_string(checkout("deploy/chart/README.md")).unwrap();
    let (_, section) = page.split_once("\n## Rights\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let (mut rights, mut known) = (Rights::new(), 0);
    for row in rows.skip(1) {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.replace('`', "")).collect();
        let [with, group, resource, verbs, ..] = &cells[..] else {
            panic!("{row}")
        };
        let named = values.contains(&with.as_str());
        known += usize::from(named);
        if named || with == "always" {
            let of = match group.as_str() {
                "core" => resource.clone(),
                group => format!("{resource}.{group}"),
            };
            rights.extend(verbs.split(", ").map(|verb| format!("{verb} {of}")));
        }
    }
    assert_eq!(known, values.len(), "each of {values:?} has one row");
    rights
}

/// An account of headcount's namespace, by a token of its own.
pub(super) struct Account(Client);

impl Account {
    pub(super) async fn new(cluster: &Cluster, name: &str) -> Self {
        let kubeconfig = cluster
            .control_plane
            .serviceaccount_kubeconfig(HEADCOUNT, name);
        let read = Kubeconfig::read_from(kubeconfig.await.unwrap()).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(read, &options).await;
        Self(Client::try_from(config.unwrap()).unwrap())
    }

    /// What it may do in a namespace, as the API server tells it.
    async fn rights(&self, namespace: &str) -> Rights {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.to_owned()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let api = Api::<SelfSubjectRulesReview>::all(self.0.clone());
        let review = api.create(&PostParams::default(), &review).await.unwrap();
        of(review.status.unwrap())
    }

    /// What it may do in a namespace beyond what every account of headcount's namespace may.
    pub(super) async fn more_than(&self, bare: &Self, namespace: &str) -> Rights {
        let (own, every) = (self.rights(namespace).await, bare.rights(namespace).await);
        assert!(every.is_subset(&own), "{every:?}");
        &own - &every
    }

    /// What it is told when it reads the Secrets of a namespace.
    pub(super) async fn secrets(&self, namespace: &str) -> u16 {
        use k8s_openapi::api::core::v1::Secret;
        let all = Api::<Secret>::namespaced(self.0.clone(), namespace);
        match all.list(&kube::api::ListParams::default()).await {
            Err(kube::Error::Api(status)) => status.code,
            other => panic!("{other:?}"),
        }
    }
}

/// Each rule's every right.
fn of(told: SubjectRulesReviewStatus) -> Rights {
    assert!(!told.incomplete, "{told:?}");
    let mut rights = Rights::new();
    for rule in told.resource_rules {
        assert_eq!(
            rule.resource_names.unwrap_or_default(),
            Vec::<String>::new()
        );
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let dot = if group.is_empty() { "" } else { "." };
                let right = |verb| format!("{verb} {resource}{dot}{group}");
                rights.extend(rule.verbs.iter().map(right));
            }
        }
    }
    for rule in told.non_resource_rules {
        for path in rule.non_resource_urls.iter().flatten() {
            rights.extend(rule.verbs.iter().map(|verb| format!("{verb} {path}")));
        }
    }
    rights
}
