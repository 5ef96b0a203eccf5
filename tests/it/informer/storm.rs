//! Cuts and changes at random, many times over: afterwards the store is the cluster, and no reader ever saw time go back.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use headcount::{kubernetes::Managed, store::Snapshot};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule, RuleId};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::seconds;
use crate::support::{InProcess, Shape};

const NAMESPACES: [&str; 3] = ["db", "ops", "web"];

/// What one reader has seen, and what of it cannot be.
#[derive(Default)]
struct Reader {
    version: u64,
    versions: HashMap<Uuid, u64>,
    present: HashSet<Uuid>,
    gone: HashSet<Uuid>,
    wrong: Vec<String>,
}

impl Reader {
    fn look(&mut self, snapshot: &Snapshot) {
        if !snapshot.synced() {
            if !snapshot.is_empty() {
                self.wrong.push(format!(
                    "{} Deployments before the first complete list",
                    snapshot.len()
                ));
            }
            return;
        }
        let version = snapshot.resource_version();
        if version < self.version {
            self.wrong
                .push(format!("the store went from {} to {version}", self.version));
        }
        self.version = version;
        let mut present = HashSet::new();
        let mut last = None;
        for record in snapshot.records() {
            let (uid, at) = (record.uid(), record.resource_version());
            if last.is_some_and(|l| l >= record.key()) {
                self.wrong
                    .push(format!("{:?} is out of order", record.key()));
            }
            last = Some(record.key());
            if at > snapshot.resource_version_in(record.namespace()) {
                self.wrong.push(format!(
                    "{:?} at {at} in a snapshot at {version}",
                    record.key()
                ));
            }
            let known = self.versions.insert(uid, at).unwrap_or(0);
            if at < known {
                self.wrong
                    .push(format!("{:?} went from {known} to {at}", record.key()));
            }
            if self.gone.contains(&uid) {
                self.wrong
                    .push(format!("{:?} came back to life", record.key()));
            }
            present.insert(uid);
        }
        self.gone.extend(self.present.difference(&present));
        self.present = present;
    }
}

/// One change of the cluster.
fn change(cluster: &Cluster, rng: &mut Rng) {
    let namespace = NAMESPACES[rng.usize(..3)];
    let name = format!("app-{}", rng.u8(..12));
    match rng.u8(..10) {
        0 | 1 => drop(cluster.create(NewDeployment::new(namespace, name).replicas(rng.i32(0..50)))),
        2 => drop(cluster.delete(namespace, &name)),
        3 => {
            cluster.delete(namespace, &name);
            cluster.create(NewDeployment::new(namespace, name).replicas(rng.i32(0..50)));
        }
        4 => drop(cluster.touch_status(namespace, &name)),
        5 => cluster.advance_version(rng.u64(1..20)),
        _ => drop(cluster.scale(namespace, &name, rng.i32(0..50))),
    }
}

/// Something that goes wrong, from now on or a few times.
fn fault(cluster: &Cluster, rng: &mut Rng) -> RuleId {
    let few = rng.u64(1..4);
    let one_of = |rng: &mut Rng, faults: &[Fault]| faults[rng.usize(..faults.len())].clone();
    let rule = match rng.u8(..12) {
        0..=3 => {
            let ends = [Fault::End, Fault::Break, Fault::Break, Fault::Hang];
            Rule::new(On::OpenWatches, one_of(rng, &ends))
        }
        4 | 5 => {
            let broken = [
                Fault::Duplicate,
                Fault::Reorder,
                Fault::Expired,
                Fault::status(500),
                Fault::Garbage,
                Fault::Truncate,
                Fault::Break,
            ];
            Rule::new(On::Event, one_of(rng, &broken)).times(few)
        }
        6 | 7 => {
            let broken = [
                Fault::Expired,
                Fault::status(410),
                Fault::status(503),
                Fault::Hang,
                Fault::Garbage,
                Fault::Truncate,
                Fault::Delay(seconds(2)),
            ];
            Rule::new(On::Watch, one_of(rng, &broken)).times(few)
        }
        8 | 9 => {
            let broken = [
                Fault::Expired,
                Fault::retry_after(429, 1),
                Fault::status(500),
                Fault::Hang,
                Fault::Break,
                Fault::Delay(seconds(2)),
            ];
            Rule::new(On::List, one_of(rng, &broken)).times(few)
        }
        10 => Rule::new(
            On::Any,
            one_of(rng, &[Fault::Refuse, Fault::status(503), Fault::Hang]),
        ),
        _ => Rule::new(
            On::Any,
            Fault::Stale {
                at: cluster.resource_version(),
            },
        ),
    };
    cluster.faults().add(rule)
}

