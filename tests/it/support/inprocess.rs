//! The informer and the API in this process, on a simulated cluster without a network, so that paused time works.

mod asking;
mod leasing;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use headcount::{
    access::{Authorization, Caller, NameKind, Principal, Rules, Verbs},
    api::Api,
    generation::Session,
    kubernetes::{
        Autoscaling, Clock as LeaseClock, Connection, Deployments, Informer, InformerStatus,
        LeaseRules, Managed,
    },
    limits::{Limiter, Limits},
    store::{LabelKeys, Store},
    telemetry::metrics::Metrics,
    tls::{Bound, Identity},
};
use http::{Request, Uri};
use leasing::Leasing;
use simkube::{ApiServer, Cluster};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower::{Service as _, service_fn};

use super::shape::{Shape, Shaped};

/// A request that left for Kubernetes.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) uri: Uri,
}

impl Sent {
    fn query_has(&self, what: &str) -> bool {
        self.uri
            .query()
            .is_some_and(|q| q.split('&').any(|p| p == what))
    }

    /// Whether it asks for a watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.query_has("watch=true")
    }

    /// Whether it asks for the smallest list there is.
    pub(crate) fn is_probe(&self) -> bool {
        self.query_has("limit=1")
    }

    /// Whether it reads a single Deployment.
    pub(crate) fn is_of_one(&self) -> bool {
        let query = self.uri.query().unwrap_or_default();
        self.uri.path().contains("/deployments/") || query.contains("metadata.name")
    }

    /// Whether it asks for a page of a list.
    pub(crate) fn is_list(&self) -> bool {
        !self.is_watch() && !self.is_probe() && self.uri.path().ends_with("/deployments")
    }
}

/// Sends some requests to another cluster, judged by their URI.
pub(crate) type Detour = Box<dyn Fn(&Sent) -> Option<ApiServer> + Send>;

/// How the answer to a request arrives.
pub(crate) type Shaping = Box<dyn Fn(&Sent) -> Shape + Send>;

/// One Deployment as both sides tell it: namespace, name, uid, count, version, whether it is being deleted.
pub(crate) type Seen = (String, String, String, i32, u64, bool);

/// What tests of images, restarts and the like need beyond the usual.
fn enabling_all() -> Rules {
    let verbs = Verbs::ALL;
    Rules {
        authorization: Authorization::Any(verbs),
        ..Rules::default()
    }
}

/// Which requests fail with a panic of whoever sent them.
type Panicking = Box<dyn Fn(&Sent) -> bool + Send>;

/// Informer and API of one server.
pub(crate) struct InProcess {
    pub(crate) cluster: Cluster,
    pub(crate) status: Arc<InformerStatus>,
    api: Arc<Api>,
    limiter: Arc<Limiter>,
    session: Arc<Session>,
    sent: Arc<Mutex<Vec<Sent>>>,
    detour: Arc<Mutex<Option<Detour>>>,
    shaping: Arc<Mutex<Option<Shaping>>>,
    panicking: Arc<Mutex<Option<Panicking>>>,
    labels: watch::Sender<Arc<LabelKeys>>,
    informer: AbortOnDropHandle<()>,
    client: kube::Client,
    autoscaling: Option<AbortOnDropHandle<()>>,
    metrics: Arc<Metrics>,
    leases: Option<Leasing>,
}

