//! Leases of counts: how many there are, what has become of them, and whether any is late.

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{kubernetes::KnownLeases, leases::State};

/// What is counted of leases.
#[derive(Debug, Default)]
pub struct LeaseMetrics {
    leases: Family<StateLabels, Gauge>,
    ends: Family<ResultLabels, Counter>,
    elected: Gauge,
    overdue: Gauge,
    unknown: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// As the object has them, and what can't be read.
const STATES: [&str; 4] = ["pending", "held", "ending", "unreadable"];
const RESULTS: [&str; 6] = [
    "reverted",
    "overtaken",
    "dropped",
    "refused",
    "unmanaged",
    "failed",
];

impl LeaseMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        for state in STATES {
            drop(self.leases.get_or_create(&StateLabels { state }));
        }
        for result in RESULTS {
            drop(self.ends.get_or_create(&ResultLabels { result }));
        }
        registry.register(
            "leases",
            "Leases of counts that this server knows of, by state: pending, held, ending or unreadable",
            self.leases.clone(),
        );
        registry.register(
            "lease_ends",
            "What this server found leases to have come to, by result: reverted, overtaken, dropped, refused, unmanaged or failed (and tried again)",
            self.ends.clone(),
        );
        registry.register(
            "lease_reverter",
            "1 while this server is the one that brings counts back",
            self.elected.clone(),
        );
        registry.register_with_unit(
            "lease_overdue",
            "How long the lease that should have ended first has been over",
            Unit::Seconds,
            self.overdue.clone(),
        );
        registry.register(
            "lease_unknown",
            "1 while this server has leases on and doesn't know which there are, so that it can't bring any count back",
            self.unknown.clone(),
        );
    }

    /// What is known now; while nothing is, what was known last stays.
    pub(crate) fn show(&self, elected: bool, known: Option<&KnownLeases>, now: Timestamp) {
        self.elected.set(elected.into());
        self.unknown.set(known.is_none().into());
        let Some(known) = known else {
            return;
        };
        let mut counts = [0; STATES.len()];
        let mut overdue = 0;
        for stored in known.all() {
            counts[match stored.lease.state {
                State::Pending { .. } => 0,
                State::Held => 1,
                State::Ending => 2,
            }] += 1;
            let late = now.duration_since(stored.lease.until()).as_secs();
            overdue = overdue.max(late);
        }
        counts[3] = known.unreadable().count() as i64;
        for (state, count) in STATES.into_iter().zip(counts) {
            self.leases.get_or_create(&StateLabels { state }).set(count);
        }
        self.overdue.set(overdue);
    }

    /// A lease has come to this.
    pub(crate) fn ended(&self, result: &'static str) {
        self.ends.get_or_create(&ResultLabels { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_last_stays_while_nothing_is() {
        let (metrics, now) = (LeaseMetrics::default(), Timestamp::UNIX_EPOCH);
        metrics.overdue.set(300);
        metrics.show(false, None, now);
        assert_eq!((metrics.overdue.get(), metrics.unknown.get()), (300, 1));
        metrics.show(false, Some(&KnownLeases::default()), now);
        assert_eq!((metrics.overdue.get(), metrics.unknown.get()), (0, 0));
    }
}
