//! Callers who read and write some Deployments at once, and take down what they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::history::{Asked, Call, Outcome, Recorder, State};
use crate::support::{Answer, Client, Connection};

/// No call takes longer than its deadlines allow together: the write's, the reading again's, the wait for the copy.
const GIVE_UP: Duration = Duration::from_secs(25);
/// The Deployments that they write are in this namespace …
pub(crate) const NAMESPACE: &str = "histories";

/// … and have these names.
pub(crate) fn name(deployment: usize) -> String {
    format!("d{deployment}")
}

/// Counts that no other write has.
#[derive(Clone, Default)]
pub(crate) struct Counts(Arc<AtomicI32>);

impl Counts {
    pub(crate) fn next(&self) -> i32 {
        1_000 + self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What the callers of one run have in common.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<Client>,
    pub(crate) deployments: usize,
    pub(crate) counts: Counts,
    pub(crate) recorder: Recorder,
}

/// Callers under way.
pub(crate) struct Callers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    running: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Starts `count` of them; what each does is drawn from `seed` and its number.
    pub(crate) fn start(plan: &Plan, count: usize, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let running = (0..count).map(|number| {
            let caller = Caller {
                plan: plan.clone(),
                number,
                server: number % plan.servers.len(),
                random: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
                connection: None,
                tags: vec![None; plan.deployments],
                written: vec![None; plan.deployments],
                acknowledged: Arc::clone(&acknowledged),
            };
            tokio::spawn(caller.run(Arc::clone(&stop)))
        });
        let running = running.collect();
        Self {
            stop,
            acknowledged,
            running,
        }
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets each finish the call that it is at.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.running {
            caller.await.unwrap();
        }
    }
}

struct Caller {
    plan: Plan,
    number: usize,
    server: usize,
    random: fastrand::Rng,
    connection: Option<Connection>,
    /// By Deployment: the tag that it was told last.
    tags: Vec<Option<String>>,
    /// By Deployment: the version of its last write.
    written: Vec<Option<u64>>,
    acknowledged: Arc<AtomicUsize>,
}

impl Caller {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let deployment = self.random.usize(..self.plan.deployments);
            match self.random.u8(..100) {
                // Behind a load balancer the next call may reach another server.
                0..5 => {
                    self.server = self.random.usize(..self.plan.servers.len());
                    self.connection = None;
                }
                5..55 => self.read(deployment).await,
                55..75 => self.write(deployment, None).await,
                _ => {
                    let tag = self.tags[deployment].clone();
                    self.write(deployment, tag).await;
                }
            }
            let pause = Duration::from_millis(self.random.u64(..4));
            sleep(pause).await;
        }
    }

    async fn read(&mut self, deployment: usize) {
        let at_least = self.written[deployment].filter(|_| self.random.bool());
        let wanted = at_least.map(|version| version.to_string());
        let header = wanted.as_ref().map(|v| ("x-min-resource-version", &**v));
        let call = Call::Read { at_least };
        let answer = self.call(Method::GET, deployment, header.as_slice(), "", call);
        if let Some(Outcome::Shown(state)) = answer.await {
            self.tags[deployment] = Some(state.tag);
        }
    }

    async fn write(&mut self, deployment: usize, only_if: Option<String>) {
        let count = self.plan.counts.next();
        let mut headers = vec![
            ("content-type", "application/json"),
            ("prefer", "return=representation"),
        ];
        headers.extend(only_if.iter().map(|tag| ("if-match", &**tag)));
        let body = format!("{{\"replicaCount\":{count}}}");
        let call = Call::Write {
            count,
            only_if: only_if.clone(),
        };
        let answer = self.call(Method::PUT, deployment, &headers, &body, call);
        if let Some(Outcome::Written { now, .. }) = answer.await {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            self.written[deployment] = Some(now.version);
            self.tags[deployment] = Some(now.tag);
        }
    }

    /// Makes a call and takes it down; a server that can't be connected to was asked nothing.
    async fn call(
        &mut self,
        method: Method,
        deployment: usize,
        headers: &[(&str, &str)],
        body: &str,
        call: Call,
    ) -> Option<Outcome> {
        let client = self.plan.servers[self.server].clone();
        if self.connection.is_none() {
            self.connection = client.open().await.ok();
        }
        let Some(connection) = &mut self.connection else {
            sleep(Duration::from_millis(20)).await;
            return None;
        };
        let path = format!(
            "/namespaces/{NAMESPACE}/deployments/{}/replicas",
            name(deployment)
        );
        let request = client.request(method, &path, headers, body);
        let asked = Asked::Server(self.server);
        let invocation = self
            .plan
            .recorder
            .invoke(self.number, asked, deployment, call.clone());
        // Some hang up in the middle.
        let patience = match self.random.u8(..100) {
            0..3 => Duration::from_millis(self.random.u64(1..20)),
            _ => GIVE_UP,
        };
        let outcome = match timeout(patience, connection.send(request)).await {
            Ok(Ok(answer)) => outcome(&call, &answer),
            Ok(Err(_)) | Err(_) => {
                self.connection = None;
                Outcome::Unknown
            }
        };
        let recorder = &self.plan.recorder;
        recorder.returned(invocation, outcome.clone());
        if let Outcome::Refused(503) = outcome {
            // It would be refused again.
            sleep(Duration::from_millis(20)).await;
        }
        Some(outcome)
    }
}

fn outcome(call: &Call, answer: &Answer) -> Outcome {
    let status = answer.status;
    if !status.is_success() {
        return match status {
            StatusCode::GATEWAY_TIMEOUT | StatusCode::INTERNAL_SERVER_ERROR => Outcome::Unknown,
            other => Outcome::Refused(other.as_u16()),
        };
    }
    let json = answer.json();
    let number = |field: &str| json[field].as_i64().and_then(|n| i32::try_from(n).ok());
    let now = State {
        version: answer.header("x-resource-version").parse().unwrap(),
        count: number("replicaCount").unwrap(),
        tag: answer.header("etag").to_owned(),
    };
    match call {
        Call::Read { .. } => Outcome::Shown(now),
        Call::Write { .. } => Outcome::Written {
            now,
            previous: number("previousReplicaCount"),
            seen: status == StatusCode::OK,
        },
    }
}
