//! Between those who log and an output: a bounded queue, and the thread that writes what is in it.
//!
//! An output that is stuck or fails costs lines, never time: they are counted, and told of when it works again.

use std::{
    io::{self, Write as _},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tracing::warn;

use super::{Format, file::LogFile, line};

/// How many lines wait for one output at most.
const LINES: usize = 4096;
/// How many bytes they have at most, together.
const BYTES: usize = 4 * 1024 * 1024;
/// How many bytes are written at once, if they are there: fewer calls for many lines.
const AT_ONCE: usize = 32 * 1024;
/// How often it is told at most that lines were dropped.
const TELL: Duration = Duration::from_secs(1);
/// How long a terminal that takes nothing is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// Lines that an output didn't take, by output.
static DROPPED: LazyLock<Family<OutputLabels, Counter>> = LazyLock::new(|| {
    let dropped = Family::default();
    for output in ["stderr", "file"] {
        drop(dropped.get_or_create(&OutputLabels { output }));
    }
    dropped
});

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutputLabels {
    output: &'static str,
}

/// Lines that were dropped since the process began, by output (`stderr`, `file`), for the metrics.
pub(crate) fn dropped() -> Family<OutputLabels, Counter> {
    DROPPED.clone()
}

/// Where lines end.
pub(super) enum Output {
    Stderr,
    File(LogFile, RecordIds),
}

/// Ids of lines that no other line ever has: of this process, and counted in it without gaps.
pub(super) struct RecordIds {
    process: String,
    next: u64,
}

impl RecordIds {
    /// Those of a process that was never there before.
    pub(super) fn of_this_process() -> Self {
        let now = jiff::Timestamp::now().as_millisecond();
        let process = format!("{now:012x}{:016x}", fastrand::u64(..));
        Self { process, next: 1 }
    }
}

impl Output {
    fn name(&self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::File(..) => "file",
        }
    }

    /// Adds a line to those that are written next.
    fn add(&mut self, lines: &mut Vec<u8>, line: &str, format: Format) {
        match self {
            Self::Stderr => lines.extend_from_slice(line.as_bytes()),
            Self::File(_, RecordIds { process, next }) => {
                let id = format_args!("{process}-{next}");
                line::add_with(lines, line, format, "record_id", id);
                *next += 1;
            }
        }
    }

    fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file, _) => file.write(lines),
            Self::Stderr => {
                while !lines.is_empty() {
                    match io::stderr().write(lines) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(written) => lines = &lines[written..],
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // Whoever shares it made it so.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            thread::sleep(PAUSE);
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }
}

enum Entry {
    Line(Arc<str>),
    /// Tells when what was before it is written.
    Flush(SyncSender<()>),
}

/// The way to one output.
pub(super) struct Queue {
    entries: SyncSender<Entry>,
    waiting: Arc<Waiting>,
}

/// What is known of a queue from both ends.
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
    /// Lines that were dropped and not told of yet.
    untold: AtomicU64,
    dropped: Counter,
}

impl Waiting {
    /// Counts a line as waiting; whether there is room for it.
    fn add(&self, line: &str) -> bool {
        let lines = self.lines.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(line.len(), Ordering::Relaxed);
        lines < LINES && bytes + line.len() <= BYTES
    }

    fn remove(&self, line: &str) {
        self.lines.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(line.len(), Ordering::Relaxed);
    }

    fn is_half_empty(&self) -> bool {
        self.lines.load(Ordering::Relaxed) < LINES / 2
            && self.bytes.load(Ordering::Relaxed) < BYTES / 2
    }

    fn drop_lines(&self, count: u64) {
        self.untold.fetch_add(count, Ordering::Relaxed);
        self.dropped.inc_by(count);
    }
}

