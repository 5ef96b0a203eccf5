//! The audit trail: who did, or tried to do, what, when and why. A stream of its own, apart from the log.
//!
//! ```text
//! requests, handshakes ──▶ Audit (a bounded queue) ──▶ writer (a thread) ──▶ chain ──▶ file, stdout
//!                                                        └──▶ checkpoints in the log ──▶ verify
//! ```

mod chain;
mod checkpoint;
mod metrics;
mod record;
mod settings;
mod trail;
mod verify;
mod writer;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::oneshot, time::timeout};
use tracing::error;

pub use chain::Head;
pub use checkpoint::{Checkpoint, in_log};
pub use metrics::AuditMetrics;
pub use record::Record;
pub use settings::{AuditSettings, Checkpoints, FailurePolicy, TrailSettings};
pub use trail::AuditError;
pub use verify::{Expected, Report, UnreadableFile, verify};
use writer::Writer;

/// How long a write waits for its record to be on disk.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of the trail may take.
const END: Duration = Duration::from_secs(1);
/// What may wait to be written, in bytes …
const MOST: usize = 8 << 20;
/// … of which this is for writes alone, so that no flood of refusals costs a write its record.
const FOR_WRITES: usize = 2 << 20;
/// How many denials and refused handshakes have a record of their own at once …
const BURST: f64 = 5000.0;
/// … and each second from then on. Whoever is refused could otherwise fill the disk, and rotate away what others did.
const PER_SECOND: f64 = 500.0;

/// Where everything that is audited goes; clones are handles to the same trail. The default is none.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Shared>>);

/// The audit trail can't be written, and so a write isn't made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail can't be written")]
pub struct Unrecorded;

/// What of a flood has no record of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A request that its caller had no permission for, or that was refused before it was looked at.
    Request,
    /// A client that wasn't let in.
    Handshake,
}

/// What the writer and those who have something written share.
struct Shared {
    policy: FailurePolicy,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Since when it fails, and why.
    failing: Mutex<Option<Failing>>,
    metrics: Arc<AuditMetrics>,
}

/// Why records aren't written.
#[derive(Debug, Clone)]
struct Failing {
    since: SystemTime,
    why: String,
    /// Whether the writer tries again without being asked.
    retried: bool,
}

struct Queue {
    entries: Vec<Entry>,
    /// Of entries that aren't written, those in the writer's hands included.
    bytes: usize,
    /// How many records there was no room for.
    lost: u64,
    /// Refused requests and handshakes without a record.
    summarised: (u64, u64),
    allowance: f64,
    filled: Instant,
    /// Who waits for the end.
    end: Option<oneshot::Sender<()>>,
}

struct Entry {
    fields: String,
    /// Told once it is on disk; dropped if it isn't going to be.
    written: Option<oneshot::Sender<()>>,
}

impl Audit {
    /// Opens the trail and starts its writer; none for settings without a sink.
    ///
    /// # Errors
    ///
    /// The file can't be written, or nothing can follow on what it ends with and the failure policy is `closed`.
    pub fn start(
        settings: &AuditSettings,
        metrics: &Arc<AuditMetrics>,
    ) -> Result<Self, AuditError> {
        if !settings.is_on() {
            return Ok(Self(None));
        }
        let shared = Arc::new(Shared {
            policy: settings.failure_policy,
            queue: Mutex::new(Queue {
                entries: Vec::new(),
                bytes: 0,
                lost: 0,
                summarised: (0, 0),
                allowance: BURST,
                filled: Instant::now(),
                end: None,
            }),
            wake: Condvar::new(),
            failing: Mutex::new(None),
            metrics: Arc::clone(metrics),
        });
        let writer = Writer::open(settings.clone(), Arc::clone(&shared))?;
        thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run())
            .map_err(AuditError::Thread)?;
        Ok(Self(Some(shared)))
    }

    /// Has a record of a write written, without waiting for that.
    pub fn record(&self, make: impl FnOnce() -> Record) {
        if let Some(shared) = &self.0 {
            shared.put(make(), None, MOST);
        }
    }

    /// The same of what was refused: in a flood of those some are counted in place of recorded.
    pub fn refused(&self, what: Refused, make: impl FnOnce() -> Record) {
        if let Some(shared) = &self.0
            && shared.may_record(what)
        {
            shared.put(make(), None, MOST - FOR_WRITES);
        }
    }

    /// Has a record written of what is about to be done. With the failure policy `closed` it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// It isn't, and the failure policy is `closed`: it must not be done.
    pub async fn before(&self, make: impl FnOnce() -> Record) -> Result<(), Unrecorded> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        if shared.policy == FailurePolicy::Open {
            shared.put(make(), None, MOST);
            return Ok(());
        }
        if lock(&shared.failing)
            .as_ref()
            .is_some_and(|failing| failing.retried)
        {
            return Err(Unrecorded);
        }
        let (tell, told) = oneshot::channel();
        if !shared.put(make(), Some(tell), MOST) {
            return Err(Unrecorded);
        }
        match timeout(PATIENCE, told).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Unrecorded),
            Err(_elapsed) => {
                let why = format!("no record was written for {} s", PATIENCE.as_secs());
                // The writer is at it still: until it is through, nobody else waits.
                if shared.fails(why.clone(), true) {
                    error!(name: "audit.failed", error = why, policy = "closed", "the audit trail can't be written");
                }
                Err(Unrecorded)
            }
        }
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether what needs a record isn't done now: none can be written, and the failure policy is `closed`.
    pub fn refuses(&self) -> bool {
        let closed = |shared: &Arc<Shared>| shared.policy == FailurePolicy::Closed;
        self.0.as_ref().is_some_and(closed) && self.failing().is_some()
    }

    /// Since when records can't be written, and why; `None` while they can.
    pub fn failing(&self) -> Option<(SystemTime, String)> {
        let failing = lock(&self.0.as_ref()?.failing).clone()?;
        Some((failing.since, failing.why))
    }

    /// Writes what waits, and the trail's end.
    pub async fn end(&self) {
        let Some(shared) = &self.0 else {
            return;
        };
        let (tell, told) = oneshot::channel();
        lock(&shared.queue).end = Some(tell);
        shared.wake.notify_one();
        // A sink that doesn't take it doesn't keep the process.
        let _ = timeout(END, told).await;
    }
}

