//! How often it tries: waits that grow, with jitter and a cap; `Retry-After`; bounded requests whatever happens.

use std::time::Duration;

use headcount::kubernetes::Connection;
use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{follows, seconds, small};
use crate::support::{InProcess, Sent};

/// The times between the requests that fit.
fn gaps(informer: &InProcess, fits: impl Fn(&Sent) -> bool) -> Vec<Duration> {
    let at: Vec<_> = informer
        .sent()
        .into_iter()
        .filter(fits)
        .map(|s| s.at)
        .collect();
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn waits_grow_up_to_a_cap_and_no_two_are_the_same() {
    let cluster = small();
    let refused = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    let informer = InProcess::start(&cluster);
    sleep(seconds(120)).await;
    let gaps = gaps(&informer, Sent::is_list);
    assert!((20..=50).contains(&gaps.len()), "{gaps:?}");
    assert!(
        gaps[0] >= Duration::from_millis(100) && gaps[0] <= Duration::from_millis(210),
        "{gaps:?}"
    );
    for (n, gap) in gaps.iter().enumerate().take(5) {
        let most = Duration::from_millis(200 << n);
        assert!(
            *gap >= most / 2 && *gap <= most + Duration::from_millis(10),
            "{n}: {gaps:?}"
        );
    }
    let capped = &gaps[5..];
    assert!(
        capped
            .iter()
            .all(|g| *g >= Duration::from_millis(2500) && *g <= Duration::from_millis(5010)),
        "{gaps:?}"
    );
    let (least, most) = (capped.iter().min().unwrap(), capped.iter().max().unwrap());
    assert!(
        *most - *least > Duration::from_millis(300),
        "no jitter: {gaps:?}"
    );
    cluster.faults().remove(refused);
    let took = informer.converges(seconds(6)).await;
    assert!(took < seconds(6), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn two_servers_do_not_come_back_at_once() {
    let cluster = small();
    cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    let (one, other) = (InProcess::start(&cluster), InProcess::start(&cluster));
    sleep(seconds(60)).await;
    assert_ne!(gaps(&one, Sent::is_list), gaps(&other, Sent::is_list));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_by_lists_and_watches() {
    for code in [429, 503] {
        for (on, fits) in [
            (On::List, Sent::is_list as fn(&Sent) -> bool),
            (On::Watch, Sent::is_watch),
        ] {
            let cluster = small();
            cluster
                .faults()
                .add(Rule::new(on, Fault::retry_after(code, 7)).times(3));
            let informer = InProcess::start(&cluster);
            informer
                .until("four requests", seconds(60), || {
                    informer.sent().iter().filter(|s| fits(s)).count() == 4
                })
                .await;
            let gaps = gaps(&informer, fits);
            assert!(
                gaps.iter().all(|g| *g >= seconds(7) && *g < seconds(9)),
                "{code} on {on:?}: {gaps:?}"
            );
            follows(&informer, 8, seconds(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_by_the_probe() {
    for code in [429, 503] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        cluster
            .faults()
            .add(Rule::new(On::Probe, Fault::retry_after(code, 10)).times(3));
        sleep(seconds(40)).await;
        let gaps = gaps(&informer, Sent::is_probe);
        let long = gaps
            .iter()
            .filter(|g| **g >= seconds(10) && **g < seconds(12))
            .count();
        assert_eq!(long, 3, "{code}: {gaps:?}");
        informer.is_connected(seconds(4)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_succeeds_again_ends_no_wait_that_was_asked_for() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    sleep(seconds(1)).await;
    let faults = cluster.faults();
    // Each probe is tried twice: these are two that fail.
    faults.add(Rule::new(On::Probe, Fault::Refuse).times(4));
    faults.add(Rule::new(On::Watch, Fault::retry_after(503, 20)).times(1));
    faults.add(Rule::new(On::OpenWatches, Fault::Break));
    let start = Instant::now();
    informer.is_lost(seconds(4)).await;
    sleep(seconds(18)).await;
    // The one before the break and the one that was refused.
    assert_eq!(informer.sent().iter().filter(|s| s.is_watch()).count(), 2);
    informer
        .until("the next watch", seconds(6), || {
            cluster.counts().watches == 3
        })
        .await;
    let waited = start.elapsed();
    assert!(waited > seconds(20) && waited < seconds(22), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_overload_is_told_by_health_only_if_it_lasts() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster
        .faults()
        .add(Rule::new(On::Probe, Fault::status(429)).times(1));
    for _ in 0..150 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(informer.status.connection(), Connection::Connected);
    }
    cluster
        .faults()
        .add(Rule::new(On::Probe, Fault::status(429)));
    informer.is_lost(seconds(12)).await;
}

#[tokio::test(start_paused = true)]
async fn an_overload_that_lasts_from_the_very_start_is_told_by_health_too() {
    let cluster = small();
    let overload = Rule::new(On::Probe, Fault::status(429));
    let overload = cluster.faults().add(overload);
    let informer = InProcess::synced(&cluster).await;
    informer.is_lost(seconds(10)).await;
    cluster.faults().remove(overload);
    informer.is_connected(seconds(10)).await;
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_does_not_silence_it_for_ever() {
    let cluster = small();
    cluster
        .faults()
        .add(Rule::new(On::List, Fault::retry_after(503, 1_000_000)).times(1));
    let informer = InProcess::start(&cluster);
    let took = informer.converges(seconds(70)).await;
    assert!(took > seconds(55), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_errors_meets_a_bounded_number_of_requests() {
    for code in [500, 502, 503, 504, 429] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        let storm = cluster
            .faults()
            .add(Rule::new(On::Any, Fault::status(code)));
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Break));
        let start = Instant::now();
        informer.is_lost(seconds(10)).await;
        sleep(seconds(60) - start.elapsed()).await;
        let requests = informer.sent_since(start, |_| true);
        assert!(
            (25..=60).contains(&requests),
            "{requests} requests in a minute of {code}"
        );
        assert_eq!(
            informer.sent_since(start, Sent::is_list),
            0,
            "a watch that fails is no reason to list"
        );
        cluster.faults().remove(storm);
        follows(&informer, 8, seconds(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_flaps_meets_a_bounded_number_of_requests() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    let start = Instant::now();
    while start.elapsed() < seconds(60) {
        let rule = cluster.faults().add(Rule::new(On::Any, Fault::status(503)));
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Break));
        sleep(Duration::from_millis(700)).await;
        cluster.faults().remove(rule);
        sleep(Duration::from_millis(700)).await;
    }
    let requests = informer.sent_since(start, |_| true);
    assert!(requests <= 400, "{requests} requests in a minute");
    cluster.faults().clear();
    follows(&informer, 8, seconds(10)).await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_no_tight_loop() {
    for fault in [Fault::End, Fault::Break] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        let start = Instant::now();
        while start.elapsed() < seconds(60) {
            let rule = cluster
                .faults()
                .add(Rule::new(On::OpenWatches, fault.clone()));
            sleep(Duration::from_millis(20)).await;
            cluster.faults().remove(rule);
        }
        let watches = informer.sent_since(start, Sent::is_watch);
        assert!(
            (10..=40).contains(&watches),
            "{watches} watches in a minute with {fault:?}"
        );
        assert_eq!(cluster.counts().lists, 1);
        follows(&informer, 8, seconds(6)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_begin_with_nonsense_are_no_tight_loop() {
    for fault in [Fault::Truncate, Fault::Break, Fault::Garbage] {
        let cluster = small();
        let rule = cluster.faults().add(Rule::new(On::Watch, fault.clone()));
        let informer = InProcess::synced(&cluster).await;
        let start = Instant::now();
        sleep(seconds(60)).await;
        let watches = informer.sent_since(start, Sent::is_watch);
        assert!(
            (10..=40).contains(&watches),
            "{watches} watches in a minute with {fault:?}"
        );
        cluster.faults().remove(rule);
        follows(&informer, 8, seconds(6)).await;
    }
}