impl Queue {
    /// Starts the thread that writes.
    pub(super) fn to(output: Output, format: Format) -> io::Result<Self> {
        let (entries, queued) = sync_channel(LINES);
        let name = output.name();
        let waiting = Arc::new(Waiting {
            lines: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            untold: AtomicU64::new(0),
            dropped: DROPPED.get_or_create_owned(&OutputLabels { output: name }),
        });
        let writer = Writer {
            output,
            format,
            queued,
            waiting: Arc::clone(&waiting),
            failing: false,
            told: None,
        };
        thread::Builder::new()
            .name(format!("log {name}"))
            .spawn(move || writer.run())?;
        Ok(Self { entries, waiting })
    }

    /// Puts a line into the queue, or counts it as dropped; never waits.
    pub(super) fn put(&self, line: &Arc<str>) {
        let fits = self.waiting.add(line);
        if !fits
            || self
                .entries
                .try_send(Entry::Line(Arc::clone(line)))
                .is_err()
        {
            self.waiting.remove(line);
            self.waiting.drop_lines(1);
        }
    }

    /// Waits until what was put is written, but not beyond `deadline`.
    pub(super) fn flush(&self, deadline: Instant) {
        let (tell, told) = sync_channel(1);
        let mut entry = Entry::Flush(tell);
        while let Err(TrySendError::Full(back)) = self.entries.try_send(entry) {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(PAUSE);
            entry = back;
        }
        // Whatever comes of it, this was all the time there is.
        let _ = told.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

struct Writer {
    output: Output,
    format: Format,
    queued: Receiver<Entry>,
    waiting: Arc<Waiting>,
    /// Whether writing fails, as far as is known.
    failing: bool,
    /// When it was last told that lines were dropped.
    told: Option<Instant>,
}

impl Writer {
    /// Ends with the last sender, which is the process's end.
    fn run(mut self) {
        let mut lines = Vec::with_capacity(AT_ONCE);
        loop {
            let mut next = match self.next() {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => {
                    self.tell();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (mut count, mut flushed) = (0, None);
            while let Some(entry) = next {
                match entry {
                    Entry::Line(line) => {
                        self.waiting.remove(&line);
                        self.output.add(&mut lines, &line, self.format);
                        count += 1;
                    }
                    Entry::Flush(tell) => flushed = Some(tell),
                }
                let full = lines.len() >= AT_ONCE || flushed.is_some();
                next = if full {
                    None
                } else {
                    self.queued.try_recv().ok()
                };
            }
            if count > 0 {
                self.write(&lines, count);
            }
            lines.clear();
            lines.shrink_to(2 * AT_ONCE);
            if let Some(tell) = flushed {
                // Who asked may have gone.
                let _ = tell.send(());
            }
        }
    }

    /// Waits for a line, or until there is something to be told.
    fn next(&self) -> Result<Entry, RecvTimeoutError> {
        if !self.failing && self.waiting.untold.load(Ordering::Relaxed) > 0 {
            self.queued.recv_timeout(TELL)
        } else {
            Ok(self.queued.recv()?)
        }
    }

    /// Tells of lines that were dropped, if that wasn't just done.
    fn tell(&mut self) {
        // It goes through the queue, and is of use only if it isn't dropped there itself.
        if !self.waiting.is_half_empty() || self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        let count = self.waiting.untold.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.told = Some(Instant::now());
            let output = self.output.name();
            warn!(name: "log.lines.dropped", output, count, "{count} lines are missing before this one: the {output} didn't take them");
        }
    }

    fn write(&mut self, lines: &[u8], count: u64) {
        let output = self.output.name();
        match self.output.write(lines) {
            Ok(()) => {
                self.failing = false;
                self.tell();
            }
            Err(error) => {
                self.waiting.drop_lines(count);
                if !std::mem::replace(&mut self.failing, true) {
                    // For whoever reads the other output.
                    warn!(name: "log.write.failed", output, error = %error, "lines can't be written to the {output}, and are counted in headcount_log_lines_dropped_total until they can");
                }
            }
        }
    }
}
