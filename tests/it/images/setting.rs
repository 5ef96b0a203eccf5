//! Setting images: what is sent, what is refused before that, and others who change the same Deployment.

use std::time::Duration;

use headcount::kubernetes::Managed;
use http::Method;
use serde_json::json;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::{Instant, sleep};

use crate::support::InProcess;

use super::{CONTAINERS, MAIN, UPDATED, image, patches, read, setting, setting_at, shop, told};

const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

#[tokio::test(start_paused = true)]
async fn an_image_is_set_and_read_back_at_once() {
    let server = shop().await;
    let late = Rule::new(On::Event, Fault::Delay(Duration::from_millis(30)));
    server.cluster.faults().add(late);
    for turn in 2..20 {
        let wanted = format!("registry.example.com/shop:{turn}");
        let answer = setting(&server, &wanted, &[]).await;
        assert_eq!(told(&answer), (200, UPDATED));
        let read = read(&server, &[]).await;
        assert_eq!(read.json()["containers"][0]["image"], wanted);
        assert_eq!(read.header("etag"), answer.header("etag"));
        assert_eq!(
            read.header("x-resource-version"),
            answer.header("x-resource-version")
        );
    }
    assert_eq!(
        server.count("web", "shop"),
        Some(1),
        "the count is as it was"
    );
}

#[tokio::test(start_paused = true)]
async fn one_conditional_patch_is_sent_with_the_callers_trace() {
    let server = shop().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("traceparent", trace), ("x-request-id", "release-7")];
    let answer = setting(&server, "shop:2", &headers).await;
    assert_eq!(answer.header("x-request-id"), "release-7");
    let [sent] = &patches(&server)[..] else {
        panic!("{:?}", patches(&server))
    };
    assert_eq!(sent.path, "/apis/apps/v1/namespaces/web/deployments/shop");
    assert_eq!(sent.query, "fieldManager=headcount%3Aalice");
    let continued = sent.header("traceparent").unwrap();
    assert!(continued.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert!(!continued.contains("b7ad6b7169203331"));
}

