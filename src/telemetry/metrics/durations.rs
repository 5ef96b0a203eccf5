//! A histogram of durations that takes no lock: it is on the path of every request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// The buckets' upper bounds, in microseconds: from a read of the copy to the longest deadline that a caller meets.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long things took: how often within each of [`BOUNDS`], and in all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durations(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// One for each bound, and one for what took longer.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Durations {
    /// Something took so long.
    #[inline]
    pub(crate) fn observe(&self, took: Duration) {
        // Half a millennium fits.
        let nanoseconds = took.as_nanos() as u64;
        let within = |bound: &&u64| nanoseconds > **bound * 1000;
        let bucket = BOUNDS.iter().take_while(within).count();
        self.0.buckets[bucket].fetch_add(1, Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.buckets.iter().map(|count| count.load(Relaxed));
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        // The sum of what is shown, whatever is counted meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.nanoseconds.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_that_it_is_within() {
        let durations = Durations::default();
        let mut registry = Registry::default();
        registry.register("taken_seconds", "Time", durations.clone());
        // Exactly a bound, just beyond it, and beyond all of them.
        for micros in [100, 101, 1_000_000, 20_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "taken_seconds_bucket{le=\"0.0001\"} 1",
            "taken_seconds_bucket{le=\"0.00025\"} 2",
            "taken_seconds_bucket{le=\"0.5\"} 2",
            "taken_seconds_bucket{le=\"1.0\"} 3",
            "taken_seconds_bucket{le=\"10.0\"} 3",
            "taken_seconds_bucket{le=\"+Inf\"} 4",
            "taken_seconds_count 4",
            "taken_seconds_sum 21.000201",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
