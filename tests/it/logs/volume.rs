//! How much is logged: levels that change while the server runs, and bursts that are summarised.

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{Client, SimCluster, lines::Line, program::Serving};

/// A configuration file that changes.
struct File(TempDir);

impl File {
    fn with(settings: &str) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.becomes(settings);
        this
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("config.yaml")
    }

    fn becomes(&self, settings: &str) {
        let next = self.0.path().join("next");
        let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
        fs::write(&next, format!("{head}{settings}\n")).unwrap();
        fs::rename(next, self.path()).unwrap();
    }
}

/// Somebody connects, says nothing and leaves: a line of the level debug.
async fn leaves(serving: &Serving) {
    drop(TcpStream::connect(serving.address).await.unwrap());
}

#[tokio::test]
async fn levels_are_changed_by_a_reload_and_what_is_wrong_changes_nothing() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let file = File::with("logging: {level: info}");
    let flag = format!("--config={}", file.path().display());
    let serving = Serving::healthy(cluster.kubeconfig(), &[&flag]).await;
    let program = &serving.program;
    leaves(&serving).await;

    file.becomes("logging: {levels: {tls.client: debug}}");
    let applied = program.line("log.levels.applied", 1).await;
    assert_eq!(applied.text("levels"), "info, tls.client=debug");
    assert_eq!(program.lines("tls.client.left").len(), 0);
    leaves(&serving).await;
    let left = program.line("tls.client.left", 1).await;
    assert_eq!(left.severity, "DEBUG");
    // Of everything else there is no more than before.
    cluster.touch("web", "shop");
    assert_eq!(
        serving.client.scale("web", "shop", 4, &[]).await.status,
        200
    );
    assert_eq!(program.lines("informer.deployment.touched").len(), 0);

    for (number, (wrong, named)) in (1..).zip([
        ("logging: {levels: {tsl: debug}}", "tsl"),
        ("logging: {levels: {tls: loud}}", "loud"),
        ("logging: {stderr: false}", "stderr"),
        ("logging: {file: {path: x, maxSize: 1}}", "65536"),
        ("logging: {file: {path: x, keep: 0}}", "earlier files"),
    ]) {
        file.becomes(wrong);
        let failed = program.line("reload.failed", number).await;
        assert!(failed.text("error").contains(named), "{failed:?}");
        leaves(&serving).await;
        program.line("tls.client.left", 1 + number).await;
    }

    // A level in general, and none for what isn't worth a line.
    file.becomes("logging: {level: debug, levels: {tls: error, library.h2: debug}}");
    let applied = program.line("log.levels.applied", 2).await;
    assert_eq!(applied.text("levels"), "debug, library.h2=debug, tls=error");
    let accepted = program.lines("tls.client.accepted").len();
    assert_eq!(
        serving
            .client
            .alpn(&["h2"])
            .scale("web", "shop", 5, &[])
            .await
            .status,
        200
    );
    cluster.touch("web", "shop");
    program.line("informer.deployment.touched", 1).await;
    let library = program.line("library.event", 1).await;
    assert!(library.text("target").starts_with("h2::"), "{library:?}");
    assert_eq!(program.lines("tls.client.accepted").len(), accepted);

    // What only a start changes waits for one.
    file.becomes("logging: {file: {path: /nonexistent/log}}");
    let waits = program.line("reload.restart.needed", 1).await;
    assert_eq!(waits.text("settings"), "logging.file");
    assert_eq!(serving.terminated().await.code, Some(0));
}

#[tokio::test]
async fn a_burst_of_refused_clients_is_ten_lines_and_a_number_and_no_write_is_left_out() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let files = &serving.files;
    let foreign = (&files.foreign.certificate, &files.foreign.key);
    let foreign = Client::with_files(serving.address, &files.ca, foreign.0, foreign.1);
    for _ in 0..25 {
        assert!(foreign.try_send(http::Request::default()).await.is_err());
    }
    for _ in 0..25 {
        assert_eq!(
            serving.client.scale("web", "shop", 4, &[]).await.status,
            200
        );
        assert_eq!(
            serving.client.scale("web", "none", 4, &[]).await.status,
            404
        );
    }
    let ended = serving.terminated().await;
    let lines: Vec<_> = ended.stderr.iter().map(|line| Line::read(line)).collect();
    let all = |event: &str| {
        lines
            .iter()
            .filter(|line| line.event == event)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (all("scale.applied").len(), all("scale.failed").len()),
        (25, 25)
    );
    let refused = all("tls.client.refused");
    let repeated = all("log.repeated");
    let repeated = repeated
        .iter()
        .filter(|line| line.text("repeated") == "tls.client.refused");
    // A slow machine takes longer than one burst lasts: nothing is lost all the same.
    let left_out: i64 = repeated.clone().map(|line| line.number("count")).sum();
    assert_eq!(refused.len() as i64 + left_out, 25);
    assert!(refused.len() < 25, "nothing was summarised");
    for line in repeated {
        let fields = (
            line.text("reason"),
            line.text("subject"),
            line.text("address"),
        );
        assert_eq!(
            fields,
            ("UnknownIssuer", refused[0].text("subject"), "127.0.0.1")
        );
        assert_eq!(line.severity, "WARN");
    }
}
