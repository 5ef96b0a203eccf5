//! How often a caller may ask.

use std::time::Duration;

use headcount::access::{Authorization, Rules, Verb, Verbs};
use http::Method;
use tokio::time::advance;

use super::{JSON, SHOP, get, limited, limits, told};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_often_is_told_exactly_when_to_come_back() {
    let server = limited("rates: {reads: {perSecond: 0.1, burst: 2}}").await;
    for path in [SHOP, "/deployments"] {
        assert_eq!(get(&server, path).await.status, 200);
    }
    for _ in 0..3 {
        // Asking too early costs nothing.
        let answer = get(&server, SHOP).await;
        assert_eq!(told(&answer), (429, "10"));
        let error = answer.error();
        assert!(
            error.contains("limits.rates.reads") && error.contains("0.1 a second, 2 at once"),
            "{error}"
        );
        assert!(error.contains("come back in 10 s"), "{error}");
    }
    advance(seconds(9)).await;
    assert_eq!(told(&get(&server, SHOP).await), (429, "1"));
    advance(seconds(1)).await;
    assert_eq!(get(&server, SHOP).await.status, 200);
    assert_eq!(told(&get(&server, SHOP).await), (429, "10"));
    advance(Duration::from_millis(9_001)).await;
    assert_eq!(told(&get(&server, SHOP).await), (429, "1"), "rounded up");
    advance(Duration::from_millis(999)).await;
    assert_eq!(get(&server, SHOP).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn by_default_five_hundred_writes_come_at_once_and_fifty_a_second_and_reads_as_they_like() {
    let server = limited("{}").await;
    let write = || server.put("web", "missing", 1, &[]);
    for _ in 0..500 {
        assert_eq!(write().await.status, 404);
    }
    let refused = write().await;
    assert_eq!(told(&refused), (429, "1"));
    assert!(refused.error().contains("limits.rates.writes"));
    assert_eq!(get(&server, SHOP).await.status, 200);
    advance(seconds(1)).await;
    for _ in 0..50 {
        assert_eq!(write().await.status, 404);
    }
    assert_eq!(told(&write().await), (429, "1"));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_judged_after_the_permission_and_before_the_request() {
    let server = limited("{}").await;
    let one =
        limits("rates: {reads: {perSecond: 0.01, burst: 1}, writes: {perSecond: 0.01, burst: 1}}");
    let verbs: Verbs = [Verb::Get, Verb::Scale].into_iter().collect();
    let rules = Rules {
        authorization: Authorization::Any(verbs),
        ..Rules::default()
    };
    let bob = server.session_of("bob", rules, &one);
    let send = async |method: Method, path: &str, body: &str| {
        let answer = server.sending_as(&bob, method, path, &[], body).await;
        answer.status.as_u16()
    };
    // Neither these nor what is forbidden takes any of it.
    assert_eq!(send(Method::GET, "/nowhere", "").await, 404);
    assert_eq!(send(Method::DELETE, SHOP, "").await, 405);
    assert_eq!(send(Method::GET, "/deployments", "").await, 403);
    assert_eq!(send(Method::GET, "/health", "").await, 200);
    assert_eq!(send(Method::GET, "/whoami", "").await, 429);
    assert_eq!(send(Method::GET, "/deployments", "").await, 403);
    assert_eq!(send(Method::PUT, SHOP, "").await, 415);
    assert_eq!(send(Method::PUT, SHOP, "").await, 429);
    assert_eq!(send(Method::PUT, SHOP, &"x".repeat(70_000)).await, 429);
    assert_eq!(send(Method::POST, SHOP, "").await, 405);
}

#[tokio::test(start_paused = true)]
async fn one_callers_rate_is_no_other_callers_and_the_same_on_every_connection() {
    let server = limited("{}").await;
    let limits = limits(
        "rates: {reads: {perSecond: 0.01}, overrides: [{subjects: ['ci-*'], reads: unlimited}]}",
    );
    let reads = async |name: &str| {
        let session = server.session_of(name, Rules::default(), &limits);
        let read = server.sending_as(&session, Method::GET, SHOP, &[], "");
        read.await.status.as_u16()
    };
    assert_eq!((reads("bob").await, reads("bob").await), (200, 429));
    assert_eq!((reads("carol").await, reads("bob").await), (200, 429));
    for _ in 0..10 {
        assert_eq!(reads("ci-7").await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_came_too_early_was_not_sent() {
    let server = limited("rates: {writes: {perSecond: 0.5, burst: 1}}").await;
    assert_eq!(server.put("web", "shop", 4, &[]).await.status, 200);
    let refused = server.put("web", "shop", 5, &[JSON]).await;
    assert_eq!(told(&refused), (429, "2"));
    assert_eq!(server.cluster.counts().scales, 1);
    advance(seconds(2)).await;
    assert_eq!(server.put("web", "shop", 5, &[]).await.status, 200);
}
