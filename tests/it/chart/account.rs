//! What the account of headcount's Pods may do.

use k8s_openapi::api::authorization::v1::{
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use kube::{
    Api, Client,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::cluster::{Cluster, HEADCOUNT};
use crate::docs::rights::Rights;

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
                let right = |verb| format!("{verb} {resource}.{group}");
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
