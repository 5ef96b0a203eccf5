//! Requests that wait, and writes on their way to Kubernetes: so many at once, and nobody holds up others.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use simkube::{Fault, NewDeployment, On, Rule};
use tokio::time::{Instant, sleep};

use super::{JSON, SHOP, get, limited, told};

const SLOW: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn a_caller_with_many_writes_holds_up_nobody_elses() {
    let server = limited("writesAtOnce: 4").await;
    for n in 0..20 {
        let new = NewDeployment::new("web", n.to_string());
        server.cluster.create(new).unwrap();
    }
    sleep(SLOW).await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(SLOW)));
    let start = Instant::now();
    let many = (0..20).map(|n: i32| server.putting("web", &n.to_string(), 2, &[]));
    let other = async {
        sleep(Duration::from_millis(50)).await;
        let (bob, start) = (server.somebody("bob"), Instant::now());
        let body = r#"{"replicaCount":5}"#;
        let answer = server.sending_as(&bob, Method::PUT, SHOP, &[JSON], body);
        (answer.await.status.as_u16(), start.elapsed())
    };
    let (many, (status, took)) = tokio::join!(join_all(many), other);
    assert_eq!(status, 200);
    assert!(took < SLOW + Duration::from_millis(50), "{took:?}");
    // One at once, a quarter of four, each of 200 ms: what waited five seconds would have been told so.
    assert!(many.iter().all(|a| a.status == 200));
    assert!(start.elapsed() >= SLOW * 20);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_gets_no_turn_was_not_sent_and_says_whose_share_it_was() {
    let server = limited("writesAtOnce: 1").await;
    server
        .cluster
        .create(NewDeployment::new("web", "cart"))
        .unwrap();
    sleep(SLOW).await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Hang));
    let first = server.putting("web", "shop", 4, &[]);
    let bob = server.somebody("bob");
    let cart = "/namespaces/web/deployments/cart/replicas";
    let rest = async {
        sleep(Duration::from_millis(50)).await;
        let own = server.putting("web", "cart", 4, &[]);
        let other = server.sending_as(&bob, Method::PUT, cart, &[JSON], r#"{"replicaCount":4}"#);
        tokio::join!(own, other)
    };
    let (_, (own, other)) = tokio::join!(first, rest);
    assert_eq!((told(&own), told(&other)), ((429, "1"), (503, "1")));
    for answer in [own, other] {
        let error = answer.error();
        assert!(
            error.contains("limits.writesAtOnce") && error.contains("nothing was changed"),
            "{error}"
        );
    }
    assert_eq!(server.cluster.counts().scales, 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_are_so_many_and_what_does_not_wait_is_not_counted() {
    let server = limited("requests: {atOnce: 4, waiting: 2, longestWait: 250ms}").await;
    let future = [("x-min-resource-version", "999999999")];
    let start = Instant::now();
    let ask = || server.sending(Method::GET, SHOP, &future, "");
    let waiting = async {
        let (first, second, third, fourth) = tokio::join!(ask(), ask(), ask(), ask());
        [first, second, third, fourth]
    };
    let meanwhile = async {
        sleep(Duration::from_millis(300)).await;
        let read = get(&server, SHOP).await.status;
        let bob = server.somebody("bob");
        let other = server.sending_as(&bob, Method::GET, "/deployments", &future, "");
        (read, other.await, Instant::now())
    };
    let (waiting, (read, other, _)) = tokio::join!(waiting, meanwhile);
    assert_eq!(read, 200);
    // A quarter of four is one; two wait for it, and the fourth finds the line full of its own.
    let told: Vec<_> = waiting.iter().map(told).collect();
    assert_eq!(told, [(503, "3"), (429, "1"), (429, "1"), (429, "1")]);
    assert!(waiting[1].error().contains("limits.requests"));
    // Its own turn: it waited for the version as long as anybody.
    assert!(other.error().contains("within 5 s"), "{}", other.error());
    assert_eq!(start.elapsed().as_millis(), 5_300);
}
