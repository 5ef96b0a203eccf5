//! Watches of callers: how many are open, and what they are told.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What is counted of watches.
#[derive(Debug, Default)]
pub(crate) struct WatchMetrics {
    /// Streams that are open.
    pub(crate) open: Gauge,
    /// Events that were given to a stream.
    pub(crate) events: Counter,
    /// Snapshots that were given to a stream.
    pub(crate) snapshots: Counter,
    /// Of those, the ones to readers that had fallen behind.
    pub(crate) resyncs: Counter,
}

impl WatchMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "watches_open",
            "Watches of callers that are open",
            self.open.clone(),
        );
        registry.register(
            "watch_events",
            "Changes that were given to watches",
            self.events.clone(),
        );
        registry.register(
            "watch_snapshots",
            "Snapshots that were given to watches",
            self.snapshots.clone(),
        );
        registry.register(
            "watch_resyncs",
            "Snapshots that were given to watches whose readers had fallen too far behind",
            self.resyncs.clone(),
        );
    }
}
