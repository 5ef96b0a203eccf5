//! Rollbacks: to which revision, what is looked through for it, what stands in the way, and answers that don't come.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::sleep;

use crate::support::{Answer, InProcess};

/// The controller has seen what was changed so long ago, and reads are not shared any more.
const SETTLED: Duration = Duration::from_secs(2);
const SHOP: &str = "/namespaces/web/deployments/shop";
const JSON: (&str, &str) = ("content-type", "application/json");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

/// A server of `web/shop`, whose image has been `shop:1`, `shop:2` and `shop:3`.
async fn shop() -> InProcess {
    of(Cluster::new(quickly())).await
}

/// With a controller, which sees a change within a moment.
fn quickly() -> Options {
    Options::default().rollout(Duration::from_millis(30))
}

async fn of(cluster: Cluster) -> InProcess {
    let shop = NewDeployment::new("web", "shop").image("shop:1");
    cluster.create(shop.label("app", "shop")).unwrap();
    let server = InProcess::synced(&cluster).await;
    for image in ["shop:2", "shop:3"] {
        let (path, body) = (
            format!("{SHOP}/containers/main/image"),
            json!({ "image": image }),
        );
        let body = body.to_string();
        let answer = server.send(Method::PUT, &path, &[JSON], &body).await;
        assert_eq!(answer.status, 200);
        sleep(SETTLED).await;
    }
    server
}

async fn roll_back(
    server: &InProcess,
    query: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let path = format!("{SHOP}/rollback{query}");
    let headers: Vec<_> = [JSON, REPRESENTATION]
        .iter()
        .chain(headers)
        .copied()
        .collect();
    server.send(Method::POST, &path, &headers, body).await
}

/// Once the controller has seen the last change.
async fn detail(server: &InProcess) -> Value {
    sleep(SETTLED).await;
    server.send(Method::GET, SHOP, &[], "").await.json()
}

#[tokio::test(start_paused = true)]
async fn a_rollback_goes_to_the_revision_before_or_to_the_one_that_is_named() {
    let server = shop().await;
    let told = detail(&server).await;
    assert_eq!(
        (&told["revision"], &told["containers"][0]["image"]),
        (&json!(3), &json!("shop:3"))
    );
    let answer = roll_back(&server, "", &[], "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let done = answer.json();
    assert_eq!(
        (
            &done["revision"],
            &done["previousRevision"],
            &done["changed"]
        ),
        (&json!(2), &json!(3), &json!(true))
    );
    // Its controller gives it a new number.
    let told = detail(&server).await;
    assert_eq!(
        (&told["revision"], &told["containers"][0]["image"]),
        (&json!(4), &json!("shop:2"))
    );
    let answer = roll_back(&server, "", &[], r#"{"revision":1}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:1");
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_not_kept_is_404_and_the_answer_names_those_that_are() {
    let server = shop().await;
    let refused = roll_back(&server, "", &[], r#"{"revision":7}"#).await;
    assert_eq!(refused.status, 404);
    assert!(refused.text().contains("1, 2, 3"), "{}", refused.text());
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:3");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_rollback_changes_nothing() {
    let server = shop().await;
    let answer = roll_back(&server, "?dryRun=true", &[], "{}").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-dry-run")),
        (200, "true")
    );
    let told = answer.json();
    assert_eq!(
        [&told["revision"], &told["previousRevision"]],
        [&json!(2), &json!(3)]
    );
    assert_eq!(
        [&told["changed"], &told["dryRun"]],
        [&json!(true), &json!(true)]
    );
    // Of the template that runs there is nothing to change, dry or not.
    for query in ["?dryRun=true", ""] {
        let told = roll_back(&server, query, &[], r#"{"revision":3}"#).await;
        let told = told.json();
        assert_eq!(
            [&told["revision"], &told["changed"]],
            [&json!(3), &json!(false)],
            "{query}"
        );
        assert_eq!(told.get("dryRun").is_some(), !query.is_empty());
    }
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:3");
}

#[tokio::test(start_paused = true)]
async fn revisions_are_asked_for_by_label_and_page_by_page() {
    let cluster = Cluster::new(quickly());
    for n in 0..150 {
        let other = NewDeployment::new("web", format!("before-{n}"));
        cluster.create(other.label("app", "shop")).unwrap();
        cluster
            .create(NewDeployment::new("web", format!("other-{n}")))
            .unwrap();
    }
    let server = of(cluster).await;
    let answer = roll_back(&server, "", &[], "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:2");
    let sent = server.sent();
    let asked: Vec<_> = sent
        .iter()
        .filter(|s| s.uri.path().ends_with("/replicasets"))
        .collect();
    assert_eq!(asked.len(), 2);
    for one in asked {
        let query = one.uri.query().unwrap();
        assert!(
            query.contains("limit=100") && query.contains("labelSelector=app%3Dshop"),
            "{query}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn revisions_among_too_many_others_are_not_looked_for_without_end() {
    let cluster = Cluster::new(quickly());
    for n in 0..2000 {
        let other = NewDeployment::new("web", format!("before-{n}"));
        cluster.create(other.label("app", "shop")).unwrap();
    }
    let server = of(cluster).await;
    let refused = roll_back(&server, "", &[], "{}").await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains("more than 2000 ReplicaSets"),
        "{}",
        refused.text()
    );
    let sent = server.sent();
    let asked = sent
        .iter()
        .filter(|s| s.uri.path().ends_with("/replicasets"));
    assert_eq!(asked.count(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_without_an_answer_is_read_again_unless_its_caller_made_a_condition() {
    let server = shop().await;
    let lost = || Rule::new(On::Write, Fault::after_commit(Fault::Refuse)).times(1);
    server.cluster.faults().add(lost());
    let answer = roll_back(&server, "", &[], "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["changed"], true);
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:2");
    server.cluster.faults().add(lost());
    let unknown = roll_back(&server, "", &[("if-match", "*")], "{}").await;
    assert_eq!(unknown.status, 504, "{}", unknown.text());
    // It was made all the same, which is what the answer says can be.
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:3");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_never_arrives_is_not_taken_for_made() {
    let server = shop().await;
    let hang = server
        .cluster
        .faults()
        .add(Rule::new(On::Write, Fault::Hang));
    let answer = roll_back(&server, "", &[], "{}").await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    server.cluster.faults().remove(hang);
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:3");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_right_after_a_change_waits_until_the_controller_has_numbered_it() {
    let server = shop().await;
    server
        .cluster
        .set_rollout(Some(Duration::from_millis(1500)));
    let body = r#"{"image":"shop:broken"}"#;
    let path = format!("{SHOP}/containers/main/image");
    let set = server.send(Method::PUT, &path, &[JSON], body).await;
    assert_eq!(set.status, 200);
    let answer = roll_back(&server, "", &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:3");
}

#[tokio::test(start_paused = true)]
async fn where_no_controller_numbers_a_change_a_rollback_says_so_and_one_to_a_named_revision_goes_on()
 {
    let server = shop().await;
    server.cluster.set_rollout(None);
    let body = r#"{"image":"shop:broken"}"#;
    let path = format!("{SHOP}/containers/main/image");
    let set = server.send(Method::PUT, &path, &[JSON], body).await;
    assert_eq!(set.status, 200);
    let answer = roll_back(&server, "", &[], "").await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.error().contains("name the revision"));
    assert_eq!(
        detail(&server).await["containers"][0]["image"],
        "shop:broken"
    );
    let answer = roll_back(&server, "", &[], r#"{"revision":3}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(detail(&server).await["containers"][0]["image"], "shop:3");
}
