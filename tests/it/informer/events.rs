//! Events of a watch and their effect on the store.

use simkube::{Fault, NewDeployment, On, Rule};

use super::{create, empty, follows, seconds, small};
use crate::support::{InProcess, Shape};

const SOON: std::time::Duration = std::time::Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_created_appears() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    assert_eq!(informer.count("web", "new"), None);
    create(&cluster, "web", "new", 7);
    informer.converges(SOON).await;
    assert_eq!(informer.count("web", "new"), Some(7));
    assert_eq!(informer.stored().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_changes_is_followed_and_so_is_its_version() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    for count in [0, 5, 500_000_000] {
        let version = cluster.scale("web", "shop", count).unwrap();
        informer.converges(SOON).await;
        assert_eq!(informer.count("web", "shop"), Some(count));
        assert_eq!(informer.version(), version);
    }
    assert_eq!(informer.count("web", "cart"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_status_that_changes_moves_the_version_and_leaves_the_list_as_it_was() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let fingerprint = informer.status.store().snapshot().fingerprint();
    let version = cluster.touch_status("web", "shop").unwrap();
    informer.converges(SOON).await;
    let snapshot = informer.status.store().snapshot();
    assert_eq!(
        snapshot.get("web", "shop").unwrap().resource_version(),
        version
    );
    assert_eq!(snapshot.fingerprint(), fingerprint);
    cluster.scale("web", "shop", 4).unwrap();
    informer.converges(SOON).await;
    assert_ne!(
        informer.status.store().snapshot().fingerprint(),
        fingerprint
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_deleted_disappears() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let version = cluster.delete("web", "shop").unwrap();
    informer.converges(SOON).await;
    assert_eq!(informer.count("web", "shop"), None);
    assert_eq!(informer.version(), version);
    assert_eq!(informer.count("web", "cart"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_keeps_a_deleted_deployment_which_is_marked_until_it_is_gone() {
    let cluster = empty();
    cluster
        .create(NewDeployment::new("web", "shop").finalizer("example.com/wait"))
        .unwrap();
    let informer = InProcess::synced(&cluster).await;
    let deleting = || {
        informer
            .status
            .store()
            .snapshot()
            .get("web", "shop")
            .map(|r| r.deleting())
    };
    assert_eq!(deleting(), Some(false));
    cluster.delete("web", "shop").unwrap();
    informer.converges(SOON).await;
    assert_eq!(deleting(), Some(true));
    cluster.remove_finalizers("web", "shop").unwrap();
    informer.converges(SOON).await;
    assert_eq!(deleting(), None);
}

#[tokio::test(start_paused = true)]
async fn deleted_and_created_again_is_another_object() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let uid = || {
        informer
            .status
            .store()
            .snapshot()
            .get("web", "shop")
            .unwrap()
            .uid()
    };
    let before = uid();
    cluster.delete("web", "shop").unwrap();
    create(&cluster, "web", "shop", 3);
    informer.converges(SOON).await;
    assert_ne!(uid(), before);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_does_not_say_its_count_runs_one() {
    let cluster = small();
    cluster
        .create(NewDeployment::new("web", "listed").replicas(None))
        .unwrap();
    let informer = InProcess::synced(&cluster).await;
    assert_eq!(informer.count("web", "listed"), Some(1));
    cluster
        .create(NewDeployment::new("web", "watched").replicas(None))
        .unwrap();
    cluster.scale("web", "shop", None).unwrap();
    informer.converges(SOON).await;
    assert_eq!(informer.count("web", "watched"), Some(1));
    assert_eq!(informer.count("web", "shop"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn doubled_events_change_nothing_and_cause_no_relist() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster.faults().add(Rule::new(On::Event, Fault::Duplicate));
    for count in 10..30 {
        follows(&informer, count, SOON).await;
        create(&cluster, "web", "brief", count);
        cluster.delete("web", "brief").unwrap();
        informer.converges(SOON).await;
    }
    assert_eq!(cluster.counts().lists, 1);
}

#[tokio::test(start_paused = true)]
async fn events_out_of_order_are_made_good_by_one_relist() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let newest = informer.version();
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Reorder).times(1));
    cluster.scale("web", "shop", 8).unwrap();
    cluster.scale("web", "cart", 9).unwrap();
    informer.converges(seconds(1)).await;
    assert!(informer.version() > newest);
    assert_eq!(cluster.counts().lists, 2);
    follows(&informer, 11, SOON).await;
}

#[tokio::test(start_paused = true)]
async fn events_that_are_always_out_of_order_are_relisted_at_a_bounded_pace() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster.faults().add(Rule::new(On::Event, Fault::Reorder));
    for count in 0..600 {
        cluster
            .scale("web", ["shop", "cart"][count as usize % 2], 10 + count)
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let lists = cluster.counts().lists;
    assert!((5..=40).contains(&lists), "{lists} lists in a minute");
    cluster.faults().clear();
    // The last event may be held until its watch ends.
    informer.converges(seconds(30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_read_is_skipped_and_the_others_live_on() {
    for fault in [Fault::BadObject, Fault::WrongKind] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        cluster
            .faults()
            .add(Rule::new(On::Event, fault.clone()).times(1));
        cluster.scale("web", "shop", 8).unwrap();
        create(&cluster, "web", "new", 7);
        informer
            .until("the event behind it", SOON, || {
                informer.count("web", "new") == Some(7)
            })
            .await;
        assert_eq!(informer.count("web", "shop"), Some(3), "{fault:?}");
        follows(&informer, 9, SOON).await;
        assert_eq!(cluster.counts().lists, 1, "{fault:?}");
        assert_eq!(cluster.counts().watches, 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_arrive_together_are_all_applied() {
    let cluster = small();
    let informer = InProcess::start(&cluster);
    informer.shape(|_| Shape::Merged);
    informer.becomes_synced().await;
    // Several of one object among them, whose order matters.
    for count in 10..20 {
        cluster.scale("web", "shop", count).unwrap();
        cluster.touch_status("web", "cart").unwrap();
        cluster.delete("web", "brief");
        create(&cluster, "web", "brief", count);
    }
    cluster.delete("web", "cart").unwrap();
    informer.converges(SOON).await;
    assert_eq!(informer.count("web", "shop"), Some(19));
    assert_eq!(cluster.counts().lists, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_is_made_good_by_the_next_one_of_its_object() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Drop).times(1));
    cluster.scale("web", "shop", 8).unwrap();
    cluster.scale("web", "cart", 2).unwrap();
    informer
        .until("the event behind it", SOON, || {
            informer.count("web", "cart") == Some(2)
        })
        .await;
    cluster.touch_status("web", "shop").unwrap();
    informer.converges(SOON).await;
}

#[tokio::test(start_paused = true)]
async fn bookmarks_alone_advance_the_version() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster.advance_version(50);
    let version = cluster.resource_version();
    assert!(informer.version() < version);
    informer
        .until("a bookmark", seconds(25), || informer.version() == version)
        .await;
    assert_eq!(cluster.counts().lists, 1);
    // The next watch goes on from there, so that history before it may go.
    cluster.compact();
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(cluster.counts().lists, 1);
    follows(&informer, 4, SOON).await;
}
