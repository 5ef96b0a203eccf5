//! The audit trail of the real program: what is in it, what survives, and what becomes of writes when it can't be written.

mod events;
mod failing;
mod forging;
mod leases;
mod recording;
mod restarting;
mod rotating;
mod verifying;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    SimCluster,
    program::{Ended, Program, Serving, headcount},
};

/// A folder for a trail, and the configuration that has it written there.
struct Audited {
    folder: TempDir,
}

impl Audited {
    /// `more`: further settings of `audit.file`, and of the configuration.
    fn new(file: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        let path = this.file().display().to_string();
        let text = format!(
            "apiVersion: headcount/v1alpha1\nkind: Configuration\naudit:\n  file: {{path: {path}{file}}}\n{more}"
        );
        std::fs::write(this.folder.path().join("headcount.yaml"), text).unwrap();
        this
    }

    fn flag(&self) -> String {
        format!("--config={}/headcount.yaml", self.folder.path().display())
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// The current file and the rotated ones.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|e| e == "log"))
            .collect()
    }

    async fn serve(&self, cluster: &SimCluster) -> Serving {
        Serving::healthy(cluster.kubeconfig(), &[&self.flag()]).await
    }

    /// All records, of all files in their order.
    fn records(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.files().iter().flat_map(|path| records(path)).collect();
        all.sort_by_key(|record| record["record"].as_u64());
        all
    }

    /// The log of a program that has ended, as a file.
    fn keep_log(&self, ended: &Ended) -> PathBuf {
        let path = self.folder.path().join("headcount.stderr");
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        text.push_str(&(ended.stderr.join("\n") + "\n"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Exit code and words of `headcount audit verify` on all files, with further arguments.
    async fn verify(&self, more: &[&str]) -> (i32, String) {
        let files = self.files();
        let mut arguments: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
        arguments.extend(more);
        verify(&arguments).await
    }
}

async fn verify(arguments: &[&str]) -> (i32, String) {
    let command = headcount(["audit", "verify"].iter().chain(arguments));
    let ended = Program::start(command).ended().await;
    let words = [ended.stdout, ended.stderr].concat().join("\n");
    (ended.code.unwrap(), words)
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The records of an event.
fn of<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records
        .iter()
        .filter(|record| record["event"] == event)
        .collect()
}
