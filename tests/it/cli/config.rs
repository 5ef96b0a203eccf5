//! `headcount config`: what it says, what it changes, and its exit codes.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{prepared, tls_flags};
use crate::support::{
    SimCluster,
    program::{Program, Serving, headcount, serve},
};

const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";

/// A folder with a configuration file of these lines behind its head.
struct Desk(TempDir);

#[derive(Debug)]
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn with(configuration: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::write(
            desk.path("headcount.yaml"),
            format!("{HEAD}{configuration}"),
        )
        .unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Done {
        let mut program = headcount(["config"]);
        let output = program
            .args(args)
            .envs(variables.iter().copied())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

#[tokio::test]
async fn check_takes_what_serve_takes_with_the_same_flags() {
    let cluster = SimCluster::start().await;
    let (_folder, files, _) = prepared();
    let desk = Desk::with("maxReplicas: 5\n");
    let flags = tls_flags(&files);
    let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
    let mut all: Vec<&str> = vec!["check", "--config=headcount.yaml", &kubeconfig];
    all.extend(flags.iter().map(String::as_str));
    let done = desk.run(&all, &[("HEADCOUNT_READ_ONLY", "true")]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (
            Some(0),
            "headcount.yaml: the configuration can be used\n",
            ""
        )
    );
    // Both refuse the same.
    for (flag, part) in [
        ("--tls-key=/nonexistent", "/nonexistent"),
        ("--kubeconfig=/nonexistent", "/nonexistent"),
        ("--client-ca=headcount.yaml", "headcount.yaml"),
    ] {
        let name = flag.split('=').next().unwrap();
        let mut args: Vec<&str> = all
            .iter()
            .copied()
            .filter(|a| !a.starts_with(name))
            .collect();
        args.push(flag);
        let done = desk.run(&args, &[]);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(64), ""),
            "{flag}: {done:?}"
        );
        assert!(
            done.stderr.starts_with("error: ") && done.stderr.contains(part),
            "{done:?}"
        );
        let mut serve = headcount(["serve"]);
        serve.args(&args[1..]).current_dir(desk.0.path());
        let ended = Program::start(serve).ended().await;
        assert_eq!(ended.code, Some(64), "{flag}: {ended:?}");
    }
}

#[test]
fn check_tells_all_that_is_wrong_at_once() {
    let desk = Desk::with("listen: nowhere\nlimits: {times: {idle: 0s}}\nlogLevel: loud\n");
    let done = desk.run(
        &["check", "--config=headcount.yaml"],
        &[("HEADCOUNT_MAX_REPLICA", "5")],
    );
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(64), ""),
        "{done:?}"
    );
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{done:?}");
    for part in ["HEADCOUNT_MAX_REPLICA", "line 3", "line 4", "line 5"] {
        assert_eq!(
            lines.iter().filter(|line| line.contains(part)).count(),
            1,
            "{part}: {done:?}"
        );
    }
}

