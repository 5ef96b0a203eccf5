//! Log lines read back: those of a program's stderr, and those of a server in this process.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, Once},
    thread,
    time::Duration,
};

use headcount::telemetry::{
    events::{self, OF_REQUESTS, RECORD_ID},
    log::{Format, Severity, subscriber},
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::subscriber::DefaultGuard;

use super::{eventually, output};

/// One line, whichever form it had.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) severity: String,
    pub(crate) event: String,
    pub(crate) message: String,
    pub(crate) fields: Map<String, Value>,
}

impl Line {
    /// Reads a line of the program's, and fails the test if it isn't as the catalogue has it.
    pub(crate) fn read(line: &str) -> Self {
        let read = Self::parse(line);
        read.is_catalogued();
        read
    }

    /// Reads a line of either form, and fails the test if it has neither.
    pub(crate) fn parse(line: &str) -> Self {
        let control = line
            .chars()
            .any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c));
        assert!(!control, "a terminal would obey this line: {line:?}");
        if line.starts_with('{') {
            Self::read_json(line)
        } else {
            Self::read_text(line)
        }
    }

    /// Fails the test unless the catalogue has the event with this severity and these fields.
    fn is_catalogued(&self) {
        let event = events::find(&self.event);
        let event =
            event.unwrap_or_else(|| panic!("no event of src/telemetry/events.rs: {self:?}"));
        let mut severities = event.severities.iter().map(|s| s.as_str().to_uppercase());
        assert!(
            severities.any(|s| s == self.severity),
            "another severity: {self:?}"
        );
        for field in self.names() {
            let mut known = event.fields().chain(OF_REQUESTS).chain([RECORD_ID]);
            assert!(
                known.any(|known| known == field),
                "{field} is no field of it: {self:?}"
            );
        }
        let ids = OF_REQUESTS
            .iter()
            .filter(|id| self.fields.contains_key(**id));
        let of_requests = ["access.denied", "scale.", "image.", "request."];
        let needed = of_requests.iter().any(|of| self.event.starts_with(of));
        let expected: &[usize] = if needed { &[3] } else { &[0, 3] };
        assert!(
            expected.contains(&ids.count()),
            "ids of its request are missing: {self:?}"
        );
    }

    fn read_json(line: &str) -> Self {
        let object: Map<String, Value> =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for (name, value) in &object {
            assert!(
                !value.is_object() && !value.is_array() && !value.is_null(),
                "{name} isn't flat: {line}"
            );
            // serde_json keeps the last of two equal names: there must be no second one.
            assert_eq!(
                line.matches(&format!("\"{name}\":")).count(),
                1,
                "{name} is there twice: {line}"
            );
        }
        let mut fields = object;
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => text,
            other => panic!("{name} is {other:?}: {line}"),
        };
        is_time(&take("timestamp"), line);
        let (severity, event, message) = (take("severity"), take("event"), take("message"));
        Self {
            severity,
            event,
            message,
            fields,
        }
    }

    fn read_text(line: &str) -> Self {
        let (time, rest) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("no line of a log: {line:?}"));
        is_time(time, line);
        let (severity, rest) = rest
            .split_at_checked(5)
            .unwrap_or_else(|| panic!("{line:?}"));
        let (event, rest) = rest
            .trim_start()
            .split_once(' ')
            .unwrap_or_else(|| panic!("{line:?}"));
        let end =
            (0..rest.len()).find(|at| rest.is_char_boundary(*at) && field(&rest[*at..]).is_some());
        let (message, mut rest) = rest.split_at(end.unwrap_or(rest.len()));
        let mut fields = Map::new();
        while let Some((name, value, behind)) = field(rest) {
            assert!(
                fields.insert(name.to_owned(), value).is_none(),
                "{name} is there twice: {line}"
            );
            rest = behind;
        }
        assert_eq!(rest, "", "what is no field ends {line:?}");
        let message = unescape(message);
        Self {
            severity: severity.trim_end().to_owned(),
            event: event.to_owned(),
            message,
            fields,
        }
    }

    /// A field that is text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no text {name}: {self:?}"))
    }

    /// A field that is a whole number.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.fields
            .get(name)
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("no number {name}: {self:?}"))
    }

    /// A field that is a number of seconds.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        self.fields
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no seconds {name}: {self:?}"))
    }

    /// The names of all fields, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

