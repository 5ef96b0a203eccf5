use super::*;

fn migrated(text: &str) -> String {
    let done = migrate(text).unwrap();
    assert_eq!(
        done.lines.len(),
        done.text.lines().count(),
        "{:?}",
        done.text
    );
    // Done once, nothing is left to do.
    let again = migrate(&done.text).unwrap();
    assert_eq!((again.text.as_str(), again.moved), (&*done.text, vec![]));
    done.text
}

#[test]
fn keys_become_a_section_where_they_stood_and_all_else_stays() {
    let old = "# headcount\nkind: Configuration   # what it is\n\n# for the collector\nlogFormat: json  # one object a line\nmaxReplicas: 5\n# more\nlogLevel: \"debug\"\n\n# end\n";
    let new = "# headcount\nkind: Configuration   # what it is\n\nmaxReplicas: 5\n# more\nlogging:\n  # for the collector\n  format: json  # one object a line\n  level: \"debug\"\n\n# end\n";
    assert_eq!(migrated(old), new);
    let alone = "logFormat: json";
    assert_eq!(migrated(alone), "logging:\n  format: json");
}

#[test]
fn keys_become_the_first_of_a_section_that_is_there() {
    let old = "logging:   # lines\n    # the file\n    file: {path: /a}\nlogLevel: warn\nlogFormat: text\n";
    let new = "logging:   # lines\n    format: text\n    level: warn\n    # the file\n    file: {path: /a}\n";
    assert_eq!(migrated(old), new);
    let below = "logFormat: text\nlogging:\n  levels:\n    tls: debug\nmaxReplicas: 1";
    let new = "logging:\n  format: text\n  levels:\n    tls: debug\nmaxReplicas: 1";
    assert_eq!(migrated(below), new);
}

#[test]
fn flow_and_json_stay_what_they_are() {
    for (old, new) in [
        (
            "logLevel: info # quiet\nlogging: {file: {path: a}}\n",
            "# quiet\nlogging: {level: info, file: {path: a}}\n",
        ),
        (
            "logFormat: json\nlogging: {}\n",
            "logging: {format: json}\n",
        ),
        (
            "{\"kind\": \"Configuration\", \"logFormat\": \"json\", \"logLevel\": \"info\"}\n",
            "{\"kind\": \"Configuration\", \"logging\": {\"format\": \"json\", \"level\": \"info\"}}\n",
        ),
        (
            "{\n  \"logFormat\": \"json\",\n  \"maxReplicas\": 5,\n  \"logging\": {\"stderr\": true}\n}\n",
            "{\n  \"maxReplicas\": 5,\n  \"logging\": {\"format\": \"json\", \"stderr\": true}\n}\n",
        ),
    ] {
        assert_eq!(migrated(old), new);
    }
}

#[test]
fn line_ends_and_indentation_are_kept() {
    let old = "kind: x\r\nlogFormat: json\r\nlogging:\r\n  stderr: true\r\n";
    let new = "kind: x\r\nlogging:\r\n  format: json\r\n  stderr: true\r\n";
    assert_eq!(migrated(old), new);
    assert_eq!(
        migrated("  kind: x\n  logFormat: json\n"),
        "  kind: x\n  logging:\n    format: json\n"
    );
}

#[test]
fn lines_are_those_of_the_old_file() {
    let old = "kind: x\nlogFormat: json\nmaxReplicas: 1\nlogging:\n  stderr: true\nlisten: y\n";
    let done = migrate(old).unwrap();
    let lines: Vec<&str> = done.text.lines().collect();
    let expected: [(&str, u64); 6] = [
        ("kind: x", 1),
        ("maxReplicas: 1", 3),
        ("logging:", 4),
        ("  format: json", 2),
        ("  stderr: true", 5),
        ("listen: y", 6),
    ];
    for (number, (line, old_line)) in (1..).zip(expected) {
        assert_eq!(
            (lines[number as usize - 1], done.old_line(number)),
            (line, old_line)
        );
    }
    assert_eq!(
        (done.moved[0].moved.old, done.moved[0].line),
        ("logFormat", 2)
    );
}

#[test]
fn what_cannot_be_moved_is_said_and_nothing_is_changed() {
    for (text, line, part) in [
        (
            "logFormat: json\nlogging: {format: text}\n",
            1,
            "both are there",
        ),
        (
            "a: 1\nlogLevel: info\nlogging:\n  level: info\n",
            2,
            "both are there",
        ),
        (
            "logging: &x\n  stderr: true\nother: *x\nlogLevel: info\n",
            4,
            "logging.level",
        ),
        ("logging: true\nlogLevel: info\n", 2, "no mapping"),
        ("logging:\nlogLevel: info\n", 2, "no mapping"),
        ("logLevel: info\na: 1\nlogLevel: info\n", 3, "duplicate"),
        ("logLevel: info\na: 1\na: 2\n", 3, "duplicate"),
        ("? logLevel\n: info\n", 1, "logging.level"),
        (
            "logLevel: >\n  info\nlogging: {stderr: true}\n",
            1,
            "logging.level",
        ),
        (
            "{logLevel: info, # why\n logging: {stderr: true}}\n",
            1,
            "logging.level",
        ),
    ] {
        let error = migrate(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.why.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn a_file_without_old_keys_or_that_cannot_be_read_stays_as_it_is() {
    for text in [
        "",
        "kind: x\n",
        "a: [",
        "- logFormat\n",
        "x: {logFormat: json}\n",
        "a: 1\n---\nlogFormat: x\n",
    ] {
        let done = migrate(text).unwrap();
        assert_eq!((done.text.as_str(), done.moved.len()), (text, 0));
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_migrated_says_the_same(
        before in "(# a\n|maxReplicas: 1\n|\n|listen: x # y\n){0,3}",
        section in "(|logging: \\{\\}\n|logging:\n  stderr: true\n|logging: # c\n    # d\n    levels: \\{tls: warn\\}\n)",
        keys in "(|logFormat: json\n|logFormat: 'text'  # e\n|# f\nlogLevel: debug\n|logLevel: info\n\n# g\nlogFormat: json\n)",
        after in "(|# h\n|readOnly: true\n|readOnly: true)",
        first in proptest::prelude::any::<bool>(),
    ) {
        let text = if first { format!("{before}{keys}{section}{after}") } else { format!("{before}{section}{keys}{after}") };
        if serde_saphyr::from_str::<Value>(&text).is_ok_and(|value| value.is_object()) {
            let new = migrated(&text);
            proptest::prop_assert!(!new.contains("logFormat") && !new.contains("logLevel"), "{}", new);
        }
    }
}
