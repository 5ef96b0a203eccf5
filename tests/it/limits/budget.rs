//! How many Pods a caller may change within a minute.

use std::time::Duration;

use http::Method;
use simkube::{Fault, On, Rule};
use tokio::time::{advance, sleep};

use super::{JSON, limited, told};
use crate::support::{Answer, InProcess};

const TEN: &str = "rates: {podsPerMinute: 10}";

async fn scale(server: &InProcess, count: i32) -> Answer {
    server.put("web", "shop", count, &[]).await
}

async fn dry_run(server: &InProcess, count: i32) -> Answer {
    let path = "/namespaces/web/deployments/shop/replicas?dryRun=true";
    let body = format!(r#"{{"replicaCount":{count}}}"#);
    server.send(Method::PUT, path, &[JSON], &body).await
}

/// How many Pods there is room for, up to ten: what a dry run says, which costs nothing.
async fn room(server: &InProcess, now: i32) -> i32 {
    for more in (1..=10).rev() {
        if dry_run(server, now + more).await.status == 200 {
            return more;
        }
    }
    0
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_budget_is_told_when_there_is_room_again() {
    let server = limited(TEN).await;
    assert_eq!(scale(&server, 9).await.status, 200);
    advance(Duration::from_secs(20)).await;
    assert_eq!(scale(&server, 7).await.status, 200);
    let refused = scale(&server, 10).await;
    assert_eq!(refused.status, 429);
    let error = refused.error();
    assert!(
        error.contains("changes 3 Pods") && error.contains("change 10 a minute"),
        "{error}"
    );
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((40..=41).contains(&wait), "{wait}");
    advance(Duration::from_secs(wait - 1)).await;
    assert_eq!(told(&scale(&server, 10).await), (429, "1"));
    advance(Duration::from_secs(1)).await;
    assert_eq!(scale(&server, 10).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_budget_is_422_since_it_never_fits() {
    let server = limited(TEN).await;
    for answer in [scale(&server, 14).await, dry_run(&server, 14).await] {
        assert_eq!(told(&answer), (422, ""));
        assert!(answer.error().contains("it never fits"));
    }
    assert_eq!(room(&server, 3).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_whether_it_would_fit_and_takes_nothing() {
    let server = limited(TEN).await;
    for _ in 0..3 {
        assert_eq!(dry_run(&server, 13).await.status, 200);
    }
    assert_eq!(scale(&server, 9).await.status, 200);
    assert_eq!(dry_run(&server, 14).await.status, 429);
    assert_eq!(room(&server, 9).await, 4);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_happen_costs_nothing() {
    let server = limited(TEN).await;
    assert_eq!(scale(&server, 3).await.status, 200, "it has them already");
    assert_eq!(room(&server, 3).await, 10);
    for (fault, status) in [
        (Fault::status(422), 422),
        (Fault::status(403), 422),
        (Fault::retry_after(503, 7), 503),
    ] {
        let id = server
            .cluster
            .faults()
            .add(Rule::new(On::Scale, fault).times(1));
        assert_eq!(scale(&server, 11).await.status, status);
        server.cluster.faults().remove(id);
        assert_eq!(room(&server, 3).await, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn another_attempt_after_a_conflict_is_not_charged_again() {
    let server = limited(TEN).await;
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_millis(50))).times(1);
    server.cluster.faults().add(slow);
    let writer = tokio::spawn(server.putting("web", "shop", 9, &[]));
    sleep(Duration::from_millis(20)).await;
    server.cluster.scale("web", "shop", 5).unwrap();
    assert_eq!(writer.await.unwrap().status, 200);
    // From 5 to 9 in the end, and not from 3 before.
    assert_eq!(room(&server, 9).await, 6);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_stays_charged() {
    let server = limited(TEN).await;
    let lost = Rule::new(On::Scale, Fault::after_commit(Fault::Break)).times(1);
    server.cluster.faults().add(lost);
    let answer = scale(&server, 9).await;
    sleep(Duration::from_secs(1)).await;
    assert!([200, 202, 504].contains(&answer.status.as_u16()));
    assert_eq!(server.count("web", "shop"), Some(9));
    assert_eq!(room(&server, 9).await, 4);
}

#[tokio::test(start_paused = true)]
async fn another_image_changes_all_pods_and_the_same_one_none() {
    let server = limited(TEN).await;
    let set = async |image: &str| {
        let path = "/namespaces/web/deployments/shop/containers/main/image";
        let body = format!(r#"{{"image":"{image}"}}"#);
        let answer = server.send(Method::PUT, path, &[JSON], &body).await;
        answer.status.as_u16()
    };
    assert_eq!(set("shop:1").await, 200);
    assert_eq!(room(&server, 3).await, 10);
    for image in ["shop:2", "shop:3", "shop:4"] {
        assert_eq!(set(image).await, 200);
    }
    assert_eq!(room(&server, 3).await, 1);
    assert_eq!(set("shop:5").await, 429);
    assert_eq!(scale(&server, 4).await.status, 200);
    advance(Duration::from_secs(61)).await;
    assert_eq!(set("shop:5").await, 200);
    assert_eq!(room(&server, 4).await, 6);
}
