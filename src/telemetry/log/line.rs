//! One line: its parts, and its two forms.
//!
//! What came from outside is escaped here, so that it can forge no line and no field.

use std::fmt::{self, Write as _};

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::{Map, Value};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::{Format, severity};
use crate::telemetry::request;

/// The type of all lines of libraries.
pub(super) const LIBRARY: &str = "library.event";

/// A line that has no form yet.
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) event: &'static str,
    pub(super) message: String,
    pub(super) context: Vec<(&'static str, Value)>,
}

/// Whether an event is this program's, which names its type.
pub(super) fn is_ours(target: &str) -> bool {
    let rest = target.strip_prefix("headcount");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, context } = fields;
        let (event, mut context) = if is_ours(metadata.target()) {
            (metadata.name(), context)
        } else {
            // Whatever fields a library has, they take no place of ours.
            let mut details = String::new();
            write_fields(&mut details, &context);
            let target = ("target", metadata.target().into());
            let details = (!details.is_empty()).then(|| ("details", details.trim_start().into()));
            (LIBRARY, [target].into_iter().chain(details).collect())
        };
        request::with_current(|ids| {
            let named = ids.named().into_iter();
            context.extend(named.map(|(name, id)| (name, Value::from(id))));
        });
        Self {
            level: *metadata.level(),
            event,
            message,
            context,
        }
    }

    /// The line with its end.
    pub(super) fn written(self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => self.json(),
        }
    }

    fn text(&self) -> String {
        let mut line = String::with_capacity(256);
        // Writing into a String can't fail.
        let _ = write!(
            line,
            "{} {:<5} {} ",
            now(),
            severity(self.level),
            self.event
        );
        let start = line.len();
        escape(&mut line, &self.message);
        hide_fields(&mut line, start);
        write_fields(&mut line, &self.context);
        line.push('\n');
        line
    }

    fn json(self) -> String {
        let mut object = Map::new();
        object.insert("timestamp".into(), now().into());
        object.insert("severity".into(), severity(self.level).into());
        object.insert("event".into(), self.event.into());
        object.insert("message".into(), self.message.into());
        for (name, value) in self.context {
            // A context never takes the place of what every line has.
            object.entry(name).or_insert(value);
        }
        let mut line = String::with_capacity(256);
        for c in Value::Object(object).to_string().chars() {
            // serde_json escapes what JSON must escape; the rest of what a terminal obeys is escaped here, which JSON allows.
            if hides(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            } else {
                line.push(c);
            }
        }
        line.push('\n');
        line
    }
}

/// Adds a written line to others, with a further field at its end, whose value needs no escaping.
pub(super) fn add_with(
    lines: &mut Vec<u8>,
    line: &str,
    format: Format,
    name: &str,
    value: fmt::Arguments<'_>,
) {
    let (end, closed) = match format {
        Format::Text => ("\n", format!(" {name}=\"{value}\"\n")),
        Format::Json => ("}\n", format!(",\"{name}\":\"{value}\"}}\n")),
    };
    lines.extend_from_slice(line.strip_suffix(end).unwrap_or(line).as_bytes());
    lines.extend_from_slice(closed.as_bytes());
}

fn now() -> String {
    let mut time = String::new();
    // Microseconds always, so that lines sort as text.
    let printed = DateTimePrinter::new()
        .precision(Some(6))
        .print_timestamp(&Timestamp::now(), &mut time);
    printed.map(|()| time).unwrap_or_default()
}

/// Writes ` name=` in a message with another `=`, so that the first such one begins the fields.
fn hide_fields(line: &mut String, message: usize) {
    let mut at = message;
    while let Some(found) = line[at..].find('=') {
        at += found;
        let name = line[message..at].rsplit(' ').next().unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            line.replace_range(at..=at, "\\u{3d}");
        }
        at += 1;
    }
}

/// ` name=value` of each.
fn write_fields(line: &mut String, fields: &[(&'static str, Value)]) {
    for (name, value) in fields {
        let _ = write!(line, " {name}=");
        match value {
            Value::String(words) => {
                line.push('"');
                escape(line, words);
                line.push('"');
            }
            other => {
                let _ = write!(line, "{other}");
            }
        }
    }
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

/// Control characters, separators of lines, and what can't be seen or turns the text around it: Unicode's Default_Ignorable_Code_Point
/// and interlinear annotations. Not the two that say whether a sign is an emoji.
pub(crate) fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The message and the context of one event.
#[derive(Default)]
struct Fields {
    message: String,
    context: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(words)) => self.message = words,
            ("message", other) => self.message = other.to_string(),
            (name, value) => self.context.push((name, value)),
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