#[tokio::test(start_paused = true)]
async fn a_representation_tells_from_and_to() {
    let server = shop().await;
    let answer = setting(&server, "shop:2", &[REPRESENTATION]).await;
    assert_eq!(answer.header("preference-applied"), "return=representation");
    let version = answer.header("x-resource-version");
    assert_eq!(
        answer.json(),
        json!({"namespace": "web", "name": "shop", "container": "main", "image": "shop:2",
            "previousImage": "shop:1", "changed": true, "resourceVersion": version})
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_is_200_and_waits_for_no_event() {
    let server = shop().await;
    let version = server.version();
    let start = Instant::now();
    let answer = setting(&server, "shop:1", &[REPRESENTATION]).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["changed"]),
        (200, &json!(false))
    );
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(server.cluster.resource_version(), version);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_asks_the_cluster_and_changes_nothing() {
    let server = shop().await;
    let path = format!("{MAIN}?dryRun=true");
    let answer = setting_at(&server, &path, "shop:2", &[]).await;
    assert_eq!(
        (told(&answer), answer.header("x-dry-run")),
        ((200, UPDATED), "true")
    );
    assert_eq!(
        patches(&server)[0].query,
        "fieldManager=headcount%3Aalice&dryRun=All"
    );
    assert_eq!(image(&server).await, "shop:1");
    let path = format!("{MAIN}?dryrun=true");
    assert_eq!(setting_at(&server, &path, "shop:2", &[]).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_is_told_before_anything_is_sent() {
    let server = shop().await;
    let put = |path: &str, kind: &'static str, body: &str| {
        server.sending(Method::PUT, path, &[("content-type", kind)], body)
    };
    let json = "application/json";
    let bad = put(MAIN, json, r#"{"image":"Shop:1"}"#).await;
    assert_eq!(bad.status, 400);
    assert!(
        bad.error().contains("\"Shop:1\" is no reference"),
        "{}",
        bad.text()
    );
    for (path, kind, body, status) in [
        (MAIN, json, r#"{"replicaCount":1}"#, 400),
        (MAIN, json, r#"{"image":"shop:2","image":"shop:3"}"#, 400),
        (MAIN, "text/plain", r#"{"image":"shop:2"}"#, 415),
        (
            "/namespaces/web/deployments/shop/containers/Main/image",
            json,
            r#"{"image":"shop:2"}"#,
            400,
        ),
        (
            "/namespaces/web/deployments/shop/containers/%2e%2e/image",
            json,
            r#"{"image":"shop:2"}"#,
            400,
        ),
        (
            "/namespaces/web/deployments/shop/containers/main",
            json,
            r#"{"image":"shop:2"}"#,
            404,
        ),
        (
            "/namespaces/web/deployments/none/containers/main/image",
            json,
            r#"{"image":"shop:2"}"#,
            404,
        ),
        (CONTAINERS, json, r#"{"image":"shop:2"}"#, 405),
    ] {
        let answer = put(path, kind, body).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{path} {body}: {}",
            answer.text()
        );
    }
    let get = server.send(Method::GET, MAIN, &[], "").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "PUT"));
    assert_eq!(server.cluster.counts().gets, 0);
    assert_eq!(patches(&server).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_not_there_is_404_and_not_added() {
    let server = shop().await;
    let path = "/namespaces/web/deployments/shop/containers/side/image";
    let answer = setting_at(&server, path, "shop:2", &[]).await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.error().contains("has no container \"side\""),
        "{}",
        answer.text()
    );
    assert_eq!(patches(&server).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_init_container_can_be_set_too() {
    let server = shop().await;
    super::give_init_container(&server).await;
    let path = "/namespaces/web/deployments/shop/containers/prepare/image";
    let answer = setting_at(&server, path, "tools:2", &[REPRESENTATION]).await;
    assert_eq!(answer.json()["previousImage"], "tools:1");
    let read = read(&server, &[]).await.json();
    assert_eq!(
        read["initContainers"],
        json!([{"name": "prepare", "image": "tools:2"}])
    );
    assert_eq!(
        read["containers"],
        json!([{"name": "main", "image": "shop:1"}])
    );
}

#[tokio::test(start_paused = true)]
async fn a_tag_guards_a_write() {
    let server = shop().await;
    let tag = read(&server, &[]).await.header("etag").to_owned();
    let guard = [("if-match", tag.as_str())];
    assert_eq!(setting(&server, "shop:2", &guard).await.status, 200);
    let refused = setting(&server, "shop:3", &guard).await;
    assert_eq!(refused.status, 412);
    let now = read(&server, &[]).await;
    let (error, tag) = (refused.error(), now.header("etag"));
    assert!(error.contains(tag) && error.contains("shop:2"), "{error}");
    assert_eq!(patches(&server).len(), 1);
    let not = [("if-none-match", tag)];
    assert_eq!(setting(&server, "shop:3", &not).await.status, 412);
    assert_eq!(
        setting(&server, "shop:3", &[("if-match", "*")])
            .await
            .status,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_guarded_write_meets_somebody_elses_that_was_faster() {
    let server = shop().await;
    let tag = read(&server, &[]).await.header("etag").to_owned();
    let slow = Rule::new(On::Write, Fault::Delay(Duration::from_millis(50))).times(1);
    server.cluster.faults().add(slow);
    let guarded = tokio::spawn(setting(&server, "shop:2", &[("if-match", &tag)]));
    sleep(Duration::from_millis(20)).await;
    assert_eq!(setting(&server, "shop:3", &[]).await.status, 200);
    assert_eq!(guarded.await.unwrap().status, 412);
    assert_eq!(image(&server).await, "shop:3");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_judged_again_and_loses_no_update_of_somebody_else() {
    let server = shop().await;
    let slow = Rule::new(On::Write, Fault::Delay(Duration::from_millis(50))).times(1);
    server.cluster.faults().add(slow);
    let writer = tokio::spawn(setting(&server, "shop:2", &[REPRESENTATION]));
    sleep(Duration::from_millis(20)).await;
    server.cluster.scale("web", "shop", 7).unwrap();
    let answer = writer.await.unwrap();
    assert_eq!(answer.json()["image"], "shop:2");
    assert_eq!(patches(&server).len(), 2);
    assert_eq!(
        (server.count("web", "shop"), image(&server).await),
        (Some(7), "shop:2".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_touched_all_the_time_can_still_be_set() {
    let server = shop().await;
    let cluster = server.cluster.clone();
    let touching = tokio::spawn(async move {
        while cluster.touch_status("web", "shop").is_some() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    // The copy is behind most of the time: who waited for it would be late again.
    let late = Rule::new(On::Event, Fault::Delay(Duration::from_millis(40)));
    server.cluster.faults().add(late);
    let slow = Rule::new(On::Write, Fault::Delay(Duration::from_millis(30)));
    server.cluster.faults().add(slow);
    for turn in 2..30 {
        let answer = setting(&server, &format!("shop:{turn}"), &[]).await;
        assert_eq!(told(&answer), (200, UPDATED));
    }
    touching.abort();
    assert!(patches(&server).len() > 28, "none of them met a conflict");
}

#[tokio::test(start_paused = true)]
async fn conflicts_that_outlast_the_retries_are_409() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Write, Fault::Conflict));
    let start = Instant::now();
    let answer = setting(&server, "shop:2", &[]).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_deployment_of_the_same_name_is_not_set_by_a_write_that_was_judged_on_the_first() {
    let server = shop().await;
    let tag = read(&server, &[]).await.header("etag").to_owned();
    let slow = Rule::new(On::Write, Fault::Delay(Duration::from_millis(50))).times(1);
    server.cluster.faults().add(slow);
    let guarded = tokio::spawn(setting(&server, "shop:2", &[("if-match", &tag)]));
    sleep(Duration::from_millis(20)).await;
    server.cluster.delete("web", "shop");
    let again = NewDeployment::new("web", "shop").image("shop:1");
    server.cluster.create(again).unwrap();
    assert_eq!(guarded.await.unwrap().status, 412);
    assert_eq!(image(&server).await, "shop:1");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_being_deleted_is_a_conflict() {
    let server = shop().await;
    let held = NewDeployment::new("web", "held").finalizer("example.com/hold");
    server.cluster.create(held).unwrap();
    server.cluster.delete("web", "held");
    server.converges(Duration::from_secs(1)).await;
    let path = "/namespaces/web/deployments/held/containers/main/image";
    let answer = setting_at(&server, path, "shop:2", &[]).await;
    assert_eq!(answer.status, 409);
    assert!(
        answer.error().contains("being deleted"),
        "{}",
        answer.text()
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_says_is_passed_on() {
    let forbidden = Fault::Forbidden {
        user: "system:serviceaccount:headcount:headcount".into(),
    };
    let webhook = Fault::Webhook {
        name: "images.example.com".into(),
        message: "only signed images".into(),
        code: 403,
    };
    for (fault, status, word) in [
        (
            webhook,
            422,
            "refused the image: admission webhook \"images.example.com\" denied the request: only signed",
        ),
        (forbidden, 502, "credentials"),
        (Fault::Refuse, 504, "read the image before"),
        (Fault::status(503), 503, "unavailable"),
    ] {
        let server = shop().await;
        server
            .cluster
            .faults()
            .add(Rule::new(On::Write, fault.clone()));
        let answer = setting(&server, "shop:2", &[]).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{fault:?}: {}",
            answer.text()
        );
        assert!(
            answer.error().contains(word),
            "{fault:?}: {}",
            answer.text()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_set_without_an_answer_is_read_again() {
    let server = shop().await;
    let lost = Rule::new(On::Write, Fault::after_commit(Fault::Refuse));
    server.cluster.faults().add(lost);
    let answer = setting(&server, "shop:2", &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let tag = read(&server, &[]).await.header("etag").to_owned();
    // Whoever made a condition must know that it was this write, which nobody does.
    let answer = setting(&server, "shop:3", &[("if-match", &tag)]).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(image(&server).await, "shop:3");
}

#[tokio::test(start_paused = true)]
async fn when_containers_cannot_be_read_nothing_was_changed() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Get, Fault::Refuse));
    let answer = setting(&server, "shop:2", &[]).await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.error().contains("nothing was changed"),
        "{}",
        answer.text()
    );
    assert_eq!(patches(&server).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_goes_on_when_its_caller_hangs_up() {
    let server = shop().await;
    let slow = Rule::new(On::Write, Fault::Delay(Duration::from_millis(50)));
    server.cluster.faults().add(slow);
    let writer = tokio::spawn(setting(&server, "shop:2", &[]));
    sleep(Duration::from_millis(20)).await;
    writer.abort();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(image(&server).await, "shop:2");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_seen_in_time_is_202() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Any, Fault::Hang).after(2));
    let answer = setting(&server, "shop:2", &[]).await;
    assert_eq!(
        told(&answer),
        (
            202,
            r#"{"message":"Image updated; this server's copy has not caught up yet."}"#
        )
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_shows_an_older_state_is_asked_again_now_and_then_and_not_written_to() {
    let server = shop().await;
    let older = Cluster::new(Options::default());
    older
        .create(NewDeployment::new("web", "shop").image("shop:0"))
        .unwrap();
    server.cluster.scale("web", "shop", 5).unwrap();
    server.converges(Duration::from_secs(1)).await;
    server.detour(move |sent| {
        let one = sent
            .uri
            .query()
            .is_some_and(|q| q.contains("fieldSelector"));
        one.then(|| older.service())
    });
    let start = Instant::now();
    let answer = setting(&server, "shop:2", &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.error().contains("older state"), "{}", answer.text());
    let asked = server.sent_since(start, |sent| {
        sent.uri
            .query()
            .is_some_and(|q| q.contains("fieldSelector"))
    });
    assert!((2..=60).contains(&asked), "{asked}");
    assert_eq!(patches(&server).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_just_lost_the_managed_label_is_neither_set_nor_shown() {
    let cluster = Cluster::new(Options::default());
    let shop = NewDeployment::new("web", "shop").label("team", "web");
    cluster.create(shop).unwrap();
    let managed = Managed {
        namespaces: Vec::new(),
        label_selector: Some("team in (web)".into()),
    };
    let server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    assert_eq!(setting(&server, "shop:2", &[]).await.status, 200);
    let late = Rule::new(On::Event, Fault::Delay(Duration::from_secs(1)));
    cluster.faults().add(late);
    cluster.set_labels("web", "shop", &[("team", "db")]);
    cluster.clear_requests();
    let answer = setting(&server, "shop:3", &[]).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(read(&server, &[]).await.status, 404);
    assert_eq!(patches(&server).len(), 0);
    let known = server.count("web", "shop");
    assert_eq!(known, Some(1), "the copy doesn't know of it yet");
}
