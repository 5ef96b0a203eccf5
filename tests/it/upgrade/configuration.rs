//! A configuration with everything that the first version knew.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::program::headcount;

const FIRST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/first-version/configuration.yaml"
);

/// Exit code, stdout and stderr of `headcount config …`, and of its first version's program with other arguments.
fn said(program: Option<&Path>, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = match program {
        Some(program) => std::process::Command::new(program),
        None => headcount::<&str>([]),
    };
    let output = command.args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_first_versions_configuration_is_taken_with_warnings_migrated_and_then_taken_without() {
    let folder = tempfile::tempdir().unwrap();
    let newest = folder.path().join("headcount.yaml");
    fs::copy(FIRST, &newest).unwrap();
    let newest = newest.to_str().unwrap();

    let check = |path: &str| said(None, &["config", "check", "--skip-files", "--config", path]);
    let (code, _, warnings) = check(newest);
    assert_eq!(code, Some(0), "{warnings}");
    assert_eq!(warnings.lines().count(), 2, "{warnings}");
    for (line, old) in warnings.lines().zip(["logFormat", "logLevel"]) {
        assert!(
            line.starts_with("warning: ") && line.contains(old),
            "{warnings}"
        );
    }

    let (code, _, words) = said(None, &["config", "migrate", "--in-place", newest]);
    assert_eq!(code, Some(0), "{words}");
    let (code, _, warnings) = check(newest);
    assert_eq!((code, warnings.as_str()), (Some(0), ""));

    // It means the same, and says so with the same comments.
    let meant = |path: &str| -> Value {
        let (code, json, words) = said(
            None,
            &["config", "print", "--format=json", "--config", path],
        );
        assert_eq!(code, Some(0), "{words}");
        serde_json::from_str::<Value>(&json).unwrap()["configuration"].clone()
    };
    assert_eq!(meant(FIRST), meant(newest));
    let comments = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let comments = text.lines().filter_map(|line| line.split_once("# "));
        comments.map(|(_, comment)| comment.to_owned()).collect()
    };
    assert_eq!(comments(FIRST), comments(newest));
}

#[tokio::test]
async fn the_first_version_knew_every_key_of_its_configuration() {
    let Some(first) = super::first_version().await else {
        return;
    };
    // It gets as far as the files that the configuration names, and no further; its log is a file.
    let folder = tempfile::tempdir().unwrap();
    let (logs, path) = (
        folder.path().to_str().unwrap(),
        folder.path().join("headcount.yaml"),
    );
    let serve = |text: String| {
        fs::write(&path, text.replace("/var/log/headcount", logs)).unwrap();
        said(Some(&first), &["serve", "--config", path.to_str().unwrap()])
    };
    let (code, _, words) = serve(fs::read_to_string(FIRST).unwrap());
    assert_eq!(code, Some(64), "{words}");
    let log = fs::read_to_string(folder.path().join("headcount.log")).unwrap();
    assert!(log.contains("/etc/headcount/server/tls.crt"), "{log}");
    // What replaces the old keys it doesn't know: a configuration is migrated after the programs.
    let (_, migrated, _) = said(None, &["config", "migrate", FIRST]);
    let (code, _, words) = serve(migrated);
    assert_eq!(code, Some(64), "{words}");
    assert!(words.contains("unknown field"), "{words}");
}
