//! Permissions: exactly what a configuration needs, where it is lacking, and what is beyond; on simkube and on a real RBAC.

use std::{path::Path, time::Duration};

use controlplane::{ControlPlane, Options};
use simkube::{Fault, On, OwnRule, Rule};

use super::{Diagnosis, Patient, needed};
use crate::support::{SimCluster, eventually};

async fn cluster_with(rules: Vec<OwnRule>) -> SimCluster {
    let cluster = SimCluster::start().await;
    cluster.cluster.set_own_rules(rules);
    cluster
}

/// The needed rights that are told of, as `VERB RESOURCE`, with how they ended.
fn told(found: &Diagnosis) -> Vec<String> {
    let needed = found
        .checks
        .iter()
        .filter(|one| one["check"] == "permissions.needed");
    let words = needed.map(|one| {
        let text = one["found"].as_str().unwrap();
        let right = text
            .trim_start_matches("the account may ")
            .trim_start_matches("not ");
        let right: Vec<_> = right.split(' ').take(2).collect();
        format!("{} {}", one["outcome"].as_str().unwrap(), right.join(" "))
    });
    words.collect()
}

#[tokio::test]
async fn every_right_that_is_lacking_fails_and_says_how_it_is_given() {
    let all = needed();
    for lacking in ["list", "watch", "update"] {
        let rules = all.iter().cloned().map(|mut rule| {
            rule.verbs.retain(|verb| verb != lacking);
            rule
        });
        let cluster = cluster_with(rules.collect()).await;
        let found = Patient::of(cluster.kubeconfig()).examined().await;
        assert_eq!(found.names("failed"), ["permissions.needed"], "{lacking}");
        let words = format!("may not {lacking} deployments.apps");
        found.finds("permissions.needed", "failed", &words);
        found.finds(
            "permissions.needed",
            "failed",
            "bind a ClusterRole with the rule {apiGroups:",
        );
    }
}

#[tokio::test]
async fn what_is_needed_depends_on_what_the_configuration_allows() {
    let reading = [
        "ok list deployments.apps",
        "ok watch deployments.apps",
        "ok list horizontalpodautoscalers.autoscaling",
        "ok watch horizontalpodautoscalers.autoscaling",
    ];
    let scaling = "ok patch deployments.apps/scale";
    let replacing = "ok update deployments.apps/scale";
    let cluster = cluster_with(needed()).await;
    for (flags, configuration, more) in [
        (vec![], "", vec![scaling, replacing]),
        (vec!["--read-only"], "", vec![]),
        (
            vec!["--enable=image"],
            "",
            vec![scaling, replacing, "failed patch deployments.apps"],
        ),
        (
            vec!["--enable=pause", "--enable=rollback"],
            "",
            vec![
                scaling,
                replacing,
                "failed patch deployments.apps",
                "failed list replicasets.apps",
            ],
        ),
        (
            vec![],
            "authorization: {mode: kubernetes}",
            vec![
                scaling,
                replacing,
                "warning patch deployments.apps",
                "warning list replicasets.apps",
                "failed create subjectaccessreviews.authorization.k8s.io",
            ],
        ),
        (
            vec![],
            "kubernetesEvents: true",
            vec![
                scaling,
                replacing,
                "warning create events",
                "warning patch events",
            ],
        ),
        (vec!["--read-only"], "kubernetesEvents: true", vec![]),
        (
            vec![],
            "authorization: {mode: policy, rules: [{name: a, subjects: [b], verbs: [image], namespaces: [web]}]}",
            vec!["failed patch deployments.apps"],
        ),
    ] {
        let mut patient = Patient::of(cluster.kubeconfig());
        patient
            .flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
        let found = patient.configured(configuration).examined().await;
        assert_eq!(
            told(&found),
            [&reading[..], &more[..]].concat(),
            "{flags:?} {configuration}"
        );
    }
}

