//! Lists of a part: of one namespace, of what a selector selects, page by page over one snapshot.

mod conditions;
mod status;

use std::time::Duration;

use headcount::kubernetes::Managed;
use http::Method;
use proptest::{prelude::*, test_runner::TestRunner};
use simkube::{Cluster, NewDeployment, Options};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, InProcess};

const BASE: &str = "/api/v1";

fn cluster() -> Cluster {
    let cluster = Cluster::new(Options::default());
    for (namespace, name, team) in [
        ("db", "pg", "data"),
        ("web", "api", "shop"),
        ("web", "cart", "shop"),
        ("web", "site", "brand"),
        ("web-2", "x", "brand"),
    ] {
        let new = NewDeployment::new(namespace, name).label("team", team);
        cluster.create(new).unwrap();
    }
    cluster
}

async fn get(server: &InProcess, path: &str) -> Answer {
    server.send(Method::GET, path, &[], "").await
}

/// The names in a list.
pub(crate) fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    let name = |d: &serde_json::Value| d["name"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

/// The path of the next page.
pub(crate) fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let path = link.strip_prefix('<').unwrap();
    let path = path.strip_suffix(">; rel=\"next\"").unwrap();
    Some(path.strip_prefix(BASE).unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_namespaces_list_has_its_deployments_and_no_neighbours() {
    let server = InProcess::synced(&cluster()).await;
    let answer = get(&server, "/namespaces/web/deployments").await;
    assert_eq!(
        answer.text(),
        r#"[{"namespace":"web","name":"api","replicaCount":1},{"namespace":"web","name":"cart","replicaCount":1},{"namespace":"web","name":"site","replicaCount":1}]"#
    );
    let known = [("if-none-match", answer.header("etag"))];
    let path = "/namespaces/web/deployments";
    let again = server.send(Method::GET, path, &known, "").await;
    assert_eq!(again.status, 304);
    assert_eq!(
        get(&server, "/namespaces/none/deployments").await.text(),
        "[]"
    );
    for (path, status) in [
        ("/namespaces/WEB/deployments", 400),
        ("/namespaces/web/deployments/", 404),
        ("/namespaces/web/deployments?limit=0", 400),
        ("/namespaces/web/deployments?labelselector=team%3Dshop", 400),
        ("/deployments?labelSelector=(", 400),
        ("/deployments?limit=1&continue=00", 400),
    ] {
        assert_eq!(get(&server, path).await.status, status, "{path}");
    }
    let whole = get(&server, "/deployments").await;
    assert_eq!(
        get(&server, "/deployments?pretty").await.text(),
        whole.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_managed_is_not_an_empty_one() {
    let managed = Managed {
        namespaces: vec!["web".into(), "empty".into()],
        ..Managed::default()
    };
    let server = InProcess::managing(&cluster(), managed);
    let early = get(&server, "/namespaces/web/deployments").await;
    assert_eq!(early.status, 503);
    server.becomes_synced().await;
    assert_eq!(
        get(&server, "/namespaces/empty/deployments").await.text(),
        "[]"
    );
    let other = get(&server, "/namespaces/db/deployments").await;
    assert_eq!(other.status, 404);
    assert!(other.text().contains("managed"), "{}", other.text());
}

#[tokio::test(start_paused = true)]
async fn a_selector_of_labels_that_nobody_needed_before_has_them_read_first() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    for (selector, found) in [
        ("team%3Dshop", vec!["api", "cart"]),
        ("team+in+(data,brand)", vec!["pg", "site", "x"]),
        ("team!%3Dshop,team", vec!["pg", "site", "x"]),
        ("!team", vec![]),
        ("", vec!["pg", "api", "cart", "site", "x"]),
    ] {
        let path = format!("/deployments?labelSelector={selector}");
        assert_eq!(names(&get(&server, &path).await), found, "{selector}");
    }
    let path = "/namespaces/web/deployments?labelSelector=team%3Dbrand";
    assert_eq!(names(&get(&server, path).await), ["site"]);
    let lists = server.sent().iter().filter(|s| s.is_list()).count();
    assert_eq!(lists, 2, "the key was learnt once");
    cluster
        .set_labels("web", "api", &[("team", "brand")])
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&get(&server, path).await), ["api", "site"]);
}

#[tokio::test(start_paused = true)]
async fn callers_with_ever_new_keys_get_no_more_than_a_list_every_ten_seconds() {
    let server = InProcess::synced(&cluster()).await;
    let first = get(&server, "/deployments?labelSelector=team").await;
    assert_eq!(names(&first).len(), 5);
    let began = Instant::now();
    let mut refused = 0;
    for key in 0..30 {
        let path = format!("/deployments?labelSelector=!k{key}");
        let answer = get(&server, &path).await;
        match answer.status.as_u16() {
            503 => {
                assert!(answer.headers.contains_key("retry-after"));
                refused += 1;
            }
            _ => assert_eq!(names(&answer).len(), 5),
        }
        // What is known already doesn't wait for anybody.
        let asked = Instant::now();
        assert_eq!(
            names(&get(&server, "/deployments?labelSelector=team").await).len(),
            5
        );
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    assert!(refused > 0);
    let lists = server.sent().iter().filter(|s| s.is_list()).count();
    let most = 3 + began.elapsed().as_secs() / 10;
    assert!(
        lists as u64 <= most,
        "{lists} lists in {:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn pages_are_those_of_the_snapshot_of_the_first_one() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    let first = get(&server, "/deployments?limit=2").await;
    assert_eq!(names(&first), ["pg", "api"]);
    cluster.delete("web", "cart").unwrap();
    cluster.create(NewDeployment::new("web", "bar")).unwrap();
    sleep(Duration::from_secs(1)).await;
    let path = next(&first).unwrap();
    let second = get(&server, &path).await;
    assert_eq!(names(&second), ["cart", "site"]);
    assert_eq!(
        second.header("x-resource-version"),
        first.header("x-resource-version")
    );
    assert_eq!(
        names(&get(&server, &path).await),
        ["cart", "site"],
        "a page can be read again"
    );
    let third = get(&server, &next(&second).unwrap()).await;
    assert_eq!((names(&third), next(&third)), (vec!["x".to_owned()], None));
    assert_eq!(
        names(&get(&server, "/deployments?limit=3").await),
        ["pg", "api", "bar"]
    );
    let elsewhere = path.replace("/deployments", "/namespaces/web/deployments");
    assert_eq!(get(&server, &elsewhere).await.status, 400);
    let other = format!("{path}&labelSelector=team");
    assert_eq!(get(&server, &other).await.status, 400);
    sleep(Duration::from_secs(61)).await;
    let late = get(&server, &path).await;
    assert_eq!(late.status, 410);
    assert!(late.text().contains("begin anew"), "{}", late.text());
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_server_is_gone() {
    let cluster = cluster();
    let (one, other) = (
        InProcess::synced(&cluster).await,
        InProcess::synced(&cluster).await,
    );
    let path = next(&get(&one, "/deployments?limit=1").await).unwrap();
    assert_eq!(get(&other, &path).await.status, 410);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_too_many_walks_is_forgotten() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    let mut pages = Vec::new();
    for count in 2..8 {
        pages.push(next(&get(&server, "/deployments?limit=1").await).unwrap());
        cluster.scale("web", "api", count).unwrap();
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(get(&server, &pages[0]).await.status, 410);
    assert_eq!(get(&server, &pages[5]).await.status, 200);
}

#[test]
fn the_pages_of_a_walk_are_the_list_as_it_was_when_the_walk_began() {
    let walks = (
        prop::collection::btree_set((0u8..4, 0u16..40), 0..60),
        prop::collection::vec((0u8..4, 0u16..40, any::<bool>()), 0..40),
        1usize..12,
        prop::sample::select(vec!["", "even%3Dyes", "even!%3Dyes", "even"]),
        any::<bool>(),
    );
    let config = ProptestConfig::with_cases(24);
    TestRunner::new(config)
        .run(&walks, |(start, changes, limit, selector, one)| {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
            runtime.block_on(walk(start, changes, limit, selector, one));
            Ok(())
        })
        .unwrap();
}

async fn walk(
    start: std::collections::BTreeSet<(u8, u16)>,
    changes: Vec<(u8, u16, bool)>,
    limit: usize,
    selector: &str,
    one: bool,
) {
    let cluster = Cluster::new(Options::default());
    let create = |n: u8, d: u16| {
        let new = NewDeployment::new(format!("n{n}"), format!("d{d}"));
        let even = if d.is_multiple_of(2) { "yes" } else { "no" };
        cluster.create(new.label("even", even));
    };
    start.iter().for_each(|(n, d)| create(*n, *d));
    let server = InProcess::synced(&cluster).await;
    let list = if one {
        "/namespaces/n1/deployments"
    } else {
        "/deployments"
    };
    let list = format!("{list}?labelSelector={selector}");
    let whole = get(&server, &list).await.json();
    let mut page = Some(format!("{list}&limit={limit}"));
    let mut pages = Vec::new();
    let mut changes = changes.into_iter();
    while let Some(path) = page {
        let answer = get(&server, &path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let items = answer.json().as_array().unwrap().clone();
        page = next(&answer);
        assert!(items.len() == limit || page.is_none() && items.len() < limit);
        pages.extend(items);
        for (n, d, there) in changes.by_ref().take(5) {
            if there {
                create(n, d);
            } else {
                cluster.delete(&format!("n{n}"), &format!("d{d}"));
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(serde_json::Value::Array(pages), whole);
}

/// Run by hand: what pages and selectors cost with many Deployments.
#[tokio::test]
#[ignore = "a measurement"]
async fn measured() {
    let cluster = Cluster::new(Options::default());
    for i in 0..100_000 {
        let new = NewDeployment::new(format!("ns-{:03}", i / 500), format!("deployment-{i:06}"));
        let team = format!("t{}", i % 100);
        cluster.create(new.label("team", &team));
    }
    let server = InProcess::synced(&cluster).await;
    let (began, mut asked) = (Instant::now(), 1);
    while get(&server, "/deployments?labelSelector=team&limit=1")
        .await
        .status
        != 200
    {
        assert!(asked < 12, "the label isn't there after {asked} requests");
        asked += 1;
    }
    println!("a label learnt: {:?}, {asked} requests", began.elapsed());
    for path in [
        "/deployments?limit=500",
        "/namespaces/ns-190/deployments?limit=500",
        "/namespaces/ns-190/deployments",
        "/deployments?limit=10000",
        "/deployments?labelSelector=team%3Dt7",
        "/deployments?labelSelector=team+notin+(t7,t8)",
    ] {
        let began = std::time::Instant::now();
        for _ in 0..10 {
            assert_eq!(get(&server, path).await.status, 200);
        }
        println!("{path}: {:?}", began.elapsed() / 10);
    }
}
