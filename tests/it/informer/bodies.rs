//! Answers that aren't what was asked for: an error, bounded, and never a short list.

use std::time::Duration;

use simkube::{Fault, On, Rule};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::{create, follows, paged, seconds, small};
use crate::support::{InProcess, Setup, SimCluster, TestServer, eventually};

const BROKEN: [Fault; 4] = [
    Fault::Truncate,
    Fault::Break,
    Fault::Garbage,
    Fault::WrongKind,
];

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_asked_for_again() {
    for fault in BROKEN {
        for on in [On::Page(1), On::Page(2), On::Page(3)] {
            let cluster = paged();
            let rule = cluster.faults().add(Rule::new(on, fault.clone()).times(2));
            let informer = InProcess::start(&cluster);
            informer.becomes_synced().await;
            assert!(
                informer.stored() == informer.existing(),
                "short after {fault:?} on {on:?}"
            );
            assert_eq!(cluster.faults().fired(rule), 2, "{fault:?} on {on:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_relist_that_cannot_be_read_leaves_the_store_as_it_was() {
    for fault in BROKEN {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        let before = informer.stored();
        let rule = cluster.faults().add(Rule::new(On::List, fault.clone()));
        cluster
            .faults()
            .add(Rule::new(On::Event, Fault::Expired).times(1));
        create(&cluster, "web", "new", 1);
        cluster.delete("web", "cart").unwrap();
        for _ in 0..200 {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(informer.stored(), before, "{fault:?}");
        }
        informer.is_lost(seconds(1)).await;
        cluster.faults().remove(rule);
        informer.converges(seconds(6)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_cannot_be_read_are_told_by_health() {
    for fault in [Fault::Garbage, Fault::Truncate] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        sleep(seconds(5)).await;
        let rule = cluster.faults().add(Rule::new(On::Watch, fault.clone()));
        cluster
            .faults()
            .add(Rule::new(On::OpenWatches, Fault::Break));
        cluster.scale("web", "shop", 8).unwrap();
        let (_, why) = informer.is_lost(seconds(12)).await;
        assert!(why.contains("no watch"), "{why}");
        sleep(seconds(30)).await;
        informer.is_lost(Duration::ZERO).await;
        assert!(
            informer.status.age() > seconds(30),
            "{:?}",
            informer.status.age()
        );
        cluster.faults().remove(rule);
        informer.converges(seconds(6)).await;
        informer.is_connected(seconds(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_in_the_middle_of_an_event_goes_on_behind_the_last_whole_one() {
    for fault in [Fault::Truncate, Fault::Break, Fault::Garbage] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        cluster
            .faults()
            .add(Rule::new(On::Event, fault.clone()).after(1).times(1));
        cluster.scale("web", "cart", 7).unwrap();
        follows(&informer, 8, seconds(1)).await;
        assert_eq!(cluster.counts().lists, 1, "{fault:?}");
        assert_eq!(cluster.counts().watches, 2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_event_causes_a_relist() {
    let cluster = small();
    let informer = InProcess::synced(&cluster).await;
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::status(500)).times(1));
    follows(&informer, 8, seconds(1)).await;
    assert_eq!(cluster.counts().lists, 2);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_cannot_be_read_is_skipped_and_the_others_are_listed() {
    let cluster = small();
    cluster
        .faults()
        .add(Rule::new(On::List, Fault::BadObject).times(1));
    let informer = InProcess::synced(&cluster).await;
    assert_eq!(
        (informer.count("web", "cart"), informer.count("web", "shop")),
        (None, Some(3))
    );
    cluster.scale("web", "cart", 2).unwrap();
    informer.converges(seconds(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_once_is_there_within_30_s() {
    for on in [On::Event, On::List] {
        let cluster = small();
        let rule = Rule::new(on, Fault::BadObject).times(1);
        let rule = cluster.faults().add(rule);
        let informer = InProcess::synced(&cluster).await;
        cluster.scale("web", "shop", 8).unwrap();
        informer.converges(seconds(30)).await;
        assert_eq!(cluster.faults().fired(rule), 1);
        // And then it is left at that.
        tokio::time::sleep(seconds(600)).await;
        assert_eq!(cluster.counts().lists, 2, "{on:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_read_is_listed_anew_less_and_less_often() {
    let cluster = small();
    cluster.faults().add(Rule::new(On::List, Fault::BadObject));
    let informer = InProcess::synced(&cluster).await;
    tokio::time::sleep(seconds(600)).await;
    let first = cluster.counts().lists;
    assert!((4..=9).contains(&first), "{first} lists in ten minutes");
    tokio::time::sleep(seconds(6000)).await;
    let more = cluster.counts().lists - first;
    assert!((10..=20).contains(&more), "{more} lists in 100 minutes");
    // The others live on meanwhile.
    follows_only(&informer, 9).await;
}

/// `web/shop` is followed, whatever becomes of the others.
async fn follows_only(informer: &InProcess, count: i32) {
    informer.cluster.scale("web", "shop", count).unwrap();
    let there = || informer.count("web", "shop") == Some(count);
    informer.until("the count", seconds(1), there).await;
}

/// One value of `/metrics`.
async fn metric(server: &TestServer, name: &str) -> f64 {
    let mut stream = TcpStream::connect(server.admin_address).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn skipped_objects_relists_and_losses_are_counted_in_the_metrics() {
    let sim = SimCluster::start().await;
    sim.cluster.set_rollout(None);
    sim.create("web", "cart", 1);
    sim.create("web", "shop", 3);
    sim.cluster
        .faults()
        .add(Rule::new(On::List, Fault::BadObject).times(1));
    let server = Setup::new(sim.kubeconfig()).healthy().await;
    assert_eq!(
        metric(&server, "headcount_informer_undecodable_objects_total").await,
        1.0
    );
    assert_eq!(metric(&server, "headcount_informer_deployments").await, 1.0);
    assert_eq!(
        metric(
            &server,
            "headcount_informer_relists_total{reason=\"start\"}"
        )
        .await,
        1.0
    );
    assert_eq!(metric(&server, "headcount_informer_synced").await, 1.0);
    let settled =
        async || metric(&server, "headcount_informer_undecodable_objects_total").await == 2.0;
    eventually(seconds(5), "a watch", async || {
        sim.cluster.counts().open_watches == 1
    })
    .await;
    sim.cluster
        .faults()
        .add(Rule::new(On::Event, Fault::BadObject).times(1));
    sim.cluster.scale("web", "shop", 4).unwrap();
    eventually(seconds(5), "the second", settled).await;
    sim.cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    let lost = async || metric(&server, "headcount_informer_disconnects_total").await == 1.0;
    eventually(seconds(5), "the broken watch", lost).await;
    sim.cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Expired).times(1));
    sim.cluster.scale("web", "shop", 5).unwrap();
    let relisted = async || {
        metric(
            &server,
            "headcount_informer_relists_total{reason=\"expired\"}",
        )
        .await
            == 1.0
    };
    eventually(seconds(5), "the relist", relisted).await;
}
