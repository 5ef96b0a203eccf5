//! A kubelet for the Pods of one namespace: runs them, keeps their volumes current, asks their probes, tells the API server of it, and
//! ends them when they are deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, Probe};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::{network::Network, probes::HttpProbe, rendered_pod::RenderedPod};
use crate::support::program::Ended;

/// How often it asks for the namespace's Pods.
const PERIOD: Duration = Duration::from_millis(100);
/// How often volumes are made current; a kubelet takes up to a minute.
const SYNC: Duration = Duration::from_millis(500);
/// How long a question to the API server may take; then it is asked again.
const ANSWER: Duration = Duration::from_secs(10);

/// The Pods that are there, by their uid.
type Pods = BTreeMap<String, Pod>;

/// Runs until it is dropped, and its Pods with it.
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

struct Shared {
    api: Api<Pod>,
    client: Client,
    network: Arc<Network>,
    pods: Mutex<Vec<Arc<RenderedPod>>>,
    ended: Mutex<Vec<(String, Ended)>>,
    failures: Mutex<Vec<String>>,
}

/// What is known of one Pod's container.
enum State {
    Runs { ready: bool },
    Ended { code: i32 },
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Kubelet {
    /// Runs the Pods of a namespace, wherever they were scheduled; nobody else may.
    pub(crate) fn start(client: Client, namespace: &str, network: Arc<Network>) -> Self {
        let shared = Arc::new(Shared {
            api: Api::namespaced(client.clone(), namespace),
            client,
            network,
            pods: Mutex::default(),
            ended: Mutex::default(),
            failures: Mutex::default(),
        });
        let running = tokio::spawn(Arc::clone(&shared).follow());
        Self { shared, running }
    }

    /// The Pods that run.
    pub(crate) fn pods(&self) -> Vec<Arc<RenderedPod>> {
        self.shared.pods.lock().unwrap().clone()
    }

    /// The Pods that have ended, by name; it forgets them.
    pub(crate) fn ended(&self) -> Vec<(String, Ended)> {
        std::mem::take(&mut *self.shared.ended.lock().unwrap())
    }

    /// Fails the test where a container ended by itself, was found dead by its probe, or didn't end in time.
    pub(crate) fn has_not_failed(&self) {
        let failures = self.shared.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
    }
}

impl Shared {
    async fn follow(self: Arc<Self>) {
        let (tell, pods) = watch::channel(Pods::new());
        let (mut lives, mut known) = (JoinSet::new(), BTreeSet::new());
        loop {
            let list = timeout(ANSWER, self.api.list(&ListParams::default())).await;
            if let Ok(Ok(list)) = list {
                let now: Pods = list
                    .into_iter()
                    .map(|pod| (pod.metadata.uid.clone().unwrap(), pod))
                    .collect();
                let begin = now.iter().filter(|(uid, pod)| {
                    let placed = pod.spec.as_ref().unwrap().node_name.is_some();
                    placed && known.insert((*uid).clone())
                });
                let begin: Vec<_> = begin.map(|(_, pod)| pod.clone()).collect();
                // Before its life begins: a Pod that isn't there is taken for deleted.
                tell.send_replace(now);
                for pod in begin {
                    lives.spawn(Arc::clone(&self).live(pod, pods.clone()));
                }
            }
            while let Some(life) = lives.try_join_next() {
                if let Err(error) = life {
                    self.fails(format!("the tests' kubelet: {error}"));
                }
            }
            sleep(PERIOD).await;
        }
    }

    fn fails(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    /// From the Pod's placement to its end.
    async fn live(self: Arc<Self>, pod: Pod, pods: watch::Receiver<Pods>) {
        let uid = pod.metadata.uid.clone().unwrap();
        let deleted = || match pods.borrow().get(&uid) {
            Some(pod) => pod.metadata.deletion_timestamp.is_some(),
            None => true,
        };
        let rendered = loop {
            if deleted() {
                return self.gone(&pod).await;
            }
            match RenderedPod::start(&pod, &self.client, &self.network).await {
                Ok(rendered) => break Arc::new(rendered),
                Err(missing) => self.waits(&pod, &missing).await,
            }
            sleep(PERIOD).await;
        };
        self.pods.lock().unwrap().push(Arc::clone(&rendered));
        self.run(&pod, &rendered, deleted).await;
        self.pods
            .lock()
            .unwrap()
            .retain(|other| other.name != rendered.name);
    }

    /// Until it has ended by itself, or because it was deleted.
    async fn run(&self, pod: &Pod, rendered: &RenderedPod, deleted: impl Fn() -> bool) {
        let spec = pod.spec.as_ref().unwrap();
        let readiness = Arc::new(AtomicBool::new(
            rendered.container.readiness_probe.is_none(),
        ));
        let dead = Arc::new(AtomicBool::new(false));
        let _probes = self.probes(rendered, &readiness, &dead);
        let (mut told, mut synced) = (None, Instant::now());
        while !deleted() {
            if rendered.program().as_mut().unwrap().has_ended() {
                let ended = self.ends(rendered).await;
                let end = State::Ended { code: ended };
                while !deleted() && !self.tell(pod, rendered, &end).await {
                    sleep(PERIOD).await;
                }
                if spec.restart_policy.as_deref() != Some("Never") {
                    self.fails(format!("{} ended by itself, with {ended}", rendered.name));
                }
                while !deleted() {
                    sleep(PERIOD).await;
                }
                return self.gone(pod).await;
            }
            if dead.swap(false, Ordering::Relaxed) {
                self.fails(format!("{} was found dead by a probe", rendered.name));
            }
            let ready = readiness.load(Ordering::Relaxed);
            if told != Some(ready) && self.tell(pod, rendered, &State::Runs { ready }).await {
                told = Some(ready);
            }
            if synced.elapsed() > SYNC {
                rendered.volumes.sync().await;
                synced = Instant::now();
            }
            sleep(PERIOD / 4).await;
        }
        let seconds = spec.termination_grace_period_seconds.unwrap_or(30);
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap());
        rendered.program().as_ref().unwrap().signal("TERM");
        if timeout(grace, self.ends(rendered)).await.is_err() {
            self.fails(format!(
                "{} had to be killed after {grace:?}",
                rendered.name
            ));
        }
        self.gone(pod).await;
    }

