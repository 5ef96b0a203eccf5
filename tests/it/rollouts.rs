//! One Deployment in detail, restarts, pauses, and waiting for rollouts.

use std::time::Duration;

use http::Method;
use serde_json::json;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, InProcess};

const SHOP: &str = "/namespaces/web/deployments/shop";
const JSON: (&str, &str) = ("content-type", "application/json");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

/// A cluster whose rollouts take six seconds, with `web/shop`, and a server that has seen it.
async fn shop() -> InProcess {
    let cluster = Cluster::new(Options::default().rollout(Duration::from_secs(6)));
    let shop = NewDeployment::new("web", "shop").image("shop:1");
    cluster.create(shop).unwrap();
    let server = InProcess::synced(&cluster).await;
    sleep(Duration::from_secs(10)).await;
    server
}

async fn detail(server: &InProcess, headers: &[(&str, &str)]) -> Answer {
    server.send(Method::GET, SHOP, headers, "").await
}

fn scale(
    server: &InProcess,
    count: i32,
    prefer: &'static str,
) -> impl Future<Output = Answer> + Send + use<> {
    let body = json!({ "replicaCount": count }).to_string();
    let path = format!("{SHOP}/replicas");
    server.sending(Method::PUT, &path, &[JSON, ("prefer", prefer)], &body)
}

