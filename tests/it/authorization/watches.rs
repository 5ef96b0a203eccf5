//! What a watch shows, and that it ends with the access that it was opened by.

use simkube::NewDeployment;

use super::Governed;
use crate::support::{Events, SimCluster};

const WATCH: &str = "/deployments?watch";

fn rules(rules: &str) -> String {
    format!("authorization:\n  mode: policy\n  rules:\n{rules}")
}

const FRONT: &str =
    "    - {name: front, subjects: [alice], verbs: [list, watch], labelSelector: 'tier=front'}\n";
const ALL: &str = "    - {name: all, subjects: [bob], verbs: ['*']}\n";

async fn governed() -> Governed {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let front = NewDeployment::new("web", "page").label("tier", "front");
    sim.cluster.create(front.replicas(2)).unwrap();
    Governed::by(&rules(&format!("{FRONT}{ALL}")), sim).await
}

#[tokio::test]
async fn what_a_label_moves_into_sight_is_added_and_out_of_it_deleted() {
    let governed = governed().await;
    let cluster = &governed.sim.cluster;
    let mut watch = Events::open(&governed.client("alice"), WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
    cluster.scale("web", "shop", 9);
    cluster.set_labels("web", "shop", &[("tier", "front")]);
    assert_eq!(watch.told().await, "added web/shop=9");
    cluster.scale("web", "shop", 8);
    assert_eq!(watch.told().await, "changed web/shop=8");
    cluster.set_labels("web", "shop", &[("tier", "back")]);
    assert_eq!(watch.told().await, "deleted web/shop=8");
    cluster.delete("web", "page");
    assert_eq!(watch.told().await, "deleted web/page=2");
}

#[tokio::test]
async fn nobody_watches_without_the_permission() {
    let governed = governed().await;
    let watch = Events::open(&governed.client("mallory"), WATCH, &[]).await;
    assert_eq!(watch.status, 403);
}

#[tokio::test]
async fn a_watch_ends_when_a_reload_changes_what_is_seen_and_goes_on_when_it_does_not() {
    let governed = governed().await;
    let (alice, bob) = (governed.client("alice"), governed.client("bob"));
    let mut front = Events::open(&alice, WATCH, &[]).await;
    let mut all = Events::open(&bob, WATCH, &[]).await;
    assert_eq!(front.told().await, "snapshot of 1");
    assert_eq!(all.told().await, "snapshot of 2");
    governed.becomes(&rules(ALL));
    assert_eq!(front.told().await, "end");
    governed.sim.cluster.scale("web", "shop", 7);
    assert_eq!(all.told().await, "changed web/shop=7");
    let id = front.last_id.clone();
    let again = Events::open(&alice, WATCH, &[("last-event-id", &*id)]).await;
    assert_eq!(again.status, 403);
}

#[tokio::test]
async fn an_id_of_another_sight_begins_with_a_snapshot() {
    let governed = governed().await;
    let mut front = Events::open(&governed.client("alice"), WATCH, &[]).await;
    front.told().await;
    let id = [("last-event-id", &*front.last_id)];
    let mut all = Events::open(&governed.client("bob"), WATCH, &id).await;
    assert_eq!(all.told().await, "snapshot of 2");
}
