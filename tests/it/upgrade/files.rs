//! The audit trail and the log file of the first version are gone on with by the newest, and the other way round.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Version, first_version, started};
use crate::support::{SimCluster, lines::Line, program::headcount};

#[tokio::test]
async fn one_audit_trail_and_one_log_file_go_through_an_upgrade_and_a_rollback() {
    let Some(first) = first_version().await else {
        return;
    };
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(&folder.path().join("pki")).unwrap();
    let (trail, log) = (
        folder.path().join("audit.log"),
        folder.path().join("headcount.log"),
    );
    let configuration = folder.path().join("headcount.yaml");
    let of = |version: Version| {
        let logging = format!("file: {{path: {}}}", log.display());
        let logging = match version {
            Version::First => format!("logFormat: json\nlogging: {{{logging}}}\n"),
            Version::Newest => format!("logging: {{format: json, {logging}}}\n"),
        };
        format!(
            "apiVersion: headcount/v1alpha1\nkind: Configuration\n{logging}audit: {{file: {{path: {}}}}}\n",
            trail.display()
        )
    };
    let flag = format!("--config={}", configuration.display());
    let versions = [
        Version::First,
        Version::Newest,
        Version::First,
        Version::Newest,
    ];
    for (count, version) in (2..).zip(versions) {
        fs::write(&configuration, of(version)).unwrap();
        let serving = started(version, &first, &files, &cluster, &[&flag]).await;
        serving.becomes_ready().await;
        let answer = serving.client.scale("web", "shop", count, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(serving.client.get("/nowhere").await.status, 404);
        assert_eq!(serving.terminated().await.code, Some(0));
    }

    let records = fs::read_to_string(&trail).unwrap();
    let applied = records
        .lines()
        .filter(|record| record.contains("\"event\":\"scale.applied\""));
    assert_eq!(applied.count(), versions.len());
    let verify = |program: Option<&Path>| {
        let mut command = match program {
            Some(program) => std::process::Command::new(program),
            None => headcount::<&str>([]),
        };
        let output = command
            .args(["audit", "verify"])
            .arg(&trail)
            .arg("--log")
            .arg(&log)
            .output();
        let output = output.unwrap();
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(words).unwrap())
    };
    for program in [None, Some(first.as_path())] {
        let (code, words) = verify(program);
        assert_eq!(code, Some(0), "{program:?}: {words}");
    }
    // One broken record is found by both.
    fs::write(&trail, records.replacen("\"from\":2", "\"from\":3", 1)).unwrap();
    for program in [None, Some(first.as_path())] {
        assert_eq!(verify(program).0, Some(1), "{program:?}");
    }

    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Line> = text.lines().map(Line::read).collect();
    let ids: BTreeSet<&str> = lines.iter().map(|line| line.text("record_id")).collect();
    assert_eq!(ids.len(), lines.len());
    let listening = lines.iter().filter(|line| line.event == "server.listening");
    assert_eq!(listening.count(), versions.len());
}
