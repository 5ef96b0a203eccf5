use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All source files of this crate but those of its tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let all = entries.flat_map(|path| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    });
    all.filter(|path| !path.ends_with("tests.rs")).collect()
}

/// The types that the sources log, each with the severities that it is logged with.
fn logged() -> BTreeMap<String, BTreeSet<String>> {
    let mut logged = BTreeMap::<_, BTreeSet<_>>::new();
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let severities = ["error", "warn", "info", "debug", "trace"];
        for severity in severities {
            // One without a type would be overlooked.
            let nameless = format!("{severity}!(\"");
            assert!(!text.contains(&nameless), "{}", path.display());
            let named = [
                format!("{severity}!(name: \""),
                format!("log_write!({severity}, \""),
                // Of any severity, since it isn't known before.
                "$level!(name: \"".to_owned(),
            ];
            for start in &named {
                for rest in text.split(start).skip(1) {
                    let name = rest.split('"').next().unwrap();
                    let severities = logged.entry(name.to_owned()).or_default();
                    severities.insert(severity.to_owned());
                }
            }
        }
    }
    logged
}

#[test]
fn every_line_of_the_sources_is_in_the_catalogue_with_its_severity_and_nothing_else_is() {
    let mut catalogued = BTreeMap::<_, BTreeSet<_>>::new();
    for event in EVENTS {
        let severities = event.severities.iter().map(|s| s.as_str().to_owned());
        assert!(
            catalogued
                .insert(event.name.to_owned(), severities.collect())
                .is_none()
        );
    }
    // Made of what libraries log, by the formatter.
    catalogued.remove("library.event");
    assert_eq!(logged(), catalogued);
}

#[test]
fn every_event_that_is_logged_has_a_type_by_which_it_is_found() {
    // The macros above are all there are: none is called by a path or another name, but where a line is made for two of them.
    let known = ["src/api/write.rs", "src/telemetry/log/bursts.rs"];
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap();
        if !known.iter().any(|known| path.ends_with(known)) {
            for other in ["tracing::$", "tracing::event!", "event!(Level"] {
                assert!(!text.contains(other), "{}: {other}", path.display());
            }
        }
    }
}

#[test]
fn types_are_words_with_dots_in_alphabetical_order() {
    let names: Vec<_> = EVENTS.iter().map(|event| event.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for name in names {
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        assert!(
            name.split('.').count() >= 2 && name.split('.').all(word),
            "{name}"
        );
        assert_eq!(find(name).unwrap().name, name);
    }
}

#[test]
fn every_field_is_explained_and_every_explained_field_is_used() {
    let of_all = OF_REQUESTS.into_iter().chain([RECORD_ID]);
    let used: BTreeSet<_> = EVENTS
        .iter()
        .flat_map(Event::fields)
        .chain(of_all)
        .collect();
    let explained: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
    assert!(explained.is_sorted());
    assert_eq!(used.into_iter().collect::<Vec<_>>(), explained);
}

#[test]
fn words_are_the_beginning_of_a_type_only_as_whole_words() {
    for words in ["tls", "tls.client", "tls.client.refused", "library"] {
        assert!(any_begins_with(words), "{words}");
    }
    for words in ["", "tl", "tls.", "tls.client.refused.x", "headcount::tls"] {
        assert!(!any_begins_with(words), "{words}");
    }
}

/// The tables of docs/events.md.
fn tables() -> String {
    let mut text =
        String::from("| event | severity | what has happened | fields |\n|---|---|---|---|\n");
    for event in EVENTS {
        let severities: Vec<_> = event
            .severities
            .iter()
            .map(|s| s.as_str().to_uppercase())
            .collect();
        let severities = match severities.len() {
            5 => "any".to_owned(),
            _ => severities.join(", "),
        };
        let fields: Vec<_> = event.fields().map(|field| format!("`{field}`")).collect();
        let (name, meaning, fields) = (event.name, event.meaning, fields.join(" "));
        writeln!(text, "| `{name}` | {severities} | {meaning} | {fields} |").unwrap();
    }
    text.push_str("\n## The fields\n\n| field | what is in it |\n|---|---|\n");
    for (name, meaning) in FIELDS {
        writeln!(text, "| `{name}` | {meaning} |").unwrap();
    }
    text
}

#[test]
fn the_documented_events_are_those_of_the_catalogue() {
    let path = root().join("docs/events.md");
    let documented = fs::read_to_string(&path).unwrap();
    let (head, found) = documented.split_once("| event |").unwrap();
    let expected = tables();
    // The only way to change the tables: WRITE_DOCS=1 cargo test the_documented_events
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, format!("{head}{expected}")).unwrap();
        return;
    }
    let found = format!("| event |{found}");
    let wrong = expected
        .lines()
        .zip(found.lines())
        .find(|(expected, found)| expected != found);
    assert_eq!(wrong, None, "docs/events.md: WRITE_DOCS=1 writes it anew");
    assert_eq!(found, expected);
}
