//! Why a run ended early.

use std::io;
use std::path::Path;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The system said no.
    #[error("failed to {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system says.
        source: io::Error,
    },
    /// The real cluster.
    #[error("{0}")]
    Cluster(String),
    /// A program or a measurement did something that it never should.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("read or write {}", path.display()))
    }
}

impl From<controlplane::Error> for Error {
    fn from(error: controlplane::Error) -> Self {
        Self::Cluster(error.chain())
    }
}