async fn storm(seed: u64) {
    // Jitter too comes from this thread's generator.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let history = [5, 50, 100_000][rng.usize(..3)];
    let cluster = Cluster::new(
        Options::default()
            .seed(seed)
            .history(history)
            .managed_fields(0),
    );
    // Now and then a list of two pages.
    let many = if seed.is_multiple_of(50) { 2100 } else { 20 };
    for i in 0..many {
        cluster
            .create(NewDeployment::new(NAMESPACES[i % 3], format!("app-{i}")).replicas(3))
            .unwrap();
    }
    // All namespaces, or two of the three, each with a watch and a version of its own.
    let managed = match seed % 4 {
        3 => vec!["db".to_owned(), "web".to_owned()],
        _ => Vec::new(),
    };
    let informer = InProcess::managing(
        &cluster,
        Managed {
            namespaces: managed.clone(),
            label_selector: None,
        },
    );
    if rng.bool() {
        informer.shape(|_| Shape::Merged);
    }
    let existing = || {
        let mut all = informer.existing();
        all.retain(|d| managed.is_empty() || managed.contains(&d.0));
        all
    };
    let reader = Arc::new(Mutex::new(Reader::default()));
    let reading = {
        let (reader, status) = (Arc::clone(&reader), Arc::clone(&informer.status));
        tokio::spawn(async move {
            let look = |snapshot: &Snapshot| {
                reader.lock().unwrap().look(snapshot);
                false
            };
            status
                .wait_until(Instant::now() + seconds(3600), look)
                .await;
        })
    };
    let mut rules = Vec::new();
    for _ in 0..80 {
        for _ in 0..rng.u8(..6) {
            change(&cluster, &mut rng);
        }
        match rng.u8(..8) {
            0 | 1 => rules.push(fault(&cluster, &mut rng)),
            2 | 3 if !rules.is_empty() => cluster
                .faults()
                .remove(rules.swap_remove(rng.usize(..rules.len()))),
            4 if rng.bool() => cluster.compact(),
            5 if rng.bool() => cluster.expire_continue_tokens(),
            _ => {}
        }
        // Often at once, sometimes after a while.
        let pause = if rng.u8(..4) == 0 {
            rng.u64(..6000)
        } else {
            rng.u64(..40)
        };
        sleep(Duration::from_millis(pause)).await;
    }
    cluster.faults().clear();
    let start = Instant::now();
    while informer.stored() != existing() {
        assert!(
            start.elapsed() < seconds(30),
            "seed {seed}: the store isn't the cluster after 30 s"
        );
        sleep(Duration::from_millis(100)).await;
    }
    informer.is_connected(seconds(30)).await;
    reading.abort();
    reader
        .lock()
        .unwrap()
        .look(&informer.status.store().snapshot());
    let reader = reader.lock().unwrap();
    assert!(reader.wrong.is_empty(), "seed {seed}: {:#?}", reader.wrong);
    assert!(reader.version > 0);
}

#[tokio::test(start_paused = true)]
async fn after_any_storm_the_store_is_the_cluster_and_no_version_ever_went_back() {
    for seed in 0..200 {
        storm(seed).await;
    }
}
