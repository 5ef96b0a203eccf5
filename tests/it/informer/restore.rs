//! Versions that go back: a stale answer is refused, a cluster that was restored from a backup is recognised.

use std::time::Duration;

use headcount::kubernetes::Managed;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule, Snapshot};
use tokio::time::{Instant, sleep};

use super::{create, follows, seconds, small};
use crate::support::{InProcess, Sent};

/// A cluster that has moved on since a backup: one Deployment more, one less, one other count.
fn with_backup() -> (Cluster, Snapshot) {
    let cluster = small();
    let backup = cluster.snapshot();
    cluster.scale("web", "shop", 30).unwrap();
    cluster.delete("web", "cart").unwrap();
    create(&cluster, "web", "new", 1);
    cluster.advance_version(100);
    cluster.touch_status("web", "shop").unwrap();
    (cluster, backup)
}

#[tokio::test(start_paused = true)]
async fn a_restored_cluster_is_recognised_and_listed_anew() {
    let (cluster, backup) = with_backup();
    let informer = InProcess::synced(&cluster).await;
    assert_eq!(informer.count("web", "shop"), Some(30));
    sleep(seconds(10)).await;
    cluster.restore(&backup);
    informer.converges(seconds(15)).await;
    assert_eq!(informer.count("web", "shop"), Some(3));
    assert_eq!(informer.count("web", "cart"), Some(1));
    assert_eq!(informer.count("web", "new"), None);
    informer
        .until("the lower version", seconds(1), || {
            informer.version() == backup.resource_version()
        })
        .await;
    follows(&informer, 4, seconds(1)).await;
    informer.is_connected(seconds(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_restored_while_it_was_away_is_recognised_too() {
    let (cluster, backup) = with_backup();
    let informer = InProcess::synced(&cluster).await;
    let away = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    sleep(seconds(30)).await;
    cluster.restore(&backup);
    cluster.faults().remove(away);
    informer.converges(seconds(15)).await;
    follows(&informer, 4, seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_restored_while_a_relist_fails_is_recognised_too() {
    let (cluster, backup) = with_backup();
    let informer = InProcess::synced(&cluster).await;
    // The watch reports an error, and before the list works again the cluster is an older one.
    let broken = cluster
        .faults()
        .add(Rule::new(On::List, Fault::status(500)));
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::status(500)).times(1));
    cluster.touch_status("web", "shop").unwrap();
    sleep(seconds(5)).await;
    cluster.restore(&backup);
    cluster.faults().remove(broken);
    informer.converges(seconds(15)).await;
    follows(&informer, 4, seconds(1)).await;
    informer.is_connected(seconds(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_recognised_where_one_namespace_alone_was_ahead() {
    let cluster = small();
    create(&cluster, "db", "store", 2);
    let namespaces = vec!["db".to_owned(), "web".to_owned()];
    let managed = Managed {
        namespaces,
        label_selector: None,
    };
    let informer = InProcess::managing(&cluster, managed);
    informer.becomes_synced().await;
    let backup = cluster.snapshot();
    // The other namespace's watch has seen nothing newer than the backup.
    follows(&informer, 8, seconds(1)).await;
    assert_eq!(informer.version(), backup.resource_version());
    cluster.restore(&backup);
    informer.converges(seconds(15)).await;
    assert_eq!(informer.count("web", "shop"), Some(3));
    follows(&informer, 4, seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_older_than_what_was_seen_is_refused() {
    let cluster = small();
    let stale = {
        let old = Cluster::new(Options::default());
        old.create(NewDeployment::new("web", "old").replicas(5))
            .unwrap();
        old
    };
    let informer = InProcess::synced(&cluster).await;
    follows(&informer, 8, seconds(1)).await;
    let version = informer.version();
    assert!(stale.resource_version() < version);
    // An API server behind the others answers lists, another one all else.
    let behind = stale.service();
    informer.detour(move |sent| sent.is_list().then(|| behind.clone()));
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Expired).times(1));
    cluster.scale("web", "shop", 9).unwrap();
    let start = Instant::now();
    while start.elapsed() < seconds(30) {
        assert_eq!(
            (informer.version(), informer.count("web", "old")),
            (version, None)
        );
        sleep(Duration::from_millis(100)).await;
    }
    let (_, why) = informer.is_lost(seconds(1)).await;
    assert!(why.contains("older than"), "{why}");
    let lists = informer.sent_since(start, Sent::is_list);
    assert!((5..=30).contains(&lists), "{lists} lists in half a minute");
    informer.no_detour();
    informer.converges(seconds(6)).await;
    informer.is_connected(seconds(3)).await;
}

#[tokio::test(start_paused = true)]
async fn one_stale_probe_is_not_taken_for_a_restore() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    follows(&informer, 8, seconds(1)).await;
    let behind = {
        let old = Cluster::new(Options::default());
        old.create(NewDeployment::new("web", "old").replicas(5))
            .unwrap();
        old.service()
    };
    // Every other probe comes from an API server that is behind.
    let nth = std::sync::atomic::AtomicU64::new(0);
    informer.detour(move |sent| {
        let odd =
            sent.is_probe() && nth.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 == 1;
        odd.then(|| behind.clone())
    });
    sleep(seconds(60)).await;
    assert_eq!(cluster.counts().lists, 1);
    follows(&informer, 9, seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_server_that_is_behind_stays_silent_and_then_catches_up() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    follows(&informer, 8, seconds(1)).await;
    let version = informer.version();
    let stale = cluster
        .faults()
        .add(Rule::new(On::Any, Fault::Stale { at: version - 1 }));
    cluster.faults().add(Rule::new(On::OpenWatches, Fault::End));
    cluster.scale("web", "shop", 9).unwrap();
    for _ in 0..300 {
        assert!(informer.version() >= version);
        sleep(Duration::from_millis(100)).await;
    }
    cluster.faults().remove(stale);
    informer.converges(seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_large_for_an_api_server_is_waited_for() {
    // As the answer to a watch, and in the stream.
    for on in [On::Watch, On::Event] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        follows(&informer, 8, seconds(1)).await;
        let behind = cluster.faults().add(Rule::new(on, Fault::TooLargeVersion));
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Break));
        let (start, version) = (Instant::now(), informer.version());
        while start.elapsed() < seconds(60) {
            cluster.touch_status("web", "shop").unwrap();
            assert!(informer.version() >= version, "{on:?}");
            sleep(Duration::from_millis(500)).await;
        }
        let requests = informer.sent_since(start, |sent| !sent.is_probe());
        assert!(
            (10..=35).contains(&requests),
            "{requests} requests in a minute of {on:?}"
        );
        // Its Retry-After is obeyed: no two watches are closer than a second; and a list would say nothing new.
        informer.is_lost(seconds(1)).await;
        assert_eq!(informer.sent_since(start, Sent::is_list), 0, "{on:?}");
        cluster.faults().remove(behind);
        follows(&informer, 9, seconds(6)).await;
        informer.is_connected(seconds(6)).await;
    }
}