#[tokio::test]
async fn without_the_right_to_see_autoscalers_it_warns_and_says_what_gives_it() {
    let mut rules = needed();
    rules.retain(|rule| rule.group != "autoscaling");
    let cluster = cluster_with(rules).await;
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    let otherwise = "without it callers aren't told whether a count will stick";
    found.finds("permissions.needed", "warning", otherwise);
    found.finds("permissions.needed", "warning", "autoscalers.enabled");
    assert_eq!(found.names("failed"), [""; 0]);
    let patient = Patient::of(cluster.kubeconfig()).flag("--autoscalers=false");
    let found = patient.examined().await;
    let of_autoscalers = |right: &String| right.contains("horizontalpodautoscalers");
    assert!(!told(&found).iter().any(of_autoscalers), "{found:#?}");
}

#[tokio::test]
async fn leases_need_their_rights_in_the_namespace_that_keeps_them_and_in_no_other() {
    let verbs = ["create", "delete", "get", "list", "update", "watch"];
    let rule = OwnRule::new("coordination.k8s.io", "leases", &verbs);
    let of_leases = |found: &Diagnosis| {
        let all = told(found).into_iter();
        let own = all.filter(|right| right.ends_with("leases.coordination.k8s.io"));
        own.collect::<Vec<_>>()
    };
    let with = |rule: OwnRule| [needed(), vec![rule]].concat();
    // A server that isn't a Pod is told where, or has none.
    let kept = "leases: {namespace: default}";
    let cluster = cluster_with(with(rule.clone().within("default"))).await;
    let patient = || Patient::of(cluster.kubeconfig());
    let found = patient().configured(kept).examined().await;
    let expected = verbs.map(|verb| format!("ok {verb} leases.coordination.k8s.io"));
    assert_eq!(of_leases(&found), expected);
    found.finds(
        "permissions.needed",
        "ok",
        "coordination.k8s.io in default, for",
    );
    found.finds("permissions.beyond", "ok", "nothing that isn't needed");
    for off in ["", "leases: {enabled: false, namespace: default}"] {
        let found = patient().configured(off).examined().await;
        assert_eq!(of_leases(&found), [""; 0], "{off}");
        let unneeded = "create, delete, get, list, update, watch leases.coordination.k8s.io";
        found.finds("permissions.beyond", "warning", unneeded);
    }
    // It has them where they are of no use.
    let found = patient()
        .configured("leases: {namespace: headcount}")
        .examined()
        .await;
    let expected = verbs.map(|verb| format!("warning {verb} leases.coordination.k8s.io"));
    assert_eq!(of_leases(&found), expected);
    for words in [
        "may not update leases.coordination.k8s.io in headcount,",
        "leases.enabled",
    ] {
        found.finds("permissions.needed", "warning", words);
    }
    found.finds(
        "permissions.beyond",
        "warning",
        "leases.coordination.k8s.io",
    );
    assert_eq!(found.code, Some(0), "all else works");
}

#[tokio::test]
async fn of_several_namespaces_those_are_named_where_a_right_is_lacking() {
    let in_web = needed().into_iter().map(|rule| rule.within("web"));
    let cluster = cluster_with(in_web.collect()).await;
    let patient = Patient::of(cluster.kubeconfig()).flag("--namespace=web");
    let found = patient.examined().await;
    found.finds(
        "permissions.needed",
        "ok",
        "may update deployments.apps/scale in web",
    );
    assert_eq!(found.code, Some(0));
    let found = patient.flag("--namespace=shop").examined().await;
    found.finds(
        "permissions.needed",
        "failed",
        "may not list deployments.apps in shop,",
    );
    found.finds("permissions.needed", "failed", "in that namespace");
    // All namespaces are more than some.
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    found.finds(
        "permissions.needed",
        "failed",
        "may not list deployments.apps in the whole cluster",
    );
}

#[tokio::test]
async fn rights_beyond_need_are_named_and_those_that_everybody_has_are_not() {
    let everybodys = || {
        [
            OwnRule::new(
                "authorization.k8s.io",
                "selfsubjectaccessreviews",
                &["create"],
            ),
            OwnRule::new(
                "authorization.k8s.io",
                "selfsubjectrulesreviews",
                &["create"],
            ),
            OwnRule::new("authentication.k8s.io", "selfsubjectreviews", &["create"]),
        ]
    };
    let mut rules = needed();
    rules.extend(everybodys());
    let cluster = cluster_with(rules.clone()).await;
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    found.finds("permissions.beyond", "ok", "nothing that isn't needed");
    rules.push(OwnRule::new("", "secrets", &["get", "list"]));
    rules.push(OwnRule::new("apps", "deployments", &["list", "delete"]));
    cluster.cluster.set_own_rules(rules);
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    found.finds(
        "permissions.beyond",
        "warning",
        "delete deployments.apps; get, list secrets",
    );
    assert_eq!(found.code, Some(0), "too much works");
}

