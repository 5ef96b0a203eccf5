//! What of lists callers see that may see a part of them, and what becomes of that between two pages.

use std::time::Duration;

use http::Method;
use simkube::{AccessReview, NewDeployment, Verdict};

use super::Governed;
use crate::lists::{names, next};
use crate::support::{Answer, Client, SimCluster, eventually};

const WITHIN: Duration = Duration::from_secs(5);

async fn cluster() -> SimCluster {
    let sim = SimCluster::start().await;
    for (namespace, name) in [("ops", "cron"), ("web", "page"), ("web", "shop")] {
        let new = NewDeployment::new(namespace, name).label("tier", name);
        sim.cluster.create(new).unwrap();
    }
    sim
}

/// Alice may list in `web`, and nobody else may anything.
fn only_web(review: &AccessReview) -> Verdict {
    let AccessReview { user, verb, .. } = review;
    let reads = ["get", "list"].contains(&verb.as_str());
    Verdict::allowed(user == "headcount:alice" && reads && review.namespace == "web")
}

#[tokio::test]
async fn who_may_list_one_namespace_of_the_cluster_lists_that_one_and_a_part_of_all() {
    let sim = cluster().await;
    sim.cluster.set_authorizer(only_web);
    let governed = Governed::by("authorization: {mode: kubernetes}\n", sim).await;
    let alice = governed.client("alice");
    let get = async |path: &str| alice.get(path).await;
    let own = get("/namespaces/web/deployments").await;
    assert_eq!(names(&own), ["page", "shop"]);
    let selected = get("/namespaces/web/deployments?labelSelector=tier%3Dshop").await;
    assert_eq!(names(&selected), ["shop"]);
    let first = get("/deployments?limit=1").await;
    assert_eq!(names(&first), ["page"]);
    let last = get(&next(&first).unwrap()).await;
    assert_eq!((names(&last), next(&last)), (vec!["shop".into()], None));
    assert_eq!(get("/namespaces/web/deployments/shop").await.status, 200);
    for path in [
        "/namespaces/ops/deployments",
        "/namespaces/none/deployments",
        "/namespaces/ops/deployments/cron",
    ] {
        assert_eq!(get(path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn who_may_list_nothing_has_the_cluster_list_nothing() {
    let sim = cluster().await;
    sim.cluster.set_authorizer(only_web);
    let governed = Governed::by("authorization: {mode: kubernetes}\n", sim).await;
    let stranger = governed.client("stranger");
    for path in [
        "/deployments?labelSelector=never-asked-for",
        "/namespaces/web/deployments?labelSelector=never-asked-for",
        "/namespaces/web/deployments?limit=1",
    ] {
        let refused = stranger.get(path).await;
        assert_eq!(refused.status, 403, "{path}");
        let sentence = r#"the cluster doesn't let its user \"headcount:stranger\" list deployments (apiGroup apps)"#;
        assert!(
            refused.text().contains(sentence),
            "{path}: {}",
            refused.text()
        );
    }
    let watch = stranger.get("/deployments?watch").await;
    assert_eq!(watch.status, 403);
    assert!(
        watch
            .text()
            .contains(r#"\"headcount:stranger\" watch deployments"#),
        "{}",
        watch.text()
    );
    let asked = governed.sim.cluster.requests();
    let lists = asked.iter().filter(|r| {
        r.path == "/apis/apps/v1/deployments"
            && !r.query.contains("watch")
            && r.query.contains("limit=")
    });
    let lists = lists.filter(|r| !r.query.contains("limit=1&") && !r.query.ends_with("limit=1"));
    assert_eq!(lists.count(), 1, "the informer's own: {asked:?}");
}

fn rule(verbs: &str, more: &str) -> String {
    format!(
        "authorization:\n  mode: policy\n  rules:\n    - name: all\n      subjects: ['*']\n      verbs: {verbs}\n{more}"
    )
}

async fn becomes(
    governed: &Governed,
    client: &Client,
    settings: &str,
    shows: impl Fn(&Answer) -> bool,
) {
    governed.becomes(settings);
    let path = "/deployments";
    eventually(WITHIN, "the other policy", async || {
        shows(&client.send(Method::GET, path, &[], "").await)
    })
    .await;
}

#[tokio::test]
async fn a_page_shows_what_its_caller_may_see_when_it_asks_for_it() {
    let governed = Governed::by(&rule("['*']", ""), cluster().await).await;
    let alice = governed.client("alice");
    let first = alice.get("/deployments?limit=1").await;
    assert_eq!(names(&first), ["cron"]);
    let path = next(&first).unwrap();
    assert_eq!(names(&alice.get(&path).await), ["page"]);
    let only_shop = rule("['*']", "      deployments: [shop]\n");
    becomes(&governed, &alice, &only_shop, |list| {
        names(list) == ["shop"]
    })
    .await;
    let page = alice.get(&path).await;
    assert_eq!((names(&page), next(&page)), (vec!["shop".into()], None));
    let ops = rule("['*']", "      namespaces: [ops]\n");
    becomes(&governed, &alice, &ops, |list| {
        list.status == 200 && names(list) == ["cron"]
    })
    .await;
    let page = alice.get(&path).await;
    assert_eq!((page.text(), next(&page)), ("[]", None));
    // The snapshot of the first page has no labels to judge by.
    let front = rule("['*']", "      labelSelector: tier=page\n");
    becomes(&governed, &alice, &front, |list| {
        list.status == 200 && names(list) == ["page"]
    })
    .await;
    assert_eq!(alice.get(&path).await.status, 410);
    becomes(&governed, &alice, &rule("[get]", ""), |list| {
        list.status == 403
    })
    .await;
    assert_eq!(alice.get(&path).await.status, 403);
}
