//! How fast a batch is made: some at once, no faster than its caller may write, and within a time.

use std::{sync::Arc, time::Duration};

use headcount::{access::Rules, limits::Limits};
use http::Method;
use serde_json::Value;
use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{JSON, answered, batch, count, counts, names, post, serving, statuses};
use crate::support::{Answer, InProcess};

async fn limited(count: usize, yaml: &str) -> (InProcess, Vec<(String, i32)>) {
    let all = names(count);
    let mut server = serving(&all).await;
    let limits: Limits = serde_saphyr::from_str(yaml).unwrap();
    server.limited(&limits);
    (server, all.into_iter().map(|name| (name, 4)).collect())
}

/// The answer to somebody by whose limits the server goes.
async fn by(server: &InProcess, yaml: &str, path: &str, body: &str) -> Answer {
    let limits: Limits = serde_saphyr::from_str(yaml).unwrap();
    server.go_by(&limits);
    let rules = Rules {
        limits: Arc::new(limits.clone()),
        ..Rules::default()
    };
    let session = server.session_of("bob", rules, &limits);
    let sent = server.sending_as(&session, Method::POST, path, &[JSON], body);
    sent.await
}

fn tally(done: &Value, status: u64) -> usize {
    statuses(done).iter().filter(|one| **one == status).count()
}

#[tokio::test(start_paused = true)]
async fn each_counts_as_a_write_and_is_waited_for() {
    let (server, wanted) = limited(10, "rates: {writes: {perSecond: 1, burst: 4}}").await;
    let start = Instant::now();
    let done = batch(&server, &wanted).await;
    assert_eq!(tally(&done, 200), 10);
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(5900)..Duration::from_millis(6500)).contains(&took),
        "{took:?}"
    );
    let next = server.put("web", "s000", 5, &[]).await;
    assert_eq!(next.status, 429, "all of its rate was used");
}

#[tokio::test(start_paused = true)]
async fn what_the_rate_has_no_time_for_is_429_and_says_when() {
    let (server, wanted) = limited(30, "rates: {writes: {perSecond: 1, burst: 1}}").await;
    let start = Instant::now();
    let done = batch(&server, &wanted).await;
    assert!(
        start.elapsed() <= Duration::from_secs(21),
        "{:?}",
        start.elapsed()
    );
    // The first one at once, and one a second from then on.
    assert_eq!((tally(&done, 200), tally(&done, 429)), (21, 9));
    assert_eq!(statuses(&done)[..21], [200; 21], "the first ones");
    let refused = &done["results"][29];
    assert_eq!(refused["retryAfter"], 1);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("limits.rates.writes")
    );
    assert_eq!(count(&server, "s029"), 3);
    assert_eq!(done["snapshot"]["items"].as_array().unwrap().len(), 21);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_too_early_is_refused_whole() {
    let (server, wanted) = limited(2, "rates: {writes: {perSecond: 0.1, burst: 1}}").await;
    assert_eq!(server.put("web", "s000", 5, &[]).await.status, 200);
    let answer = post(&server, "/batches", &counts(&wanted)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "10")
    );
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_pods_is_that_of_all_together_and_a_dry_run_says_so() {
    let (server, wanted) = limited(6, "rates: {podsPerMinute: 4}").await;
    let body = counts(&wanted);
    for _ in 0..2 {
        let dry = answered(post(&server, "/batches?dryRun=true", &body).await);
        assert_eq!(statuses(&dry), [200, 200, 200, 200, 429, 429]);
        let wait = dry["results"][5]["retryAfter"].as_u64().unwrap();
        assert!((59..=61).contains(&wait), "{wait}");
    }
    let done = batch(&server, &wanted).await;
    assert_eq!((tally(&done, 200), tally(&done, 429)), (4, 2));
    let large = batch(&server, &[("s005", 9)]).await;
    assert_eq!(statuses(&large), [422], "it never fits");
    sleep(Duration::from_secs(62)).await;
    assert_eq!(tally(&batch(&server, &wanted).await, 200), 6, "the rest");
}

#[tokio::test(start_paused = true)]
async fn in_a_dry_run_what_fails_leaves_room_for_the_others() {
    let (server, wanted) = limited(5, "rates: {podsPerMinute: 4}").await;
    let hook = Fault::Webhook {
        name: "w".into(),
        message: "no".into(),
        code: 403,
    };
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, hook).times(1));
    // One after the other, so that what the first gives back is there in time.
    let one = "{rates: {podsPerMinute: 4}, writesAtOnce: 1}";
    let dry = by(&server, one, "/batches?dryRun=true", &counts(&wanted)).await;
    assert_eq!(statuses(&answered(dry)), [422, 200, 200, 200, 200]);
}

#[tokio::test(start_paused = true)]
async fn eight_are_made_at_once_or_as_many_as_one_caller_may() {
    for (yaml, at_once) in [("{}", 8), ("writesAtOnce: 12", 3), ("writesAtOnce: 1", 1)] {
        let (server, wanted) = limited(24, "{}").await;
        // Whoever stood in line for its own turns would be sent away after 5 s.
        let slow = Fault::Delay(Duration::from_millis(800));
        server.cluster.faults().add(Rule::new(On::Scale, slow));
        let start = Instant::now();
        let done = answered(by(&server, yaml, "/batches", &counts(&wanted)).await);
        assert_eq!(tally(&done, 200), 24, "{yaml}: {done}");
        let rounds = start.elapsed().as_millis() / 800;
        assert_eq!(rounds, 24 / at_once, "{yaml}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_answers_too_slowly_for_all_has_the_rest_refused_in_time() {
    let (server, wanted) = limited(250, "{}").await;
    let slow = Fault::Delay(Duration::from_millis(1500));
    server.cluster.faults().add(Rule::new(On::Scale, slow));
    let start = Instant::now();
    let done = batch(&server, &wanted).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(24), "{took:?}");
    let made = tally(&done, 200);
    assert_eq!(made + tally(&done, 503), 250);
    assert!((100..=120).contains(&made), "{made}");
    let refused = &done["results"][249];
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("it wasn't changed"),
        "{refused}"
    );
    assert!(refused["retryAfter"].is_u64());
    assert_eq!(done["snapshot"]["items"].as_array().unwrap().len(), made);
    assert_eq!(count(&server, "s249"), 3);
}

#[tokio::test(start_paused = true)]
async fn while_a_callers_batch_waits_others_are_served() {
    let (server, wanted) = limited(30, "rates: {writes: {perSecond: 1, burst: 1}}").await;
    let body = counts(&wanted);
    let waiting = tokio::spawn(server.sending(Method::POST, "/batches", &[JSON], &body));
    sleep(Duration::from_secs(2)).await;
    let bob = server.somebody("bob");
    let start = Instant::now();
    let path = "/namespaces/web/deployments/s029/replicas";
    let sent = server.sending_as(&bob, Method::PUT, path, &[JSON], r#"{"replicaCount":7}"#);
    assert_eq!(sent.await.status, 200);
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(
        answered(waiting.await.unwrap())["results"]
            .as_array()
            .unwrap()
            .len(),
        30
    );
}