    fn probes(
        &self,
        rendered: &RenderedPod,
        readiness: &Arc<AtomicBool>,
        dead: &Arc<AtomicBool>,
    ) -> JoinSet<()> {
        let container = &rendered.container;
        let http = |probe: &Option<Probe>| {
            probe
                .as_ref()
                .map(|probe| HttpProbe::new(container, probe, rendered.address))
        };
        let startup = http(&container.startup_probe);
        let (ready, live) = (
            http(&container.readiness_probe),
            http(&container.liveness_probe),
        );
        let (readiness, dead) = (Arc::clone(readiness), Arc::clone(dead));
        let mut probes = JoinSet::new();
        probes.spawn(async move {
            if let Some(startup) = startup
                && !startup.succeeds().await
            {
                dead.store(true, Ordering::Relaxed);
            }
            let readiness = async {
                if let Some(probe) = ready {
                    probe
                        .ask(|verdict| readiness.store(verdict, Ordering::Relaxed))
                        .await;
                }
            };
            let liveness = async {
                if let Some(probe) = live {
                    probe
                        .ask(|verdict| dead.store(!verdict, Ordering::Relaxed))
                        .await;
                }
            };
            tokio::join!(readiness, liveness);
        });
        probes
    }

    /// Waits for the program's end; its exit code, or what a shell says of a signal's.
    async fn ends(&self, rendered: &RenderedPod) -> i32 {
        let program = rendered.program().take().unwrap();
        let ended = program.ended().await;
        let code = ended.code.unwrap_or(137);
        self.ended
            .lock()
            .unwrap()
            .push((rendered.name.clone(), ended));
        code
    }

    /// Tells what it waits for, as the Events of a Pod whose volumes can't be mounted do.
    async fn waits(&self, pod: &Pod, missing: &str) {
        let waiting = json!({"waiting": {"reason": "ContainerCreating", "message": missing}});
        let name = &pod.spec.as_ref().unwrap().containers[0].name;
        let status = json!({"containerStatuses": [{
            "name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": waiting,
        }]});
        self.patch(pod, status).await;
    }

    /// Whether the API server was told.
    async fn tell(&self, pod: &Pod, rendered: &RenderedPod, state: &State) -> bool {
        let container = &rendered.container;
        let (phase, ready, detail) = match state {
            State::Runs { ready } => ("Running", *ready, json!({"running": {}})),
            State::Ended { code: 0 } => (
                "Succeeded",
                false,
                json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
            ),
            State::Ended { code } => (
                "Failed",
                false,
                json!({"terminated": {"exitCode": code, "reason": "Error"}}),
            ),
        };
        let condition = |kind: &str, holds: bool| {
            let now = jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string();
            json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now})
        };
        let status = json!({
            "phase": phase,
            "podIP": rendered.address,
            "podIPs": [{"ip": rendered.address}],
            "hostIP": "10.0.0.1",
            "conditions": [condition("Initialized", true), condition("ContainersReady", ready), condition("Ready", ready)],
            "containerStatuses": [{
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": true,
                "restartCount": 0,
                "state": detail,
                "lastState": {},
            }],
        });
        self.patch(pod, status).await
    }

    async fn patch(&self, pod: &Pod, status: Value) -> bool {
        let name = pod.metadata.name.as_deref().unwrap();
        // The uid: another Pod of the name is another Pod.
        let patch =
            Patch::Strategic(json!({"metadata": {"uid": pod.metadata.uid}, "status": status}));
        let params = PatchParams::default();
        let told = self.api.patch_status(name, &params, &patch);
        match timeout(ANSWER, told).await {
            Ok(Ok(_)) => true,
            Err(_) => false,
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => false,
            Ok(Err(error)) => {
                self.fails(format!("the status of {name}: {error}"));
                false
            }
        }
    }

    /// The Pod's end.
    async fn gone(&self, pod: &Pod) {
        let name = pod.metadata.name.as_deref().unwrap();
        let at_once = DeleteParams {
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default().grace_period(0)
        };
        match self.api.delete(name, &at_once).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => self.fails(format!("the end of {name}: {error}")),
        }
    }
}
