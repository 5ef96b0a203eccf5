//! Where the programs come from: the `build` script beside this crate.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Error;

/// A cold build takes minutes on two cores; this is for the slowest of machines.
const BUILD_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// The folder with `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubectl`, `kwok`, `cert-manager` and its
/// CRDs, built first if this machine does not have them yet: minutes the first time (progress goes to stderr), a fraction of a
/// second after that.
///
/// # Errors
///
/// [`Error::Build`] when Go is missing, the build fails, or it takes longer than an hour.
pub async fn binaries() -> Result<PathBuf, Error> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/build");
    let child = Command::new(script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::io(format!("run {script}")))?;
    let output = tokio::time::timeout(BUILD_DEADLINE, child.wait_with_output())
        .await
        .map_err(|_| Error::Build("it took longer than an hour".to_owned()))?
        .map_err(Error::io(format!("run {script}")))?;
    if !output.status.success() {
        return Err(Error::Build(format!(
            "{script} ended with {}; it says why above",
            output.status
        )));
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim_end(),
    ))
}
