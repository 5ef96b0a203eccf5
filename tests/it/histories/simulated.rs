//! Callers of one server and of two, over mutual TLS, while the simulated API server fails in all ways that leave its watches
//! true.

use std::time::Duration;

use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{
    callers::{Callers, Counts, NAMESPACE, Plan, name},
    checker::check,
    history::{Asked, Call, Outcome, Recorder, State, Tally},
};
use crate::support::{Setup, SimCluster, TestServer};

const DEPLOYMENTS: usize = 3;
const CALLERS: usize = 12;
const BROKEN: Duration = Duration::from_secs(5);
/// The number that the cluster's own writer has among the callers.
const SOMEBODY_ELSE: usize = CALLERS;

/// What goes wrong next, and how often.
fn trouble(random: &mut fastrand::Rng) -> Rule {
    let ms = |n| Duration::from_millis(n);
    let (on, fault) = match random.u8(..31) {
        0..4 => (On::Scale, Fault::after_commit(Fault::Refuse)),
        4..6 => (On::Scale, Fault::after_commit(Fault::status(504))),
        6..8 => (On::Scale, Fault::after_commit(Fault::Delay(ms(300)))),
        8..10 => (On::Scale, Fault::Refuse),
        10..12 => (On::Scale, Fault::status(500)),
        12..14 => (On::Scale, Fault::Conflict),
        14..16 => (On::Scale, Fault::retry_after(429, 1)),
        16..18 => (On::Scale, Fault::Truncate),
        18..20 => (On::Scale, Fault::Garbage),
        20..22 => (On::Scale, Fault::Delay(ms(random.u64(1..100)))),
        22..24 => (On::Event, Fault::Delay(ms(random.u64(1..50)))),
        24..26 => (On::OpenWatches, Fault::Break),
        26..28 => (On::Watch, Fault::Expired),
        28..30 => (On::Get, Fault::Refuse),
        _ => (On::Any, Fault::Refuse),
    };
    Rule::new(on, fault).times(random.u64(1..4))
}

/// The other writer, `kubectl` for one: what it is told is the cluster's own word.
fn somebody_else(sim: &SimCluster, plan: &Plan, deployment: usize) {
    let count = plan.counts.next();
    let call = Call::Write {
        count,
        only_if: None,
    };
    let writing = plan
        .recorder
        .invoke(SOMEBODY_ELSE, Asked::Cluster, deployment, call);
    let version = sim.cluster.scale(NAMESPACE, &name(deployment), count);
    let now = State {
        version: version.unwrap(),
        count,
        tag: String::new(),
    };
    let outcome = Outcome::Written {
        now,
        previous: None,
        seen: true,
    };
    plan.recorder.returned(writing, outcome);
}

fn cluster_reads(sim: &SimCluster, recorder: &Recorder) {
    for deployment in 0..DEPLOYMENTS {
        let call = Call::Read { at_least: None };
        let reading = recorder.invoke(SOMEBODY_ELSE, Asked::Cluster, deployment, call);
        let found = sim
            .cluster
            .deployment(NAMESPACE, &name(deployment))
            .unwrap();
        let state = State {
            version: found.resource_version,
            count: found.replicas.unwrap(),
            tag: String::new(),
        };
        recorder.returned(reading, Outcome::Shown(state));
    }
}

/// Lets callers loose on so many servers of one cluster that fails, and judges what they were told.
async fn broken_cluster(servers: usize) {
    let seed = match std::env::var("HISTORY_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    let sim = SimCluster::start().await;
    for deployment in 0..DEPLOYMENTS {
        sim.create(NAMESPACE, &name(deployment), 1);
    }
    let mut running: Vec<TestServer> = Vec::new();
    for _ in 0..servers {
        let mut setup = Setup::new(sim.kubeconfig());
        // Every write has a count of its own.
        setup.writes.max_replicas = i32::MAX;
        running.push(setup.healthy().await);
    }
    let plan = Plan {
        servers: running.iter().map(|s| s.client.clone()).collect(),
        deployments: DEPLOYMENTS,
        counts: Counts::default(),
        recorder: Recorder::new(vec![1; DEPLOYMENTS]),
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let callers = Callers::start(&plan, CALLERS, seed);
    let begun = Instant::now();
    // A history without trouble would prove nothing; a slow machine takes longer for as much.
    while begun.elapsed() < BROKEN || !troubled(&plan.recorder) {
        assert!(
            begun.elapsed() < 12 * BROKEN,
            "too little happens; HISTORY_SEED={seed}"
        );
        sim.cluster.faults().add(trouble(&mut random));
        sleep(Duration::from_millis(random.u64(10..80))).await;
        if random.u8(..4) == 0 {
            somebody_else(&sim, &plan, random.usize(..DEPLOYMENTS));
        }
    }
    sim.cluster.faults().clear();
    // Whatever the faults left of it, the servers go on.
    let (acknowledged, healed) = (callers.acknowledged(), Instant::now());
    while callers.acknowledged() < acknowledged + CALLERS {
        assert!(
            healed.elapsed() < Duration::from_secs(30),
            "no writes after the faults; HISTORY_SEED={seed}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    callers.end().await;
    cluster_reads(&sim, &plan.recorder);
    let history = plan.recorder.history();
    let mut tally = Tally::default();
    tally.add(&history);
    assert_eq!(
        check(&history),
        [],
        "HISTORY_SEED={seed}, {tally:?}\n{history}"
    );
}

/// Whether enough has happened, of all kinds.
fn troubled(recorder: &Recorder) -> bool {
    let mut tally = Tally::default();
    tally.add(&recorder.history());
    tally.written > 100 && tally.refused > 20 && tally.unknown > 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_one_server_lose_and_invent_nothing() {
    broken_cluster(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_two_servers_lose_and_invent_nothing() {
    broken_cluster(2).await;
}
