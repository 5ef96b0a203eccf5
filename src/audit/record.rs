//! One record: flat JSON fields, named as those of log lines are.

use std::net::SocketAddr;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::Value;

use crate::{access::Caller, telemetry::log::hides};

/// What a record keeps of each text, in characters.
const LONGEST: usize = 2048;

/// Something that happened, for the audit trail.
#[derive(Debug, Clone)]
pub struct Record {
    /// Fields in JSON without braces, with a comma between them.
    fields: String,
}

impl Record {
    /// A record of an event, which happens now.
    pub fn of(event: &'static str) -> Self {
        let mut time = String::new();
        // Microseconds always, as log lines have them. Printing into a String can't fail.
        let _ = DateTimePrinter::new()
            .precision(Some(6))
            .print_timestamp(&Timestamp::now(), &mut time);
        let fields = String::with_capacity(1024);
        Self { fields }.with("timestamp", time).with("event", event)
    }

    /// The same with a field more, unless its value is none or an empty text.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::Null => return self,
            Value::String(text) if text.is_empty() => return self,
            Value::String(text) => Value::String(cut(text)),
            other => other,
        };
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
        self.fields.push('"');
        self.fields.push_str(name);
        self.fields.push_str("\":");
        let json = value.to_string();
        let mut rest = json.as_str();
        // What JSON leaves as it is and a terminal obeys.
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| hides(*c)) {
            self.fields.push_str(&rest[..at]);
            for unit in c.encode_utf16(&mut [0; 2]) {
                self.fields.push_str(&format!("\\u{unit:04x}"));
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.fields.push_str(rest);
        self
    }

    /// The same with a field more, if there is one.
    #[must_use]
    pub fn and(self, field: Option<(&'static str, Value)>) -> Self {
        match field {
            Some((name, value)) => self.with(name, value),
            None => self,
        }
    }

    /// The same with who did it; `names` are those of the certificate.
    #[must_use]
    pub fn by(self, caller: &Caller, names: &str) -> Self {
        let identity = &caller.identity;
        self.with("principal", caller.name())
            .with("subject", identity.subject.as_str())
            .with("serial", identity.serial.as_str())
            .with("issuer", identity.issuer.as_str())
            .with("names", names)
            .from(caller.address)
    }

    /// The same with where it came from.
    #[must_use]
    pub fn from(self, address: SocketAddr) -> Self {
        self.with("address", address.to_string())
    }

    pub(super) fn into_fields(self) -> String {
        self.fields
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_makes_a_line_a_field_or_moves_a_cursor() {
        let evil = "a\n{\"event\":\"forged\"}\r\u{1b}[2J\u{202e}\u{2028}\u{85}\u{200b}\",\"to\":9,\"x\":\"é→";
        let record = Record::of("tls.client.refused").with("subject", evil);
        let fields = record.into_fields();
        assert!(!fields.chars().any(hides), "{fields:?}");
        let read: Value = serde_json::from_str(&format!("{{{fields}}}")).unwrap();
        assert_eq!(read["subject"], evil);
        assert_eq!(read["event"], "tls.client.refused");
        assert_eq!(read.as_object().unwrap().len(), 3);
        assert!(fields.contains("é→"), "what is harmless stays readable");
    }

    #[test]
    fn what_is_absent_has_no_field_and_what_is_long_is_cut() {
        let long = "x".repeat(100_000);
        let fields = Record::of("a.b")
            .with("from", Value::Null)
            .with("reason", "")
            .with("error", long)
            .into_fields();
        assert!(!fields.contains("from") && !fields.contains("reason"));
        assert!(fields.len() < 2200 && fields.ends_with("x…\""), "{fields}");
    }
}
