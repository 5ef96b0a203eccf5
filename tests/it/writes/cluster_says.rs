//! What the cluster may say to a write, and what the caller is told then.

use std::time::Duration;

use http::Method;
use simkube::{Fault, On, Rule};
use tokio::time::Instant;

use super::{UPDATED, in_cluster, shop, told, writes};

const ACCOUNT: &str = "system:serviceaccount:headcount:headcount";

#[tokio::test(start_paused = true)]
async fn an_admission_webhook_is_passed_on_in_its_own_words() {
    for code in [400, 403, 409, 422, 429, 500] {
        let server = shop().await;
        let denied = Fault::Webhook {
            name: "policy.example.com".into(),
            message: "no more than 5 at night".into(),
            code,
        };
        server.cluster.faults().add(Rule::new(On::Scale, denied));
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(answer.status, 422, "{code}: {}", answer.text());
        assert!(
            answer.error().contains("policy.example.com")
                && answer.error().contains("no more than 5 at night"),
            "{}",
            answer.error()
        );
        assert_eq!(writes(&server).len(), 1, "a refusal isn't tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_passed_on_in_its_own_words() {
    let server = shop().await;
    server.cluster.faults().add(Rule::new(
        On::Scale,
        Fault::Quota {
            name: "team-quota".into(),
        },
    ));
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer.error().contains("exceeded quota: team-quota"),
        "{}",
        answer.error()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_refuses_this_server_is_502_and_its_account_is_not_named() {
    for fault in [
        Fault::Forbidden {
            user: ACCOUNT.into(),
        },
        Fault::Unauthorized,
    ] {
        let server = shop().await;
        server
            .cluster
            .faults()
            .add(Rule::new(On::Scale, fault.clone()));
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(answer.status, 502, "{fault:?}: {}", answer.text());
        assert!(
            !answer.text().contains("serviceaccount"),
            "{}",
            answer.text()
        );
        assert_eq!(in_cluster(&server, "shop"), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_overload_is_sat_out() {
    for seconds in [1, 2] {
        let server = shop().await;
        server
            .cluster
            .faults()
            .add(Rule::new(On::Scale, Fault::retry_after(429, seconds)).times(2));
        let start = Instant::now();
        assert_eq!(
            told(&server.put("web", "shop", 9, &[]).await),
            (200, UPDATED)
        );
        let least = Duration::from_secs(2 * u64::from(seconds));
        assert!(
            start.elapsed() >= least && start.elapsed() < least + Duration::from_millis(300),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(writes(&server).len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_overload_is_503_with_the_seconds_that_the_cluster_named() {
    for (code, seconds) in [(429, 3), (429, 40), (429, 3600), (503, 1), (503, 17)] {
        let server = shop().await;
        server
            .cluster
            .faults()
            .add(Rule::new(On::Scale, Fault::retry_after(code, seconds)));
        let start = Instant::now();
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(answer.status, 503, "{code}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), seconds.to_string());
        assert!(
            start.elapsed() < Duration::from_millis(100),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(in_cluster(&server, "shop"), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn an_overload_that_goes_on_is_503_after_5_s() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::retry_after(429, 1)));
    let start = Instant::now();
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, "1")
    );
    assert!(
        start.elapsed() <= Duration::from_millis(5100),
        "{:?}",
        start.elapsed()
    );
    assert!(
        (4..=6).contains(&writes(&server).len()),
        "{} attempts",
        writes(&server).len()
    );
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_cluster_is_503() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::status(503)));
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert!(
        answer.error().contains("nothing was changed"),
        "{}",
        answer.error()
    );
}

#[tokio::test(start_paused = true)]
async fn rights_that_are_withdrawn_altogether_are_502_and_the_account_is_not_named() {
    for fault in [
        Fault::Forbidden {
            user: ACCOUNT.into(),
        },
        Fault::Unauthorized,
    ] {
        let server = shop().await;
        server
            .cluster
            .faults()
            .add(Rule::new(On::Any, fault.clone()));
        server.is_lost(Duration::from_secs(10)).await;
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(answer.status, 502, "{fault:?}: {}", answer.text());
        let health = server.send(Method::GET, "/health", &[], "").await;
        assert_eq!(health.status, 503);
        for answer in [answer, health] {
            assert!(
                !answer.text().contains("serviceaccount"),
                "{}",
                answer.text()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_cluster_is_lost_a_write_is_503_at_once_and_nothing_is_sent() {
    let server = shop().await;
    server.cluster.faults().add(Rule::new(On::Any, Fault::Hang));
    server.is_lost(Duration::from_secs(10)).await;
    let start = Instant::now();
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.error().contains("nothing was sent"),
        "{}",
        answer.error()
    );
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    assert!(writes(&server).is_empty());
    assert_eq!(
        server.get("web", "shop", &[]).await.json()["replicaCount"],
        3
    );
    assert_eq!(
        server.put("web", "none", 9, &[]).await.status,
        404,
        "the object is judged first"
    );
}
