//! Kills and worse, on a real etcd and kube-apiserver and on the program itself, round after round: callers read and write while
//! it happens; after each round the server's copy is the cluster's, and the history has no anomaly.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use headcount::pki::{self, DemoFiles};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    callers::{Callers, Counts, NAMESPACE, Plan, name},
    checker::check,
    history::{Asked, Call, Operation, Outcome, Recorder, State, Tally},
};
use crate::support::{
    Client, Proxy, World, eventually,
    program::{Program, headcount},
};

const DEPLOYMENTS: usize = 3;
const CALLERS: usize = 6;
/// How long it may take after a fault until all is well again.
const HEALED: Duration = Duration::from_secs(30);
/// How many writes are acknowledged in a round before the fault, and again after it.
const WRITES: usize = 4;
/// How long what is stopped stays so: longer than a probe has.
const STOPPED: Duration = Duration::from_secs(5);

/// What breaks in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL, and started again at once.
    KillHeadcount,
    /// The same for kube-apiserver, which takes some seconds to start.
    KillApiServer,
    /// SIGSTOP, and SIGCONT later.
    StopApiServer,
    StopEtcd,
    /// etcd's history compacted and kube-apiserver killed, so that nobody remembers it.
    Compact,
    /// The connections to kube-apiserver are closed.
    Cut,
    /// They stay open, and their bytes are swallowed.
    Swallow,
    /// They are closed, and new ones at once.
    Refuse,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_the_real_control_plane_or_of_the_server_loses_an_update() {
    use Fault::{Compact, Cut, KillApiServer, KillHeadcount, Refuse, StopApiServer, StopEtcd};
    let faults = [
        KillHeadcount,
        Cut,
        KillApiServer,
        StopApiServer,
        KillHeadcount,
        StopEtcd,
        Refuse,
        Compact,
    ];
    rounds(&faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes about an hour"]
async fn five_hundred_kills_lose_no_update() {
    let kills = std::env::var("KILLS").map_or(500, |kills| kills.parse().unwrap());
    let both = [Fault::KillHeadcount, Fault::KillApiServer];
    let faults: Vec<_> = both.into_iter().cycle().take(kills).collect();
    rounds(&faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes"]
async fn a_network_that_breaks_again_and_again_loses_no_update() {
    let all = [Fault::Cut, Fault::Swallow, Fault::Refuse];
    let faults: Vec<_> = all.into_iter().cycle().take(12).collect();
    rounds(&faults).await;
}

/// The program, with the same address and certificates however often it is killed.
struct Headcount {
    program: Option<Program>,
    files: DemoFiles,
    kubeconfig: PathBuf,
    address: SocketAddr,
    client: Client,
    _folder: TempDir,
}

impl Headcount {
    async fn start(kubeconfig: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::write_demo(folder.path()).unwrap();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (certificate, key) = (&files.client.certificate, &files.client.key);
        let mut this = Self {
            program: None,
            client: Client::with_files(anywhere, &files.ca, certificate, key),
            files,
            kubeconfig: kubeconfig.to_owned(),
            address: anywhere,
            _folder: folder,
        };
        this.run().await;
        let pair = &this.files.client;
        this.client =
            Client::with_files(this.address, &this.files.ca, &pair.certificate, &pair.key);
        this
    }

    async fn run(&mut self) {
        let mut command = headcount(["serve", "--admin-listen=127.0.0.1:0"]);
        let pair = &self.files.server;
        // Every write has a count of its own.
        command.arg(format!("--max-replicas={}", i32::MAX));
        command.arg(format!("--listen={}", self.address));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--tls-cert").arg(&pair.certificate);
        command.arg("--tls-key").arg(&pair.key);
        command.arg("--client-ca").arg(&self.files.ca);
        let program = Program::start(command);
        let listening = program.line("server.listening", 1).await;
        self.address = listening.text("address").parse().unwrap();
        self.program = Some(program);
    }

    /// The end of what it has said since it was started.
    fn log(&self, lines: usize) -> Vec<String> {
        let mut log = self.program.as_ref().unwrap().stderr();
        log.split_off(log.len().saturating_sub(lines))
    }

    async fn killed_and_started(&mut self) {
        // A program that is dropped is killed, and waited for.
        self.program = None;
        self.run().await;
    }
}

/// One control plane, a proxy before it, and the server behind that.
struct Stage {
    world: World,
    proxy: Proxy,
    headcount: Headcount,
    counts: Counts,
    /// The newest version that the server's copy was seen at.
    reached: u64,
}

async fn rounds(faults: &[Fault]) {
    let world = World::bare().await;
    for deployment in 0..DEPLOYMENTS {
        let name = name(deployment);
        world.create(NAMESPACE, &name, Some(1), json!({})).await;
    }
    let (proxy, kubeconfig) = world.through_proxy().await;
    let mut stage = Stage {
        headcount: Headcount::start(&kubeconfig).await,
        world,
        proxy,
        counts: Counts::default(),
        reached: 0,
    };
    let (seed, start, mut tally) = (fastrand::u64(..), Instant::now(), Tally::default());
    for (number, fault) in faults.iter().enumerate() {
        let mut found = String::new();
        let round = seed.wrapping_add(number as u64);
        stage.round(*fault, round, &mut tally, &mut found).await;
        let seconds = start.elapsed().as_secs();
        let line = format!(
            "{} of {} rounds, the last {fault:?}, {seconds} s: {tally:?}",
            number + 1,
            faults.len()
        );
        assert!(found.is_empty(), "{line}, seed {round}:{found}");
        if (number + 1) % 25 == 0 || number + 1 == faults.len() {
            // Past the test runner's capture: these are the figures.
            std::io::stderr()
                .write_all(format!("histories: {line}\n").as_bytes())
                .unwrap();
        }
    }
}

impl Stage {
    /// Callers before, during and after a fault; what is wrong with what they were told goes into `found`.
    async fn round(&mut self, fault: Fault, seed: u64, tally: &mut Tally, found: &mut String) {
        let initial: Vec<i32> = self.states().await.iter().map(|s| s.count).collect();
        let plan = Plan {
            servers: vec![self.headcount.client.clone()],
            deployments: DEPLOYMENTS,
            counts: self.counts.clone(),
            recorder: Recorder::new(initial),
        };
        self.cluster_reads(&plan.recorder).await;
        let callers = Callers::start(&plan, CALLERS, seed);
        self.writes(&callers, &plan, fault).await;
        self.strike(fault).await;
        self.writes(&callers, &plan, fault).await;
        callers.end().await;
        self.converges(fault).await;
        self.cluster_reads(&plan.recorder).await;
        self.look_back(&plan.recorder).await;
        let history = plan.recorder.history();
        tally.add(&history);
        for anomaly in check(&history) {
            let _ = write!(found, "\n{anomaly:?}");
        }
        if !found.is_empty() {
            let _ = write!(found, "\n{history}");
        }
    }

    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::KillHeadcount => self.headcount.killed_and_started().await,
            Fault::KillApiServer => {
                self.world.kill_api_server().await;
                self.world.start_api_server().await;
            }
            Fault::StopApiServer => {
                self.world.stop_api_server();
                sleep(STOPPED).await;
                self.world.continue_api_server();
            }
            Fault::StopEtcd => {
                self.world.stop_etcd();
                sleep(STOPPED).await;
                self.world.continue_etcd();
            }
            Fault::Compact => self.world.forget_history().await,
            Fault::Cut => self.proxy.cut(),
            Fault::Swallow => self.proxy.swallow(),
            Fault::Refuse => {
                self.proxy.close(true);
                self.proxy.cut();
                sleep(STOPPED).await;
                self.proxy.close(false);
            }
        }
    }

    /// Waits for some more acknowledged writes.
    async fn writes(&self, callers: &Callers, plan: &Plan, fault: Fault) {
        let (enough, start) = (callers.acknowledged() + WRITES, Instant::now());
        while callers.acknowledged() < enough {
            assert!(
                start.elapsed() < HEALED,
                "{fault:?}: not enough writes within {HEALED:?}; the last of them {:#?}, and the server's log {:#?}",
                plan.recorder.history().last(20),
                self.headcount.log(100)
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The server's copy becomes the cluster's, and is no older than ever before.
    async fn converges(&mut self, fault: Fault) {
        let client = &self.headcount.client;
        let what = format!("{fault:?}: the copy is the cluster's");
        eventually(HEALED, &what, async || {
            let list = client.get("/deployments").await;
            if list.status != 200 {
                return false;
            }
            let one = |d: &serde_json::Value| {
                let text = |field: &str| d[field].as_str().unwrap().to_owned();
                let count = d["replicaCount"].as_i64().unwrap();
                (text("namespace"), text("name"), count)
            };
            let copy: Vec<_> = list.json().as_array().unwrap().iter().map(one).collect();
            copy == self.world.list().await
        })
        .await;
        let list = client.get("/deployments").await;
        let version = list.header("x-resource-version").parse().unwrap();
        assert!(version >= self.reached, "{fault:?}: {version} is older");
        self.reached = version;
    }

    async fn states(&self) -> Vec<State> {
        let each = (0..DEPLOYMENTS).map(async |deployment| {
            let name = name(deployment);
            let now = self.world.at_version(NAMESPACE, &name, None);
            let (version, count) = now.await.unwrap();
            told(version, count)
        });
        futures_util::future::join_all(each).await
    }

    /// The cluster's own word on how things stand.
    async fn cluster_reads(&self, recorder: &Recorder) {
        for deployment in 0..DEPLOYMENTS {
            let call = Call::Read { at_least: None };
            let reading = recorder.invoke(CALLERS, Asked::Cluster, deployment, call);
            let name = name(deployment);
            let now = self.world.at_version(NAMESPACE, &name, None);
            let (version, count) = now.await.unwrap();
            recorder.returned(reading, Outcome::Shown(told(version, count)));
        }
    }

    /// What the cluster had at the version of each acknowledged write, and right before it.
    async fn look_back(&self, recorder: &Recorder) {
        let acknowledged = |o: Operation| match o.outcome {
            Outcome::Written { now, .. } => Some((o.deployment, now.version)),
            _ => None,
        };
        let operations = recorder.history().operations.into_iter();
        let versions = operations
            .filter_map(acknowledged)
            .flat_map(|(deployment, version)| [(deployment, version - 1), (deployment, version)]);
        let looks = versions.map(async |(deployment, version)| {
            // A version that was compacted away tells nothing.
            let name = name(deployment);
            let then = self.world.at_version(NAMESPACE, &name, Some(version));
            if let Some((version, count)) = then.await {
                recorder.learned(deployment, told(version, count));
            }
        });
        stream::iter(looks)
            .buffer_unordered(8)
            .collect::<()>()
            .await;
    }
}

fn told(version: u64, count: i32) -> State {
    State {
        version,
        count,
        tag: String::new(),
    }
}
