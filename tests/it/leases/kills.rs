//! Many short leases on several servers, the real program, that are killed one after the other while others set counts too: what has
//! become of the leases is judged by the cluster's past, and not by what servers say.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use headcount::pki::{self, DemoFiles};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Value, json};
use simkube::{Cluster, Fault, On, Rule};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use super::past::{Past, Promise};
use crate::support::{Answer, Client, SimCluster, eventually, program::Serving};

const SERVERS: usize = 3;
const DEPLOYMENTS: usize = 40;
const CALLERS: usize = 6;
/// Where the Deployments are, and where the servers keep their leases.
const NAMESPACE: &str = "web";
const OWN: &str = "headcount";
/// How long the servers are killed, and how often at least.
const LOAD: Duration = Duration::from_secs(25);
const KILLS: usize = 6;
/// The leases' time, in seconds: nearly the shortest that there is, so that some end under load.
const SECONDS: u32 = 11;
/// How long the last lease may take to end: its time, the next server's election, a lease that is half taken.
const SETTLED: Duration = Duration::from_secs(120);
/// No call takes longer than its deadlines allow together.
const GIVE_UP: Duration = Duration::from_secs(25);

fn name(deployment: usize) -> String {
    format!("d{deployment}")
}

/// Servers of one cluster with the same certificates, each killed and started again.
struct Servers {
    files: DemoFiles,
    kubeconfig: PathBuf,
    flags: Vec<String>,
    running: Vec<Option<Serving>>,
    clients: Arc<Mutex<Vec<Client>>>,
    _folder: tempfile::TempDir,
}

impl Servers {
    async fn start(cluster: &SimCluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::write_demo(folder.path()).unwrap();
        let config = folder.path().join("headcount.yaml");
        let text = format!(
            "apiVersion: headcount/v1alpha1\nkind: Configuration\nleases: {{namespace: {OWN}}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut this = Self {
            files,
            kubeconfig: cluster.kubeconfig().to_owned(),
            flags: vec![
                format!("--config={}", config.display()),
                // Each count is another.
                format!("--max-replicas={}", i32::MAX),
            ],
            running: Vec::new(),
            clients: Arc::default(),
            _folder: folder,
        };
        for _ in 0..SERVERS {
            let serving = this.one().await;
            this.clients.lock().unwrap().push(serving.client.clone());
            this.running.push(Some(serving));
        }
        for serving in this.running.iter().flatten() {
            serving.becomes_ready().await;
        }
        this
    }

    async fn one(&self) -> Serving {
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        Serving::with(&self.files, &self.kubeconfig, &flags).await
    }

    async fn killed_and_started(&mut self, which: usize) {
        // A program that is dropped is killed, and waited for.
        self.running[which] = None;
        let serving = self.one().await;
        self.clients.lock().unwrap()[which] = serving.client.clone();
        self.running[which] = Some(serving);
    }
}

/// Who takes, extends and cancels leases, and sets counts for good.
struct Caller {
    random: fastrand::Rng,
    /// Each caller's counts are its own, and none comes twice.
    count: i32,
    clients: Arc<Mutex<Vec<Client>>>,
    promises: Arc<Mutex<Vec<Promise>>>,
}

impl Caller {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let deployment = self.random.usize(..DEPLOYMENTS);
            let (lease, json) = (format!("{}/lease", path(deployment)), "application/json");
            let duration = json!({ "durationSeconds": SECONDS });
            match self.random.u8(..100) {
                0..55 => {
                    let body = json!({ "replicaCount": self.next(), "durationSeconds": SECONDS });
                    let answer = self
                        .call(Method::PUT, &lease, json, &body.to_string())
                        .await;
                    self.promised(deployment, answer);
                }
                55..75 => {
                    let body = duration.to_string();
                    let answer = self.call(Method::PATCH, &lease, json, &body).await;
                    self.promised(deployment, answer);
                }
                75..85 if ends_early(deployment) => {
                    self.call(Method::DELETE, &lease, "", "").await;
                }
                _ => {
                    let replicas = format!("{}/replicas", path(deployment));
                    let body = json!({ "replicaCount": self.next() });
                    self.call(Method::PUT, &replicas, json, &body.to_string())
                        .await;
                }
            }
            sleep(Duration::from_millis(self.random.u64(100..700))).await;
        }
    }

    fn next(&mut self) -> i32 {
        self.count += 1;
        self.count
    }

    /// Makes a call at one of the servers, which may die meanwhile.
    async fn call(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Option<Answer> {
        let which = self.random.usize(..SERVERS);
        let client = self.clients.lock().unwrap()[which].clone();
        let headers = [
            ("prefer", "return=representation"),
            ("content-type", content_type),
        ];
        let headers = if content_type.is_empty() {
            &headers[..1]
        } else {
            &headers[..]
        };
        let request = client.request(method, path, headers, body);
        timeout(GIVE_UP, client.try_send(request)).await.ok()?.ok()
    }

    fn promised(&self, deployment: usize, answer: Option<Answer>) {
        let Some(answer) = answer.filter(|answer| answer.status == StatusCode::OK) else {
            return;
        };
        let told = answer.json();
        let until = told["lease"]["until"].as_str().unwrap().parse().unwrap();
        self.promises.lock().unwrap().push(Promise {
            name: name(deployment),
            count: told["replicaCount"].as_i64().unwrap().try_into().unwrap(),
            until: Some(until).filter(|_| !ends_early(deployment)),
        });
    }
}

