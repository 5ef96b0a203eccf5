//! The thread that writes: whatever waits goes to disk together, and whoever waits for that is told then.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{
    AuditError, AuditSettings, Entry, FailurePolicy, Head, Record, Shared, TrailSettings, lock,
    trail::{Meddled, Resumed, Trail, prune, set_aside},
};

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_secs(1);
/// What is written at once, in bytes.
const TOGETHER: usize = 1 << 20;
/// How soon it is tried again after the first failure …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … and after many.
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How soon it is tried again to rotate.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);
/// How often it is said that records are lost.
const TELL_OF_LOST: Duration = Duration::from_secs(5);

/// Writes records, and says how far it has come.
pub(super) struct Writer {
    settings: AuditSettings,
    shared: Arc<Shared>,
    /// `None` without a file, and until it can be opened again.
    trail: Option<Trail>,
    head: Head,
    /// Records of its own, which come first.
    marks: Vec<Record>,
    pending: Vec<Entry>,
    /// What is to be told of those that have no record.
    lost: u64,
    summarised: (u64, u64),
    told_of_lost: Option<Instant>,
    /// When to try again, and how long to wait after that.
    retry: Option<(Instant, Duration)>,
    rotate_after: Instant,
    checkpoint: (u64, Instant),
}

impl Writer {
    /// Opens the trail and writes its first records.
    pub(super) fn open(settings: AuditSettings, shared: Arc<Shared>) -> Result<Self, AuditError> {
        let now = Instant::now();
        let mut this = Self {
            settings,
            shared,
            trail: None,
            head: Head::new(),
            marks: Vec::new(),
            pending: Vec::new(),
            lost: 0,
            summarised: (0, 0),
            told_of_lost: None,
            retry: None,
            rotate_after: now,
            checkpoint: (0, now),
        };
        let mut torn = None;
        if let Some(file) = this.settings.file.clone() {
            let (trail, resumed) = this.trail(&file)?;
            if let Some(head) = resumed.head {
                this.head = head;
            }
            torn = resumed.torn;
            this.take(trail);
        }
        let mut started = Record::of("audit.started").with("version", env!("CARGO_PKG_VERSION"));
        if let Some(torn) = torn {
            started = started
                .with("torn_bytes", torn.bytes)
                .with("torn_sha256", torn.sha256);
        }
        this.marks.push(started);
        let Head { chain, count, .. } = &this.head;
        info!(name: "audit.started", file = this.file(), chain = %chain, count, "the audit trail goes on after {count} records");
        this.flush();
        this.tell();
        Ok(this)
    }

    /// Until the end is asked for.
    pub(super) fn run(mut self) {
        loop {
            let end = self.wait();
            if self.retry.is_none_or(|(at, _)| Instant::now() >= at) || end.is_some() {
                if end.is_some() {
                    self.flush();
                    self.marks.push(Record::of("audit.stopped"));
                }
                self.flush();
            }
            self.tell_of_lost();
            let (count, at) = self.checkpoint;
            let news = self.head.count - count;
            let due = at.elapsed() >= self.settings.checkpoints.interval;
            if news > 0 && due || news >= self.settings.checkpoints.records {
                self.tell();
            }
            if let Some(end) = end {
                if self.checkpoint.0 < self.head.count {
                    self.tell();
                }
                // Whoever asked may have gone.
                let _ = end.send(());
                return;
            }
        }
    }

