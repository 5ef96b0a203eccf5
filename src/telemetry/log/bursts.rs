//! Bursts of equal lines: the first ones are written, the rest are counted and told of in one line.
//!
//! Lines are equal if they have the same type and fields, but for what differs each time: ports, ids, times. What each line of
//! matters is never summarised: writes, Deployments, and the log itself.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;
use tracing::Level;

use super::line::Line;

/// How many equal lines are written within [`WINDOW`].
const FIRST: u64 = 10;
/// How long equal lines are one burst.
const WINDOW: Duration = Duration::from_secs(10);
/// How many bursts are known at once; lines beyond them are all written.
const MOST: usize = 1024;
/// How much is kept of a field, in characters.
const KEPT: usize = 200;

/// How the types begin whose lines are all written.
const ALL_WRITTEN: [&str; 4] = ["scale.", "image.", "informer.deployment.", "log."];
/// What differs between lines that say the same.
const DIFFERS: [&str; 9] = [
    "generation",
    "others",
    "request_id",
    "resource_version",
    "retry_in",
    "seconds",
    "span_id",
    "trace_id",
    "valid_until",
];

/// The bursts that are going on.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    known: HashMap<u64, Burst>,
    /// Those whose lines came again before they were told of.
    over: Vec<Repeated>,
    hashes: RandomState,
}

#[derive(Debug)]
struct Burst {
    first: Instant,
    lines: u64,
    left_out: Option<Repeated>,
}

/// Lines that were left out.
#[derive(Debug)]
pub(super) struct Repeated {
    event: &'static str,
    level: Level,
    message: String,
    context: Vec<(&'static str, String)>,
    count: u64,
    from: Instant,
    to: Instant,
}

impl Bursts {
    /// Whether a line is to be written.
    pub(super) fn admit(&mut self, line: &Line, now: Instant) -> bool {
        if ALL_WRITTEN
            .iter()
            .any(|words| line.event.starts_with(words))
        {
            return true;
        }
        let key = self.key(line);
        if self.known.len() >= MOST && !self.known.contains_key(&key) {
            self.end(|burst| burst.is_over(now));
            if self.known.len() >= MOST {
                return true;
            }
        }
        let burst = self.known.entry(key).or_insert_with(|| Burst::of(now));
        if burst.is_over(now) {
            let before = std::mem::replace(burst, Burst::of(now));
            self.over.extend(before.left_out);
        }
        burst.lines += 1;
        if burst.lines <= FIRST {
            return true;
        }
        let left_out = burst
            .left_out
            .get_or_insert_with(|| Repeated::like(line, now));
        left_out.count += 1;
        left_out.to = now;
        false
    }

    /// What is to be told of bursts that are over.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<Repeated> {
        self.end(|burst| burst.is_over(now));
        std::mem::take(&mut self.over)
    }

    /// What is to be told of all bursts, before the end.
    pub(super) fn all(&mut self) -> Vec<Repeated> {
        self.end(|_| true);
        std::mem::take(&mut self.over)
    }

    fn end(&mut self, over: impl Fn(&Burst) -> bool) {
        let ended = self.known.extract_if(|_, burst| over(burst));
        self.over
            .extend(ended.filter_map(|(_, burst)| burst.left_out));
    }

    fn key(&self, line: &Line) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        line.event.hash(&mut hasher);
        line.level.hash(&mut hasher);
        for (name, value) in &line.context {
            if DIFFERS.contains(name) {
                continue;
            }
            name.hash(&mut hasher);
            match value {
                Value::String(text) if *name == "address" => without_port(text).hash(&mut hasher),
                Value::String(text) => text.hash(&mut hasher),
                other => other.to_string().hash(&mut hasher),
            }
        }
        hasher.finish()
    }
}

impl Burst {
    fn of(first: Instant) -> Self {
        Self {
            first,
            lines: 0,
            left_out: None,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.first + WINDOW
    }
}

impl Repeated {
    fn like(line: &Line, now: Instant) -> Self {
        let cut = |text: &str| text.chars().take(KEPT).collect::<String>();
        let text = |(name, value): &(&'static str, Value)| {
            let text = value.as_str()?;
            let text = if *name == "address" {
                without_port(text)
            } else {
                text
            };
            Some((*name, cut(text)))
        };
        Self {
            event: line.event,
            level: line.level,
            message: cut(&line.message),
            context: line.context.iter().filter_map(text).collect(),
            count: 0,
            from: now,
            to: now,
        }
    }

    /// Logs it.
    pub(super) fn tell(&self) {
        let field = |name: &str| {
            let found = self.context.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| text.as_str())
        };
        let Self { count, message, .. } = self;
        let seconds = (self.to - self.from).as_secs_f64();
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(name: "log.repeated", repeated = self.event, count, seconds, principal = field("principal"),
                    subject = field("subject"), reason = field("reason"), address = field("address"), namespace = field("namespace"),
                    error = field("error"), "{count} more in {seconds:.0} s: {message}")
            };
        }
        match self.level {
            Level::ERROR => tell!(error),
            Level::WARN => tell!(warn),
            Level::INFO => tell!(info),
            Level::DEBUG => tell!(debug),
            Level::TRACE => tell!(trace),
        }
    }
}

fn without_port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(ip, _)| ip)
}

/// Tells of what is over, outside the lock: that is a line too.
pub(super) fn tell(bursts: &Mutex<Bursts>, over: impl FnOnce(&mut Bursts) -> Vec<Repeated>) {
    let over = over(&mut bursts.lock().unwrap_or_else(PoisonError::into_inner));
    over.iter().for_each(Repeated::tell);
}

/// The bursts that a subscriber's lines share with whoever tells of them.
pub(super) type Shared = Arc<Mutex<Bursts>>;

#[cfg(test)]
mod tests;
