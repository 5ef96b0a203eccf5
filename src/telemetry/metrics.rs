//! Metrics in OpenMetrics text, for `/metrics`; docs/metrics.md explains each.

mod durations;
mod exposition;
mod http;
mod informer;
mod kubernetes;
mod leases;
mod process;
mod watches;

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

pub(crate) use exposition::plain;
pub(crate) use http::{HttpMetrics, Template};
pub(crate) use informer::Following;
pub use informer::InformerMetrics;
pub use kubernetes::CallMetrics;
pub(crate) use kubernetes::{Call, Retry};
pub use leases::LeaseMetrics;
pub(crate) use process::panicked;
pub(crate) use watches::WatchMetrics;

use crate::{
    audit::AuditMetrics,
    kubernetes::EventMetrics,
    limits::{LimitMetrics, Memory},
    telemetry::log,
    tls::{Expiry, ExpiryWatch},
};

/// All that is counted, and the registries that render it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of the process, without our prefix.
    process: Registry,
    /// Of callers.
    pub(crate) http: HttpMetrics,
    /// Of callers' watches.
    pub(crate) watches: WatchMetrics,
    /// Of the informer.
    pub informer: Arc<InformerMetrics>,
    /// Of calls to the Kubernetes API.
    pub kubernetes: Arc<CallMetrics>,
    /// Of what the cluster is asked about callers.
    pub reviews: Arc<ReviewMetrics>,
    /// Of the audit trail.
    pub audit: Arc<AuditMetrics>,
    /// Of Kubernetes Events.
    pub events: Arc<EventMetrics>,
    /// Of leases of counts.
    pub leases: Arc<LeaseMetrics>,
    /// Of limits that were reached.
    pub limits: LimitMetrics,
    /// Of the process's memory.
    pub memory: Arc<Memory>,
    /// What expires besides what is in files.
    pub expiry: ExpiryWatch,
    expiries: Family<ExpiryLabels, Gauge>,
    beginnings: Family<ExpiryLabels, Gauge>,
    reloads: Family<ResultLabels, Counter>,
    reload_failing: Gauge,
    reload_success: Gauge<f64, AtomicU64>,
    panics: Counter,
    rendering: Mutex<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpiryLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

/// What is counted of SubjectAccessReviews.
#[derive(Debug, Default)]
pub struct ReviewMetrics {
    asked: Family<ResultLabels, Counter>,
    remembered: Counter,
}

impl ReviewMetrics {
    fn register(&self, registry: &mut Registry) {
        for result in ["allowed", "denied", "failed"] {
            drop(self.asked.get_or_create(&ResultLabels { result }));
        }
        registry.register(
            "access_reviews",
            "SubjectAccessReviews that the cluster was asked for, by result: allowed, denied or failed",
            self.asked.clone(),
        );
        registry.register(
            "access_reviews_remembered",
            "Questions that an earlier SubjectAccessReview answered",
            self.remembered.clone(),
        );
    }

    /// The cluster was asked, with `allowed`, `denied` or `failed`.
    pub(crate) fn asked(&self, result: &'static str) {
        self.asked.get_or_create(&ResultLabels { result }).inc();
    }

    /// An earlier answer served again.
    pub(crate) fn remembered(&self) {
        self.remembered.inc();
    }
}

/// What the metrics that aren't counted are at one moment.
#[derive(Debug, Default)]
pub(crate) struct Moment<'a> {
    pub(crate) following: Following,
    pub(crate) circuit_open: bool,
    /// How long ago the Kubernetes API last answered.
    pub(crate) answer_age: Duration,
    /// The soonest end of each kind.
    pub(crate) expiries: &'a [Expiry],
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("headcount");
        let http = HttpMetrics::default();
        let informer = Arc::<InformerMetrics>::default();
        let kubernetes = Arc::<CallMetrics>::default();
        let reviews = Arc::<ReviewMetrics>::default();
        let audit = Arc::<AuditMetrics>::default();
        let events = Arc::<EventMetrics>::default();
        let leases = Arc::<LeaseMetrics>::default();
        let limits = LimitMetrics::default();
        let watches = WatchMetrics::default();
        let memory = Arc::<Memory>::default();
        let (expiries, beginnings, reloads) =
            (Family::default(), Family::default(), Family::default());
        let (reload_failing, reload_success, panics) = Default::default();
        http.register(&mut registry);
        audit.register(&mut registry);
        events.register(&mut registry);
        leases.register(&mut registry);
        limits.register(&mut registry);
        watches.register(&mut registry);
        memory.register(&mut registry);
        for result in ["applied", "failed"] {
            drop(Family::get_or_create(&reloads, &ResultLabels { result }));
        }
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
        registry.register_with_unit(
            "reload_last_success_timestamp",
            "When files were put in force last, the start included, in seconds since 1970",
            Unit::Seconds,
            Gauge::clone(&reload_success),
        );
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the first of a kind expires: server, client_ca, crl (its nextUpdate), client (of those let in)",
            Unit::Seconds,
            Family::clone(&expiries),
        );
        registry.register_with_unit(
            "certificate_valid_from_timestamp",
            "Since when those are valid that headcount_certificate_expiry_timestamp_seconds is about",
            Unit::Seconds,
            Family::clone(&beginnings),
        );
        informer.register(&mut registry);
        kubernetes.register(&mut registry);
        reviews.register(&mut registry);
        registry.register(
            "panics",
            "How often a part of the program panicked",
            Counter::clone(&panics),
        );
        let build = BuildLabels {
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        };
        let help = "The program's version, and what it was built for";
        registry.register("build", help, Info::new(build));
        let mut process = Registry::default();
        process.register_collector(Box::<process::Process>::default());
        let metrics = Self {
            registry,
            process,
            watches,
            http,
            informer,
            kubernetes,
            reviews,
            audit,
            events,
            leases,
            limits,
            memory,
            expiry: ExpiryWatch::default(),
            expiries,
            beginnings,
            reloads,
            reload_failing,
            reload_success,
            panics,
            rendering: Mutex::new(()),
        };
        metrics.in_force();
        metrics
    }
}

impl Metrics {
    /// Changed files were put in force.
    pub(crate) fn reloaded(&self) {
        self.reload("applied");
        self.in_force();
    }

    /// Changed files can't be put in force.
    pub(crate) fn reload_failed(&self) {
        self.reload("failed");
        self.reload_failing.set(1);
    }

    fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    /// The files as they are are in force, by a start or a reload, or since a change was taken back.
    pub(crate) fn in_force(&self) {
        self.reload_failing.set(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.reload_success
            .set(now.unwrap_or_default().as_secs_f64());
    }

    /// The text of `/metrics`.
    pub(crate) fn render(&self, now: &Moment<'_>) -> String {
        // One at a time, so that nobody sees a family that another is filling.
        let _rendering = self
            .rendering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // What there is no more of has no time.
        for (family, time) in [
            (&self.beginnings, (|e| e.from) as fn(&Expiry) -> SystemTime),
            (&self.expiries, |e| e.until),
        ] {
            family.clear();
            for expiry in now.expiries {
                let kind = expiry.what.as_str();
                let seconds = time(expiry).duration_since(UNIX_EPOCH).unwrap_or_default();
                let gauge = family.get_or_create(&ExpiryLabels { kind });
                gauge.set(seconds.as_secs() as i64);
            }
        }
        self.informer.show(&now.following);
        self.kubernetes.show(now.circuit_open, now.answer_age);
        let panics = process::panics();
        self.panics.inc_by(panics.saturating_sub(self.panics.get()));
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode_eof(&mut text);
        text
    }
}
