//! What was is brought back, and what others have changed since is left alone.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use proptest::prelude::*;
use serde_json::{Value, json};
use simkube::{Fault, NewDeployment, On, Rule};
use tokio::time::sleep;

use super::{JSON, answered, batch, count, counts, names, post, restore, serving, statuses};
use crate::support::InProcess;

/// Time for a reading to be of no use any more, and for events to come.
const LATER: Duration = Duration::from_millis(1100);

/// Sets a count as `kubectl scale` does.
async fn kubectl(server: &InProcess, name: &str, count: i32) {
    let client = kube::Client::new(server.cluster.service(), "default");
    let deployments = kube::Api::<Deployment>::namespaced(client, "web");
    let patch = Patch::Merge(json!({"spec": {"replicas": count}}));
    let by = PatchParams {
        field_manager: Some("kubectl".into()),
        ..PatchParams::default()
    };
    deployments.patch_scale(name, &by, &patch).await.unwrap();
}

async fn bob(server: &InProcess, name: &str, count: i32) {
    let path = format!("/namespaces/web/deployments/{name}/replicas");
    let body = format!(r#"{{"replicaCount":{count}}}"#);
    let session = server.somebody("bob");
    let sent = server.sending_as(&session, Method::PUT, &path, &[JSON], &body);
    assert_eq!(sent.await.status, 200);
}

fn error(answer: &Value, at: usize) -> &str {
    answer["results"][at]["error"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_is_brought_back() {
    let server = serving(&["a", "b", "c"]).await;
    let done = batch(&server, &[("a", 9), ("b", 0), ("c", 3)]).await;
    let back = restore(&server, &done["snapshot"]).await;
    assert_eq!(statuses(&back), [200, 200], "c was as it is");
    let first = &back["results"][0];
    assert_eq!(
        (
            &first["name"],
            &first["replicaCount"],
            &first["previousReplicaCount"],
            &first["changed"]
        ),
        (&"a".into(), &3.into(), &9.into(), &true.into())
    );
    assert_eq!((count(&server, "a"), count(&server, "b")), (3, 3));
    assert_eq!(server.count("web", "b"), Some(3), "read at once");
}

#[tokio::test(start_paused = true)]
async fn what_others_have_changed_since_is_left_alone_whoever_they_are() {
    let all = [
        "ours", "bobs", "kubectls", "nobodys", "back", "again", "gone", "new",
    ];
    let server = serving(&all).await;
    let wanted: Vec<_> = all.iter().map(|name| (*name, 10)).collect();
    let done = batch(&server, &wanted).await;
    bob(&server, "bobs", 7).await;
    kubectl(&server, "kubectls", 7).await;
    server.cluster.scale("web", "nobodys", 7).unwrap();
    // Away and back: the same count, and another's.
    kubectl(&server, "back", 7).await;
    kubectl(&server, "back", 10).await;
    // Another batch of the same caller is another one.
    batch(&server, &[("again", 8)]).await;
    batch(&server, &[("again", 10)]).await;
    for name in ["gone", "new"] {
        server.cluster.delete("web", name).unwrap();
    }
    let new = NewDeployment::new("web", "new").replicas(10);
    server.cluster.create(new).unwrap();
    sleep(LATER).await;
    let sent = server.cluster.counts().scales;
    let back = restore(&server, &done["snapshot"]).await;
    assert_eq!(statuses(&back), [200, 412, 412, 412, 412, 412, 404, 412]);
    for (at, words) in [
        (
            1,
            "changed since, from 10 to 7 replicas, by \"bob\": left as it is",
        ),
        (
            2,
            "changed since, from 10 to 7 replicas, by \"kubectl\": left as it is",
        ),
        (3, "changed since, from 10 to 7 replicas: left as it is"),
        (
            4,
            "set again since, to the same 10 replicas, by \"kubectl\": left as it is",
        ),
        (
            5,
            "set again since, to the same 10 replicas, by \"alice\": left as it is",
        ),
        (
            7,
            "another one than that of the snapshot: left as it is",
        ),
    ] {
        assert!(error(&back, at).ends_with(words), "{}", error(&back, at));
    }
    assert_eq!(
        server.cluster.counts().scales,
        sent + 1,
        "nothing else was sent"
    );
    assert_eq!(
        (&back["succeeded"], &back["failed"]),
        (&1.into(), &7.into())
    );
    let items = back["snapshot"]["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["name"]), (1, &"ours".into()));
}

#[tokio::test(start_paused = true)]
async fn who_sets_what_is_there_already_has_changed_nothing() {
    let server = serving(&["a", "b"]).await;
    let done = batch(&server, &[("a", 10), ("b", 10)]).await;
    bob(&server, "a", 10).await;
    kubectl(&server, "b", 10).await;
    sleep(LATER).await;
    assert_eq!(
        statuses(&restore(&server, &done["snapshot"]).await),
        [200, 200]
    );
    assert_eq!((count(&server, "a"), count(&server, "b")), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_anything_else_does_not_keep_a_count_from_being_restored() {
    let server = serving(&["a"]).await;
    let done = batch(&server, &[("a", 10)]).await;
    server.cluster.set_labels("web", "a", &[("x", "y")]);
    server.cluster.touch_status("web", "a").unwrap();
    sleep(LATER).await;
    assert_eq!(statuses(&restore(&server, &done["snapshot"]).await), [200]);
    assert_eq!(count(&server, "a"), 3);
}

#[tokio::test(start_paused = true)]
async fn twice_does_no_harm_and_says_that_nothing_was_to_be_done() {
    let server = serving(&["a", "b"]).await;
    let done = batch(&server, &[("a", 10), ("b", 10)]).await;
    restore(&server, &done["snapshot"]).await;
    let (sent, version) = (
        server.cluster.counts().scales,
        server.cluster.resource_version(),
    );
    let again = restore(&server, &done["snapshot"]).await;
    assert_eq!(statuses(&again), [200, 200]);
    assert_eq!(again["results"][0]["changed"], false);
    assert_eq!(again["snapshot"]["items"], json!([]));
    assert_eq!(server.cluster.counts().scales, sent);
    assert_eq!(server.cluster.resource_version(), version);
    // Somebody decides otherwise: that stays too.
    bob(&server, "a", 10).await;
    sleep(LATER).await;
    let late = restore(&server, &done["snapshot"]).await;
    assert_eq!((statuses(&late), count(&server, "a")), (vec![412, 200], 10));
}

#[tokio::test(start_paused = true)]
async fn a_restoration_is_undone_by_its_own_snapshot_and_that_again() {
    let server = serving(&["a"]).await;
    let mut snapshot = batch(&server, &[("a", 10)]).await["snapshot"].clone();
    for now in [3, 10, 3, 10] {
        let back = restore(&server, &snapshot).await;
        assert_eq!((statuses(&back), count(&server, "a")), (vec![200], now));
        snapshot = back["snapshot"].clone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_be_left_alone() {
    let server = serving(&["a", "b"]).await;
    let done = batch(&server, &[("a", 10), ("b", 10)]).await;
    bob(&server, "b", 7).await;
    sleep(LATER).await;
    let body = done["snapshot"].to_string();
    let dry = answered(post(&server, "/batches/restore?dryRun=true", &body).await);
    assert_eq!(statuses(&dry), [200, 412]);
    assert_eq!(
        (&dry["results"][0]["replicaCount"], dry.get("snapshot")),
        (&3.into(), None)
    );
    assert_eq!((count(&server, "a"), count(&server, "b")), (10, 7));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_is_faster_than_the_restoration_wins() {
    let server = serving(&["a"]).await;
    let done = batch(&server, &[("a", 10)]).await;
    sleep(LATER).await;
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_millis(50))).times(1);
    server.cluster.faults().add(slow);
    let body = done["snapshot"].to_string();
    let sent = tokio::spawn(server.sending(Method::POST, "/batches/restore", &[JSON], &body));
    sleep(Duration::from_millis(20)).await;
    kubectl(&server, "a", 7).await;
    let back = answered(sent.await.unwrap());
    assert_eq!((statuses(&back), count(&server, "a")), (vec![412], 7));
}

#[tokio::test(start_paused = true)]
async fn a_busy_deployment_is_restored_too() {
    let server = serving(&["a"]).await;
    let done = batch(&server, &[("a", 10)]).await;
    sleep(LATER).await;
    let busy = server.cluster.clone();
    let noise = tokio::spawn(async move {
        loop {
            busy.touch_status("web", "a");
            sleep(Duration::from_millis(30)).await;
        }
    });
    let back = restore(&server, &done["snapshot"]).await;
    noise.abort();
    assert_eq!((statuses(&back), count(&server, "a")), (vec![200], 3));
}

#[tokio::test(start_paused = true)]
async fn bounds_hold_for_what_is_brought_back() {
    let server = serving(&["a"]).await;
    let done = batch(&server, &[("a", 10)]).await;
    server
        .cluster
        .set_annotations("web", "a", &[("headcount/min-replicas", "5")]);
    sleep(LATER).await;
    let back = restore(&server, &done["snapshot"]).await;
    assert_eq!((statuses(&back), count(&server, "a")), (vec![422], 10));
}

#[tokio::test(start_paused = true)]
async fn a_restoration_without_an_answer_is_504_and_known_when_it_is_sent_again() {
    let server = serving(&["a"]).await;
    let done = batch(&server, &[("a", 10)]).await;
    let lost = Rule::new(On::Scale, Fault::after_commit(Fault::status(504))).times(2);
    server.cluster.faults().add(lost);
    assert_eq!(statuses(&restore(&server, &done["snapshot"]).await), [504]);
    sleep(LATER).await;
    let again = restore(&server, &done["snapshot"]).await;
    assert_eq!((statuses(&again), count(&server, "a")), (vec![200], 3));
}

#[tokio::test(start_paused = true)]
async fn with_a_key_the_snapshot_of_the_dry_run_is_that_of_the_batch() {
    let server = serving(&["a", "b"]).await;
    let (key, body) = (
        ("idempotency-key", "incident-7"),
        counts(&[("a", 10), ("b", 10)]),
    );
    let send = async |path: &str, key, body: &str| {
        answered(server.send(Method::POST, path, &[JSON, key], body).await)
    };
    let dry = send("/batches?dryRun=true", key, &body).await;
    let done = send("/batches", key, &body).await;
    assert_eq!(dry["snapshot"]["items"], done["snapshot"]["items"]);
    // Sent again it changes nothing, and the first snapshot still holds.
    let again = send("/batches", key, &body).await;
    assert_eq!(again["snapshot"]["items"], json!([]));
    // Other keys, and other counts, have other marks.
    for (key, body) in [
        (("idempotency-key", "incident-8"), body.clone()),
        (key, counts(&[("a", 11), ("b", 11)])),
    ] {
        restore(&server, &dry["snapshot"]).await;
        let other = send("/batches?dryRun=true", key, &body).await;
        assert_ne!(
            other["snapshot"]["items"][0]["mark"],
            dry["snapshot"]["items"][0]["mark"]
        );
    }
    let bad = [JSON, ("idempotency-key", "with space")];
    let bad = server.send(Method::POST, "/batches", &bad, &body).await;
    assert_eq!(bad.status, 400);
}

/// What somebody does to a Deployment between a batch and its restoration.
#[derive(Debug, Clone)]
enum Meanwhile {
    Nothing,
    Status,
    Bob(i32),
    Kubectl(i32),
    AwayAndBack,
    Deleted,
    Recreated(i32),
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    prop_oneof![
        3 => Just(Meanwhile::Nothing),
        1 => Just(Meanwhile::Status),
        2 => (0..6).prop_map(Meanwhile::Bob),
        2 => (0..6).prop_map(Meanwhile::Kubectl),
        1 => Just(Meanwhile::AwayAndBack),
        1 => Just(Meanwhile::Deleted),
        1 => (0..6).prop_map(Meanwhile::Recreated),
    ]
}

/// Status and count after the restoration of what was `was`, `set` by the batch and met with `meanwhile`; no count: it is gone.
fn expected(was: i32, set: i32, meanwhile: &Meanwhile) -> (u64, Option<i32>) {
    match *meanwhile {
        Meanwhile::Nothing | Meanwhile::Status => (200, Some(was)),
        // Nobody has changed anything who sets what is there.
        Meanwhile::Bob(to) | Meanwhile::Kubectl(to) if to == set => (200, Some(was)),
        Meanwhile::Bob(to) | Meanwhile::Kubectl(to) if to == was => (200, Some(was)),
        Meanwhile::Bob(to) | Meanwhile::Kubectl(to) => (412, Some(to)),
        Meanwhile::AwayAndBack => (412, Some(set)),
        Meanwhile::Deleted => (404, None),
        Meanwhile::Recreated(to) => (412, Some(to)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_others_do_a_restoration_brings_back_what_is_its_own_and_nothing_else(
        all in prop::collection::vec((0..6i32, 0..6i32, meanwhile()), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let named: Vec<_> = names(all.len()).into_iter().zip(&all).collect();
            let server = serving(&names(all.len())).await;
            for (name, (was, ..)) in &named {
                server.cluster.scale("web", name, *was);
            }
            sleep(LATER).await;
            let wanted: Vec<_> = named.iter().map(|(name, (_, set, _))| (name, *set)).collect();
            let done = batch(&server, &wanted).await;
            let items = done["snapshot"]["items"].as_array().unwrap();
            let changed: Vec<_> = named.iter().filter(|(_, (was, set, _))| was != set).collect();
            prop_assert_eq!(items.len(), changed.len());
            for (name, (_, set, meanwhile)) in &named {
                match *meanwhile {
                    Meanwhile::Nothing => {}
                    Meanwhile::Status => drop(server.cluster.touch_status("web", name)),
                    Meanwhile::Bob(to) => bob(&server, name, to).await,
                    Meanwhile::Kubectl(to) => kubectl(&server, name, to).await,
                    Meanwhile::AwayAndBack => {
                        kubectl(&server, name, set + 1).await;
                        kubectl(&server, name, *set).await;
                    }
                    Meanwhile::Deleted | Meanwhile::Recreated(_) => {
                        server.cluster.delete("web", name);
                        if let Meanwhile::Recreated(to) = meanwhile {
                            server.cluster.create(NewDeployment::new("web", name.clone()).replicas(*to));
                        }
                    }
                }
            }
            sleep(LATER).await;
            let before: Vec<_> = named.iter().map(|(name, _)| server.cluster.deployment("web", name)).collect();
            let back = restore(&server, &done["snapshot"]).await;
            let mut told = statuses(&back).into_iter();
            for ((name, (was, set, meanwhile)), before) in named.iter().zip(before) {
                let now = server.cluster.deployment("web", name);
                if was == set {
                    prop_assert_eq!(now.map(|d| d.resource_version), before.map(|d| d.resource_version));
                    continue;
                }
                let found = (told.next().unwrap(), now.map(|d| d.replicas.unwrap()));
                prop_assert_eq!(found, expected(*was, *set, meanwhile), "{}: {} {} {:?}", name, was, set, meanwhile);
            }
            Ok(())
        })?;
    }
}
