//! `headcount doctor` as its users see it: every check, passing and failing, its forms and its exit codes.

mod addresses;
mod certificates;
mod configuration;
mod kubernetes;
mod outputs;
mod permissions;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use headcount::pki::{self, DemoFiles};
use serde_json::Value;

use crate::support::{
    SimCluster,
    program::{Program, headcount},
};

/// What `headcount doctor` is run with: demo certificates, and a kubeconfig.
struct Patient {
    folder: tempfile::TempDir,
    files: DemoFiles,
    kubeconfig: PathBuf,
    flags: Vec<String>,
}

/// What it found.
#[derive(Debug)]
struct Diagnosis {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Patient {
    fn of(kubeconfig: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::write_demo(folder.path()).unwrap();
        Self {
            folder,
            files,
            kubeconfig: kubeconfig.to_owned(),
            flags: vec![
                "--listen=127.0.0.1:0".to_owned(),
                "--admin-listen=127.0.0.1:0".to_owned(),
            ],
        }
    }

    /// The same with a configuration file of these lines.
    fn configured(mut self, lines: &str) -> Self {
        let path = self.folder.path().join("config.yaml");
        let head = "apiVersion: headcount/v1alpha1\nkind: Configuration";
        fs::write(&path, format!("{head}\n{lines}")).unwrap();
        self.flags.push(format!("--config={}", path.display()));
        self
    }

    fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    fn command(&self) -> Command {
        let mut command = headcount(["doctor"]);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
            .arg("--tls-cert")
            .arg(&self.files.server.certificate);
        command.arg("--tls-key").arg(&self.files.server.key);
        command.arg("--client-ca").arg(&self.files.ca);
        command.args(&self.flags);
        command
    }

    async fn examined(&self) -> Diagnosis {
        Diagnosis::of(self.command()).await
    }
}

impl Diagnosis {
    async fn of(mut command: Command) -> Self {
        command.arg("--json");
        let ended = Program::start(command).ended().await;
        assert_eq!(ended.stderr, [""; 0]);
        assert_eq!(ended.stdout.len(), 1, "{ended:#?}");
        let mut report: Value = serde_json::from_str(&ended.stdout[0]).unwrap();
        let Value::Array(checks) = report["checks"].take() else {
            panic!("{report}");
        };
        let count = |outcome| checks.iter().filter(|c| c["outcome"] == outcome).count();
        for (name, outcome) in [
            ("ok", "ok"),
            ("warnings", "warning"),
            ("failed", "failed"),
            ("skipped", "skipped"),
        ] {
            assert_eq!(report[name], count(outcome), "{name}");
        }
        // Whatever needs somebody says what to do.
        for check in &checks {
            let needs = ["warning", "failed"].contains(&check["outcome"].as_str().unwrap());
            assert_eq!(check["fix"].is_string(), needs, "{check}");
        }
        let failed = count("failed") > 0;
        assert_eq!(ended.code, Some(i32::from(failed)), "{checks:#?}");
        Self {
            code: ended.code,
            checks,
        }
    }

    /// What the check says that ended like this and whose words have these.
    fn finds(&self, check: &str, outcome: &str, words: &str) {
        let found = self.checks.iter().any(|one| {
            let text = format!("{} {}", one["found"], one["fix"]);
            one["check"] == check && one["outcome"] == outcome && text.contains(words)
        });
        assert!(found, "{check} {outcome} {words:?}: {:#?}", self.checks);
    }