    /// Waits until something is due, and takes what there is.
    fn wait(&mut self) -> Option<oneshot::Sender<()>> {
        let shared = Arc::clone(&self.shared);
        let mut queue = lock(&shared.queue);
        let idle = queue.entries.is_empty() || self.retry.is_some();
        if idle && queue.end.is_none() {
            let waited = shared.wake.wait_timeout(queue, LOOK);
            queue = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        self.pending.append(&mut queue.entries);
        self.lost += std::mem::take(&mut queue.lost);
        let (requests, handshakes) = std::mem::take(&mut queue.summarised);
        self.summarised.0 += requests;
        self.summarised.1 += handshakes;
        queue.end.take()
    }

    /// Writes all that waits, as far as that can be.
    fn flush(&mut self) {
        while !self.marks.is_empty()
            || !self.pending.is_empty()
            || self.lost > 0
            || self.summarised != (0, 0)
            || self.retry.is_some()
        {
            if !self.write() {
                return;
            }
            let full = self.trail.as_ref().is_some_and(Trail::is_full);
            if full && Instant::now() >= self.rotate_after {
                self.rotate();
            }
        }
    }

    /// Writes some of what waits; whether that went well.
    fn write(&mut self) -> bool {
        if let Err(why) = self.ready() {
            self.failed(&why);
            return false;
        }
        let (mut head, mut lines) = (self.head.clone(), String::new());
        let mut own = self.marks.clone();
        let most = self
            .settings
            .file
            .as_ref()
            .map_or(TOGETHER, |file| file.max_size.min(TOGETHER));
        for mark in own.drain(..) {
            head.add(&mark.into_fields(), &mut lines);
        }
        let (mut written, mut bytes) = (0, 0);
        for entry in &self.pending {
            if lines.len() >= most {
                break;
            }
            head.add(&entry.fields, &mut lines);
            written += 1;
            bytes += entry.fields.len();
        }
        let last = written == self.pending.len();
        if last {
            for mark in self.of_unrecorded() {
                head.add(&mark.into_fields(), &mut lines);
            }
        }
        if lines.is_empty() {
            // A retry of nothing: what tells whether the sink is back is a record.
            head.add(&Record::of("audit.resumed").into_fields(), &mut lines);
        }
        if let Some(trail) = &mut self.trail
            && let Err(error) = trail.append(&lines)
        {
            if trail.is_torn() {
                self.trail = None;
            }
            self.failed(&error.to_string());
            return false;
        }
        let said = if self.settings.stdout {
            let mut stdout = io::stdout().lock();
            stdout
                .write_all(lines.as_bytes())
                .and_then(|()| stdout.flush())
        } else {
            Ok(())
        };
        self.shared
            .metrics
            .records
            .inc_by(head.count - self.head.count);
        self.head = head;
        self.marks.clear();
        if last {
            (self.lost, self.summarised) = (0, (0, 0));
        }
        lock(&self.shared.queue).bytes -= bytes;
        self.retry = None;
        let entries = self.pending.drain(..written);
        if let Err(error) = said {
            // Those who wait learn it from the end of their channel.
            drop(entries);
            let why = format!("standard output: {error}");
            if self.shared.fails(why.clone(), false) {
                error!(name: "audit.failed", error = why, policy = self.policy(), "the audit trail can't be written to standard output");
            }
            return true;
        }
        for written in entries.filter_map(|entry| entry.written) {
            let _ = written.send(());
        }
        if let Some(since) = self.shared.works() {
            let seconds = since.elapsed().unwrap_or_default().as_secs_f64();
            info!(name: "audit.recovered", file = self.file(), seconds, count = self.head.count, "the audit trail is written again");
            self.tell();
        }
        true
    }

    /// Records of what has none.
    fn of_unrecorded(&self) -> Vec<Record> {
        let mut all = Vec::new();
        if self.lost > 0 {
            all.push(Record::of("audit.lost").with("records", self.lost));
        }
        let (requests, handshakes) = self.summarised;
        if self.summarised != (0, 0) {
            all.push(
                Record::of("audit.summarised")
                    .with("requests", requests)
                    .with("handshakes", handshakes),
            );
        }
        all
    }

    /// Has a file to write to, if there is to be one.
    fn ready(&mut self) -> Result<(), String> {
        let Some(settings) = self.settings.file.clone() else {
            return Ok(());
        };
        let file = self.file();
        match self.trail.as_mut().and_then(Trail::meddled) {
            Some(Meddled::Replaced) => {
                warn!(name: "audit.file.replaced", file, count = self.head.count, "somebody moved or removed the audit file: another one goes on");
                self.trail = None;
            }
            Some(Meddled::Changed) => {
                warn!(name: "audit.file.changed", file, count = self.head.count, "somebody else wrote to the audit file, or cut it: `headcount audit verify` tells what is missing");
            }
            None => {}
        }
        if self.trail.is_some() {
            return Ok(());
        }
        let (trail, resumed) = self.trail(&settings).map_err(|error| error.to_string())?;
        // Some of what seemed to fail may be there.
        if let Some(head) = resumed.head
            && head.chain == self.head.chain
            && head.count > self.head.count
        {
            self.head = head;
        }
        self.take(trail);
        if let Some(torn) = resumed.torn {
            let resumed = Record::of("audit.resumed")
                .with("torn_bytes", torn.bytes)
                .with("torn_sha256", torn.sha256);
            self.marks.insert(0, resumed);
        }
        Ok(())
    }

    /// Opens the file. Where writes go on without a trail, one that can't be gone on with is put aside.
    fn trail(&self, settings: &TrailSettings) -> Result<(Trail, Resumed), AuditError> {
        match Trail::open(settings) {
            Err(AuditError::Damaged { path, why })
                if self.settings.failure_policy == FailurePolicy::Open =>
            {
                let aside = set_aside(&path).map_err(|error| AuditError::Open(path, error))?;
                warn!(name: "audit.file.damaged", file = %aside.display(), error = why, "nothing can follow on the audit file: it was put aside, and another one is begun");
                Trail::open(settings)
            }
            opened => opened,
        }
    }

    fn take(&mut self, trail: Trail) {
        if trail.is_new() {
            let name = trail
                .path()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            self.marks
                .insert(0, Record::of("audit.file").with("file", name.into_owned()));
        }
        self.trail = Some(trail);
    }

    /// Nothing was written: those who wait are told, and it is tried again.
    fn failed(&mut self, why: &str) {
        for entry in &mut self.pending {
            entry.written = None;
        }
        let wait = self.retry.map_or(FIRST_RETRY, |(_, wait)| wait);
        self.retry = Some((Instant::now() + wait, (wait * 2).min(LAST_RETRY)));
        if self.shared.fails(why.to_owned(), true) {
            error!(name: "audit.failed", error = why, file = self.file(), policy = self.policy(), count = self.head.count, "the audit trail can't be written");
        }
    }

    fn tell_of_lost(&mut self) {
        let due = self
            .told_of_lost
            .is_none_or(|told| told.elapsed() >= TELL_OF_LOST);
        if self.lost > 0 && due {
            self.told_of_lost = Some(Instant::now());
            error!(name: "audit.lost", records = self.lost, "records of the audit trail were lost: there is no room for more until it can be written");
        }
    }

    fn rotate(&mut self) {
        let Some((trail, settings)) = self.trail.as_ref().zip(self.settings.file.as_ref()) else {
            return;
        };
        let away = match trail.put_away() {
            Ok(away) => away,
            Err(error) => {
                self.rotate_after = Instant::now() + ROTATE_AGAIN;
                warn!(name: "audit.rotation.failed", error = %error, file = self.file(), "failed to rotate the audit file: it grows on");
                return;
            }
        };
        self.trail = None;
        let Head { count, .. } = self.head;
        info!(name: "audit.file.rotated", file = %away.display(), count, "the audit file is full: another one goes on");
        match prune(settings) {
            Ok(removed) => {
                for file in removed {
                    info!(name: "audit.file.removed", file = %file.display(), "the oldest audit file was removed");
                }
            }
            Err(error) => {
                warn!(name: "audit.rotation.failed", error = %error, file = self.file(), "failed to remove the oldest audit files");
            }
        }
        match self.ready() {
            Ok(()) => self.tell(),
            Err(why) => self.failed(&why),
        }
    }

    /// Tells the log how far the trail has come.
    fn tell(&mut self) {
        let Head { chain, count, hash } = &self.head;
        info!(name: "audit.checkpoint", chain = %chain, count, head = %hash, file = self.file(), "the audit trail has {count} records");
        self.checkpoint = (*count, Instant::now());
    }

    fn file(&self) -> Option<String> {
        let path: &Path = &self.settings.file.as_ref()?.path;
        Some(path.display().to_string())
    }

    fn policy(&self) -> &'static str {
        match self.settings.failure_policy {
            FailurePolicy::Closed => "closed",
            FailurePolicy::Open => "open",
        }
    }
}
