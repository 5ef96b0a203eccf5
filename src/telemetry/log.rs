//! Log lines on stderr: syslog-style text, or one JSON object a line.
//!
//! The name of a `tracing` event is its type (`informer.synced`, `tls.client.refused`, …), its fields are the context.
//! What came from outside is escaped here, so that it can forge no line and no field.

use std::{
    fmt::{self, Write as _},
    io,
    panic::PanicHookInfo,
};

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber, error,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `TIME SEVERITY EVENT MESSAGE key=value …`
    #[default]
    Text,
    /// One JSON object with everything at the top level.
    Json,
}

/// The least severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
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

/// Sends all log lines of this process, panics included, to stderr.
///
/// # Errors
///
/// When logging was started before.
pub fn start(
    format: Format,
    severity: Severity,
) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(format, severity, io::stderr))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A subscriber that writes such lines to `writer`.
pub fn subscriber<W>(format: Format, severity: Severity, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let ours = match severity {
        Severity::Error => LevelFilter::ERROR,
        Severity::Warn => LevelFilter::WARN,
        Severity::Info => LevelFilter::INFO,
        Severity::Debug => LevelFilter::DEBUG,
        Severity::Trace => LevelFilter::TRACE,
    };
    // The libraries' own lines repeat what ours say, so they are off until asked for.
    let libraries = if severity == Severity::Trace {
        LevelFilter::DEBUG
    } else {
        LevelFilter::OFF
    };
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("headcount", ours);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines(format))
        .with_writer(writer)
        .with_filter(filter);
    tracing_subscriber::registry().with(lines)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    super::metrics::panicked();
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let why = info.payload_as_str().unwrap_or("a value that isn't text");
    error!(name: "process.panicked", place, error = why, "a part of the program panicked");
}

struct Lines(Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = match self.0 {
            Format::Text => text(event.metadata(), fields)?,
            Format::Json => json(event.metadata(), fields),
        };
        writer.write_str(&line)
    }
}

fn now() -> String {
    let mut time = String::new();
    // Microseconds always, so that lines sort as text.
    let printed = DateTimePrinter::new()
        .precision(Some(6))
        .print_timestamp(&Timestamp::now(), &mut time);
    printed.map(|()| time).unwrap_or_default()
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

/// The event's type: ours name theirs, a library's is its module.
fn event_type<'a>(metadata: &'a Metadata<'_>) -> &'a str {
    if metadata.name().starts_with("event ") {
        metadata.target()
    } else {
        metadata.name()
    }
}

fn text(metadata: &Metadata<'_>, fields: Fields) -> Result<String, fmt::Error> {
    let mut line = String::with_capacity(256);
    write!(
        line,
        "{} {:<5} {} ",
        now(),
        severity(*metadata.level()),
        event_type(metadata)
    )?;
    escape(&mut line, &fields.message);
    for (name, value) in &fields.context {
        write!(line, " {name}=")?;
        match value {
            Value::String(words) => {
                line.push('"');
                escape(&mut line, words);
                line.push('"');
            }
            other => write!(line, "{other}")?,
        }
    }
    line.push('\n');
    Ok(line)
}

/// Nothing that ends a line, moves a cursor, hides or reorders text, or closes a quoted value gets through as it is.
fn escape(line: &mut String, words: &str) {
    for c in words.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            c if hides(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
}

/// Control characters, line separators, and the characters that change the direction of text or have no width.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn json(metadata: &Metadata<'_>, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("timestamp".into(), now().into());
    object.insert("severity".into(), severity(*metadata.level()).into());
    object.insert("event".into(), event_type(metadata).into());
    object.insert("message".into(), fields.message.into());
    for (name, value) in fields.context {
        // A context never takes the place of what every line has.
        object.entry(name).or_insert(value);
    }
    let mut line = String::with_capacity(256);
    for c in Value::Object(object).to_string().chars() {
        // serde_json escapes what JSON must escape; the rest of what a terminal obeys is escaped here, which JSON allows.
        if hides(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// The message and the context of one event.
#[derive(Default)]
struct Fields {
    message: String,
    context: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {
                self.message = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            }
            // A request without an id (there is none) has no such field, rather than an empty one.
            name => self.context.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // Milliseconds are exact enough for every duration that is logged.
        self.put(field, ((value * 1000.0).round() / 1000.0).into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(format: Format, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        tracing::subscriber::with_default(
            subscriber(format, Severity::Info, move || writer.clone()),
            log,
        );
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn one() {
        tracing::info!(name: "scale.applied", namespace = "web", from = 3, to = 5, request_id = "r-1", "3 → 5");
    }

    #[test]
    fn a_text_line_starts_with_a_time_a_severity_and_the_events_type() {
        let line = lines(Format::Text, one);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!(
            rest,
            "INFO  scale.applied 3 → 5 namespace=\"web\" from=3 to=5 request_id=\"r-1\"\n"
        );
    }

    #[test]
    fn a_json_line_has_everything_at_the_top_level() {
        let line = lines(Format::Json, one);
        let mut object: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert!(
            object
                .remove("timestamp")
                .unwrap()
                .as_str()
                .unwrap()
                .parse::<Timestamp>()
                .is_ok()
        );
        let expected = serde_json::json!({"severity": "INFO", "event": "scale.applied", "message": "3 → 5",
            "namespace": "web", "from": 3, "to": 5, "request_id": "r-1"});
        assert_eq!(Value::Object(object), expected);
    }

    #[test]
    fn what_comes_from_outside_forges_no_line_and_no_field() {
        let evil =
            "a\n2026-01-01T00:00:00Z ERROR x\r\x1b[2J\u{202e}\u{2028}\u{85}\" event=\"forged\\";
        let log = || tracing::warn!(name: "tls.client.refused", subject = evil, "refused {evil}");
        let text = lines(Format::Text, log);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.trim_end().chars().any(hides), "{text:?}");
        assert!(
            text.ends_with("\\u{85}\\\" event=\\\"forged\\\\\"\n"),
            "{text:?}"
        );
        let json = lines(Format::Json, log);
        assert_eq!(json.matches('\n').count(), 1);
        assert!(!json.trim_end().chars().any(hides), "{json:?}");
        let object: Map<String, Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (object["subject"].as_str(), object["event"].as_str()),
            (Some(evil), Some("tls.client.refused"))
        );
    }

    #[test]
    fn a_context_field_takes_no_standard_fields_place() {
        let line = lines(
            Format::Json,
            || tracing::info!(name: "a.b", severity = "NONE", event = "c.d", "words"),
        );
        let object: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["severity"], &object["event"]),
            (&"INFO".into(), &"a.b".into())
        );
    }

    #[test]
    fn the_libraries_lines_are_off() {
        assert_eq!(
            lines(
                Format::Text,
                || tracing::error!(target: "hyper::proto", "noise")
            ),
            ""
        );
    }
}
