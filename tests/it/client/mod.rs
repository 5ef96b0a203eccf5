//! The commands of a client, run as the real program against the real server on a simulated cluster.

mod batches;
mod commands;
mod contexts;
mod failures;
mod incident;
mod kubectl;
mod leases;
mod lists;
mod real;
mod snapshots;
mod terminal;
mod watch;

use std::process::Command;

use headcount::pki::Pair;
use simkube::NewDeployment;

use crate::support::{
    SimCluster,
    program::{Ended, Program, Serving, headcount},
};

/// Everything that has to be enabled.
const ALL: [&str; 4] = [
    "--enable=image",
    "--enable=restart",
    "--enable=pause",
    "--enable=rollback",
];

/// A server that lets everything be done, and a file of contexts; unless it is said, on a cluster with `web/shop` (1 replica), `web/admin`
/// and `jobs/mailer`.
struct Site<C = SimCluster> {
    cluster: C,
    serving: Serving,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        Self::with(&ALL).await
    }

    async fn with(flags: &[&str]) -> Self {
        let cluster = SimCluster::start().await;
        for (namespace, name) in [("web", "shop"), ("web", "admin"), ("jobs", "mailer")] {
            let new = NewDeployment::new(namespace, name).image("example.org/app:1");
            cluster.cluster.create(new).unwrap();
        }
        let serving = Serving::healthy(cluster.kubeconfig(), flags).await;
        Self::of(cluster, serving).await
    }
}

impl<C> Site<C> {
    /// With a complete `web/shop`.
    async fn of(cluster: C, serving: Serving) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self {
            cluster,
            serving,
            folder,
        };
        let server = format!("https://{}", site.serving.address);
        let dir = site.serving.files.folder.display().to_string();
        let words = [
            "context", "add", "dev", "--server", &server, "--pki", &dir, "-n", "web",
        ];
        let ended = site.run(&words).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        let ended = site.run(&["wait", "shop", "-q", "--for=60s"]).await;
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{ended:#?}");
        site
    }

    /// The program with the contexts of this site.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = headcount(args);
        command.env(
            "HEADCOUNT_CONTEXTS",
            self.folder.path().join("contexts.yaml"),
        );
        command
    }

    async fn run(&self, args: &[&str]) -> Ended {
        Program::start(self.command(args)).ended().await
    }

    /// As another client.
    async fn run_as(&self, pair: &Pair, args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.arg("--cert").arg(&pair.certificate);
        command.arg("--key").arg(&pair.key);
        Program::start(command).ended().await
    }

    /// What it says, without a word beside.
    async fn says(&self, args: &[&str]) -> Vec<String> {
        let ended = self.run(args).await;
        assert_eq!(
            (ended.code, ended.stderr.len()),
            (Some(0), 0),
            "{args:?}: {ended:#?}"
        );
        ended.stdout
    }

    async fn count(&self) -> i32 {
        let told: serde_json::Value =
            serde_json::from_str(&self.says(&["get", "shop", "-o", "json"]).await.concat())
                .unwrap();
        told["replicas"]["desired"].as_i64().unwrap() as i32
    }
}

/// Asserts that it failed with this code and one sentence that has all parts, and wrote no data.
fn failed(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(code), &[][..]),
        "{ended:#?}"
    );
    let [sentence] = &ended.stderr[..] else {
        panic!("{ended:#?}");
    };
    assert!(sentence.starts_with("error: "), "{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} isn't in {sentence:?}");
    }
}