#[tokio::test(start_paused = true)]
async fn a_detail_shows_what_is_wanted_and_what_is_there() {
    let server = shop().await;
    let answer = detail(&server, &[]).await;
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!(
        told["replicas"],
        json!({"desired": 1, "current": 1, "updated": 1, "ready": 1, "available": 1})
    );
    assert_eq!(told["rollout"]["status"], "complete");
    assert_eq!(
        (&told["paused"], &told["namespace"]),
        (&json!(false), &json!("web"))
    );
    assert_eq!(told["containers"][0]["image"], "shop:1");
    assert_eq!(told["generation"], told["observedGeneration"]);
    assert_eq!(told["resourceVersion"], answer.header("x-resource-version"));
    let known = [("if-none-match", answer.header("etag"))];
    assert_eq!(detail(&server, &known).await.status, 304);
    assert_eq!(scale(&server, 3, "").await.status, 200);
    let answer = detail(&server, &known).await;
    assert_eq!(answer.status, 200, "a write is seen at once");
    let told = answer.json();
    assert_eq!(told["replicas"]["desired"], 3);
    assert_eq!(told["rollout"]["status"], "progressing");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_or_not_a_name_is_told_apart() {
    let server = shop().await;
    for (path, status) in [
        ("/namespaces/web/deployments/other", 404),
        ("/namespaces/web/deployments/Shop", 400),
        ("/namespaces/W/deployments/shop", 400),
        ("/namespaces/web/deployments/shop/", 404),
    ] {
        let answer = server.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.status, status, "{path}");
    }
    let answer = server.send(Method::DELETE, SHOP, &[], "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, "GET, HEAD")
    );
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_share_one_call() {
    let server = shop().await;
    server.cluster.clear_requests();
    let asked: Vec<_> = (0..50)
        .map(|_| server.sending(Method::GET, SHOP, &[], ""))
        .collect();
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.status, 200);
    }
    let reads = server.cluster.requests();
    let reads = reads.iter().filter(|r| r.query.contains("metadata.name"));
    assert_eq!(reads.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_is_answered_when_its_rollout_is_complete() {
    let server = shop().await;
    let began = Instant::now();
    let answer = scale(&server, 4, "wait=60").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, r#"{"message":"Replica count updated successfully."}"#)
    );
    assert_eq!(answer.header("preference-applied"), "wait=60");
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(5) && took < Duration::from_secs(12),
        "{took:?}"
    );
    let answer = detail(&server, &[]).await.json();
    assert_eq!(answer["replicas"]["available"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_time_is_up_is_202_and_says_how_far_it_came() {
    let server = shop().await;
    let began = Instant::now();
    let answer = scale(&server, 4, "wait=1").await;
    assert_eq!(answer.status, 202);
    assert!(
        answer
            .text()
            .starts_with(r#"{"message":"Replica count updated; "#),
        "{}",
        answer.text()
    );
    assert!(began.elapsed() < Duration::from_secs(3));
    let answer = scale(&server, 5, "wait=1, return=representation").await;
    assert_eq!(answer.status, 202);
    let told = answer.json();
    assert_eq!(told["rollout"]["status"], "progressing");
    assert_eq!(
        (&told["replicaCount"], &told["rollout"]["desired"]),
        (&json!(5), &json!(5))
    );
}

#[tokio::test(start_paused = true)]
async fn a_count_of_a_paused_deployment_is_waited_for_and_its_rollout_stays_paused() {
    let server = shop().await;
    let (path, body) = (format!("{SHOP}/paused"), r#"{"paused":true}"#);
    let paused = server.send(Method::PUT, &path, &[JSON], body).await;
    assert_eq!(paused.status, 200);
    sleep(Duration::from_secs(10)).await;
    let late = scale(&server, 2, "wait=1, return=representation").await;
    assert_eq!(late.status, 202, "{}", late.text());
    assert_eq!(late.json()["rollout"]["status"], "progressing");
    let began = Instant::now();
    let answer = scale(&server, 4, "wait=60, return=representation").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        (&told["rollout"]["status"], &told["rollout"]["available"]),
        (&json!("complete"), &json!(4))
    );
    assert!(began.elapsed() > Duration::from_secs(5));
    assert_eq!(detail(&server, &[]).await.json()["paused"], true);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_deployment_is_400_and_the_answer_says_how_to_wait() {
    let server = shop().await;
    for path in [
        "/replicas?watch",
        "/replicas?x=1&watch=true",
        "?Watch",
        "/containers?watch=1",
    ] {
        let refused = server
            .send(Method::GET, &format!("{SHOP}{path}"), &[], "")
            .await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(
            refused.text().contains("If-None-Match"),
            "{}",
            refused.text()
        );
        assert!(
            refused.text().contains("Prefer: wait"),
            "{}",
            refused.text()
        );
    }
    // Other parameters mean nothing to reads of one Deployment.
    for path in ["/replicas?x=1", "?watch=false", "/containers?watches"] {
        let answer = server
            .send(Method::GET, &format!("{SHOP}{path}"), &[], "")
            .await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_that_somebody_else_changes_meanwhile_is_superseded() {
    let server = shop().await;
    let waiting = tokio::spawn(scale(&server, 4, "wait=60, return=representation"));
    sleep(Duration::from_secs(1)).await;
    server.cluster.scale("web", "shop", 7).unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!(told["rollout"]["status"], "superseded");
    assert_eq!(
        (&told["replicaCount"], &told["rollout"]["desired"]),
        (&json!(4), &json!(7))
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_the_end_of_a_rollout_too() {
    let server = shop().await;
    assert_eq!(scale(&server, 3, "").await.status, 200);
    assert_eq!(detail(&server, &[("prefer", "wait=1")]).await.status, 202);
    let answer = detail(&server, &[("prefer", "wait=60")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["rollout"]["status"], "complete");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_waits_for_nothing() {
    let server = shop().await;
    let began = Instant::now();
    let path = format!("{SHOP}/replicas?dryRun=true");
    let headers = [JSON, ("prefer", "wait=60")];
    let answer = server
        .send(Method::PUT, &path, &headers, r#"{"replicaCount":9}"#)
        .await;
    assert_eq!(answer.status, 200);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_marks_the_template_once_and_needs_no_body() {
    let server = shop().await;
    let path = format!("{SHOP}/restart");
    let answer = server
        .send(Method::POST, &path, &[REPRESENTATION], "")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        (&told["changed"], &told["previouslyRestartedAt"]),
        (&json!(true), &json!(null))
    );
    assert!(
        told["restartedAt"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z'))
    );
    let answer = server.send(Method::POST, &path, &[JSON], "{}").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, r#"{"message":"Restart begun."}"#)
    );
    for (headers, body, status) in [
        (&[JSON][..], "[]", 400),
        (&[JSON], r#"{"at":"now"}"#, 400),
        (&[], "{}", 415),
        (&[("content-type", "text/plain")], "", 415),
    ] {
        let answer = server.send(Method::POST, &path, headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn rollouts_are_paused_and_resumed_and_a_paused_one_is_not_restarted() {
    let server = shop().await;
    let paused = format!("{SHOP}/paused");
    let set = |body: &str| server.sending(Method::PUT, &paused, &[JSON, REPRESENTATION], body);
    let told = set(r#"{"paused":true}"#).await.json();
    assert_eq!(
        (&told["paused"], &told["previouslyPaused"], &told["changed"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert_eq!(detail(&server, &[]).await.json()["paused"], true);
    let restart = format!("{SHOP}/restart");
    let refused = server.send(Method::POST, &restart, &[], "").await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("resume"), "{}", refused.text());
    assert_eq!(set(r#"{"paused":true}"#).await.json()["changed"], false);
    assert_eq!(set(r#"{"paused":false}"#).await.json()["changed"], true);
    assert_eq!(
        server.send(Method::POST, &restart, &[], "").await.status,
        200
    );
    for body in [
        "",
        "{}",
        "true",
        r#"{"paused":"true"}"#,
        r#"{"paused":true,"x":1}"#,
    ] {
        assert_eq!(set(body).await.status, 400, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn writes_of_a_deployment_hold_for_the_version_in_if_match() {
    let server = shop().await;
    let tag = detail(&server, &[]).await.header("etag").to_owned();
    let path = format!("{SHOP}/restart");
    let restart = |tag: &str| server.sending(Method::POST, &path, &[("if-match", tag)], "");
    let answer = restart(&tag).await;
    assert_eq!(answer.status, 200);
    let newer = answer.header("etag").to_owned();
    assert_ne!(newer, tag);
    let refused = restart(&tag).await;
    assert_eq!(refused.status, 412);
    assert!(refused.text().contains("tag"), "{}", refused.text());
}

#[tokio::test(start_paused = true)]
async fn a_step_is_made_once_however_often_it_is_sent_with_its_key() {
    let server = shop().await;
    let path = format!("{SHOP}/replicas");
    let step = |key: &str, body: &str| {
        let headers = [JSON, REPRESENTATION, ("idempotency-key", key)];
        server.sending(Method::PATCH, &path, &headers, body)
    };
    for _ in 0..3 {
        let answer = step("a", r#"{"delta":2}"#).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json();
        assert_eq!(
            (&told["previousReplicaCount"], &told["replicaCount"]),
            (&json!(1), &json!(3))
        );
    }
    assert_eq!(server.count("web", "shop"), Some(3));
    assert_eq!(step("b", r#"{"delta":-1}"#).await.json()["replicaCount"], 2);
    assert_eq!(step("a", r#"{"delta":2}"#).await.json()["replicaCount"], 3);
    assert_eq!(server.count("web", "shop"), Some(2), "it was made long ago");
    assert_eq!(
        step("a", r#"{"delta":1}"#).await.status,
        400,
        "another step by the same key"
    );
    assert_eq!(step("c", r#"{"delta":-9}"#).await.status, 422);
    for body in [
        "{}",
        r#"{"delta":"1"}"#,
        r#"{"delta":1.5}"#,
        r#"{"replicaCount":1}"#,
        "1",
    ] {
        assert_eq!(step("d", body).await.status, 400, "{body}");
    }
    let at_once: Vec<_> = (0..20).map(|_| step("e", r#"{"delta":5}"#)).collect();
    for answer in futures_util::future::join_all(at_once).await {
        assert!(
            [200, 409].contains(&answer.status.as_u16()),
            "{}",
            answer.text()
        );
    }
    assert_eq!(server.count("web", "shop"), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_step_needs_a_key_or_the_tag_that_it_steps_from() {
    let server = shop().await;
    let path = format!("{SHOP}/replicas");
    let body = r#"{"delta":2}"#;
    let bare = server.send(Method::PATCH, &path, &[JSON], body).await;
    assert_eq!(bare.status, 400);
    assert!(bare.text().contains("Idempotency-Key"), "{}", bare.text());
    let tag = server
        .send(Method::GET, &path, &[], "")
        .await
        .header("etag")
        .to_owned();
    let conditional = [JSON, ("if-match", &*tag)];
    assert_eq!(
        server
            .send(Method::PATCH, &path, &conditional, body)
            .await
            .status,
        200
    );
    assert_eq!(
        server
            .send(Method::PATCH, &path, &conditional, body)
            .await
            .status,
        412
    );
    assert_eq!(server.count("web", "shop"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn steps_of_many_are_all_made() {
    let server = shop().await;
    let path = format!("{SHOP}/replicas");
    let steps: Vec<_> = (0..10)
        .map(|i| {
            let key = format!("k{i}");
            let headers = [JSON, ("idempotency-key", &*key)];
            server.sending(Method::PATCH, &path, &headers, r#"{"delta":1}"#)
        })
        .collect();
    let answers = futures_util::future::join_all(steps).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(server.count("web", "shop"), Some(1 + made as i32));
    assert!(made > 5, "{made}");
}

#[tokio::test(start_paused = true)]
async fn a_protected_deployment_is_neither_restarted_nor_paused_nor_taken_back() {
    let server = shop().await;
    let protected = [("headcount/protected", "true")];
    server
        .cluster
        .set_annotations("web", "shop", &protected)
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    for (method, call, body) in [
        (Method::POST, "restart", "{}"),
        (Method::PUT, "paused", r#"{"paused":true}"#),
    ] {
        let path = format!("{SHOP}/{call}");
        let answer = server.send(method, &path, &[JSON], body).await;
        assert_eq!(answer.status, 422, "{call}: {}", answer.text());
        assert!(
            answer.text().contains("headcount/protected"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_404_for_every_call() {
    let server = shop().await;
    for (method, call, body) in [
        (Method::GET, "", ""),
        (Method::POST, "/restart", "{}"),
        (Method::POST, "/rollback", "{}"),
        (Method::PUT, "/paused", r#"{"paused":true}"#),
    ] {
        let path = format!("/namespaces/web/deployments/none{call}");
        let answer = server.send(method, &path, &[JSON], body).await;
        assert_eq!(answer.status, 404, "{call}: {}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_detail_is_503_while_kubernetes_is_away_and_a_wait_ends_with_it() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Any, Fault::Refuse));
    sleep(Duration::from_secs(2)).await;
    let answer = detail(&server, &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_restarts_nothing() {
    let server = shop().await;
    let version = server.version();
    let path = format!("{SHOP}/restart?dryRun=true");
    let answer = server.send(Method::POST, &path, &[], "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-dry-run")),
        (200, "true")
    );
    assert_eq!(server.cluster.resource_version(), version);
}