    /// The names of the checks that ended like this.
    fn names(&self, outcome: &str) -> Vec<&str> {
        let these = self.checks.iter().filter(|one| one["outcome"] == outcome);
        these.map(|one| one["check"].as_str().unwrap()).collect()
    }
}

/// The rights that a server with the default configuration needs.
fn needed() -> Vec<simkube::OwnRule> {
    vec![
        simkube::OwnRule::new("apps", "deployments", &["list", "watch"]),
        simkube::OwnRule::new("apps", "deployments/scale", &["patch", "update"]),
        simkube::OwnRule::new(
            "autoscaling",
            "horizontalpodautoscalers",
            &["list", "watch"],
        ),
    ]
}

#[tokio::test]
async fn where_everything_is_well_every_line_says_so_and_the_code_is_0() {
    let cluster = SimCluster::start().await;
    cluster.cluster.set_own_rules(needed());
    let patient = Patient::of(cluster.kubeconfig())
        .configured("limits: {memory: {budget: 256Mi}}")
        .flag("--read-only=false");
    let found = patient.examined().await;
    assert_eq!(found.code, Some(0), "{found:#?}");
    assert_eq!(found.names("failed"), [""; 0]);
    assert_eq!(found.names("skipped"), [""; 0]);
    let mut all: Vec<_> = found
        .checks
        .iter()
        .map(|c| c["check"].as_str().unwrap())
        .collect();
    all.dedup();
    let expected = [
        "configuration",
        "certificates.files",
        "certificates.server",
        "certificates.names",
        "certificates.chain",
        "certificates.client_cas",
        "files.permissions",
        "address.listen",
        "address.admin",
        "system.descriptors",
        "system.memory",
        "kubernetes.credentials",
        "kubernetes.dns",
        "kubernetes.tcp",
        "kubernetes.api",
        "kubernetes.latency",
        "clock",
        "permissions.needed",
        "permissions.beyond",
    ];
    assert_eq!(all, expected);
    // Nothing of the cluster was changed, and no Deployment was read.
    let asked = cluster.cluster.requests();
    let reads = asked
        .iter()
        .filter(|request| request.path.contains("deployments"));
    assert_eq!(reads.count(), 0);
}

#[tokio::test]
async fn as_text_every_check_is_a_line_without_colours_where_nobody_looks() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    fs::remove_file(&patient.files.ca).unwrap();
    let ended = Program::start(patient.command()).ended().await;
    assert_eq!(ended.code, Some(1));
    let (summary, lines) = ended.stdout.split_last().unwrap();
    assert!(summary.contains(" 1 failed, "), "{summary}");
    for line in lines {
        let word = line.split(' ').next().unwrap();
        assert!(["ok", "WARN", "FAIL", "skip"].contains(&word), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        let fix = line.contains(" To do: ");
        assert_eq!(fix, ["WARN", "FAIL"].contains(&word), "{line}");
    }
    let failed: Vec<_> = lines.iter().filter(|l| l.starts_with("FAIL")).collect();
    assert_eq!(failed.len(), 1, "{lines:#?}");
    assert!(failed[0].contains("client CA bundle"), "{}", failed[0]);
}

#[tokio::test]
async fn a_wrong_command_line_is_64_and_help_names_the_flags_of_serve() {
    let ended = Program::start(headcount(["doctor", "--lisen=1"]))
        .ended()
        .await;
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr[0].contains("--listen"), "{:?}", ended.stderr);
    let ended = Program::start(headcount(["doctor", "--help"]))
        .ended()
        .await;
    assert_eq!(ended.code, Some(0));
    let help = ended.stdout.join("\n");
    for flag in [
        "--json",
        "--tls-cert",
        "--kubeconfig",
        "--namespace",
        "--config",
    ] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
}

#[tokio::test]
async fn no_secret_and_no_escape_code_is_ever_printed() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    let key = fs::read_to_string(&patient.files.server.key).unwrap();
    let evil = patient.folder.path().join("a\n\u{1b}[31mb\u{202e}");
    let secret = "bearer-token-that-nobody-may-see";
    let kubeconfig = fs::read_to_string(&patient.kubeconfig).unwrap();
    let with_token =
        kubeconfig.replace(r#""user":{}"#, &format!(r#""user":{{"token":"{secret}"}}"#));
    assert_ne!(kubeconfig, with_token);
    let path = patient.folder.path().join("kubeconfig");
    fs::write(&path, with_token).unwrap();
    for files in [vec![], vec![evil]] {
        let mut command = headcount(["doctor"]);
        command.arg("--kubeconfig").arg(&path);
        command
            .arg("--tls-cert")
            .arg(&patient.files.server.certificate);
        command.arg("--tls-key").arg(&patient.files.server.key);
        command.arg("--client-ca").arg(&patient.files.ca);
        command.args(
            files
                .iter()
                .flat_map(|file| ["--deny-list".as_ref(), file.as_os_str()]),
        );
        let ended = Program::start(command).ended().await;
        assert_eq!(ended.code, Some(i32::from(!files.is_empty())), "{ended:#?}");
        let all = [ended.stdout.join("\n"), ended.stderr.join("\n")].concat();
        assert!(!all.contains(secret));
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!all.contains(line));
        }
        for line in &ended.stdout {
            let plain = !line.chars().any(|c| c.is_control() || c == '\u{202e}');
            assert!(plain, "{line:?}");
        }
    }
}
