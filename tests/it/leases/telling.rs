//! Who tells of the end of a lease: whoever finds that somebody else's count has ended it, and the answer of whoever ends or renews it.

use std::sync::Arc;

use headcount::{
    access::{Authorization, Rules, Verb},
    generation::Session,
    limits::Limits,
};
use simkube::{Fault, On, Rule};

use super::*;
use crate::support::lines::Captured;

#[tokio::test(start_paused = true)]
async fn a_lease_taken_in_place_of_one_that_was_overtaken_tells_of_its_end() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let captured = Captured::start();
    take(&server, 10, HOUR).await;
    cluster.scale_by("web", "shop", 5, ("kubectl", "scale"));
    server.converges(Duration::from_secs(5)).await;
    let taken = take(&server, 8, HOUR).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    assert_eq!(taken.json()["lease"]["previousReplicaCount"], 5);
    let told = captured.all("lease.overtaken");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].text("by"), objects(&cluster).len()),
        ("kubectl", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_in_place_of_one_whose_count_is_back_already_tells_of_its_return() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let captured = Captured::start();
    take(&server, 10, HOUR).await;
    // Whoever brings it back dies before the object is deleted.
    let dying = super::server(&cluster, &clock).await;
    sleep(Duration::from_secs(1)).await;
    let kept = Rule::new(On::LeaseWrite, Fault::status(503)).after(1);
    let kept = cluster.faults().add(kept);
    pass(&clock, HOUR).await;
    sleep(Duration::from_secs(1)).await;
    drop(dying);
    cluster.faults().remove(kept);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 1));
    server.converges(Duration::from_secs(5)).await;
    let taken = take(&server, 8, HOUR).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    assert_eq!(captured.all("lease.reverted").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_a_lease_that_was_overtaken_is_told_so_and_has_not_ended_it() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let captured = Captured::start();
    take(&server, 10, HOUR).await;
    cluster.scale_by("web", "shop", 5, ("kubectl", "scale"));
    let ended = cancel(&server, "").await;
    assert_eq!(ended.status, 200, "{:?}", ended.body);
    let body = ended.json();
    assert_eq!(
        (&body["reverted"], &body["replicaCount"]),
        (&json!(false), &json!(5))
    );
    assert_eq!(captured.all("lease.overtaken").len(), 1);
    assert_eq!(objects(&cluster).len(), 0);
}

/// What the answer to a write of `web/shop` tells of the lease before: its holder and the counts, its own and the one it went back to.
async fn before(
    server: &InProcess,
    session: &Arc<Session>,
    (method, path, body): (Method, &str, Value),
) -> Option<(String, i64, i64)> {
    let headers = [JSON, REPRESENTATION, ("idempotency-key", "once")];
    let body = body.to_string();
    let written = server.sending_as(session, method, path, &headers, &body);
    let written = written.await;
    assert_eq!(written.status, 200, "{:?}", written.body);
    let told = written.json();
    let told = match &told["results"] {
        Value::Array(results) => results[0]["leaseBefore"].clone(),
        _ => told["leaseBefore"].clone(),
    };
    let number = |field: &str| told[field].as_i64();
    let counts = (number("replicaCount")?, number("previousReplicaCount")?);
    Some((told["holder"].as_str()?.to_owned(), counts.0, counts.1))
}

#[tokio::test(start_paused = true)]
async fn a_write_tells_of_the_lease_that_it_ends_or_renews_and_of_no_other() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let bob = server.somebody("bob");
    let item = json!({"namespace": "web", "name": "shop", "replicaCount": 12});
    let leased = json!({"replicaCount": 12, "durationSeconds": HOUR});
    let writes = [
        (Method::PUT, REPLICAS, json!({"replicaCount": 12})),
        (Method::PUT, REPLICAS, json!({"replicaCount": 10})),
        (Method::PATCH, REPLICAS, json!({"delta": 2})),
        (Method::PUT, LEASE, leased),
        (Method::POST, "/batches", json!({"items": [item.clone()]})),
        (
            Method::POST,
            "/batches",
            json!({"items": [item], "durationSeconds": HOUR}),
        ),
    ];
    let there = Some(("alice".to_owned(), 10, 3));
    for (method, path, body) in writes {
        server.put("web", "shop", 3, &[]).await;
        let write = (method.clone(), path, body.clone());
        if method != Method::PATCH {
            assert_eq!(before(&server, &bob, write.clone()).await, None, "{path}");
            server.put("web", "shop", 3, &[]).await;
        }
        take(&server, 10, HOUR).await;
        let tried = format!("{path}?dryRun=true");
        let tried = before(&server, &bob, (method, &tried, body));
        assert_eq!(tried.await, there, "{path}");
        assert_eq!(before(&server, &bob, write.clone()).await, there, "{path}");
        if path == REPLICAS {
            // It is over now, also for whoever sends the same step once more.
            assert_eq!(before(&server, &bob, write).await, None, "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_over_or_goes_on_is_ended_by_no_write() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let bob = server.somebody("bob");
    let to = |count: i32| (Method::PUT, REPLICAS, json!({ "replicaCount": count }));
    // Its count stays, and is what it goes back to.
    take(&server, 3, HOUR).await;
    assert_eq!(before(&server, &bob, to(3)).await, None);
    assert_eq!(read(&server).await.status, 200);
    take(&server, 10, HOUR).await;
    // Somebody else's count has ended it, which nobody has noticed yet.
    cluster.scale_by("web", "shop", 5, ("kubectl", "scale"));
    server.converges(Duration::from_secs(5)).await;
    assert_eq!(before(&server, &bob, to(6)).await, None);
    // Nor is it that of another Deployment by this name, which has its count.
    take(&server, 10, HOUR).await;
    cluster.delete("web", "shop").unwrap();
    let again = NewDeployment::new("web", "shop").replicas(10);
    cluster.create(again).unwrap();
    server.converges(Duration::from_secs(5)).await;
    assert_eq!(before(&server, &bob, to(12)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_repeated_ends_no_lease_that_began_after_it() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let bob = server.somebody("bob");
    let step = (Method::PATCH, REPLICAS, json!({"delta": 2}));
    assert_eq!(before(&server, &bob, step.clone()).await, None);
    // Of the very count that the step was made from.
    take(&server, 3, HOUR).await;
    assert_eq!(before(&server, &bob, step).await, None);
    assert_eq!(read(&server).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_a_deployment_is_not_told_whose_lease_a_write_ends_and_why_it_was_there() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let scaling = Rules {
        authorization: Authorization::Any([Verb::Scale].into_iter().collect()),
        ..Rules::default()
    };
    let bob = server.session_of("bob", scaling, &Limits::default());
    let body = json!({"replicaCount": 10, "durationSeconds": HOUR}).to_string();
    let headers = [JSON, ("x-reason", "a secret sale")];
    server.send(Method::PUT, LEASE, &headers, &body).await;
    let body = r#"{"replicaCount":12}"#;
    let written = server.sending_as(&bob, Method::PUT, REPLICAS, &[JSON, REPRESENTATION], body);
    let written = written.await;
    let told = &written.json()["leaseBefore"];
    assert_eq!(
        (&told["holder"], &told["replicaCount"]),
        (&json!(""), &json!(10))
    );
    assert!(!written.text().contains("secret"), "{}", written.text());
}
