//! Leases of counts, on simkube with virtual time: taken, extended, cancelled, over, overtaken.

mod faults;
mod kills;
mod missing;
mod own;
mod past;
mod returning;
mod steps;
mod telling;

use std::time::Duration;

use headcount::{
    access::WriteRules,
    kubernetes::{Clock, LeaseRules},
};
use http::Method;
use serde_json::{Value, json};
use simkube::{Cluster, NewDeployment, Options};
use tokio::time::sleep;

use crate::support::{Answer, InProcess};

const LEASE: &str = "/namespaces/web/deployments/shop/lease";
const REPLICAS: &str = "/namespaces/web/deployments/shop/replicas";
const JSON: (&str, &str) = ("content-type", "application/json");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");
const HOUR: u64 = 3600;

fn rules() -> LeaseRules {
    LeaseRules {
        namespace: "headcount".into(),
        longest: 24 * 3600,
        most: 3,
    }
}

/// `web/shop` with three replicas.
fn cluster() -> Cluster {
    let cluster = Cluster::new(Options::default());
    let shop = NewDeployment::new("web", "shop").replicas(3);
    cluster.create(shop).unwrap();
    cluster.create_namespace("headcount");
    cluster
}

/// A server that brings counts back.
async fn server(cluster: &Cluster, clock: &Clock) -> InProcess {
    let mut server = InProcess::leasing(cluster, &rules(), clock).await;
    server.reverts(WriteRules::default);
    server
}

async fn take(server: &InProcess, count: i32, seconds: u64) -> Answer {
    let body = json!({"replicaCount": count, "durationSeconds": seconds}).to_string();
    let headers = [JSON, REPRESENTATION];
    server.send(Method::PUT, LEASE, &headers, &body).await
}

async fn extend(server: &InProcess, seconds: u64) -> Answer {
    let body = json!({"durationSeconds": seconds}).to_string();
    let headers = [JSON, REPRESENTATION];
    server.send(Method::PATCH, LEASE, &headers, &body).await
}

async fn cancel(server: &InProcess, query: &str) -> Answer {
    let path = format!("{LEASE}{query}");
    server
        .send(Method::DELETE, &path, &[REPRESENTATION], "")
        .await
}

async fn read(server: &InProcess) -> Answer {
    server.send(Method::GET, LEASE, &[], "").await
}

fn count(cluster: &Cluster) -> i32 {
    let all = cluster.deployments();
    let shop = all.iter().find(|d| d.name == "shop").unwrap();
    shop.replicas.unwrap_or(1)
}

/// The Lease objects that keep counts.
fn objects(cluster: &Cluster) -> Vec<Value> {
    let mut all = cluster.leases("headcount");
    all.retain(|lease| lease["metadata"]["labels"]["headcount/lease"] == "count");
    all
}

