//! The process itself, by the names that every Prometheus client gives it.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Panics of this process: their hook knows nobody who counts.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// A part of the program panicked.
pub(crate) fn panicked() {
    PANICS.fetch_add(1, Relaxed);
}

/// How often a part of the program has panicked.
pub(super) fn panics() -> u64 {
    PANICS.load(Relaxed)
}

/// What is read of the process whenever somebody asks.
#[derive(Debug)]
pub(super) struct Process {
    started: SystemTime,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut show = |name: &str, help: &str, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            let encoder = encoder.encode_descriptor(name, help, unit, metric.metric_type())?;
            metric.encode(encoder)
        };
        let seconds = Some(&Unit::Seconds);
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        show(
            "process_cpu",
            "CPU time that the process has taken, in user and system mode",
            seconds,
            &ConstCounter::new(cpu().as_secs_f64()),
        )?;
        show(
            "process_start_time",
            "When the process started, in seconds since 1970",
            seconds,
            &ConstGauge::new(started.as_secs_f64()),
        )?;
        // Where the system doesn't tell, there is no line, and not a wrong one.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(kibibytes) = field(&status, "VmRSS:") {
            show(
                "process_resident_memory",
                "What the process has in memory",
                Some(&Unit::Bytes),
                &ConstGauge::new(kibibytes * 1024),
            )?;
        }
        if let Some(threads) = field(&status, "Threads:") {
            let help = "Threads of the process";
            show("process_threads", help, None, &ConstGauge::new(threads))?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them reads the folder.
            let open = open.count().saturating_sub(1) as i64;
            let help = "File descriptors that are open";
            show("process_open_fds", help, None, &ConstGauge::new(open))?;
        }
        let most = getrlimit(Resource::Nofile).current;
        show(
            "process_max_fds",
            "File descriptors that may be open",
            None,
            &ConstGauge::new(most.map_or(f64::INFINITY, |most| most as f64)),
        )
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The number behind a name in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
