//! What can go wrong while a control plane is started or used.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a call on a control plane failed. Every message names the part that failed; where a program died or never became
/// ready, the message carries the last lines of its log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The script that builds the programs failed; it has said why on stderr.
    #[error("failed to build the control plane: {0}")]
    Build(String),

    /// A file, folder, port or process could not be had.
    #[error("failed to {action}")]
    Io {
        /// What was being done, as in "failed to …".
        action: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },

    /// A key or certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),

    /// A program ended by itself.
    #[error("{program} ended by itself ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which one.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },

    /// A program was running but not ready in time.
    #[error("{program} was not ready after {} s; the end of its log:\n{log}", after.as_secs())]
    NotReady {
        /// Which one, or which ones together.
        program: String,
        /// How long it was waited for.
        after: Duration,
        /// The last lines of its log, or of theirs.
        log: String,
    },

    /// Something else took too long.
    #[error("gave up after {} s: {action}", after.as_secs())]
    Deadline {
        /// What was being waited for.
        action: String,
        /// How long.
        after: Duration,
    },

    /// The API server was to be signalled or started and is in the wrong state for that.
    #[error("the API server is {0}")]
    State(&'static str),

    /// `kubectl` failed.
    #[error("kubectl {arguments}: {stderr}")]
    Kubectl {
        /// Its arguments, without the kubeconfig.
        arguments: String,
        /// What it said on stderr.
        stderr: String,
    },

    /// A request to Kubernetes or etcd failed.
    #[error("failed to {action}")]
    Request {
        /// What was being done, as in "failed to …".
        action: String,
        /// What came back instead.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    pub(crate) fn request<E>(action: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let action = action.into();
        move |source| Self::Request {
            action,
            source: source.into(),
        }
    }

    /// The message with the reasons behind it, for a person.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// Writes a file whose folder exists, for its owner's eyes alone: most of them hold a key.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), Error> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents.as_ref()))
        .map_err(Error::io(format!("write {}", path.display())))
}
