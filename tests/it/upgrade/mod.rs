//! From the first version to the newest and back: its configuration, its files, and both side by side.

mod chart;
mod configuration;
mod files;
mod side_by_side;

use std::{path::PathBuf, process::Stdio, sync::OnceLock, time::Duration};

use headcount::pki::DemoFiles;
use tokio::process::Command;

use crate::support::{
    SimCluster,
    program::{Program, Serving, serve},
    skipped,
};

/// A build of it takes minutes; `.ci/test` has it made before.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Which program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    First,
    Newest,
}

/// The first version's own program; `None`, said aloud, where the history isn't there that it is built from.
async fn first_version() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return found.clone();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/first-version/build");
    let run = Command::new(script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "tests/first-version/build failed: its words are above"
    );
    let path = String::from_utf8(output.stdout).unwrap();
    let found = Some(PathBuf::from(path.trim())).filter(|path| !path.as_os_str().is_empty());
    if found.is_none() {
        skipped("the first version isn't run, since there is no history to build it from");
    }
    FOUND.get_or_init(|| found).clone()
}

/// Starts a version on free ports with these files and flags.
async fn started(
    version: Version,
    first: &std::path::Path,
    files: &DemoFiles,
    cluster: &SimCluster,
    flags: &[&str],
) -> Serving {
    let newest = serve(files, cluster.kubeconfig(), flags);
    let command = match version {
        Version::Newest => newest,
        Version::First => {
            let mut command = std::process::Command::new(first);
            command
                .env_clear()
                .env("HOME", "/nonexistent")
                .args(newest.get_args());
            command
        }
    };
    let folder = tempfile::tempdir().unwrap();
    Serving::of(Program::start(command), files.clone(), folder).await
}
