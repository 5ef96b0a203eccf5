//! Lists: several pages, and listing again after 410 wherever it comes.

use std::time::Duration;

use headcount::kubernetes::Connection;
use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{create, empty, follows, paged, seconds, small};
use crate::support::{InProcess, Sent};

#[tokio::test(start_paused = true)]
async fn a_list_of_several_pages_is_complete_and_in_order() {
    let cluster = paged();
    let informer = InProcess::start(&cluster);
    informer.converges(seconds(5)).await;
    assert_eq!(informer.stored().len(), 4500);
    assert!(informer.stored().is_sorted());
    assert_eq!(informer.sent().iter().filter(|s| s.is_list()).count(), 3);
    assert!(
        !informer
            .sent()
            .iter()
            .any(|s| s.uri.query().unwrap().contains("resourceVersion=0"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_cluster_is_synced() {
    let cluster = empty();
    let informer = InProcess::synced(&cluster).await;
    assert_eq!(informer.stored(), []);
    assert_eq!(informer.status.connection(), Connection::Connected);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_complete_list_nothing_is_synced_and_nothing_is_shown() {
    let cluster = paged();
    let hung = cluster
        .faults()
        .add(Rule::new(On::Page(3), Fault::Delay(seconds(8))));
    let informer = InProcess::start(&cluster);
    for _ in 0..7 {
        sleep(seconds(1)).await;
        assert!(matches!(
            informer.status.connection(),
            Connection::NotSynced(_)
        ));
        assert!(!informer.status.store().snapshot().synced());
        assert_eq!(informer.stored(), []);
    }
    cluster.faults().remove(hung);
    informer.converges(seconds(5)).await;
    assert_eq!(informer.status.connection(), Connection::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_while_it_is_paged_stays_one_snapshot() {
    let cluster = paged();
    let late = cluster
        .faults()
        .add(Rule::new(On::Page(2), Fault::Delay(seconds(2))));
    let watch = cluster.faults().add(Rule::new(On::Watch, Fault::Hang));
    let informer = InProcess::start(&cluster);
    let (then, version) = (informer.existing(), cluster.resource_version());
    sleep(seconds(1)).await;
    cluster.delete("team-6", "app-4499");
    cluster.delete("team-0", "app-0000").unwrap();
    cluster.scale("team-5", "app-0005", 77).unwrap();
    create(&cluster, "aaa", "first", 1);
    create(&cluster, "zzz", "last", 1);
    informer.becomes_synced().await;
    assert!(
        informer.stored() == then,
        "neither what was before nor what came after may be mixed in"
    );
    assert_eq!(informer.version(), version);
    cluster.faults().remove(late);
    cluster.faults().remove(watch);
    informer.converges(seconds(1)).await;
    assert_eq!(cluster.counts().lists, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_disconnected_is_gone_when_the_watch_goes_on() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let away = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    sleep(seconds(1)).await;
    cluster.delete("web", "shop").unwrap();
    create(&cluster, "web", "new", 2);
    sleep(seconds(5)).await;
    assert_eq!(informer.count("web", "shop"), Some(3));
    cluster.faults().remove(away);
    informer.converges(seconds(6)).await;
    assert_eq!(
        cluster.counts().lists,
        1,
        "history was there, so no list was needed"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_disconnected_is_gone_after_the_relist() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let away = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    sleep(seconds(1)).await;
    cluster.delete("web", "shop").unwrap();
    cluster.delete("web", "cart").unwrap();
    create(&cluster, "web", "cart", 1);
    cluster.compact();
    cluster.faults().remove(away);
    informer.converges(seconds(6)).await;
    assert_eq!(informer.count("web", "shop"), None);
    assert_eq!(cluster.counts().lists, 2);
    follows_with(&informer, "cart").await;
}

async fn follows_with(informer: &InProcess, name: &str) {
    informer.cluster.scale("web", name, 99).unwrap();
    informer.converges(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expires_in_the_middle_is_made_good_by_one_relist() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Expired).times(1));
    assert!(follows(&informer, 8, seconds(1)).await < seconds(1));
    assert_eq!(cluster.counts().lists, 2);
    follows(&informer, 9, seconds(1)).await;
    assert_eq!(cluster.counts().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expires_as_it_starts_is_made_good_by_one_relist() {
    // In the stream, and as an HTTP status.
    for gone in [Fault::Expired, Fault::status(410)] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        sleep(seconds(1)).await;
        let rule = cluster
            .faults()
            .add(Rule::new(On::Watch, gone.clone()).times(1));
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Break));
        cluster.scale("web", "shop", 8).unwrap();
        informer.converges(seconds(1)).await;
        assert_eq!(cluster.faults().fired(rule), 1, "{gone:?}");
        assert_eq!(cluster.counts().lists, 2, "{gone:?}");
        follows(&informer, 9, seconds(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_between_two_pages_begins_anew() {
    let cluster = paged();
    // The informer's own, and one that takes so long that history is compacted away under it.
    let rule = cluster
        .faults()
        .add(Rule::new(On::Page(2), Fault::Expired).times(1));
    let late = cluster
        .faults()
        .add(Rule::new(On::Page(3), Fault::Delay(seconds(2))).times(1));
    let informer = InProcess::start(&cluster);
    sleep(seconds(1)).await;
    cluster.delete("team-0", "app-0000").unwrap();
    cluster.compact();
    assert_eq!(informer.stored(), []);
    informer.becomes_synced().await;
    assert_eq!(informer.stored().len(), 4499, "a list cut short");
    informer.converges(seconds(10)).await;
    assert_eq!(
        (cluster.faults().fired(rule), cluster.faults().fired(late)),
        (1, 1)
    );
    assert_eq!(cluster.counts().lists, 3);
}

/// Makes the watch expire, so that the informer lists again.
fn expire(informer: &InProcess) {
    informer
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Expired).times(1));
    informer.cluster.touch_status("team-1", "app-0001").unwrap();
}

#[tokio::test(start_paused = true)]
async fn readers_see_the_old_state_until_a_relist_is_complete() {
    let cluster = paged();
    let informer = InProcess::synced(&cluster).await;
    let before = informer.stored();
    cluster
        .faults()
        .add(Rule::new(On::Page(2), Fault::Expired).times(1));
    cluster
        .faults()
        .add(Rule::new(On::Page(2), Fault::Delay(seconds(4))).times(1));
    for i in (0..4500).step_by(7) {
        cluster
            .faults()
            .add(Rule::new(On::Event, Fault::Drop).times(1));
        cluster.delete("team-0", &format!("app-{i:04}")).unwrap();
    }
    sleep(seconds(1)).await;
    expire(&informer);
    let start = Instant::now();
    while start.elapsed() < seconds(4) {
        assert!(
            informer.stored() == before,
            "changed after {:?}",
            start.elapsed()
        );
        sleep(Duration::from_millis(100)).await;
    }
    informer.converges(seconds(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_relist_that_never_completes_is_told_by_health_and_ages_the_copy() {
    let cluster = paged();
    let informer = InProcess::synced(&cluster).await;
    sleep(seconds(5)).await;
    let never = cluster.faults().add(Rule::new(On::Page(3), Fault::Expired));
    expire(&informer);
    let (_, why) = informer.is_lost(seconds(12)).await;
    assert!(why.contains("no watch"), "{why}");
    sleep(seconds(20)).await;
    assert!(
        informer.status.age() > seconds(25),
        "{:?}",
        informer.status.age()
    );
    cluster.faults().remove(never);
    informer.is_connected(seconds(30)).await;
    informer.converges(seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn relists_in_a_row_are_paced() {
    for gone in [Fault::Expired, Fault::status(410)] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        let rule = cluster.faults().add(Rule::new(On::Watch, gone.clone()));
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Break));
        let start = Instant::now();
        sleep(seconds(60)).await;
        let lists = informer.sent_since(start, Sent::is_list);
        assert!(
            (8..=30).contains(&lists),
            "{lists} lists in a minute with {gone:?}"
        );
        // Each list brings the store up to date, watch or none.
        follows(&informer, 8, seconds(6)).await;
        cluster.faults().remove(rule);
        informer.is_connected(seconds(10)).await;
        follows(&informer, 9, seconds(6)).await;
    }
}
