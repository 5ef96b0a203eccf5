//! A policy that changes while the server runs.

use std::time::Duration;

use simkube::NewDeployment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Governed, seen};
use crate::support::{Client, SimCluster, eventually, program::admin};

const PROMISED: Duration = Duration::from_secs(5);

fn rule(verbs: &str, more: &str) -> String {
    format!(
        "authorization:\n  mode: policy\n  rules:\n    - name: all\n      subjects: ['*']\n      verbs: {verbs}\n{more}"
    )
}

async fn governed() -> Governed {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let front = NewDeployment::new("web", "page")
        .replicas(2)
        .label("tier", "front");
    sim.cluster.create(front).unwrap();
    Governed::by(&rule("['*']", ""), sim).await
}

#[tokio::test]
async fn a_narrower_policy_holds_within_five_seconds_and_a_wider_one_too() {
    let governed = governed().await;
    let alice = governed.client("alice");
    assert_eq!(alice.scale("web", "shop", 4, &[]).await.status, 200);
    governed.becomes(&rule("[get]", ""));
    eventually(PROMISED, "the narrower policy", async || {
        alice.scale("web", "shop", 5, &[]).await.status == 403
    })
    .await;
    assert!(alice.count("web", "shop").await.is_ok());
    governed.becomes(&(rule("[get, scale]", "") + "maxReplicas: 6\n"));
    eventually(PROMISED, "the wider policy", async || {
        alice.scale("web", "shop", 6, &[]).await.status == 200
    })
    .await;
    assert_eq!(alice.scale("web", "shop", 7, &[]).await.status, 422);
    governed.becomes("readOnly: true\n");
    eventually(PROMISED, "read-only", async || {
        alice.scale("web", "shop", 1, &[]).await.status == 503
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_leaves_the_one_in_force() {
    let governed = governed().await;
    let alice = governed.client("alice");
    for bad in [
        rule("[fly]", ""),
        rule("[]", ""),
        "authorization: {mode: policy}\n".into(),
        "nonsense: 1\n".into(),
        "[".into(),
    ] {
        governed.becomes(&bad);
        eventually(PROMISED, "the failure is told", async || {
            let (status, said) = admin(governed.admin_address, "GET", "/readyz?verbose").await;
            status == 200 && said.contains("[-]reload failed") && said.contains("headcount.yaml")
        })
        .await;
        assert_eq!(
            alice.scale("web", "shop", 4, &[]).await.status,
            200,
            "{bad}"
        );
        governed.becomes(&rule("['*']", ""));
        eventually(PROMISED, "the failure is over", async || {
            let (_, said) = admin(governed.admin_address, "GET", "/readyz?verbose").await;
            said.contains("[+]reload ok")
        })
        .await;
    }
}

#[tokio::test]
async fn a_label_that_no_rule_looked_at_before_decides_once_it_is_known() {
    let governed = governed().await;
    let alice = governed.client("alice");
    assert_eq!(seen(&alice).await, ["web/page", "web/shop"]);
    governed.becomes(&rule("['*']", "      labelSelector: tier=front\n"));
    eventually(PROMISED, "the selector", async || {
        let list = alice.get("/deployments").await;
        assert!(
            [200, 503].contains(&list.status.as_u16()),
            "{}",
            list.text()
        );
        list.status == 200 && list.json().as_array().unwrap().len() == 1
    })
    .await;
    assert_eq!(seen(&alice).await, ["web/page"]);
    assert_eq!(alice.scale("web", "shop", 4, &[]).await.status, 403);
    assert_eq!(alice.scale("web", "page", 4, &[]).await.status, 200);
    // A Deployment that loses the label is out of reach at once.
    governed.sim.cluster.set_labels("web", "page", &[]).unwrap();
    assert_eq!(alice.scale("web", "page", 5, &[]).await.status, 403);
}

#[tokio::test]
async fn a_write_whose_body_comes_after_a_reload_is_judged_by_what_holds_then() {
    let governed = governed().await;
    let alice = governed.client("alice");
    let body = r#"{"replicaCount":9}"#;
    let head = format!(
        "PUT /api/v1/namespaces/web/deployments/shop/replicas HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = alice.connect().await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    governed.becomes(&rule("[get]", ""));
    eventually(PROMISED, "the narrower policy", async || {
        alice.scale("web", "shop", 5, &[]).await.status == 403
    })
    .await;
    slow.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_ne!(governed.sim.count("web", "shop"), Some(9));
}

#[tokio::test]
async fn a_reload_gives_back_nothing_of_a_rate_and_another_rate_holds_at_once() {
    let governed = governed().await;
    let alice = governed.client("alice");
    let writes = |rate: &str, more: &str| {
        let limits = format!("limits: {{rates: {{writes: {rate}}}}}\n");
        rule("['*']", "") + &limits + more
    };
    let applied = async |times: usize| {
        eventually(PROMISED, "the reload", async || {
            let (_, metrics) = admin(governed.admin_address, "GET", "/metrics").await;
            metrics.contains(&format!(
                "headcount_reloads_total{{result=\"applied\"}} {times}\n"
            ))
        })
        .await;
    };
    let scale = async |client: &Client| client.scale("web", "shop", 4, &[]).await;
    governed.becomes(&writes("{perSecond: 0.01, burst: 2}", ""));
    applied(1).await;
    for status in [200, 200, 429] {
        assert_eq!(scale(&alice).await.status, status);
    }
    governed.becomes(&writes("{perSecond: 0.01, burst: 2}", "maxReplicas: 6\n"));
    applied(2).await;
    let refused = scale(&alice).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
    // Nor does another certificate.
    assert_eq!(scale(&governed.client("alice")).await.status, 429);
    assert_eq!(scale(&governed.client("bob")).await.status, 200);
    governed.becomes(&writes("unlimited", ""));
    applied(3).await;
    assert_eq!(scale(&alice).await.status, 200);
}
