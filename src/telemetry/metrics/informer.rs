//! How the copy follows the cluster.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// The watch events that there are: `upsert` is one of ADDED and MODIFIED, which mean the same to a copy.
const EVENTS: [&str; 4] = ["upsert", "delete", "bookmark", "error"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RelistLabels {
    reason: &'static str,
}

/// What the informer counts.
#[derive(Debug, Default)]
pub struct InformerMetrics {
    deployments: Gauge,
    resource_version: Gauge<i64, AtomicI64>,
    events: Family<EventLabels, Counter>,
    relists: Family<RelistLabels, Counter>,
    disconnects: Counter,
    undecodable: Counter,
    synced: Gauge,
    connected: Gauge,
    age: Gauge<f64, AtomicU64>,
    scopes: Gauge,
    watches: Gauge,
    watch_age: Gauge<f64, AtomicU64>,
}

/// How the copy follows the cluster at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Following {
    /// Whether the first list is complete.
    pub(crate) synced: bool,
    /// Whether the copy follows the cluster.
    pub(crate) connected: bool,
    /// How long ago it was last known to be current.
    pub(crate) age: Duration,
    /// How many lists and watches there should be …
    pub(crate) scopes: usize,
    /// … how many watches there are …
    pub(crate) watches: usize,
    /// … and how old the oldest of them is.
    pub(crate) watch_age: Duration,
}

impl InformerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "informer_deployments",
            "Deployments in the store",
            self.deployments.clone(),
        );
        registry.register(
            "informer_resource_version",
            "How far the list and watch have come",
            self.resource_version.clone(),
        );
        for kind in EVENTS {
            self.events(kind, 0);
        }
        registry.register(
            "informer_events",
            "Watch events taken, by type: upsert, delete, bookmark or error",
            self.events.clone(),
        );
        registry.register(
            "informer_relists",
            "Complete lists fetched, the first one included, by reason",
            self.relists.clone(),
        );
        registry.register(
            "informer_disconnects",
            "Lists and watches that failed",
            self.disconnects.clone(),
        );
        registry.register(
            "informer_undecodable_objects",
            "Objects skipped since they can't be read",
            self.undecodable.clone(),
        );
        registry.register(
            "informer_synced",
            "1 when the first list is complete",
            self.synced.clone(),
        );
        registry.register(
            "informer_connected",
            "1 while the store follows the cluster",
            self.connected.clone(),
        );
        registry.register_with_unit(
            "informer_age",
            "Since when the store wasn't confirmed to be current",
            Unit::Seconds,
            self.age.clone(),
        );
        registry.register(
            "informer_scopes",
            "What has a list and a watch of its own: each namespace that is named, or all of them as one",
            self.scopes.clone(),
        );
        registry.register(
            "informer_watches",
            "Watches that are open and work; as many as there are scopes, but between two of them",
            self.watches.clone(),
        );
        registry.register_with_unit(
            "informer_watch_age",
            "How long the oldest open watch has been working; 0 without one",
            Unit::Seconds,
            self.watch_age.clone(),
        );
    }

    pub(super) fn show(&self, now: &Following) {
        self.synced.set(i64::from(now.synced));
        self.connected.set(i64::from(now.connected));
        self.age.set(now.age.as_secs_f64());
        self.scopes.set(now.scopes as i64);
        self.watches.set(now.watches as i64);
        self.watch_age.set(now.watch_age.as_secs_f64());
    }

    pub(crate) fn applied(&self, deployments: usize, resource_version: u64) {
        self.deployments.set(deployments as i64);
        self.resource_version.set(resource_version as i64);
    }

    /// So many events of one of the [`EVENTS`]' types.
    pub(crate) fn events(&self, kind: &'static str, count: u64) {
        let labels = EventLabels { r#type: kind };
        self.events.get_or_create(&labels).inc_by(count);
    }

    /// Reasons that a relist may have, so that a first one is seen as a change.
    pub(crate) fn reasons(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            drop(self.relists.get_or_create(&RelistLabels { reason }));
        }
    }

    pub(crate) fn relist(&self, reason: &'static str) {
        self.relists.get_or_create(&RelistLabels { reason }).inc();
    }

    pub(crate) fn disconnected(&self) {
        self.disconnects.inc();
    }

    pub(crate) fn undecodable(&self) {
        self.undecodable.inc();
    }
}
