use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{line::hides, *};

fn lines(format: Format, log: impl FnOnce()) -> String {
    let written = Arc::<Mutex<String>>::default();
    let to = Arc::clone(&written);
    let output = move |line: &str| to.lock().unwrap().push_str(line);
    tracing::subscriber::with_default(subscriber(format, Severity::Info, output), log);
    let written = written.lock().unwrap();
    written.clone()
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
    let evil = "a\n2026-01-01T00:00:00Z ERROR x\r\x1b[2J\u{202e}\u{61c}\u{2028}\u{e0041}\u{85}\" event=\"forged\\";
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
    assert!(
        text.contains("\\u{202e}\\u{61c}\\u{2028}\\u{e0041}"),
        "{text:?}"
    );
    assert!(
        json.contains("\\u202e\\u061c\\u2028\\udb40\\udc41"),
        "{json:?}"
    );
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
fn a_message_that_looks_like_fields_is_none() {
    let words = "set web=nginx principal=\"root\" --to=5 x= = 0..=9";
    let log = || tracing::info!(name: "a.b", principal = "alice", "{words}");
    let line = lines(Format::Text, log);
    let told = "INFO  a.b set web\\u{3d}nginx principal\\u{3d}\\\"root\\\" --to=5 x\\u{3d} = 0..=9 principal=\"alice\"\n";
    assert!(line.ends_with(told), "{line}");
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

#[test]
fn what_turns_text_or_cannot_be_seen_is_hidden_and_an_emoji_in_colour_is_not() {
    for c in "\u{61c}\u{200e}\u{202b}\u{2066}\u{2069}\u{ad}\u{34f}\u{200d}\u{2060}\u{3164}\u{feff}\u{fffa}\u{e0061}\u{e0100}".chars() {
        assert!(hides(c), "{c:?}");
    }
    for c in "aÄ علي עב 李 ❤\u{fe0f}\u{fe0e}→½\u{fffd}".chars() {
        assert!(!hides(c), "{c:?}");
    }
}
