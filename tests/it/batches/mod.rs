//! Batches: many counts in one call, what becomes of each, and how what was is brought back.

mod asking;
mod lives;
mod outcomes;
mod pace;
mod restoring;

use http::Method;
use serde_json::{Value, json};
use simkube::{Cluster, NewDeployment, Options};

use crate::support::{Answer, InProcess};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A cluster with these Deployments in `web`, each at 3.
fn cluster<S: AsRef<str>>(names: &[S]) -> Cluster {
    let cluster = Cluster::new(Options::default());
    for name in names {
        let new = NewDeployment::new("web", name.as_ref()).replicas(3);
        cluster.create(new).unwrap();
    }
    cluster
}

/// A server that has seen them.
async fn serving<S: AsRef<str>>(names: &[S]) -> InProcess {
    let server = InProcess::synced(&cluster(names)).await;
    // A moment, so that the watch is open.
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    server
}

/// So many names.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n:03}")).collect()
}

/// A body with these counts of Deployments in `web`.
fn counts<S: AsRef<str>>(counts: &[(S, i32)]) -> String {
    let item = |(name, count): &(S, i32)| json!({"namespace": "web", "name": name.as_ref(), "replicaCount": count});
    let items: Vec<_> = counts.iter().map(item).collect();
    json!({ "items": items }).to_string()
}

async fn post(server: &InProcess, path: &str, body: &str) -> Answer {
    server.send(Method::POST, path, &[JSON], body).await
}

/// Has a batch of these counts made.
async fn batch<S: AsRef<str>>(server: &InProcess, wanted: &[(S, i32)]) -> Value {
    answered(post(server, "/batches", &counts(wanted)).await)
}

/// Has what a batch or a restoration has changed brought back.
async fn restore(server: &InProcess, snapshot: &Value) -> Value {
    answered(post(server, "/batches/restore", &snapshot.to_string()).await)
}

fn answered(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The statuses of an answer's results, in their order.
fn statuses(answer: &Value) -> Vec<u64> {
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|one| one["status"].as_u64().unwrap())
        .collect()
}

/// The count in the cluster.
fn count(server: &InProcess, name: &str) -> i32 {
    let deployment = server.cluster.deployment("web", name).unwrap();
    deployment.replicas.unwrap_or(1)
}
