//! The folder that a control plane keeps its data, certificates and logs in.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::Error;

/// Removes a folder when the process that holds the other end of its stdin is gone without having written a line; a little
/// later than the servers' guards, so that nobody writes there any more.
const SWEEP: &str = r#"read -r _ || { sleep 2; rm -rf -- "$0"; }"#;

#[derive(Debug)]
pub(crate) enum Folder {
    /// Removed at the end, however this process ends.
    Temporary {
        directory: TempDir,
        sweeper: Child,
        line: Option<ChildStdin>,
    },
    /// The caller's, kept.
    Kept(PathBuf),
}

impl Folder {
    /// Makes `kept` if there is none yet, or else a temporary folder; and a `logs` folder inside.
    pub(crate) fn create(kept: Option<&Path>) -> Result<Self, Error> {
        let folder = match kept {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .map_err(Error::io(format!("make the folder {}", path.display())))?;
                let absolute = path
                    .canonicalize()
                    .map_err(Error::io(format!("find the folder {}", path.display())))?;
                Self::Kept(absolute)
            }
            None => Self::temporary().map_err(Error::io("make a temporary folder"))?,
        };
        let logs = folder.path().join("logs");
        std::fs::create_dir_all(&logs)
            .map_err(Error::io(format!("make the folder {}", logs.display())))?;
        Ok(folder)
    }

    fn temporary() -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("controlplane-").tempdir()?;
        let mut sweeper = Command::new("/bin/sh")
            .args(["-c", SWEEP])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let line = sweeper.stdin.take();
        Ok(Self::Temporary {
            directory,
            sweeper,
            line,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary { directory, .. } => directory.path(),
            Self::Kept(path) => path,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Self::Temporary { sweeper, line, .. } = self {
            // Without its line the sweeper does what is about to be done here anyway.
            if let Some(mut line) = line.take() {
                let _ = line.write_all(b"\n");
            }
            let _ = sweeper.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_its_owner() {
        let folder = Folder::create(None).unwrap();
        let path = folder.path().to_owned();
        assert!(path.join("logs").is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_temporary_folder_goes_when_its_owner_was_killed() {
        let mut folder = Folder::create(None).unwrap();
        let path = folder.path().to_owned();
        if let Folder::Temporary { line, .. } = &mut folder {
            // What the kernel does when the owner is killed.
            drop(line.take());
        }
        let started = Instant::now();
        while path.exists() && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_of_the_callers_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("mine");
        drop(Folder::create(Some(&path)).unwrap());
        assert!(path.join("logs").is_dir());
    }
}
