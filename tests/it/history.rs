//! Who changed which counts of late, as `GET /history` tells it.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};

use crate::support::{Answer, Events, InProcess, Setup, SimCluster, eventually};

const HPA: (&str, &str) = ("kube-controller-manager", "scale");
const KUBECTL: (&str, &str) = ("kubectl-edit", "");

/// The changes as `namespace/name FROM→TO by MANAGER`, newest first.
pub(crate) fn told(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let changes = answer.json()["changes"].as_array().unwrap().clone();
    let text = |change: &Value, field: &str| change[field].as_str().unwrap_or("?").to_owned();
    let one = |change: &Value| {
        let by = &change["by"];
        let who = match by["principal"].as_str() {
            Some(principal) => principal.to_owned(),
            None => text(by, "manager"),
        };
        format!(
            "{}/{} {}→{} by {who}",
            text(change, "namespace"),
            text(change, "name"),
            change["from"],
            change["to"]
        )
    };
    changes.iter().map(one).collect()
}

async fn served() -> (Cluster, InProcess) {
    let cluster = Cluster::new(Options::default());
    for (namespace, name) in [("db", "main"), ("web", "shop")] {
        let new = NewDeployment::new(namespace, name).replicas(3);
        cluster.create(new).unwrap();
    }
    let server = InProcess::synced(&cluster).await;
    (cluster, server)
}

async fn get(server: &InProcess, query: &str, version: u64) -> Answer {
    let version = version.to_string();
    let headers = [("x-min-resource-version", &*version)];
    let path = format!("/history{query}");
    server.send(Method::GET, &path, &headers, "").await
}

#[tokio::test(start_paused = true)]
async fn whoever_sets_a_count_is_told_and_what_changes_no_count_is_not() {
    let (cluster, server) = served().await;
    let answer = get(&server, "", 0).await;
    assert_eq!(answer.json()["changes"], json!([]));
    let since = answer.json()["since"].as_str().unwrap().to_owned();
    let put = server.put("web", "shop", 5, &[]).await;
    assert_eq!(put.status, 200, "{}", put.text());
    // Read your writes: it is there as soon as the write is answered.
    let own = get(&server, "", 0).await.json();
    let change = &own["changes"][0];
    assert_eq!(own["since"], *since);
    assert!(change["time"].as_str().unwrap() >= &*since, "{change}");
    let manager = change["by"]["manager"].as_str().unwrap();
    assert!(manager.starts_with("headcount"), "{manager}");
    let version = put.header("x-resource-version");
    assert_eq!(change["resourceVersion"], version);
    cluster.scale_by("web", "shop", 7, HPA);
    cluster.touch_status("web", "shop");
    cluster.set_labels("web", "shop", &[("a", "b")]);
    cluster.scale_by("db", "main", 1, KUBECTL);
    cluster.delete("db", "main");
    cluster.create(NewDeployment::new("db", "main").replicas(9));
    let version = cluster.scale("web", "shop", 4).unwrap();
    let all = told(&get(&server, "", version).await);
    assert_eq!(
        all[..3],
        [
            "web/shop 7→4 by ?",
            "db/main 3→1 by kubectl-edit",
            "web/shop 5→7 by kube-controller-manager",
        ]
    );
    assert_eq!(all.len(), 4, "{all:?}");
    for (query, expected) in [
        ("?namespace=db", &all[1..2]),
        ("?name=shop&limit=1", &all[..1]),
        ("?namespace=web&name=main", &[]),
        ("?limit=2", &all[..2]),
    ] {
        assert_eq!(told(&get(&server, query, 0).await), expected, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_asked_is_refused() {
    let (_cluster, server) = served().await;
    for (path, status) in [
        ("/history?namespace=WEB", 400),
        ("/history?name=-", 400),
        ("/history?limit=0", 400),
        ("/history?limit=1001", 400),
        ("/history?since=now", 400),
        ("/history?limit=1&limit=1", 400),
        ("/history/", 404),
    ] {
        let refused = server.send(Method::GET, path, &[], "").await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text());
    }
    let refused = server.send(Method::PUT, "/history", &[], "").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("allow")),
        (405, "GET, HEAD")
    );
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_history_is_not_sent_again() {
    let (cluster, server) = served().await;
    let first = get(&server, "", 0).await;
    let tag = [("if-none-match", first.header("etag"))];
    let again = server.send(Method::GET, "/history", &tag, "").await;
    assert_eq!((again.status.as_u16(), again.text()), (304, ""));
    let version = cluster.scale("web", "shop", 4).unwrap().to_string();
    let headers = [tag[0], ("x-min-resource-version", &*version)];
    let again = server.send(Method::GET, "/history", &headers, "").await;
    assert_eq!(again.status, 200);
}

#[tokio::test]
async fn a_gap_is_one_change_for_each_deployment_with_its_last_setter_and_a_restart_forgets() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    sim.create("db", "main", 1);
    let server = Setup::new(sim.kubeconfig()).healthy().await;
    let mut watch = Events::open(&server.client, "/deployments?watch", &[]).await;
    watch.told().await;
    let refused = sim
        .cluster
        .faults()
        .add(Rule::new(On::Watch, Fault::status(500)));
    let ended = sim
        .cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::End));
    eventually(Duration::from_secs(5), "no watch", async || {
        sim.cluster.faults().fired(refused) > 0
    })
    .await;
    sim.cluster.faults().remove(ended);
    sim.cluster.scale_by("web", "shop", 5, KUBECTL);
    sim.cluster.scale_by("web", "shop", 8, HPA);
    sim.cluster.compact();
    sim.cluster.faults().clear();
    assert_eq!(watch.told().await, "changed web/shop=8");
    let before = server.client.get("/history").await;
    assert_eq!(told(&before), ["web/shop 3→8 by kube-controller-manager"]);
    let other = Setup::new(sim.kubeconfig()).healthy().await;
    let after = other.client.get("/history").await;
    assert_eq!(told(&after), [""; 0]);
    let since = |answer: &Answer| answer.json()["since"].as_str().unwrap().to_owned();
    assert!(since(&after) > since(&before));
}
