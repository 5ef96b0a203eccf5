//! Log lines: syslog-style text, or one JSON object a line, on stderr, in a file, or both.
//!
//! The name of a `tracing` event is its type (`informer.synced`, `tls.client.refused`, …), its fields are the context.
//! Whoever logs never waits: lines go into bounded queues, and a thread for each output writes them.

mod bursts;
mod file;
mod levels;
mod line;
mod outputs;
mod queue;

use std::{panic::PanicHookInfo, sync::PoisonError};

pub use file::{FileError, FileSettings};
pub use levels::Levels;
pub(crate) use line::hides;
pub use outputs::{StartError, apply, flush, start};
pub(crate) use queue::dropped;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{Event, Level, Subscriber, error, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use line::Line;

/// The form of a log line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `TIME SEVERITY EVENT MESSAGE key=value …`
    #[default]
    Text,
    /// One JSON object with everything at the top level.
    Json,
}

/// The least severity that is logged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The server, or a part of it, doesn't work.
    Error,
    /// It works, and somebody should look.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// What it does in detail.
    Debug,
    /// What the libraries below do, too.
    Trace,
}

impl Severity {
    /// As configurations have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl From<Severity> for LevelFilter {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::ERROR,
            Severity::Warn => Self::WARN,
            Severity::Info => Self::INFO,
            Severity::Debug => Self::DEBUG,
            Severity::Trace => Self::TRACE,
        }
    }
}

/// What is logged, how, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of all lines.
    pub format: Format,
    /// How much is logged, and of what.
    pub levels: Levels,
    /// Whether lines go to stderr.
    pub stderr: bool,
    /// The file that they go to.
    pub file: Option<FileSettings>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: Format::default(),
            levels: Levels::default(),
            stderr: true,
            file: None,
        }
    }
}

/// A subscriber that hands such lines, each with its end, to `output`.
pub fn subscriber(
    format: Format,
    severity: Severity,
    output: impl Fn(&str) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let lines = Lines {
        format,
        output,
        bursts: None,
    }
    .with_filter(Levels::from(severity));
    tracing_subscriber::registry().with(lines)
}

/// Makes lines of events.
struct Lines<O> {
    format: Format,
    output: O,
    bursts: Option<bursts::Shared>,
}

impl<S, O> Layer<S> for Lines<O>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Fn(&str) + Send + Sync + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        let admitted = self.bursts.as_ref().is_none_or(|bursts| {
            let mut bursts = bursts.lock().unwrap_or_else(PoisonError::into_inner);
            bursts.admit(&line, Instant::now())
        });
        if admitted {
            (self.output)(&line.written(self.format));
        }
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    super::metrics::panicked();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let why = info.payload_as_str().unwrap_or("a value that isn't text");
    error!(name: "process.panicked", place, error = why, "a part of the program panicked");
    // Its end is the process's.
    if std::thread::current().name() == Some("main") {
        flush();
    }
}

#[cfg(test)]
mod tests;
