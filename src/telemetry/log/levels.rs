//! How much is logged, by the first words of events' types.

use std::collections::BTreeMap;

use tracing::{Metadata, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

use super::{Severity, line::is_ours};

/// The first word of what libraries log; `library.NAME` is one library's.
const LIBRARY: &str = "library";

/// The least severity that is logged: in general, and of some events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    /// Of everything that the others don't name.
    pub general: Severity,
    /// By an event's type or its first words (`tls`, `informer.deployment`), or a library (`library.h2`); the longest counts.
    pub of: BTreeMap<String, Severity>,
}

impl From<Severity> for Levels {
    fn from(general: Severity) -> Self {
        Self {
            general,
            of: BTreeMap::new(),
        }
    }
}

impl Levels {
    fn of_event(&self, metadata: &Metadata<'_>) -> LevelFilter {
        let target = metadata.target();
        if is_ours(target) {
            return self.named(metadata.name()).unwrap_or(self.general).into();
        }
        let library = target.split("::").next().unwrap_or_default();
        match self.named(&format!("{LIBRARY}.{library}")) {
            Some(severity) => severity.into(),
            // Libraries' lines repeat what ours say, so they are off until asked for.
            None if self.general == Severity::Trace => LevelFilter::DEBUG,
            None => LevelFilter::OFF,
        }
    }

    /// What is said of these words, or of the first of them.
    fn named(&self, words: &str) -> Option<Severity> {
        let mut words = words;
        loop {
            if let Some(severity) = self.of.get(words) {
                return Some(*severity);
            }
            words = words.rsplit_once('.')?.0;
        }
    }

    /// As one text: `info, tls=debug`.
    pub(crate) fn shown(&self) -> String {
        let of = self.of.iter();
        let of = of.map(|(words, severity)| format!(", {words}={}", severity.as_str()));
        self.general.as_str().to_owned() + &of.collect::<String>()
    }
}

impl<S> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= self.of_event(metadata)
    }

    // It depends on nothing else, so that what isn't logged costs a comparison.
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && *metadata.level() <= self.of_event(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let all = self.of.values().copied().chain([self.general]);
        all.map(LevelFilter::from).max()
    }
}
