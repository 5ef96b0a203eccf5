//! Containers and images where labels decide, and the labels change while a request is under way.

use std::time::Duration;

use http::Method;
use simkube::{Fault, NewDeployment, On, Rule};

use super::Governed;
use crate::support::{Answer, Client, SimCluster};

const POLICY: &str = r#"
authorization:
  mode: policy
  rules:
    - {name: front end, subjects: [fiona], verbs: [get, image], labelSelector: tier=front}
"#;

const CONTAINERS: &str = "/namespaces/web/deployments/page/containers";

/// A cluster with `web/page`, which is protected, and `web/held`, which outlives its deletion. Both are the front end's.
async fn governed() -> Governed {
    let sim = SimCluster::start().await;
    let new = |name: &str| NewDeployment::new("web", name).label("tier", "front");
    let page = new("page").annotation("headcount/protected", "true");
    sim.cluster.create(page).unwrap();
    let held = new("held").finalizer("example.com/hold");
    sim.cluster.create(held).unwrap();
    Governed::by(POLICY, sim).await
}

/// From now on the server's copy stays behind.
fn copy_stays_behind(governed: &Governed) {
    let late = Rule::new(On::Event, Fault::Delay(Duration::from_secs(60)));
    governed.sim.cluster.faults().add(late);
}

/// Both Deployments become somebody else's, which the server's copy doesn't show yet.
fn labels_change_unseen(governed: &Governed) {
    copy_stays_behind(governed);
    for name in ["page", "held"] {
        let labels = [("tier", "back")];
        governed.sim.cluster.set_labels("web", name, &labels);
    }
}

async fn set(client: &Client, (name, container): (&str, &str), headers: &[(&str, &str)]) -> Answer {
    let path = format!("/namespaces/web/deployments/{name}/containers/{container}/image");
    let headers: Vec<_> = [("content-type", "application/json")]
        .iter()
        .chain(headers)
        .copied()
        .collect();
    client
        .send(Method::PUT, &path, &headers, r#"{"image":"shop:2"}"#)
        .await
}

#[tokio::test]
async fn containers_are_shown_to_nobody_whom_their_new_labels_forbid_them() {
    let governed = governed().await;
    let fiona = governed.client("fiona");
    let before = fiona.get(CONTAINERS).await;
    assert_eq!(before.status, 200, "{}", before.text());
    let tag = before.header("etag").to_owned();
    // Something newer is seen, so that what was read before doesn't serve any more.
    governed.sim.touch("web", "page");
    let version = governed.sim.cluster.resource_version().to_string();
    let seen = [("x-min-resource-version", version.as_str())];
    let path = "/namespaces/web/deployments/page/replicas";
    assert_eq!(fiona.send(Method::GET, path, &seen, "").await.status, 200);
    labels_change_unseen(&governed);
    let guard = [("if-none-match", tag.as_str())];
    for headers in [&guard[..], &[]] {
        let after = fiona.send(Method::GET, CONTAINERS, headers, "").await;
        assert_eq!(after.status, 403, "{}", after.text());
        assert_eq!(after.header("etag"), "");
    }
}

#[tokio::test]
async fn an_image_is_refused_with_403_before_anything_else_is_told() {
    let governed = governed().await;
    let fiona = governed.client("fiona");
    labels_change_unseen(&governed);
    governed.sim.cluster.delete("web", "held");
    let other = [("if-match", "\"other\"")];
    for (at, headers) in [
        (("page", "none"), &[][..]),
        (("page", "main"), &other),
        (("page", "main"), &[]),
        (("held", "none"), &[]),
        (("held", "main"), &[]),
    ] {
        let answer = set(&fiona, at, headers).await;
        assert_eq!(answer.status, 403, "{at:?}: {}", answer.text());
    }
    assert_eq!(governed.sim.writes(), 0);
}

#[tokio::test]
async fn whoever_may_set_an_image_is_told_404_then_409_then_412_then_422() {
    let governed = governed().await;
    let fiona = governed.client("fiona");
    copy_stays_behind(&governed);
    governed.sim.cluster.delete("web", "held");
    let other = [("if-match", "\"other\"")];
    for (at, headers, status) in [
        (("held", "none"), &other[..], 404),
        (("held", "main"), &other, 409),
        (("page", "main"), &other, 412),
        (("page", "main"), &[], 422),
    ] {
        let answer = set(&fiona, at, headers).await;
        assert_eq!(answer.status, status, "{at:?}: {}", answer.text());
    }
    assert_eq!(governed.sim.writes(), 0);
}