impl Shared {
    /// Whether there was room for it.
    fn put(&self, record: Record, written: Option<oneshot::Sender<()>>, most: usize) -> bool {
        let fields = record.into_fields();
        let mut queue = lock(&self.queue);
        if queue.bytes + fields.len() > most {
            queue.lost += 1;
            self.metrics.lost.inc();
            return false;
        }
        queue.bytes += fields.len();
        queue.entries.push(Entry { fields, written });
        drop(queue);
        self.wake.notify_one();
        true
    }

    fn may_record(&self, what: Refused) -> bool {
        let mut queue = lock(&self.queue);
        let now = Instant::now();
        let passed = now.duration_since(queue.filled).as_secs_f64();
        queue.filled = now;
        queue.allowance = (queue.allowance + passed * PER_SECOND).min(BURST);
        if queue.allowance >= 1.0 {
            queue.allowance -= 1.0;
            return true;
        }
        match what {
            Refused::Request => queue.summarised.0 += 1,
            Refused::Handshake => queue.summarised.1 += 1,
        }
        self.metrics.summarised.inc();
        false
    }

    /// Remembers that records can't be written; whether that is news.
    fn fails(&self, why: String, retried: bool) -> bool {
        self.metrics.failing.set(1);
        let mut failing = lock(&self.failing);
        let since = failing.as_ref().map(|failing| failing.since);
        *failing = Some(Failing {
            since: since.unwrap_or_else(SystemTime::now),
            why,
            retried,
        });
        since.is_none()
    }

    /// Remembers that records can be written; since when they couldn't.
    fn works(&self) -> Option<SystemTime> {
        self.metrics.failing.set(0);
        lock(&self.failing).take().map(|failing| failing.since)
    }
}

/// A panic elsewhere leaves these whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(path: &std::path::Path) -> (Audit, Arc<AuditMetrics>) {
        let settings = AuditSettings {
            file: Some(TrailSettings::at(path)),
            ..AuditSettings::default()
        };
        let metrics = Arc::default();
        (Audit::start(&settings, &metrics).unwrap(), metrics)
    }

    #[tokio::test]
    async fn a_flood_of_refusals_is_summarised_and_takes_no_writes_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let (audit, metrics) = to(&path);
        let start = Instant::now();
        for _ in 0..10_000 {
            audit.refused(Refused::Handshake, || Record::of("tls.client.refused"));
            audit.refused(Refused::Request, || Record::of("access.denied"));
        }
        let most = BURST + start.elapsed().as_secs_f64() * PER_SECOND + 1.0;
        let sent = audit.before(|| Record::of("scale.requested")).await;
        assert_eq!(sent, Ok(()));
        audit.record(|| Record::of("scale.applied"));
        audit.end().await;
        let text = std::fs::read_to_string(&path).unwrap();
        let count = |event: &str| text.matches(&format!("\"event\":\"{event}\"")).count();
        let recorded = count("tls.client.refused") + count("access.denied");
        assert!((BURST as usize..=most as usize).contains(&recorded));
        assert_eq!((count("scale.requested"), count("scale.applied")), (1, 1));
        let summarised: u64 = text
            .lines()
            .filter(|line| line.contains("audit.summarised"))
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|record| {
                record["requests"].as_u64().unwrap() + record["handshakes"].as_u64().unwrap()
            })
            .sum();
        assert_eq!(recorded as u64 + summarised, 20_000, "each is counted");
        assert_eq!(metrics.summarised.get(), summarised);
        assert_eq!(metrics.lost.get(), 0);
        assert!(
            verify(&[path], &Expected::default())
                .unwrap()
                .wrong
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_trail_to_nowhere_records_nothing_and_refuses_nothing() {
        let audit = Audit::start(&AuditSettings::default(), &Arc::default()).unwrap();
        let record = || -> Record { panic!("nobody asks for it") };
        audit.record(record);
        audit.refused(Refused::Request, record);
        assert_eq!(audit.before(record).await, Ok(()));
        assert!(audit.failing().is_none() && !audit.is_on());
        audit.end().await;
    }
}