async fn ends(cluster: &Cluster, within: u64) {
    for _ in 0..within * 10 {
        if objects(cluster).is_empty() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("not within {within} s: {:#?}", objects(cluster));
}

async fn pass(clock: &Clock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
    sleep(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_leased_count_goes_back_when_its_time_is_over_and_not_before() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let taken = take(&server, 10, HOUR).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    let told = taken.json();
    assert_eq!(
        (&told["replicaCount"], &told["previousReplicaCount"]),
        (&json!(10), &json!(3))
    );
    assert_eq!(told["lease"]["holder"], "alice");
    assert_eq!(
        (count(&cluster), server.count("web", "shop")),
        (10, Some(10))
    );
    let shown = read(&server).await.json();
    assert_eq!(
        (&shown["state"], &shown["previousReplicaCount"]),
        (&json!("held"), &json!(3))
    );
    assert_eq!(shown["until"], told["lease"]["until"]);
    let all = server.send(Method::GET, "/leases", &[], "").await.json();
    assert_eq!(all, json!([shown]));
    let detail = server
        .send(Method::GET, "/namespaces/web/deployments/shop", &[], "")
        .await;
    assert_eq!(detail.json()["lease"]["until"], shown["until"]);
    pass(&clock, HOUR - 10).await;
    assert_eq!((count(&cluster), objects(&cluster).len()), (10, 1));
    pass(&clock, 10).await;
    ends(&cluster, 5).await;
    assert_eq!(count(&cluster), 3);
    assert_eq!(read(&server).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_message_says_until_when_and_the_object_is_one_that_kubectl_shows() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let body = json!({"replicaCount": 10, "durationSeconds": 7200}).to_string();
    let headers = [JSON, ("x-reason", "a sale")];
    let taken = server.send(Method::PUT, LEASE, &headers, &body).await;
    let until = read(&server).await.json()["until"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        taken.json(),
        json!({"message": format!("Replica count leased until {until}.")})
    );
    let object = objects(&cluster).remove(0);
    assert_eq!(object["spec"]["holderIdentity"], "alice");
    assert_eq!(object["spec"]["leaseDurationSeconds"], 7200);
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(annotations["headcount/reason"], "a sale");
    assert_eq!(annotations["headcount/state"], "held");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_and_an_extension_keep_what_it_goes_back_to() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    assert_eq!(take(&server, 10, 60).await.status, 200);
    assert_eq!(take(&server, 20, 60).await.status, 200);
    assert_eq!(take(&server, 20, HOUR).await.status, 200);
    pass(&clock, 600).await;
    assert_eq!(count(&cluster), 20);
    let extended = extend(&server, HOUR).await;
    assert_eq!(extended.status, 200, "{:?}", extended.body);
    assert_eq!(extended.json()["lease"]["remainingSeconds"], HOUR);
    pass(&clock, HOUR - 600).await;
    assert_eq!((count(&cluster), objects(&cluster).len()), (20, 1));
    pass(&clock, 600).await;
    ends(&cluster, 5).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_lease_goes_back_at_once_or_keeps_its_count() {
    for (query, expected, reverted) in [("", 3, true), ("?keep=true", 10, false)] {
        let (cluster, clock) = (cluster(), Clock::default());
        let server = server(&cluster, &clock).await;
        take(&server, 10, HOUR).await;
        let tried = cancel(
            &server,
            &format!(
                "{query}{}dryRun=true",
                if query.is_empty() { "?" } else { "&" }
            ),
        )
        .await;
        assert_eq!((tried.status.as_u16(), count(&cluster)), (200, 10));
        let cancelled = cancel(&server, query).await;
        assert_eq!(cancelled.status, 200, "{:?}", cancelled.body);
        assert_eq!(cancelled.json()["reverted"], reverted);
        assert_eq!((count(&cluster), objects(&cluster).len()), (expected, 0));
        assert_eq!(server.count("web", "shop"), Some(expected));
        assert_eq!(cancel(&server, query).await.status, 404);
        pass(&clock, 2 * HOUR).await;
        assert_eq!(count(&cluster), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_sets_another_count_meanwhile_keeps_it_and_ends_the_lease() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    cluster.scale("web", "shop", 7);
    ends(&cluster, 15).await;
    pass(&clock, 2 * HOUR).await;
    assert_eq!(count(&cluster), 7);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_went_away_and_came_back_by_others_is_theirs() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    take(&server, 10, HOUR).await;
    cluster.scale("web", "shop", 7);
    cluster.scale("web", "shop", 10);
    assert_eq!(extend(&server, HOUR).await.status, 409);
    clock.advance(Duration::from_secs(2 * HOUR));
    let mut server = server;
    server.reverts(WriteRules::default);
    ends(&cluster, 15).await;
    assert_eq!(count(&cluster), 10);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_somebody_sets_to_the_same_is_that_ones_from_then_on() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    let bob = server.somebody("bob");
    let body = json!({"replicaCount": 10}).to_string();
    let path = "/namespaces/web/deployments/shop/replicas";
    let put = server.sending_as(&bob, Method::PUT, path, &[JSON], &body);
    assert_eq!(put.await.status, 200);
    ends(&cluster, 15).await;
    pass(&clock, 2 * HOUR).await;
    assert_eq!(count(&cluster), 10);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_the_count_that_is_there_lasts_its_time() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    server.put("web", "shop", 4, &[]).await;
    assert_eq!(take(&server, 4, HOUR).await.status, 200);
    pass(&clock, HOUR / 2).await;
    assert_eq!(objects(&cluster).len(), 1);
    pass(&clock, HOUR / 2).await;
    ends(&cluster, 5).await;
    assert_eq!(count(&cluster), 4);
}

#[tokio::test(start_paused = true)]
async fn a_new_lease_over_somebody_elses_count_goes_back_to_that_one() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    cluster.scale("web", "shop", 7);
    let taken = take(&server, 12, HOUR).await;
    assert_eq!(taken.json()["lease"]["previousReplicaCount"], 7);
    pass(&clock, HOUR).await;
    ends(&cluster, 5).await;
    assert_eq!(count(&cluster), 7);
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_deployment_is_gone_is_dropped() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    cluster.delete("web", "shop").unwrap();
    ends(&cluster, 15).await;
    let again = NewDeployment::new("web", "shop").replicas(5);
    cluster.create(again).unwrap();
    pass(&clock, 2 * HOUR).await;
    assert_eq!(count(&cluster), 5);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_may_not_come_back_stays_and_the_lease_ends() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    cluster.set_annotations("web", "shop", &[("headcount/min-replicas", "5")]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(cancel(&server, "").await.status, 422);
    pass(&clock, HOUR).await;
    ends(&cluster, 10).await;
    assert_eq!(count(&cluster), 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_back_while_the_server_is_read_only() {
    let (cluster, clock) = (cluster(), Clock::default());
    let taker = InProcess::leasing(&cluster, &rules(), &clock).await;
    take(&taker, 10, HOUR).await;
    let mut reader = InProcess::leasing(&cluster, &rules(), &clock).await;
    reader.reverts(|| WriteRules {
        read_only: true,
        ..WriteRules::default()
    });
    pass(&clock, 2 * HOUR).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((count(&cluster), objects(&cluster).len()), (10, 1));
    reader.stops_reverting().await;
    reader.reverts(WriteRules::default);
    ends(&cluster, 20).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_lease_is_refused_with_what_to_do() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    for body in [
        "{}",
        r#"{"replicaCount":1}"#,
        r#"{"replicaCount":-1,"durationSeconds":60}"#,
        r#"{"replicaCount":1,"durationSeconds":-60}"#,
        r#"{"replicaCount":1,"durationSeconds":1.5}"#,
        r#"{"replicaCount":1,"durationSeconds":60,"x":1}"#,
        "[1,60]",
    ] {
        let refused = server.send(Method::PUT, LEASE, &[JSON], body).await;
        assert_eq!(refused.status, 400, "{body}");
    }
    for seconds in [0, 9, 24 * HOUR + 1] {
        let refused = take(&server, 10, seconds).await;
        assert_eq!(refused.status, 422, "{seconds}");
        assert!(
            refused.json()["error"]
                .as_str()
                .unwrap()
                .contains("leases.longest")
        );
    }
    assert_eq!(take(&server, 20_000, HOUR).await.status, 422);
    assert_eq!(extend(&server, HOUR).await.status, 404);
    assert_eq!(cancel(&server, "").await.status, 404);
    assert_eq!(cancel(&server, "?keep=maybe").await.status, 400);
    assert_eq!(cancel(&server, "?kep=true").await.status, 400);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0));
    let other = server.send(Method::POST, LEASE, &[], "").await;
    assert_eq!(other.status, 405);
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_leases() {
    let (cluster, clock) = (cluster(), Clock::default());
    for n in 0..4 {
        cluster
            .create(NewDeployment::new("web", format!("d{n}")))
            .unwrap();
    }
    let server = server(&cluster, &clock).await;
    let body = json!({"replicaCount": 2, "durationSeconds": 60}).to_string();
    for n in 0..4 {
        let path = format!("/namespaces/web/deployments/d{n}/lease");
        let answer = server.send(Method::PUT, &path, &[JSON], &body).await;
        assert_eq!(answer.status, if n < 3 { 200 } else { 422 }, "{n}");
    }
    let listed = server
        .send(Method::GET, "/leases?namespace=web", &[], "")
        .await;
    assert_eq!(listed.json().as_array().unwrap().len(), 3);
    let listed = server
        .send(Method::GET, "/leases?namespace=other", &[], "")
        .await;
    assert_eq!(listed.json(), json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_lease_changes_nothing() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let body = json!({"replicaCount": 10, "durationSeconds": 60}).to_string();
    let path = format!("{LEASE}?dryRun=true");
    let tried = server
        .send(Method::PUT, &path, &[JSON, REPRESENTATION], &body)
        .await;
    assert_eq!(tried.status, 200, "{:?}", tried.body);
    assert_eq!(tried.json()["dryRun"], true);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_condition_on_the_count_holds_for_its_lease() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let tag = server.get("web", "shop", &[]).await.headers["etag"].clone();
    let tag = tag.to_str().unwrap();
    let body = json!({"replicaCount": 10, "durationSeconds": 60}).to_string();
    let conditional = [JSON, ("if-match", tag)];
    let first = server.send(Method::PUT, LEASE, &conditional, &body).await;
    assert_eq!(first.status, 200);
    let second = server.send(Method::PUT, LEASE, &conditional, &body).await;
    assert_eq!(second.status, 412);
    assert_eq!(objects(&cluster).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_leases_their_paths_say_what_to_set() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    for path in [LEASE, "/leases"] {
        let answer = server.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.json()["error"]
                .as_str()
                .unwrap()
                .contains("leases.namespace")
        );
    }
    assert_eq!(take(&server, 10, HOUR).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_left_as_it_is_and_told_of() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    let name = objects(&cluster)[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster.change_lease("headcount", &name, |lease| {
        lease["metadata"]["annotations"]["headcount/previous"] = "many".into();
    });
    pass(&clock, 2 * HOUR).await;
    assert_eq!((count(&cluster), objects(&cluster).len()), (10, 1));
    let listed = server.send(Method::GET, "/leases", &[], "").await;
    assert_eq!(listed.json(), json!([]));
    assert!(listed.headers.contains_key("warning"));
    assert_eq!(take(&server, 10, HOUR).await.status, 422);
}
