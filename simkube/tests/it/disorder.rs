//! Connections that nobody serves any more, old states, events that come again, and what is told of all that was lost.

use std::time::Duration;

use simkube::{Fault, On, Rule};

use crate::{
    faults::{open_watch, replicas_seen},
    support::{ALL, get, shop},
};

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_retired_lets_what_hangs_hang_and_touches_nothing_new() {
    let cluster = shop();
    let rule = cluster.faults().add(Rule::new(On::List, Fault::Hang));
    let hanging = tokio::spawn({
        let cluster = cluster.clone();
        async move { get(&cluster, ALL).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!cluster.faults().is_spent(rule));
    cluster.faults().retire(rule);
    assert!(cluster.faults().is_spent(rule));
    assert_eq!(get(&cluster, ALL).await.status, 200);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!hanging.is_finished());
    cluster.faults().remove(rule);
    assert_eq!(hanging.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_server_that_has_lost_touch_shows_an_old_state_even_as_the_latest() {
    let cluster = shop();
    let at = cluster.resource_version();
    cluster.delete("shop", "cart").unwrap();
    let rule = Rule::new(On::List, Fault::Behind { at }).times(1);
    cluster.faults().add(rule);
    let old = get(&cluster, ALL).await;
    assert!(old.names().contains(&"cart".to_owned()));
    assert_eq!(old.json()["metadata"]["resourceVersion"], at.to_string());
    assert!(
        !get(&cluster, ALL)
            .await
            .names()
            .contains(&"cart".to_owned())
    );
    // What it no longer remembers it can't show.
    cluster.compact();
    let rule = Rule::new(On::List, Fault::Behind { at }).times(1);
    cluster.faults().add(rule);
    assert_eq!(get(&cluster, ALL).await.status, 410);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_is_the_one_before_it() {
    let cluster = shop();
    let mut watch = open_watch(&cluster, "application/json").await;
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Replay).times(2));
    for count in [7, 8, 9] {
        cluster.scale("shop", "cart", count).unwrap();
    }
    // The first event of a watch has none before it.
    assert_eq!(replicas_seen(&mut watch).await, [7, 8, 7, 9]);
}

#[tokio::test(start_paused = true)]
async fn what_faults_keep_from_a_client_is_told_once() {
    let cluster = shop();
    let mut watch = open_watch(&cluster, "application/json").await;
    for fault in [Fault::Drop, Fault::Reorder] {
        cluster.faults().add(Rule::new(On::Event, fault).times(1));
    }
    let dropped = cluster.scale("shop", "cart", 7).unwrap();
    let late = cluster.scale("shop", "cart", 8).unwrap();
    cluster.scale("shop", "cart", 9).unwrap();
    assert_eq!(replicas_seen(&mut watch).await, [9, 8]);
    cluster
        .faults()
        .add(Rule::new(On::List, Fault::BadObject).times(1));
    get(&cluster, ALL).await;
    let losses: Vec<_> = cluster
        .take_losses()
        .into_iter()
        .map(|loss| (loss.name, loss.version, loss.silent))
        .collect();
    let listed = cluster.resource_version();
    let cart = || "cart".to_owned();
    assert_eq!(
        losses,
        [
            (cart(), dropped, true),
            (cart(), late, false),
            (cart(), listed, false)
        ]
    );
    assert!(cluster.take_losses().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_on_its_way_goes_with_the_connection_when_the_cluster_is_restored() {
    let cluster = shop();
    let backup = cluster.snapshot();
    let mut watch = open_watch(&cluster, "application/json").await;
    cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(Duration::from_secs(3))));
    cluster.scale("shop", "cart", 7).unwrap();
    let reading = tokio::spawn(async move { replicas_seen(&mut watch).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.restore(&backup);
    assert_eq!(reading.await.unwrap(), [0i64; 0]);
}
