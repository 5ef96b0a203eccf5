//! What a day brings, in less time: memory stays what it is.

use std::time::Duration;

use simkube::{Fault, On, Rule};

use super::{MIB, cluster_with_list_of, configured};
use crate::support::{SimCluster, eventually, program::Serving};

const NAMESPACE: &str = "a-namespace-of-a-team";

fn name(number: usize) -> String {
    format!("a-deployment-with-a-long-name-{number:07}")
}

/// Changes `events` Deployments one after the other, and waits until the server has seen them all.
async fn churn(cluster: &SimCluster, serving: &Serving, of: usize, events: usize, round: i32) {
    for start in (0..events).step_by(2000) {
        let end = (start + 2000).min(events);
        for event in start..end {
            let name = name(event % of);
            // Others come and go.
            if event % 50 == 0 {
                cluster.create(NAMESPACE, &format!("z-passing-{round}-{event}"), 1);
                let gone = format!("z-passing-{}-{event}", round - 1);
                cluster.cluster.delete(NAMESPACE, &gone);
            }
            cluster
                .cluster
                .scale(NAMESPACE, &name, (event as i32 + round) % 97);
        }
        let last = name((end - 1) % of);
        let wanted = i64::from(((end - 1) as i32 + round) % 97);
        let seen = async || serving.client.count(NAMESPACE, &last).await == Ok(wanted);
        eventually(Duration::from_secs(20), "the last change", seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighty_thousand_changes_leave_memory_as_it_was() {
    let cluster = cluster_with_list_of(MIB / 2).await;
    let serving = Serving::start(cluster.kubeconfig(), &[]).await;
    serving.becomes_ready().await;
    let of = cluster.cluster.len();
    let mut resident = Vec::new();
    for round in 0..8 {
        churn(&cluster, &serving, of, 10_000, round).await;
        // Readers, whose answers keep snapshots for a moment.
        for _ in 0..5 {
            let plain = serving.client.get("/deployments").await;
            assert_eq!(plain.status, 200);
            let gzip = [("accept-encoding", "gzip")];
            let packed = serving
                .client
                .send(http::Method::GET, "/deployments", &gzip, "");
            assert_eq!(packed.await.status, 200);
        }
        resident.push(serving.program.resident());
    }
    // The first rounds fill caches and pools; and lines of the log may wait, more at one time than at another.
    let (early, late) = (resident[2], resident[7]);
    assert!(late < early + 5 * MIB / 2, "{resident:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relist_in_which_everything_is_new_takes_at_most_twice_the_steady_memory() {
    let cluster = cluster_with_list_of(8 * MIB).await;
    let (serving, _folder, _) = configured(&cluster, "").await;
    let steady = serving.program.resident();
    serving.program.forget_peak();
    // No event comes through; then everything is listed, and nothing is as it was.
    let hang = Rule::new(On::OpenWatches, Fault::Hang);
    let hang = cluster.cluster.faults().add(hang);
    for number in 0..cluster.cluster.len() {
        cluster.cluster.scale(NAMESPACE, &name(number), 98);
    }
    cluster.cluster.compact();
    // In this order, or events would come through between the two.
    let ended = Rule::new(On::OpenWatches, Fault::Break);
    cluster.cluster.faults().add(ended);
    cluster.cluster.faults().remove(hang);
    let last = name(cluster.cluster.len() - 1);
    let seen = async || serving.client.count(NAMESPACE, &last).await == Ok(98);
    eventually(Duration::from_secs(120), "everything is listed", seen).await;
    let relists = serving.metrics().await;
    assert!(
        relists.contains("headcount_informer_relists_total{reason=\"expired\"} 1\n"),
        "{relists}"
    );
    let peak = serving.program.peak();
    assert!(peak <= 2 * steady, "steady {steady}, at most {peak}");
}
