//! The files of the log and of the audit trail.

use std::fs;

use super::Patient;
use crate::support::SimCluster;

#[tokio::test]
async fn files_that_can_not_be_written_fail_and_none_is_made_to_find_out() {
    let cluster = SimCluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (log, audit) = (
        folder.path().join("headcount.log"),
        folder.path().join("audit.log"),
    );
    let settings = |log: &std::path::Path| {
        format!(
            "logging: {{file: {{path: {}}}}}\naudit: {{file: {{path: {}}}}}",
            log.display(),
            audit.display()
        )
    };
    let examined = async |log: &std::path::Path| {
        let patient = Patient::of(cluster.kubeconfig()).configured(&settings(log));
        patient.examined().await
    };
    let found = examined(&log).await;
    found.finds("files.log", "ok", "headcount.log can be written");
    found.finds("files.audit", "ok", "audit.log can be written");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    fs::write(&log, "a line\n").unwrap();
    examined(&log)
        .await
        .finds("files.log", "ok", "can be written");
    assert_eq!(fs::read_to_string(&log).unwrap(), "a line\n");

    let nowhere = folder.path().join("missing/headcount.log");
    examined(&nowhere)
        .await
        .finds("files.log", "failed", "make the folder");
    let below_a_file = log.join("headcount.log");
    examined(&below_a_file)
        .await
        .finds("files.log", "failed", "can't be written");
    examined(folder.path())
        .await
        .finds("files.log", "failed", "take another path");
}