impl InProcess {
    /// Starts on all namespaces; nothing has been sent yet.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::managing(cluster, Managed::default())
    }

    /// Starts and waits for the first complete list.
    pub(crate) async fn synced(cluster: &Cluster) -> Self {
        let this = Self::start(cluster);
        this.becomes_synced().await;
        this
    }

    /// Starts on what is managed.
    pub(crate) fn managing(cluster: &Cluster, managed: Managed) -> Self {
        Self::begin(cluster, managed, None)
    }

    fn begin(
        cluster: &Cluster,
        managed: Managed,
        leases: Option<(LeaseRules, LeaseClock)>,
    ) -> Self {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let detour = Arc::new(Mutex::new(None::<Detour>));
        let shaping = Arc::new(Mutex::new(None::<Shaping>));
        let panicking = Arc::new(Mutex::new(None::<Panicking>));
        let client = {
            let (sent, detour, here) = (Arc::clone(&sent), Arc::clone(&detour), cluster.service());
            let (shaping, panicking) = (Arc::clone(&shaping), Arc::clone(&panicking));
            kube::Client::new(
                service_fn(move |request: Request<kube::client::Body>| {
                    let this = Sent {
                        at: Instant::now(),
                        uri: request.uri().clone(),
                    };
                    let elsewhere = detour
                        .lock()
                        .unwrap()
                        .as_ref()
                        .and_then(|detour| detour(&this));
                    let shape = shaping
                        .lock()
                        .unwrap()
                        .as_ref()
                        .map(|shaping| shaping(&this));
                    let panicking = panicking.lock().unwrap();
                    let panics = panicking.as_ref().is_some_and(|panics| panics(&this));
                    drop(panicking);
                    sent.lock().unwrap().push(this);
                    let answer = elsewhere.unwrap_or_else(|| here.clone()).call(request);
                    async move {
                        assert!(!panics, "as if by mistake");
                        let shape = shape.unwrap_or_default();
                        answer.await.map(|a| a.map(|body| Shaped::new(body, shape)))
                    }
                }),
                "default",
            )
        };
        let status = Arc::new(InformerStatus::new(Arc::new(Store::new(
            &managed.namespaces,
        ))));
        let metrics = Arc::new(Metrics::default());
        let limiter = Arc::new(Limiter::default());
        let leases = leases.map(|(rules, clock)| Leasing::follow(&client, &status, rules, clock));
        let deployments = Deployments::new(client.clone(), Arc::clone(&status), managed.clone())
            .limited_by(Arc::clone(&limiter))
            .with_leases(leases.as_ref().map(|leases| Arc::clone(&leases.objects)));
        let labels = watch::Sender::new(Arc::default());
        let informer = Informer::new(
            client.clone(),
            managed,
            labels.subscribe(),
            Arc::clone(&status),
            Arc::clone(&metrics.informer),
        );
        Self {
            cluster: cluster.clone(),
            api: Arc::new(Api::new(
                Arc::clone(&status),
                deployments,
                Arc::clone(&metrics),
                TaskTracker::new(),
            )),
            status,
            labels,
            session: Arc::new(Session::fixed(caller("alice", enabling_all()))),
            limiter,
            sent,
            detour,
            shaping,
            panicking,
            informer: AbortOnDropHandle::new(tokio::spawn(informer.run())),
            client,
            autoscaling: None,
            metrics,
            leases,
        }
    }

    /// From now on it follows autoscalers, as the program does.
    pub(crate) fn follow_autoscalers(&mut self) {
        let autoscaling = Autoscaling::new(self.client.clone(), Arc::clone(&self.status));
        let running = tokio::spawn(autoscaling.run());
        self.autoscaling = Some(AbortOnDropHandle::new(running));
    }

    /// From now on these limits hold; its own caller is this one.
    pub(crate) fn limited(&mut self, limits: &Limits) {
        self.limiter.apply(limits);
        self.session = self.session_of("alice", enabling_all(), limits);
    }

    /// From now on these limits hold for what callers share.
    pub(crate) fn go_by(&self, limits: &Limits) {
        self.limiter.apply(limits);
    }

    /// Somebody else, by these limits.
    pub(crate) fn session_of(&self, name: &str, rules: Rules, limits: &Limits) -> Arc<Session> {
        let caller = caller(name, rules).limited(&self.limiter, &limits.rates);
        Arc::new(Session::fixed(caller))
    }

    /// Somebody else.
    pub(crate) fn somebody(&self, name: &str) -> Arc<Session> {
        self.session_of(name, enabling_all(), &Limits::default())
    }

    /// From now on this decides where requests go; `None` sends them to the cluster.
    pub(crate) fn detour(&self, detour: impl Fn(&Sent) -> Option<ApiServer> + Send + 'static) {
        *self.detour.lock().unwrap() = Some(Box::new(detour));
    }

    /// From now on whoever sends such requests panics.
    pub(crate) fn panic_on(&self, panics: impl Fn(&Sent) -> bool + Send + 'static) {
        *self.panicking.lock().unwrap() = Some(Box::new(panics));
    }

    /// All requests go to the cluster again.
    pub(crate) fn no_detour(&self) {
        *self.detour.lock().unwrap() = None;
    }

    /// From now on answers arrive in these shapes.
    pub(crate) fn shape(&self, shaping: impl Fn(&Sent) -> Shape + Send + 'static) {
        *self.shaping.lock().unwrap() = Some(Box::new(shaping));
    }

    /// From now on the labels of these keys are wanted.
    pub(crate) fn want_labels(&self, keys: &[&str]) -> Arc<LabelKeys> {
        let keys: Arc<LabelKeys> = Arc::new(keys.iter().copied().collect());
        self.labels.send_replace(Arc::clone(&keys));
        keys
    }

    /// What was sent so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// How many of the requests sent since `start` fit.
    pub(crate) fn sent_since(&self, start: Instant, fits: impl Fn(&Sent) -> bool) -> usize {
        self.sent()
            .iter()
            .filter(|s| s.at >= start && fits(s))
            .count()
    }

    /// Waits for the first complete list.
    pub(crate) async fn becomes_synced(&self) {
        self.until("synced", Duration::from_secs(30), || {
            self.status.store().snapshot().synced()
        })
        .await;
    }

    /// Waits until `holds` and says how long that took.
    pub(crate) async fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn() -> bool,
    ) -> Duration {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < within,
                "{what}: not within {within:?}; {:?}",
                self.status.connection()
            );
            sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    }

    /// Waits until the store holds exactly what the cluster does and says how long that took.
    pub(crate) async fn converges(&self, within: Duration) -> Duration {
        let start = Instant::now();
        while self.stored() != self.existing() {
            assert!(
                start.elapsed() < within,
                "not within {within:?}: {:#?}\n is not {:#?}",
                self.stored(),
                self.existing()
            );
            sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    }

    /// Waits until health has lost the cluster; how long that took, and what it says.
    pub(crate) async fn is_lost(&self, within: Duration) -> (Duration, String) {
        let took = self
            .until("health", within, || {
                matches!(self.status.connection(), Connection::Lost(_))
            })
            .await;
        let Connection::Lost(why) = self.status.connection() else {
            panic!("it came back in the same moment")
        };
        (took, why)
    }

    /// Waits until health is good and says how long that took.
    pub(crate) async fn is_connected(&self, within: Duration) -> Duration {
        self.until("health", within, || {
            self.status.connection() == Connection::Connected
        })
        .await
    }

    /// All that the store holds.
    pub(crate) fn stored(&self) -> Vec<Seen> {
        let snapshot = self.status.store().snapshot();
        let seen = snapshot.records().map(|r| {
            (
                r.namespace().into(),
                r.name().into(),
                r.uid().to_string(),
                r.replicas(),
                r.resource_version(),
                r.deleting(),
            )
        });
        seen.collect()
    }

    /// All that the cluster holds, in the store's order.
    pub(crate) fn existing(&self) -> Vec<Seen> {
        let seen = self.cluster.deployments().into_iter().map(|d| {
            (
                d.namespace,
                d.name,
                d.uid,
                d.replicas.unwrap_or(1),
                d.resource_version,
                d.deleting,
            )
        });
        let mut seen: Vec<Seen> = seen.collect();
        seen.sort();
        seen
    }

    /// The stored count of a Deployment.
    pub(crate) fn count(&self, namespace: &str, name: &str) -> Option<i32> {
        self.status
            .store()
            .snapshot()
            .get(namespace, name)
            .map(|r| r.replicas())
    }

    /// Whether nothing follows the cluster any more.
    pub(crate) fn informer_has_ended(&self) -> bool {
        self.informer.is_finished()
    }

    /// The version that the store has reached.
    pub(crate) fn version(&self) -> u64 {
        self.status.store().snapshot().resource_version()
    }
}

/// A caller of this name.
fn caller(name: &str, rules: Rules) -> Caller {
    let identity = Identity {
        subject: format!("CN={name}"),
        serial: "01".into(),
        issuer: "CN=test".into(),
        not_before: SystemTime::UNIX_EPOCH,
        valid_until: SystemTime::now() + Duration::from_secs(1 << 30),
        bound: Bound::Certificate,
        not_after: SystemTime::now() + Duration::from_secs(1 << 30),
    };
    let principal = Principal {
        name: name.into(),
        kind: NameKind::CommonName,
        groups: Vec::new(),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Caller::new(identity, Ok(principal), address, Arc::new(rules))
}
