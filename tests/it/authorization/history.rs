//! What of the history callers see that may see a part of the Deployments.

use simkube::{AccessReview, NewDeployment, Verdict};

use super::Governed;
use crate::history::told;
use crate::support::{Client, SimCluster};

async fn cluster() -> SimCluster {
    let sim = SimCluster::start().await;
    for (namespace, name, tier) in [
        ("ops", "cron", "back"),
        ("web", "page", "front"),
        ("web", "shop", "back"),
    ] {
        let new = NewDeployment::new(namespace, name).label("tier", tier);
        sim.cluster.create(new.replicas(1)).unwrap();
    }
    sim
}

/// Each of them gets another count, the last of them first in the history.
fn change_all(sim: &SimCluster) -> String {
    let all = [("ops", "cron"), ("web", "page"), ("web", "shop")];
    let versions = all.map(|(namespace, name)| {
        sim.cluster
            .scale_by(namespace, name, 2, ("kubectl", "scale"))
            .unwrap()
    });
    versions[2].to_string()
}

async fn seen(client: &Client, version: &str) -> Vec<String> {
    let headers = [("x-min-resource-version", version)];
    let answer = client
        .send(http::Method::GET, "/history", &headers, "")
        .await;
    let told = told(&answer).into_iter();
    told.map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

const RULES: &str = "authorization:
  mode: policy
  rules:
    - {name: front, subjects: [alice], verbs: [list], labelSelector: 'tier=front'}
    - {name: web, subjects: [bob], verbs: [list], namespaces: [web]}
    - {name: all, subjects: [olga], verbs: ['*']}
";

#[tokio::test]
async fn a_caller_sees_what_it_may_list_and_of_what_is_gone_what_needs_no_labels() {
    let governed = Governed::by(RULES, cluster().await).await;
    let version = change_all(&governed.sim);
    let (alice, bob, olga) = (
        governed.client("alice"),
        governed.client("bob"),
        governed.client("olga"),
    );
    assert_eq!(seen(&alice, &version).await, ["web/page"]);
    assert_eq!(seen(&bob, &version).await, ["web/shop", "web/page"]);
    assert_eq!(
        seen(&olga, &version).await,
        ["web/shop", "web/page", "ops/cron"]
    );
    let stranger = governed.client("stranger").get("/history").await;
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    let other = bob.get("/history?namespace=ops").await;
    assert_eq!(other.status, 403, "{}", other.text());
    // By the labels of now; and one of the same name is another one.
    let cluster = &governed.sim.cluster;
    cluster.set_labels("web", "shop", &[("tier", "front")]);
    cluster.delete("web", "page");
    let again = NewDeployment::new("web", "page").label("tier", "front");
    let version = cluster.create(again).unwrap().to_string();
    assert_eq!(seen(&alice, &version).await, ["web/shop"]);
    assert_eq!(seen(&bob, &version).await, ["web/shop", "web/page"]);
}

#[tokio::test]
async fn where_the_cluster_decides_it_is_asked_about_namespaces_that_are_empty_now_too() {
    let sim = cluster().await;
    sim.cluster.set_authorizer(|review: &AccessReview| {
        let AccessReview { user, verb, .. } = review;
        let web = user == "headcount:alice" && review.namespace == "web";
        Verdict::allowed(verb == "list" && (web || user == "headcount:olga"))
    });
    let governed = Governed::by("authorization: {mode: kubernetes}\n", sim).await;
    let version = change_all(&governed.sim);
    let (alice, olga) = (governed.client("alice"), governed.client("olga"));
    assert_eq!(seen(&alice, &version).await, ["web/shop", "web/page"]);
    assert_eq!(
        seen(&olga, &version).await,
        ["web/shop", "web/page", "ops/cron"]
    );
    governed.sim.cluster.delete("web", "page");
    let version = governed
        .sim
        .cluster
        .delete("web", "shop")
        .unwrap()
        .to_string();
    let one = "/history?namespace=web&limit=1";
    let answer = alice
        .send(
            http::Method::GET,
            one,
            &[("x-min-resource-version", &*version)],
            "",
        )
        .await;
    assert_eq!(told(&answer), ["web/shop 1→2 by kubectl"]);
    let stranger = governed.client("stranger").get("/history").await;
    assert_eq!(stranger.status, 403, "{}", stranger.text());
}
