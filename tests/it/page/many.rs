//! A hundred thousand Deployments, a thousand changes a second, and networks that are slow: what is measured is printed. The bounds
//! are wide, since other builds may have the machine: they find what hangs, and no slowness.

use std::time::Duration;

use serde_json::{Value, json};
use simkube::{Cluster, NewDeployment};
use tokio::time::{MissedTickBehavior, interval};

use super::browser::{play, seen, world};
use crate::support::{Setup, SimCluster};

const NAMESPACES: usize = 200;

fn name(i: usize) -> (String, String) {
    (format!("ns-{:03}", i % NAMESPACES), format!("app-{i:06}"))
}

fn fill(cluster: &Cluster, count: usize) {
    for i in 0..count {
        let (namespace, name) = name(i);
        let new = NewDeployment::new(namespace, name).replicas((i % 7) as i32);
        assert!(cluster.create(new).is_some());
    }
}

/// Another count of some Deployment, a thousand times a second.
async fn churn(cluster: Cluster, count: usize) {
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut at = 0;
    loop {
        ticks.tick().await;
        for _ in 0..10 {
            at = (at + 7_919) % count;
            let (namespace, name) = name(at);
            let replicas = fastrand::i32(0..40);
            cluster.scale(&namespace, &name, replicas);
        }
    }
}

#[test]
fn times_to_show_search_scroll_and_sort_100_000_rows_while_1_000_a_second_change_are_printed_and_within_wide_bounds()
 {
    seen(async || {
        let sim = SimCluster::start().await;
        let count = 100_000;
        fill(&sim.cluster, count);
        sim.cluster.set_rollout(None);
        let server = Setup::new(sim.kubeconfig()).healthy().await;
        let mut churning = None;
        let world = world(server.address, &server.files);
        play("many.mjs", &world, async |step, _| match step {
            "changes begin" => {
                churning = Some(tokio::spawn(churn(sim.cluster.clone(), count)));
                Value::Null
            }
            "changes end" => {
                churning.take().unwrap().abort();
                Value::Null
            }
            _ => panic!("no test does {step:?}"),
        })
        .await;
    });
}

#[test]
fn times_to_show_20_000_rows_at_50_kb_a_second_are_printed_and_a_count_can_be_set_there() {
    seen(async || {
        let sim = SimCluster::start().await;
        fill(&sim.cluster, 20_000);
        let server = Setup::new(sim.kubeconfig()).healthy().await;
        let world = world(server.address, &server.files);
        play("slow.mjs", &world, async |step, _| match step {
            "count" => json!(sim.count("ns-000", "app-000000")),
            _ => panic!("no test does {step:?}"),
        })
        .await;
    });
}
