//! What is counted of the audit trail.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counters of the audit trail.
#[derive(Debug, Default)]
pub struct AuditMetrics {
    pub(super) records: Counter,
    pub(super) lost: Counter,
    pub(super) summarised: Counter,
    pub(super) failing: Gauge,
}

impl AuditMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "audit_records",
            "Records of the audit trail that were written",
            self.records.clone(),
        );
        registry.register(
            "audit_records_lost",
            "Records of the audit trail that couldn't be written",
            self.lost.clone(),
        );
        registry.register(
            "audit_records_summarised",
            "Denials and refused handshakes that a flood of them left without a record of their own",
            self.summarised.clone(),
        );
        registry.register(
            "audit_failing",
            "1 while the audit trail can't be written",
            self.failing.clone(),
        );
    }
}
