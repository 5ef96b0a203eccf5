//! Silence: what hangs is noticed, told by health, replaced, and heals.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use headcount::kubernetes::Connection;
use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{follows, paged, seconds, small};
use crate::support::{InProcess, Sent, Shape};

#[tokio::test(start_paused = true)]
async fn a_first_list_that_hangs_is_asked_for_again() {
    let cluster = small();
    let hung = cluster
        .faults()
        .add(Rule::new(On::List, Fault::Hang).times(1));
    let informer = InProcess::start(&cluster);
    let took = informer.converges(seconds(30)).await;
    assert!(took > seconds(5), "{took:?}");
    assert_eq!(cluster.faults().fired(hung), 1);
    assert_eq!(informer.status.connection(), Connection::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_between_two_pages_is_asked_for_again() {
    let cluster = paged();
    let hung = cluster
        .faults()
        .add(Rule::new(On::Page(2), Fault::Hang).times(1));
    let informer = InProcess::start(&cluster);
    informer.converges(seconds(30)).await;
    assert_eq!(cluster.faults().fired(hung), 1);
    assert_eq!(cluster.counts().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_trickles_is_asked_for_again() {
    let cluster = small();
    let informer = InProcess::start(&cluster);
    let first = AtomicBool::new(true);
    informer.shape(move |sent| {
        let trickles = sent.is_list() && first.swap(false, Ordering::Relaxed);
        if trickles {
            Shape::Trickled(seconds(5))
        } else {
            Shape::AsSent
        }
    });
    informer.converges(seconds(90)).await;
    assert_eq!(cluster.counts().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_start_that_hangs_is_asked_for_again() {
    let cluster = small();
    let hung = cluster
        .faults()
        .add(Rule::new(On::Watch, Fault::Hang).times(1));
    let informer = InProcess::synced(&cluster).await;
    follows(&informer, 8, seconds(30)).await;
    assert_eq!(cluster.faults().fired(hung), 1);
    assert_eq!(informer.status.connection(), Connection::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_in_words_that_trickle_is_asked_for_again() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    sleep(seconds(1)).await;
    let refused = cluster
        .faults()
        .add(Rule::new(On::Watch, Fault::status(500)).times(1));
    informer.shape(|sent| match sent.is_watch() {
        true => Shape::Trickled(seconds(9)),
        false => Shape::AsSent,
    });
    cluster.faults().add(Rule::new(On::OpenWatches, Fault::End));
    informer
        .until("the watch after it", seconds(30), || {
            cluster.counts().watches == 3
        })
        .await;
    assert_eq!(cluster.faults().fired(refused), 1);
    informer.shape(|_| Shape::AsSent);
    follows(&informer, 8, seconds(30)).await;
}

#[tokio::test(start_paused = true)]
async fn watch_starts_that_keep_hanging_are_told_by_health() {
    let cluster = small();
    let hung = cluster.faults().add(Rule::new(On::Watch, Fault::Hang));
    let informer = InProcess::synced(&cluster).await;
    let (_, why) = informer.is_lost(seconds(25)).await;
    assert!(why.contains("no watch"), "{why}");
    cluster.faults().remove(hung);
    informer.is_connected(seconds(30)).await;
    follows(&informer, 8, seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_successor_is_never_answered_is_told_within_10_s() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    sleep(seconds(5)).await;
    cluster.faults().add(Rule::new(On::Watch, Fault::Hang));
    cluster.faults().add(Rule::new(On::OpenWatches, Fault::End));
    let (_, why) = informer.is_lost(seconds(10)).await;
    assert!(why.contains("isn't answered"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_watch_is_replaced_within_30_s_and_nothing_is_lost() {
    // Whenever in a watch's life it happens.
    for at in [0, 1, 10, 20, 21] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        sleep(seconds(at)).await;
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Hang));
        let watches = cluster.counts().watches;
        follows(&informer, 8, seconds(30)).await;
        assert_eq!(cluster.counts().watches, watches + 1, "after {at} s");
        assert_eq!(cluster.counts().lists, 1, "after {at} s");
        informer.is_connected(seconds(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_api_server_is_told_within_10_s_and_heals_within_30_s() {
    for at in [0, 2, 7, 21] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        sleep(seconds(at)).await;
        assert_eq!(informer.status.connection(), Connection::Connected);
        let stopped = cluster.faults().add(Rule::new(On::Any, Fault::Hang));
        cluster.scale("web", "shop", 8).unwrap();
        let (_, why) = informer.is_lost(seconds(10)).await;
        assert!(why.contains("didn't answer within 3 s"), "{why}");
        // It stays lost, and reads go on.
        for _ in 0..100 {
            sleep(seconds(1)).await;
            assert!(matches!(informer.status.connection(), Connection::Lost(_)));
        }
        assert_eq!(informer.count("web", "shop"), Some(3));
        assert!(
            informer.status.age() > seconds(95),
            "{:?}",
            informer.status.age()
        );
        cluster.faults().remove(stopped);
        let start = Instant::now();
        informer.is_connected(seconds(30)).await;
        informer.converges(seconds(30)).await;
        assert!(start.elapsed() < seconds(30), "{:?}", start.elapsed());
        sleep(seconds(5)).await;
        assert!(
            informer.status.age() < seconds(5),
            "{:?}",
            informer.status.age()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_api_server_is_not_flooded() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster.faults().add(Rule::new(On::Any, Fault::Hang));
    let start = Instant::now();
    sleep(seconds(120)).await;
    let requests = informer.sent_since(start, |_| true);
    assert!(
        (20..=60).contains(&requests),
        "{requests} requests in two minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_api_server_is_told_within_10_s_and_heals_when_it_is_back() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    sleep(seconds(4)).await;
    let gone = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    informer.is_lost(seconds(10)).await;
    sleep(seconds(300)).await;
    cluster.scale("web", "shop", 8).unwrap();
    cluster.faults().remove(gone);
    let took = informer.converges(seconds(30)).await;
    informer.is_connected(seconds(30)).await;
    // A probe that succeeds ends the wait of the others.
    assert!(took < seconds(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_is_renewed_without_a_word_to_readers() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let start = Instant::now();
    while start.elapsed() < seconds(300) {
        assert_eq!(informer.status.connection(), Connection::Connected);
        assert!(
            informer.status.age() < seconds(23),
            "{:?}",
            informer.status.age()
        );
        sleep(Duration::from_millis(500)).await;
    }
    let watches = informer.sent_since(start, Sent::is_watch);
    assert!(
        (10..=16).contains(&watches),
        "{watches} watches in five minutes"
    );
    assert_eq!(cluster.counts().lists, 1);
}
