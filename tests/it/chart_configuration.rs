//! What the chart renders is what the program takes: in each mode, the configuration file with the arguments and variables of the Pod.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::program::headcount;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a program says that must succeed.
fn done(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Helm, which is built the first time.
fn helm() -> PathBuf {
    let folder = done(&mut Command::new(checkout().join("tests/tools/build")));
    Path::new(folder.trim_end()).join("helm4")
}

/// A mode of the chart: values that users have.
fn modes() -> Vec<PathBuf> {
    let mut modes: Vec<_> = fs::read_dir(checkout().join("deploy/chart/ci"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    modes.sort();
    assert!(modes.len() > 15, "{modes:?}");
    modes
}

/// The configuration file of a mode, and the server's container.
fn rendered(helm: &Path, values: &Path) -> (String, Value) {
    let objects = done(
        Command::new(helm)
            .args(["template", "headcount", "--namespace=headcount"])
            .args([
                "--show-only=templates/configuration.yaml",
                "--show-only=templates/deployment.yaml",
            ])
            .arg("--values")
            .arg(values)
            .arg(checkout().join("deploy/chart")),
    );
    let objects: Vec<Value> = serde_saphyr::from_multiple(&objects).unwrap();
    let of = |kind: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind)
            .unwrap()
    };
    let file = of("ConfigMap")["data"]["headcount.yaml"].as_str().unwrap();
    let container = &of("Deployment")["spec"]["template"]["spec"]["containers"][0];
    (file.to_owned(), container.clone())
}

/// What `headcount config check` says of it, without the files of certificates: those are in the Pod alone.
fn checked(folder: &Path, file: &str, container: &Value) -> Output {
    let path = folder.join("headcount.yaml");
    fs::write(&path, file).unwrap();
    let arguments = container["args"].as_array().unwrap();
    assert_eq!(arguments[0], "serve");
    let arguments = arguments[1..].iter().map(|argument| {
        let argument = argument.as_str().unwrap();
        match argument.strip_prefix("--config=") {
            Some("/etc/headcount/config/headcount.yaml") => format!("--config={}", path.display()),
            Some(other) => panic!("the file is elsewhere: {other}"),
            None => argument.to_owned(),
        }
    });
    let mut check = headcount(["config", "check", "--skip-files"]);
    check.args(arguments);
    for variable in container["env"].as_array().into_iter().flatten() {
        if let Some(value) = variable["value"].as_str() {
            check.env(variable["name"].as_str().unwrap(), value);
        }
    }
    check.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_program_takes_what_the_chart_renders_in_each_mode_without_a_warning() {
    let (helm, folder) = (helm(), tempfile::tempdir().unwrap());
    for mode in modes() {
        let (file, container) = rendered(&helm, &mode);
        let said = checked(folder.path(), &file, &container);
        assert!(
            said.status.success(),
            "{}: {said:?}\n{file}",
            mode.display()
        );
        assert!(
            said.stderr.is_empty(),
            "{}: {said:?}\n{file}",
            mode.display()
        );

        // It would be seen: one word more is refused.
        let said = checked(folder.path(), &format!("{file}maxReplica: 5\n"), &container);
        assert_eq!(said.status.code(), Some(64), "{}: {said:?}", mode.display());
    }
}
