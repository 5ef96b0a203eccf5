//! Contexts: kept, chosen, and what is wrong with their file.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use headcount::pki;

use crate::support::program::headcount;

fn run(file: &Path, args: &[&str]) -> Output {
    let mut command = headcount([&["context"], args].concat());
    command.env("HEADCOUNT_CONTEXTS", file).output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn refusal(output: &Output) -> String {
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(64), 0),
        "{output:?}"
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn contexts_are_added_chosen_shown_and_removed_and_the_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("demo");
    pki::write_demo(&keys).unwrap();
    let dir = keys.display().to_string();
    let file = folder.path().join("config/headcount/contexts.yaml");
    let add = |name: &str, more: &[&str]| {
        let words = [
            "add",
            name,
            "--server=https://localhost:8443",
            "--pki",
            &dir,
        ];
        run(&file, &[&words, more].concat())
    };
    assert!(lines(&run(&file, &["list"])).is_empty());
    lines(&add("dev", &["-n", "web"]));
    lines(&add("ci", &["--client", "client2"]));
    assert_eq!(
        lines(&run(&file, &["list"])),
        [
            "CURRENT  NAME  SERVER                  NAMESPACE",
            "         ci    https://localhost:8443  -",
            "*        dev   https://localhost:8443  web"
        ]
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    lines(&run(&file, &["use", "ci"]));
    assert!(
        lines(&run(&file, &["show"]))
            .concat()
            .contains("client2.crt")
    );
    assert!(refusal(&add("dev", &[])).contains("--force"));
    lines(&add("dev", &["--force"]));
    assert!(refusal(&add("new", &["--client", "nobody"])).contains("nobody.crt"));
    assert_eq!(lines(&run(&file, &["list", "-o", "name"])), ["ci", "dev"]);
    lines(&run(&file, &["remove", "ci"]));
    assert!(refusal(&run(&file, &["show"])).contains("headcount context use"));
    assert!(refusal(&run(&file, &["use", "ci"])).contains("it has dev"));
}

#[test]
fn the_file_is_found_by_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    for (variable, file) in [
        ("XDG_CONFIG_HOME", "headcount/contexts.yaml"),
        ("HOME", ".config/headcount/contexts.yaml"),
    ] {
        let path = home.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            &path,
            "current: a\ncontexts: {a: {server: https://a, ca: a, cert: a, key: a}}\n",
        )
        .unwrap();
        let output = headcount(["context", "list", "-o", "name"])
            .env(variable, &home)
            .output()
            .unwrap();
        assert_eq!(lines(&output), ["a"]);
    }
    let output = headcount(["list"]).output().unwrap();
    assert!(refusal(&output).contains("headcount context add"));
}

#[test]
fn what_is_wrong_with_the_file_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.yaml");
    for (text, parts) in [
        (
            "contexts:\n  dev:\n    server: http://a\n    ca: a\n    cert: a\n    key: a\n",
            &["at line 3", "https://HOST"][..],
        ),
        (
            "contexts:\n  dev:\n    server: https://a\n    colour: red\n",
            &["at line 4", "colour"],
        ),
        ("contexts: [\n", &["headcount context add"]),
        (": [\n", &["headcount context add"]),
        ("current: ~\ncontexts: {~: {}}\n", &["null"]),
    ] {
        fs::write(&file, text).unwrap();
        let said = refusal(&run(&file, &["list"]));
        for part in parts {
            assert!(said.contains(part), "{part:?} isn't in {said}");
        }
        assert!(!said.contains("Option<"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn commands_at_once_lose_none_of_the_others_contexts() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("demo");
    pki::write_demo(&keys).unwrap();
    let file = folder.path().join("contexts.yaml");
    let mut running: Vec<_> = (0..12)
        .map(|n| {
            headcount(["context", "add", &format!("c{n:02}")])
                .args(["--server=https://localhost", "--pki"])
                .arg(&keys)
                .env("HEADCOUNT_CONTEXTS", &file)
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for one in &mut running {
        assert!(one.wait().unwrap().success());
    }
    let names: Vec<_> = (0..12).map(|n| format!("c{n:02}")).collect();
    assert_eq!(lines(&run(&file, &["list", "-o", "name"])), names);
}

#[test]
fn a_file_that_another_command_keeps_locked_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.yaml");
    let text = "contexts: {a: {server: https://a, ca: a, cert: a, key: a}}\n";
    fs::write(&file, text).unwrap();
    let lock = fs::File::create(folder.path().join("contexts.yaml.lock")).unwrap();
    lock.lock().unwrap();
    let said = refusal(&run(&file, &["use", "a"]));
    assert!(
        said.contains("contexts.yaml.lock") && said.contains("another command"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // Whoever only reads waits for nobody.
    assert_eq!(lines(&run(&file, &["list", "-o", "name"])), ["a"]);
}