#[tokio::test]
async fn a_cluster_that_does_not_tell_fails_without_a_guess() {
    let cluster = cluster_with(needed()).await;
    let user = "system:serviceaccount:headcount:headcount".to_owned();
    cluster
        .cluster
        .faults()
        .add(Rule::new(On::Review, Fault::Forbidden { user }));
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    found.finds("permissions.needed", "failed", "selfsubjectaccessreviews");
    assert_eq!(told(&found).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_real_cluster_the_base_gives_what_is_needed_and_nothing_beyond() {
    let cluster = ControlPlane::start(Options::default())
        .await
        .unwrap_or_else(|e| panic!("{}", e.chain()));
    let kubectl = async |arguments: &[&str]| cluster.kubectl(arguments).await.unwrap();
    let allow = async |name: &str, verb: &str, resource: &str| {
        let (verb, resource) = (format!("--verb={verb}"), format!("--resource={resource}"));
        kubectl(&["create", "clusterrole", name, &verb, &resource]).await;
        let role = format!("--clusterrole={name}");
        let account = "--serviceaccount=headcount:headcount";
        kubectl(&["create", "clusterrolebinding", name, &role, account]).await;
    };
    kubectl(&["create", "namespace", "headcount"]).await;
    kubectl(&[
        "--namespace=headcount",
        "create",
        "serviceaccount",
        "headcount",
    ])
    .await;
    let kubeconfig = cluster
        .serviceaccount_kubeconfig("headcount", "headcount")
        .await
        .unwrap();
    let leases = "leases: {namespace: headcount}";
    let examined = async || Patient::of(&kubeconfig).configured(leases).examined().await;
    let found = examined().await;
    found.finds("kubernetes.api", "ok", "Kubernetes v1.");
    found.finds("clock", "ok", "clock");
    assert_eq!(
        told(&found),
        [
            "failed list deployments.apps",
            "failed watch deployments.apps",
            "warning list horizontalpodautoscalers.autoscaling",
            "warning watch horizontalpodautoscalers.autoscaling",
            "failed patch deployments.apps/scale",
            "failed update deployments.apps/scale",
            "warning create leases.coordination.k8s.io",
            "warning delete leases.coordination.k8s.io",
            "warning get leases.coordination.k8s.io",
            "warning list leases.coordination.k8s.io",
            "warning update leases.coordination.k8s.io",
            "warning watch leases.coordination.k8s.io",
        ]
    );
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/base");
    kubectl(&["apply", "--kustomize", base.to_str().unwrap()]).await;
    eventually(Duration::from_secs(30), "the binding", async || {
        examined().await.code == Some(0)
    })
    .await;
    examined()
        .await
        .finds("permissions.beyond", "ok", "nothing that isn't needed");

    allow("images", "patch", "deployments.apps").await;
    eventually(Duration::from_secs(30), "more rights", async || {
        examined()
            .await
            .names("warning")
            .contains(&"permissions.beyond")
    })
    .await;
    examined()
        .await
        .finds("permissions.beyond", "warning", "patch deployments.apps");
    // The account that may do everything may do too much.
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    found.finds("permissions.beyond", "warning", "* *");
    let kubernetes = format!("authorization: {{mode: kubernetes}}\n{leases}");
    let kubernetes = Patient::of(&kubeconfig).configured(&kubernetes);
    let found = kubernetes.examined().await;
    found.finds(
        "permissions.needed",
        "failed",
        "create subjectaccessreviews.authorization.k8s.io",
    );
    found.finds(
        "permissions.needed",
        "failed",
        "config.authorization.mode: kubernetes",
    );
    allow("ask", "create", "subjectaccessreviews.authorization.k8s.io").await;
    eventually(Duration::from_secs(30), "the right to ask", async || {
        kubernetes.examined().await.code == Some(0)
    })
    .await;
}