#[test]
fn check_without_files_needs_none_and_warns_of_old_keys() {
    let desk = Desk::with(
        "tlsCert: /nonexistent/c\ntlsKey: /nonexistent/k\nclientCa: /nonexistent/a\nkubeconfig: /nonexistent/k\nlogFormat: json\n",
    );
    let args = ["check", "--skip-files", "--config=headcount.yaml"];
    let done = desk.run(&args, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(
        done.stderr,
        "warning: headcount.yaml: line 7: logFormat is called logging.format now, and its old name is gone in 0.3.0; \
         `headcount config migrate` rewrites it\n"
    );
    let done = desk.run(&args[..1], &[("HEADCOUNT_CONFIG", "headcount.yaml")]);
    assert_eq!(done.code, Some(64), "{done:?}");
    for file in ["/nonexistent/c", "/nonexistent/k", "/nonexistent/a"] {
        assert!(done.stderr.contains(file), "{done:?}");
    }
}

#[test]
fn print_tells_where_each_value_comes_from_and_holds_no_key() {
    let (_folder, files, _) = prepared();
    let desk = Desk::with("maxReplicas: 5\nnamespace: [web]\n");
    let mut args = vec!["print", "--config=headcount.yaml", "--log-level=debug"];
    let flags = tls_flags(&files);
    args.extend(flags.iter().map(String::as_str));
    let done = desk.run(&args, &[("HEADCOUNT_DRAIN_DELAY", "9s")]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    for line in [
        "maxReplicas: 5  # headcount.yaml:3",
        "namespace: [web]  # headcount.yaml:4",
        "drainDelay: 9s  # HEADCOUNT_DRAIN_DELAY",
        "  level: debug  # --log-level",
        "readOnly: false  # default",
    ] {
        assert!(
            done.stdout.lines().any(|l| l == line),
            "{line}: {}",
            done.stdout
        );
    }
    assert!(!done.stdout.contains("PRIVATE KEY"));
    args.push("--format=json");
    let json: Value = serde_json::from_str(&desk.run(&args, &[]).stdout).unwrap();
    assert_eq!(json["configuration"]["maxReplicas"], 5);
    assert_eq!(json["origins"]["/maxReplicas"], "headcount.yaml:3");
    let done = desk.run(&["print"], &[]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(64), ""),
        "{done:?}"
    );
}

#[test]
fn migrate_rewrites_old_keys_and_nothing_else_and_says_what_it_did() {
    let desk = Desk::with("# lines\nlogFormat: json  # of JSON\nmaxReplicas: 5\n");
    let old = desk.read("headcount.yaml");
    let new = format!("{HEAD}# lines\nlogging:\n  format: json  # of JSON\nmaxReplicas: 5\n");
    let said = "headcount.yaml: line 4: logFormat is logging.format now\n";
    let done = desk.run(&["migrate", "headcount.yaml"], &[]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (Some(0), new.as_str(), said)
    );
    assert_eq!(desk.read("headcount.yaml"), old);

    let done = desk.run(&["migrate", "headcount.yaml", "--output=new.yaml"], &[]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (Some(0), "", said)
    );
    assert_eq!(
        (desk.read("new.yaml"), desk.read("headcount.yaml")),
        (new.clone(), old)
    );

    // A link to it leads to the new one, whose mode is as before.
    let mode = || {
        fs::metadata(desk.path("headcount.yaml"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    fs::set_permissions(
        desk.path("headcount.yaml"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    std::os::unix::fs::symlink("headcount.yaml", desk.path("link.yaml")).unwrap();
    let done = desk.run(&["migrate", "--in-place", "link.yaml"], &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!((desk.read("headcount.yaml"), mode()), (new.clone(), 0o640));
    assert!(
        fs::symlink_metadata(desk.path("link.yaml"))
            .unwrap()
            .is_symlink()
    );

    let done = desk.run(&["migrate", "--in-place", "headcount.yaml"], &[]);
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (
            Some(0),
            "headcount.yaml: no key is deprecated, nothing was changed\n"
        )
    );
    assert_eq!(desk.read("headcount.yaml"), new);
    assert_eq!(
        fs::read_dir(desk.0.path()).unwrap().count(),
        3,
        "something was left behind"
    );
}

#[test]
fn migrate_refuses_what_it_cannot_read_or_rewrite_and_changes_nothing() {
    for (lines, part) in [
        (
            "logFormat: json\nlogging: {format: text}\n",
            "line 3: logFormat is called logging.format now, and both are there",
        ),
        (
            "logFormat: json\nmaxReplica: 5\n",
            "line 4: unknown field `maxReplica`",
        ),
        ("logFormat: json\na: [\n", "line"),
    ] {
        let desk = Desk::with(lines);
        let before = desk.read("headcount.yaml");
        let done = desk.run(&["migrate", "--in-place", "headcount.yaml"], &[]);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(64), ""),
            "{done:?}"
        );
        assert!(done.stderr.contains(part), "{done:?}");
        assert_eq!(desk.read("headcount.yaml"), before);
    }
    let desk = Desk::with("logFormat: json\n");
    let done = desk.run(&["migrate", "nothing.yaml"], &[]);
    assert!(
        done.code == Some(64) && done.stderr.contains("nothing.yaml"),
        "{done:?}"
    );
    // A folder that can't be written to: what stood there still stands.
    let done = desk.run(
        &["migrate", "headcount.yaml", "--output=/nonexistent/x.yaml"],
        &[],
    );
    assert!(
        done.code == Some(1) && done.stderr.contains("/nonexistent/x.yaml"),
        "{done:?}"
    );
}

#[test]
fn the_schema_is_for_editors() {
    let done = Desk::with("").run(&["schema"], &[]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["properties"]["logFormat"]["deprecated"], true);
}

#[tokio::test]
async fn serve_warns_once_of_each_old_key_and_again_when_another_one_is_added() {
    let cluster = SimCluster::start().await;
    let desk = Desk::with("logFormat: json\n");
    let (folder, files, _) = prepared();
    let flag = format!("--config={}", desk.path("headcount.yaml").display());
    let program = Program::start(serve(&files, cluster.kubeconfig(), &[&flag]));
    let serving = Serving::of(program, files, folder).await;
    let line = serving.program.line("config.deprecated", 1).await;
    assert_eq!(
        (
            line.severity.as_str(),
            line.text("key"),
            line.text("replacement"),
            line.text("removed_in"),
            line.number("line")
        ),
        ("WARN", "logFormat", "logging.format", "0.3.0", 3)
    );
    assert!(
        serving
            .program
            .stderr()
            .iter()
            .all(|line| line.starts_with('{'))
    );
    fs::write(
        desk.path("headcount.yaml"),
        format!("{HEAD}logFormat: json\nmaxReplicas: 5\n"),
    )
    .unwrap();
    serving.program.line("reload.applied", 1).await;
    assert_eq!(serving.program.lines("config.deprecated").len(), 1);
    fs::write(
        desk.path("headcount.yaml"),
        format!("{HEAD}logFormat: json\nlogLevel: debug\n"),
    )
    .unwrap();
    let line = serving.program.line("config.deprecated", 3).await;
    assert_eq!(line.text("key"), "logLevel");
    // Both at once can't be: what is in force stays.
    fs::write(
        desk.path("headcount.yaml"),
        format!("{HEAD}logLevel: debug\nlogging: {{level: info}}\n"),
    )
    .unwrap();
    let failed = serving.program.line("reload.failed", 1).await;
    assert!(
        failed.text("error").contains("both are there"),
        "{failed:?}"
    );
}
