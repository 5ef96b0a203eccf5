//! What becomes of each of a batch, whatever becomes of the others.

use std::time::Duration;

use headcount::{
    access::{Rules, WriteRules},
    limits::Limits,
};
use http::Method;
use serde_json::{Value, json};
use simkube::{Fault, NewDeployment, On, Rule};
use tokio::time::sleep;

use super::{JSON, answered, batch, cluster, count, counts, names, post, serving, statuses};
use crate::support::InProcess;

#[tokio::test(start_paused = true)]
async fn each_is_set_and_told_of_in_the_order_of_the_request() {
    let server = serving(&["a", "b", "c"]).await;
    let done = batch(&server, &[("c", 7), ("a", 3), ("b", 0)]).await;
    assert_eq!(statuses(&done), [200, 200, 200]);
    let version = |at: usize| done["results"][at]["resourceVersion"].clone();
    assert_eq!(
        done["results"],
        json!([
            {"namespace": "web", "name": "c", "status": 200, "replicaCount": 7, "previousReplicaCount": 3, "changed": true, "resourceVersion": version(0)},
            {"namespace": "web", "name": "a", "status": 200, "replicaCount": 3, "previousReplicaCount": 3, "changed": false, "resourceVersion": version(1)},
            {"namespace": "web", "name": "b", "status": 200, "replicaCount": 0, "previousReplicaCount": 3, "changed": true, "resourceVersion": version(2)},
        ])
    );
    assert_eq!(
        (&done["succeeded"], &done["failed"]),
        (&3.into(), &0.into())
    );
    // Read at once, as written.
    for (name, now) in [("c", 7), ("a", 3), ("b", 0)] {
        assert_eq!(
            (server.count("web", name), count(&server, name)),
            (Some(now), now)
        );
    }
    // What was changed, and only that, as it was.
    let snapshot = &done["snapshot"];
    assert!(snapshot["takenAt"].as_str().unwrap().ends_with('Z'));
    let items = snapshot["items"].as_array().unwrap();
    let short = |one: &Value| {
        let number = |key: &str| one[key].as_i64().unwrap();
        (
            one["name"].as_str().unwrap().to_owned(),
            number("replicaCount"),
            number("setTo"),
        )
    };
    let short: Vec<_> = items.iter().map(short).collect();
    assert_eq!(short, [("c".into(), 3, 7), ("b".into(), 3, 0)]);
    for item in items {
        let name = item["name"].as_str().unwrap();
        assert_eq!(
            item["uid"],
            server.cluster.deployment("web", name).unwrap().uid
        );
        assert_eq!(item["mark"].as_str().unwrap().len(), 16);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_the_others_alone() {
    let all = ["fine", "bounded", "going", "hooked", "lost", "also-fine"];
    let cluster = cluster(&all);
    cluster.set_annotations("web", "bounded", &[("headcount/max-replicas", "5")]);
    let gone = NewDeployment::new("web", "deleted")
        .replicas(3)
        .finalizer("x/y");
    cluster.create(gone).unwrap();
    cluster.delete("web", "deleted").unwrap();
    let server = InProcess::synced(&cluster).await;
    sleep(Duration::from_millis(10)).await;
    let rules = Rules {
        writes: WriteRules {
            max_replicas: 100,
            ..WriteRules::default()
        },
        ..Rules::default()
    };
    let alice = server.session_of("alice", rules, &Limits::default());
    let wanted = counts(&[
        ("fine", 4),
        ("bounded", 6),
        ("missing", 4),
        ("deleted", 4),
        ("going", 101),
        ("also-fine", 4),
    ]);
    let sent = server.sending_as(&alice, Method::POST, "/batches", &[JSON], &wanted);
    let done = answered(sent.await);
    assert_eq!(statuses(&done), [200, 422, 404, 409, 422, 200]);
    assert_eq!(
        (&done["succeeded"], &done["failed"]),
        (&2.into(), &4.into())
    );
    for at in [1, 2, 3, 4] {
        let error = done["results"][at]["error"].as_str().unwrap();
        assert!(
            error.len() > 20 && done["results"][at].get("replicaCount").is_none(),
            "{error}"
        );
    }
    assert_eq!(done["snapshot"]["items"].as_array().unwrap().len(), 2);
    assert_eq!((count(&server, "bounded"), count(&server, "going")), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_says_to_one_is_told_of_that_one_in_a_sentence_of_bounded_length() {
    let all = names(4);
    let server = serving(&all).await;
    let words = "x".repeat(100_000);
    let hook = Fault::Webhook {
        name: "policy.example".into(),
        message: words,
        code: 403,
    };
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, hook).times(1));
    let busy = Fault::retry_after(503, 7);
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, busy).times(1));
    let wanted: Vec<_> = all.iter().map(|name| (name, 4)).collect();
    let done = batch(&server, &wanted).await;
    assert_eq!(statuses(&done), [422, 503, 200, 200]);
    let error = done["results"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("policy.example") && error.len() < 600,
        "{}",
        error.len()
    );
    assert_eq!(done["results"][1]["retryAfter"], 7);
}