fn path(deployment: usize) -> String {
    format!("/namespaces/{NAMESPACE}/deployments/{}", name(deployment))
}

/// Whether leases of it may be cancelled.
fn ends_early(deployment: usize) -> bool {
    deployment.is_multiple_of(4)
}

/// What goes wrong between the servers and the cluster, for a call or two.
fn trouble(random: &mut fastrand::Rng) -> Rule {
    let on = if random.bool() {
        On::Scale
    } else {
        On::LeaseWrite
    };
    let delay = Fault::Delay(Duration::from_millis(random.u64(50..1500)));
    let fault = match random.u8(..5) {
        0 => Fault::after_commit(Fault::Refuse),
        1 => Fault::after_commit(delay),
        2 => Fault::Refuse,
        3 => Fault::status(500),
        _ => delay,
    };
    Rule::new(on, fault).times(random.u64(1..3))
}

/// What a watch of a resource tells within a second, from a version on.
async fn watched(cluster: &Cluster, resource: &str, from: u64) -> Vec<Value> {
    let uri = format!("/apis/{resource}?watch=true&resourceVersion={from}&timeoutSeconds=1");
    let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
    let answer = cluster.service().oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<Value> = events.collect();
    let expired = events.iter().find(|event| event["type"] == "ERROR");
    assert_eq!(expired, None, "the past is forgotten");
    events
}

/// Takes down what happens from a version on until `stop`, and all of it.
async fn take_down(cluster: Cluster, from: u64, stop: Arc<AtomicBool>) -> Past {
    let (mut past, mut reached) = (Past::default(), [from; 2]);
    loop {
        let last = stop.load(Ordering::Relaxed);
        let resources = ["apps/v1/deployments", "coordination.k8s.io/v1/leases"];
        for (resource, reached) in resources.into_iter().zip(&mut reached) {
            for event in watched(&cluster, resource, *reached).await {
                if resource.starts_with("apps") {
                    past.deployment(&event);
                } else {
                    past.lease(&event);
                }
                let version = event["object"]["metadata"]["resourceVersion"].as_str();
                *reached = version.unwrap().parse().unwrap();
            }
        }
        if last {
            return past;
        }
    }
}

fn counts_are_leased(cluster: &SimCluster) -> bool {
    let leases = cluster.cluster.leases(OWN);
    let mut labels = leases.iter().map(|lease| &lease["metadata"]["labels"]);
    labels.any(|labels| labels["headcount/lease"] == "count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_is_forgotten_goes_back_twice_or_over_others_counts_whichever_server_dies() {
    let seed = match std::env::var("LEASES_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = SimCluster::start().await;
    cluster.create(OWN, OWN, 1);
    let from = cluster.cluster.resource_version();
    for deployment in 0..DEPLOYMENTS {
        cluster.create(NAMESPACE, &name(deployment), 3);
    }
    let settled = Arc::new(AtomicBool::new(false));
    let past = take_down(cluster.cluster.clone(), from, Arc::clone(&settled));
    let past = tokio::spawn(past);
    let mut servers = Servers::start(&cluster).await;
    let (stop, promises) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let callers = (1..=CALLERS).map(|caller| {
        let caller = Caller {
            random: fastrand::Rng::with_seed(seed.wrapping_add(caller as u64)),
            count: i32::try_from(caller).unwrap() * 100_000,
            clients: Arc::clone(&servers.clients),
            promises: Arc::clone(&promises),
        };
        tokio::spawn(caller.run(Arc::clone(&stop)))
    });
    let callers: Vec<_> = callers.collect();
    let (begun, mut kills, mut others) = (Instant::now(), 0, 0);
    while begun.elapsed() < LOAD || kills < KILLS {
        for _ in 0..random.u8(2..5) {
            cluster.cluster.faults().add(trouble(&mut random));
            // Somebody with kubectl.
            others += 1;
            let deployment = random.usize(..DEPLOYMENTS);
            cluster
                .cluster
                .scale(NAMESPACE, &name(deployment), 1_000_000 + others);
            sleep(Duration::from_millis(random.u64(100..700))).await;
        }
        servers.killed_and_started(random.usize(..SERVERS)).await;
        kills += 1;
    }
    cluster.cluster.faults().clear();
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let what = format!("every lease ends, LEASES_SEED={seed}");
    eventually(SETTLED, &what, async || !counts_are_leased(&cluster)).await;
    settled.store(true, Ordering::Relaxed);
    let past = past.await.unwrap();
    let promises = promises.lock().unwrap();
    let (wrong, tally) = past.judged(&promises);
    let seconds = begun.elapsed().as_secs();
    let line = format!(
        "{kills} kills, {others} counts of others, {} promises, {tally:?}, {seconds} s, LEASES_SEED={seed}",
        promises.len()
    );
    assert!(wrong.is_empty(), "{line}\n{}", wrong.join("\n"));
    // A past without trouble would prove nothing.
    let enough = tally.taken > 40 && tally.returned > 15 && promises.len() > 30;
    assert!(enough, "too little happened: {line}");
    // Past the test runner's capture: these are the figures.
    let _ = writeln!(std::io::stderr(), "leases: {line}");
}
