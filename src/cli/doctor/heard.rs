//! What `headcount serve` would warn of, caught instead of logged.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _};

/// A warning: its event type, and its words with its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    pub(super) event: &'static str,
    pub(super) words: String,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Warning>>>);

/// Does `work` on this thread, and tells what it warned of.
pub(super) fn warnings_of<T>(work: impl FnOnce() -> T) -> (T, Vec<Warning>) {
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    let done = tracing::subscriber::with_default(subscriber, work);
    let warnings = std::mem::take(&mut *heard.0.lock().unwrap_or_else(PoisonError::into_inner));
    (done, warnings)
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let Words { message, fields } = words;
        let warning = Warning {
            event: event.metadata().name(),
            words: format!("{message}{fields}"),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(warning);
    }
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Writing into a String can't fail.
        let _ = write!(self.fields, " ({}: {value})", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " ({name}: {value:?})"),
        };
    }
}