fn is_time(text: &str, line: &str) {
    assert!(
        text.ends_with('Z') && text.parse::<Timestamp>().is_ok(),
        "no RFC 3339 time: {line}"
    );
}

/// The field ` name=value` at the beginning of `text`, and what is behind it.
fn field(text: &str) -> Option<(&str, Value, &str)> {
    let (name, value) = text.strip_prefix(' ')?.split_once('=')?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find(' ').unwrap_or(value.len());
        return Some((
            name,
            serde_json::from_str(&value[..end]).ok()?,
            &value[end..],
        ));
    };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    Some((name, unescape(&quoted[..end]).into(), &quoted[end + 1..]))
}

fn unescape(words: &str) -> String {
    let (mut plain, mut rest) = (String::new(), words);
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let kind = after.chars().next().unwrap();
        rest = &after[1..];
        match kind {
            'n' => plain.push('\n'),
            'u' => {
                let (code, behind) = rest
                    .strip_prefix('{')
                    .and_then(|r| r.split_once('}'))
                    .unwrap();
                plain.push(
                    u32::from_str_radix(code, 16)
                        .ok()
                        .and_then(char::from_u32)
                        .unwrap(),
                );
                rest = behind;
            }
            other => plain.push(other),
        }
    }
    plain + rest
}

/// The lines of this thread, down to debug, until it is dropped: those of a server on a test's own runtime.
///
/// Not of the whole process: a client's port may have been another one's, of another server, before.
pub(crate) struct Captured {
    lines: Lines,
    _guard: DefaultGuard,
}

type Lines = Arc<Mutex<String>>;

impl Drop for Captured {
    fn drop(&mut self) {
        let text = self.lines.lock().unwrap().clone();
        output::keep(&text);
        if !thread::panicking() {
            text.lines().for_each(|line| drop(Line::read(line)));
        }
    }
}

impl Captured {
    /// Captures from now on.
    pub(crate) fn start() -> Self {
        // A single thread's subscriber alone would let every other thread switch an event off for good: `tracing` asks only
        // the thread that meets the event first whether anybody wants it.
        static EVERYWHERE: Once = Once::new();
        EVERYWHERE.call_once(|| {
            let nowhere = subscriber(Format::Json, Severity::Debug, |_| {});
            tracing::subscriber::set_global_default(nowhere).unwrap();
        });
        let lines = Lines::default();
        let written = Arc::clone(&lines);
        let all = subscriber(Format::Json, Severity::Debug, move |line: &str| {
            written.lock().unwrap().push_str(line);
        });
        let _guard = tracing::subscriber::set_default(all);
        Self { lines, _guard }
    }

    /// All lines of an event so far.
    pub(crate) fn all(&self, event: &str) -> Vec<Line> {
        let text = self.lines.lock().unwrap().clone();
        let lines = text.lines().map(Line::read);
        lines.filter(|line| line.event == event).collect()
    }

    /// Waits for a line of an event; the last one so far.
    pub(crate) async fn last(&self, event: &str) -> Line {
        eventually(Duration::from_secs(5), event, async || {
            !self.all(event).is_empty()
        })
        .await;
        self.all(event).pop().unwrap()
    }

    /// The lines with this peer's address.
    pub(crate) fn about(&self, peer: SocketAddr) -> Vec<Line> {
        let text = self.lines.lock().unwrap().clone();
        let address = format!("\"address\":\"{peer}\"");
        text.lines()
            .filter(|line| line.contains(&address))
            .map(Line::read)
            .collect()
    }

    /// Waits for the first line with this peer's address.
    pub(crate) async fn first_about(&self, peer: SocketAddr) -> Line {
        eventually(Duration::from_secs(5), "a log line", async || {
            !self.about(peer).is_empty()
        })
        .await;
        self.about(peer).remove(0)
    }
}
