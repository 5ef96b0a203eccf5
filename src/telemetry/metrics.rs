//! Metrics in OpenMetrics text, for `/metrics`.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::UNIX_EPOCH,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    limits::{LimitMetrics, Memory},
    telemetry::log,
    tls::{Expiry, ExpiryWatch},
};

/// All that is counted, and the registry that renders it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// Those of single counts that are read, which come a hundred thousand a second: found without hashing labels.
    reads: Counter,
    handshakes: Family<ResultLabels, Counter>,
    connections: Gauge,
    reloads: Family<ResultLabels, Counter>,
    reload_failing: Gauge,
    /// Of the informer.
    pub informer: Arc<InformerMetrics>,
    /// Of what the cluster is asked about callers.
    pub reviews: Arc<ReviewMetrics>,
    /// Of limits that were reached.
    pub limits: LimitMetrics,
    /// Of the process's memory.
    pub memory: Arc<Memory>,
    /// What expires besides what is in files.
    pub expiry: ExpiryWatch,
    expiries: Family<ExpiryLabels, Gauge>,
    rendering: Mutex<()>,
    circuit: Gauge,
    synced: Gauge,
    connected: Gauge,
    age: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

const READS: RequestLabels = RequestLabels {
    route: "/api/v1/namespaces/{namespace}/deployments/{name}/replicas",
    method: "GET",
    status: 200,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpiryLabels {
    kind: &'static str,
}

/// Counts a connection as open.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the informer counts.
#[derive(Debug, Default)]
pub struct InformerMetrics {
    deployments: Gauge,
    resource_version: Gauge<i64, AtomicI64>,
    events: Counter,
    relists: Counter,
    disconnects: Counter,
    undecodable: Counter,
}

impl InformerMetrics {
    pub(crate) fn applied(&self, deployments: usize, resource_version: u64) {
        self.deployments.set(deployments as i64);
        self.resource_version.set(resource_version as i64);
    }

    pub(crate) fn events(&self, count: usize) {
        self.events.inc_by(count as u64);
    }

    pub(crate) fn relist(&self) {
        self.relists.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.disconnects.inc();
    }

    pub(crate) fn undecodable(&self) {
        self.undecodable.inc();
    }
}

/// What is counted of SubjectAccessReviews.
#[derive(Debug, Default)]
pub struct ReviewMetrics {
    asked: Family<ReviewLabels, Counter>,
    remembered: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    result: &'static str,
}

impl ReviewMetrics {
    /// The cluster was asked, with `allowed`, `denied` or `failed`.
    pub(crate) fn asked(&self, result: &'static str) {
        self.asked.get_or_create(&ReviewLabels { result }).inc();
    }

    /// An earlier answer served again.
    pub(crate) fn remembered(&self) {
        self.remembered.inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("headcount");
        let informer = Arc::<InformerMetrics>::default();
        let reviews = Arc::<ReviewMetrics>::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let reads = requests.get_or_create_owned(&READS);
        let handshakes = Family::default();
        let reloads = Family::default();
        let expiries = Family::default();
        let limits = LimitMetrics::default();
        let memory = Arc::<Memory>::default();
        let (connections, reload_failing, circuit, synced, connected, age) = Default::default();
        registry.register(
            "http_requests",
            "Requests answered, by route, method and status",
            Family::clone(&requests),
        );
        registry.register(
            "tls_handshakes",
            "Handshakes, by result: accepted, or why not",
            Family::clone(&handshakes),
        );
        registry.register(
            "connections",
            "Open connections of callers",
            Gauge::clone(&connections),
        );
        limits.register(&mut registry);
        memory.register(&mut registry);
        registry.register(
            "reloads",
            "Changed sets of files, by result: applied or failed",
            Family::clone(&reloads),
        );
        registry.register(
            "reload_failing",
            "1 while the files as they are can't be put in force",
            Gauge::clone(&reload_failing),
        );
        registry.register(
            "log_lines_dropped",
            "Log lines that an output (stderr, file) didn't take",
            log::dropped(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the first of a kind expires: server, client_ca, crl (its nextUpdate), client (of those let in)",
            Family::clone(&expiries),
        );
        registry.register(
            "informer_deployments",
            "Deployments in the store",
            informer.deployments.clone(),
        );
        registry.register(
            "informer_resource_version",
            "How far the list and watch have come",
            informer.resource_version.clone(),
        );
        registry.register(
            "informer_events",
            "Watch events applied",
            informer.events.clone(),
        );
        registry.register(
            "informer_relists",
            "Complete lists fetched, the first one included",
            informer.relists.clone(),
        );
        registry.register(
            "informer_disconnects",
            "Lists and watches that failed",
            informer.disconnects.clone(),
        );
        registry.register(
            "informer_undecodable_objects",
            "Objects skipped since they can't be read",
            informer.undecodable.clone(),
        );
        registry.register(
            "access_reviews",
            "SubjectAccessReviews that the cluster was asked for, by result: allowed, denied or failed",
            reviews.asked.clone(),
        );
        registry.register(
            "access_reviews_remembered",
            "Questions that an earlier SubjectAccessReview answered",
            reviews.remembered.clone(),
        );
        registry.register(
            "kubernetes_circuit_open",
            "1 while the Kubernetes API doesn't answer: writes are refused at once",
            Gauge::clone(&circuit),
        );
        registry.register(
            "informer_synced",
            "1 when the first list is complete",
            Gauge::clone(&synced),
        );
        registry.register(
            "informer_connected",
            "1 while the store follows the cluster",
            Gauge::clone(&connected),
        );
        registry.register(
            "informer_age_seconds",
            "Since when the store wasn't confirmed to be current",
            Gauge::clone(&age),
        );
        Self {
            registry,
            requests,
            reads,
            handshakes,
            connections,
            reloads,
            reload_failing,
            limits,
            memory,
            expiry: ExpiryWatch::default(),
            expiries,
            rendering: Mutex::new(()),
            informer,
            reviews,
            circuit,
            synced,
            connected,
            age,
        }
    }
}

impl Metrics {
    /// A request was answered. `route` is a template, never a path, so that labels stay few.
    pub(crate) fn answered(
        &self,
        route: &'static str,
        method: &http::Method,
        status: http::StatusCode,
    ) {
        // Any token is a method; those that no route has share a label.
        let method = match *method {
            http::Method::GET => "GET",
            http::Method::HEAD => "HEAD",
            http::Method::PUT => "PUT",
            _ => "other",
        };
        let labels = RequestLabels {
            route,
            method,
            status: status.as_u16(),
        };
        if labels == READS {
            self.reads.inc();
        } else {
            self.requests.get_or_create(&labels).inc();
        }
    }

    /// A handshake ended, with `accepted` or the reason.
    pub(crate) fn handshake(&self, result: &'static str) {
        self.handshakes
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// Changed files were put in force (`applied`), or can't be (`failed`).
    pub(crate) fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    /// Whether the files as they are can't be put in force.
    pub(crate) fn reload_failing(&self, failing: bool) {
        self.reload_failing.set(i64::from(failing));
    }

    /// Whether the circuit to the Kubernetes API is open.
    pub(crate) fn circuit(&self, open: bool) {
        self.circuit.set(i64::from(open));
    }

    /// A connection is open until this is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// The text of `/metrics`.
    pub(crate) fn render(
        &self,
        synced: bool,
        connected: bool,
        age: std::time::Duration,
        expiries: &[Expiry],
    ) -> String {
        // One at a time, so that nobody sees a family that another is filling.
        let _rendering = self
            .rendering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // What there is no more of has no time.
        self.expiries.clear();
        for Expiry { what, until, .. } in expiries {
            let kind = what.as_str();
            let seconds = until
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            self.expiries
                .get_or_create(&ExpiryLabels { kind })
                .set(seconds as i64);
        }
        self.synced.set(i64::from(synced));
        self.connected.set(i64::from(connected));
        self.age.set(age.as_secs_f64());
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
