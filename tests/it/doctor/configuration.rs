//! The configuration: what can't be used, and rules that do nothing.

use super::{Diagnosis, Patient};
use crate::support::{SimCluster, program::headcount};

#[tokio::test]
async fn a_configuration_that_can_not_be_used_fails_and_nothing_else_is_checked() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig()).configured("maxReplica: 3");
    let found = patient.examined().await;
    found.finds("configuration", "failed", "maxReplica");
    found.finds("configuration", "failed", "line 3");
    assert_eq!(
        found.names("skipped"),
        [
            "certificates",
            "addresses",
            "system",
            "kubernetes",
            "permissions"
        ]
    );
    assert_eq!(cluster.requests(), 0);
}

#[tokio::test]
async fn settings_are_those_of_serve_by_flag_variable_and_file() {
    let cluster = SimCluster::start().await;
    let mut command = headcount(["doctor"]);
    command.env("HEADCOUNT_TLS_CERTS", "x");
    let found = Diagnosis::of(command).await;
    found.finds("configuration", "failed", "HEADCOUNT_TLS_CERTS");
    let found = Diagnosis::of(headcount(["doctor", "--tls-cert=a", "--client-ca=b"])).await;
    found.finds("configuration", "failed", "--tls-key is missing");
    let patient = Patient::of(cluster.kubeconfig()).configured("readOnly: true");
    let mut command = patient.command();
    command.env("HEADCOUNT_NAMESPACE", "web,shop");
    let found = Diagnosis::of(command).await;
    found.finds("configuration", "ok", "every write is refused");
    found.finds(
        "permissions.needed",
        "ok",
        "list deployments.apps in shop, web",
    );
}

#[tokio::test]
async fn keys_by_their_old_names_are_named() {
    let cluster = SimCluster::start().await;
    let found = Patient::of(cluster.kubeconfig())
        .configured("\nlogLevel: debug\n")
        .examined()
        .await;
    found.finds(
        "configuration.deprecated",
        "warning",
        "logLevel is called logging.level now",
    );
    assert_eq!(found.code, Some(0));
}

#[tokio::test]
async fn rules_that_never_decide_are_named() {
    let cluster = SimCluster::start().await;
    let rules = r#"
namespace: [web]
authorization:
  mode: policy
  rules:
    - {name: all, subjects: ["*"], verbs: [get, list]}
    - {name: hidden, subjects: [alice], verbs: [get]}
    - {name: elsewhere, subjects: [alice], verbs: [scale], namespaces: [shop]}
"#;
    let found = Patient::of(cluster.kubeconfig())
        .configured(rules)
        .examined()
        .await;
    found.finds(
        "configuration.rules",
        "warning",
        r#"\"hidden\" never decides: \"all\""#,
    );
    found.finds(
        "configuration.rules",
        "warning",
        r#"\"elsewhere\" never decides"#,
    );
    assert_eq!(found.code, Some(0), "what is odd isn't wrong");

    let rules = "
authorization:
  mode: policy
  rules:
    - {name: no, effect: deny, subjects: [\"*\"], verbs: [\"*\"]}
";
    let found = Patient::of(cluster.kubeconfig())
        .configured(rules)
        .examined()
        .await;
    found.finds("configuration.rules", "warning", "nobody may do anything");

    let rules = "
authorization:
  mode: policy
  rules:
    - {name: readers, subjects: [\"*\"], verbs: [get]}
";
    let found = Patient::of(cluster.kubeconfig())
        .configured(rules)
        .examined()
        .await;
    found.finds("configuration.rules", "ok", "1 rules");
    // Nobody may set a count, so the right to do so isn't missed.
    let told: Vec<_> = found
        .checks
        .iter()
        .map(|check| check["found"].to_string())
        .collect();
    assert!(
        !told
            .iter()
            .any(|found| found.contains("may update deployments.apps/scale")),
        "{told:#?}"
    );
}