#[tokio::test(start_paused = true)]
async fn one_of_which_nothing_is_known_is_504_and_in_the_snapshot() {
    let server = serving(&["a", "b"]).await;
    let lost = Fault::after_commit(Fault::Hang);
    let rule = server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, lost).times(1));
    // Neither is it known by reading again.
    server
        .cluster
        .faults()
        .add(Rule::new(On::Get, Fault::Refuse));
    let done = batch(&server, &[("a", 9), ("b", 4)]).await;
    assert_eq!(server.cluster.faults().fired(rule), 1);
    assert_eq!(statuses(&done), [504, 200]);
    let items = done["snapshot"]["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let lost = (
        &items[0]["name"],
        &items[0]["replicaCount"],
        &items[0]["setTo"],
    );
    assert_eq!(lost, (&"a".into(), &3.into(), &9.into()));
    server.cluster.faults().clear();
    sleep(Duration::from_secs(2)).await;
    let back = super::restore(&server, &done["snapshot"]).await;
    assert_eq!(statuses(&back), [200, 200]);
    assert_eq!((count(&server, "a"), count(&server, "b")), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_judged_anew_and_the_snapshot_has_what_was_there_last() {
    let server = serving(&["a"]).await;
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_millis(50))).times(1);
    server.cluster.faults().add(slow);
    let body = counts(&[("a", 9)]);
    let sent = tokio::spawn(server.sending(Method::POST, "/batches", &[JSON], &body));
    sleep(Duration::from_millis(20)).await;
    server.cluster.scale("web", "a", 5).unwrap();
    let done = answered(sent.await.unwrap());
    assert_eq!(done["results"][0]["previousReplicaCount"], 5);
    assert_eq!(done["snapshot"]["items"][0]["replicaCount"], 5);
    assert_eq!(count(&server, "a"), 9);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_the_real_one_would_and_changes_nothing() {
    let server = serving(&["a", "b"]).await;
    let body = counts(&[("a", 9), ("none", 1), ("b", 3)]);
    let answer = post(&server, "/batches?dryRun=true", &body).await;
    assert_eq!(answer.header("x-dry-run"), "true");
    let done = answered(answer);
    assert_eq!(statuses(&done), [200, 404, 200]);
    assert_eq!(
        (&done["dryRun"], done.get("snapshot")),
        (&true.into(), None)
    );
    assert_eq!(
        (
            &done["results"][0]["replicaCount"],
            &done["results"][0]["changed"]
        ),
        (&9.into(), &true.into())
    );
    assert_eq!((count(&server, "a"), count(&server, "b")), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_defect_that_one_meets_costs_that_one() {
    let server = serving(&["a", "b", "c"]).await;
    server.panic_on(|sent| sent.uri.path().ends_with("/b/scale"));
    let done = batch(&server, &[("a", 4), ("b", 4), ("c", 4)]).await;
    assert_eq!(statuses(&done), [200, 500, 200]);
    // It may have been sent.
    assert_eq!(done["snapshot"]["items"].as_array().unwrap().len(), 3);
}
