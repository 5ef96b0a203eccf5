//! Callers who hang up, and servers that end, in the middle of a batch.

use std::time::{Duration, Instant};

use headcount::audit::{AuditSettings, TrailSettings};
use http::Method;
use serde_json::{Value, json};
use simkube::{Fault, On, Rule};

use super::{JSON, answered, counts, names, serving, statuses};
use crate::support::{Client, Setup, SimCluster, eventually, program::Serving};

/// So many Deployments at 3, and the body of a batch that sets them to 4.
fn fill(cluster: &SimCluster, count: usize) -> (Vec<String>, String) {
    let all = names(count);
    for name in &all {
        cluster.create("web", name, 3);
    }
    let wanted: Vec<_> = all.iter().map(|name| (name, 4)).collect();
    let body = counts(&wanted);
    (all, body)
}

fn slow(cluster: &SimCluster, millis: u64) {
    let delay = Fault::Delay(Duration::from_millis(millis));
    cluster.cluster.faults().add(Rule::new(On::Scale, delay));
}

async fn sent(cluster: &SimCluster, least: u64) {
    let enough = async || cluster.cluster.counts().scales >= least;
    eventually(Duration::from_secs(20), "some were sent", enough).await;
}

async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let headers: Vec<_> = [JSON].iter().chain(headers).copied().collect();
    answered(client.send(Method::POST, path, &headers, body).await)
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_ends_nothing() {
    let all = names(24);
    let server = serving(&all).await;
    let delay = Fault::Delay(Duration::from_millis(100));
    server.cluster.faults().add(Rule::new(On::Scale, delay));
    let wanted: Vec<_> = all.iter().map(|name| (name, 4)).collect();
    let sent = tokio::spawn(server.sending(Method::POST, "/batches", &[JSON], &counts(&wanted)));
    tokio::time::sleep(Duration::from_millis(150)).await;
    sent.abort();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.existing().iter().all(|one| one.3 == 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_finishes_what_was_begun_and_says_so_of_the_rest() {
    let cluster = SimCluster::start().await;
    let (all, body) = fill(&cluster, 80);
    slow(&cluster, 200);
    let server = Setup::new(cluster.kubeconfig()).healthy().await;
    let client = server.client.clone();
    let asking = tokio::spawn(async move { post(&client, "/batches", &[], &body).await });
    sent(&cluster, 16).await;
    let start = Instant::now();
    server.shut_down().await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let done = asking.await.unwrap();
    let statuses = statuses(&done);
    let made = statuses.iter().filter(|status| **status < 300).count();
    assert!((16..80).contains(&made), "{made}");
    for ((name, status), result) in all
        .iter()
        .zip(&statuses)
        .zip(done["results"].as_array().unwrap())
    {
        let expected = if *status < 300 { 4 } else { 3 };
        assert_eq!(cluster.count("web", name), Some(expected), "{result}");
        if *status >= 300 {
            assert_eq!(*status, 503);
            assert!(
                result["error"].as_str().unwrap().contains("shutting down"),
                "{result}"
            );
        }
    }
    assert_eq!(done["snapshot"]["items"].as_array().unwrap().len(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_has_set_is_restored_by_another_one_without_its_answer() {
    let cluster = SimCluster::start().await;
    let (all, body) = fill(&cluster, 60);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let key = [("idempotency-key", "incident-4711")];
    let dry = post(&serving.client, "/batches?dryRun=true", &key, &body).await;
    let dry_runs = cluster.cluster.counts().scales;
    slow(&cluster, 150);
    let client = serving.client.clone();
    let asking = tokio::spawn(async move {
        let request = client.request(Method::POST, "/batches", &[JSON, key[0]], &body);
        client.try_send(request).await
    });
    sent(&cluster, dry_runs + 20).await;
    serving.program.signal("KILL");
    assert!(asking.await.unwrap().is_err(), "no answer");
    // What was on its way has come by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.cluster.faults().clear();
    let set = || {
        all.iter()
            .filter(|name| cluster.count("web", name) == Some(4))
            .count()
    };
    assert!((12..60).contains(&set()), "{}", set());
    // Somebody has seen it and decided otherwise.
    cluster.cluster.scale("web", &all[0], 8);
    let again = Serving::with(&serving.files, cluster.kubeconfig(), &[]).await;
    again.becomes_ready().await;
    let snapshot = dry["snapshot"].to_string();
    let back = post(&again.client, "/batches/restore", &[], &snapshot).await;
    let statuses = statuses(&back);
    assert_eq!(statuses[0], 412);
    assert!(statuses[1..].iter().all(|status| *status == 200), "{back}");
    assert_eq!((set(), cluster.count("web", &all[0])), (0, Some(8)));
    assert!(
        all[1..]
            .iter()
            .all(|name| cluster.count("web", name) == Some(3))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_a_batch_has_its_lines_in_log_and_trail_with_the_requests_id() {
    let cluster = SimCluster::start().await;
    let (_, body) = fill(&cluster, 3);
    let folder = tempfile::tempdir().unwrap();
    let trail = folder.path().join("audit.log");
    let server = Setup {
        audit: AuditSettings {
            file: Some(TrailSettings::at(&trail)),
            ..AuditSettings::default()
        },
        ..Setup::new(cluster.kubeconfig())
    };
    let server = server.healthy().await;
    let headers = [("x-request-id", "incident-7"), ("x-reason", "more traffic")];
    post(&server.client, "/batches", &headers, &body).await;
    let refused = [JSON, ("x-request-id", "refused-1")];
    let refused = server
        .client
        .send(Method::POST, "/batches", &refused, "{}")
        .await;
    assert_eq!(refused.status, 400);
    server.shut_down().await;
    let text = std::fs::read_to_string(&trail).unwrap();
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |id: &str, event: &str| -> Vec<String> {
        let fits = |one: &&Value| one["request_id"] == id && one["event"] == event;
        let name = |one: &Value| one["name"].as_str().unwrap_or("").to_owned();
        let mut all: Vec<_> = records.iter().filter(fits).map(name).collect();
        all.sort();
        all
    };
    for event in ["scale.requested", "scale.applied"] {
        assert_eq!(of("incident-7", event), ["s000", "s001", "s002"], "{event}");
    }
    assert_eq!(of("refused-1", "batch.refused"), [""]);
    let applied = records
        .iter()
        .find(|one| one["event"] == "scale.applied")
        .unwrap();
    assert_eq!(
        (&applied["reason"], &applied["from"], &applied["to"]),
        (&"more traffic".into(), &3.into(), &4.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_all_are_taken_in_one_call_and_end_with_what_restores_them() {
    let cluster = SimCluster::start().await;
    let (all, _) = fill(&cluster, 12);
    cluster.create("headcount", "headcount", 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leases.yaml");
    let settings =
        "apiVersion: headcount/v1alpha1\nkind: Configuration\nleases: {namespace: headcount}\n";
    std::fs::write(&file, settings).unwrap();
    let flag = format!("--config={}", file.display());
    let serving = Serving::healthy(cluster.kubeconfig(), &[&flag]).await;
    let client = &serving.client;
    let item = |name: &String| json!({"namespace": "web", "name": name, "replicaCount": 5});
    let items: Vec<_> = all.iter().map(item).collect();
    let for_long = |seconds| json!({"items": items, "durationSeconds": seconds}).to_string();
    let known = async || {
        client
            .get("/leases")
            .await
            .json()
            .as_array()
            .map_or(0, Vec::len)
    };
    eventually(Duration::from_secs(20), "leases are known", async || {
        client.get("/leases").await.status == 200
    })
    .await;
    let dry = post(client, "/batches?dryRun=true", &[], &for_long(3600)).await;
    assert_eq!((statuses(&dry), known().await), (vec![200; 12], 0));
    for wrong in [0, 9, 100_000_000] {
        let answer = client
            .send(Method::POST, "/batches", &[JSON], &for_long(wrong))
            .await;
        assert_eq!(answer.status, 422, "{}", answer.text());
    }
    let done = post(client, "/batches", &[], &for_long(3600)).await;
    assert_eq!(
        (statuses(&done), known().await),
        (vec![200; 12], 12),
        "{done}"
    );
    assert!(done["results"][0]["until"].as_str().unwrap().ends_with('Z'));
    assert!(all.iter().all(|name| cluster.count("web", name) == Some(5)));
    // Somebody takes one over, and all others are brought back.
    cluster.cluster.scale("web", &all[0], 8);
    eventually(Duration::from_secs(10), "it is seen", async || {
        client.count("web", &all[0]).await == Ok(8)
    })
    .await;
    let back = post(
        client,
        "/batches/restore",
        &[],
        &done["snapshot"].to_string(),
    )
    .await;
    assert_eq!(statuses(&back), [&[412][..], &[200; 11]].concat(), "{back}");
    let ended = &back["results"][1]["leaseBefore"];
    assert_eq!(
        (&ended["holder"], &ended["replicaCount"]),
        (&json!("alice"), &json!(5))
    );
    assert!(
        all[1..]
            .iter()
            .all(|name| cluster.count("web", name) == Some(3))
    );
    eventually(Duration::from_secs(60), "no lease is left", async || {
        known().await == 0
    })
    .await;
    assert!(
        all[1..]
            .iter()
            .all(|name| cluster.count("web", name) == Some(3))
    );
    // What was leased is a count like others once it is brought back.
    for query in ["?dryRun=true", ""] {
        let path = format!("/batches/restore{query}");
        let undone = post(client, &path, &[], &back["snapshot"].to_string()).await;
        assert_eq!(statuses(&undone), vec![200; 11], "{undone}");
        let told = undone["results"][0]["warnings"][0].to_string();
        let until = back["snapshot"]["items"][0]["leasedUntil"]
            .as_str()
            .unwrap();
        assert!(told.contains(until) && told.contains("stay"), "{told}");
        assert_eq!(known().await, 0);
    }
    // One whose count is there already is left as it is, its lease too, and nothing else is said of it.
    let one = json!({"items": [{"namespace": "web", "name": all[1], "replicaCount": 9}]});
    let set = post(client, "/batches", &[], &one.to_string()).await;
    assert_eq!(statuses(&set), [200], "{set}");
    let path = format!("/namespaces/web/deployments/{}/lease", all[1]);
    let lease = r#"{"replicaCount":5,"durationSeconds":3600}"#;
    let leased = client.send(Method::PUT, &path, &[JSON], lease).await;
    assert_eq!(leased.status, 200, "{}", leased.text());
    for query in ["?dryRun=true", ""] {
        let restore = format!("/batches/restore{query}");
        let back = post(client, &restore, &[], &set["snapshot"].to_string()).await;
        assert_eq!(back["results"][0]["changed"], false, "{back}");
        for told in ["warnings", "leaseBefore"] {
            assert!(back["results"][0].get(told).is_none(), "{back}");
        }
        assert_eq!(client.get(&path).await.status, 200);
    }
}
