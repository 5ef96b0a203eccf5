//! Why a folder's state was not changed.

use std::{io, path::PathBuf};

use crate::pki::{CertificateError, Error, RevocationError};

/// Why a folder's state was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Something couldn't be made or written.
    #[error(transparent)]
    Make(#[from] Error),
    /// A certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The folder can't be opened or locked.
    #[error("failed to lock the folder {}: {source}", path.display())]
    Lock {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another command changes it.
    #[error("failed to lock the folder {}: another command is changing it; try again when it is done", .0.display())]
    Busy(PathBuf),
    /// There is no authority in it.
    #[error("there is no CA in {}, since {} is missing: make one with `headcount pki init --dir {}`", folder.display(), missing.display(), folder.display())]
    NoAuthority {
        /// The folder.
        folder: PathBuf,
        /// The file that isn't there.
        missing: PathBuf,
    },
    /// A file stands in the way.
    #[error("{} exists and is not overwritten unasked: give --force to replace it, or choose another {}", .0.display(), .1)]
    Exists(PathBuf, &'static str),
    /// An authority's own files don't work.
    #[error("failed to use {} with {}: {source}", certificate.display(), key.display())]
    Authority {
        /// Its certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// Why.
        source: Error,
    },
    /// A key that is needed isn't there.
    #[error("failed to read the key {}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A revocation list that can't be extended.
    #[error("failed to use the revocation list {}: {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RevocationError,
    },
    /// A revocation list is lost.
    #[error("{} is missing, and with it everything that it revoked: put back a copy, or give up what it said with `headcount pki crl --start-over`", .0.display())]
    NoList(PathBuf),
    /// No authority of the folder issued the certificate.
    #[error("{} was not issued by a CA in {}: name the folder of its CA with --dir", certificate.display(), folder.display())]
    Foreign {
        /// The certificate.
        certificate: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// The certificate is an authority's own.
    #[error("{} is a root, which no revocation list can revoke: take it out of every --client-ca instead", .0.display())]
    Root(PathBuf),
    /// The certificate says something that a new one wouldn't.
    #[error("failed to renew {}: it has {what}, which `headcount pki renew` can't give to a new one", path.display())]
    Unlike {
        /// The certificate.
        path: PathBuf,
        /// What it has.
        what: String,
    },
    /// The certificate is revoked.
    #[error("failed to renew {}: it is revoked; issue a new one, with a new key, if its holder may come back", .0.display())]
    Revoked(PathBuf),
    /// The folder's intermediate is revoked, so nothing that it signs is worth anything.
    #[error("failed to issue: {} is revoked; make a new CA with `headcount pki init`", .0.display())]
    IntermediateRevoked(PathBuf),
    /// A certificate would outlive its authority.
    #[error("failed to issue for so long: {} ends in {days} days; give fewer --days or make a new CA", authority.display())]
    Outlives {
        /// The authority's certificate.
        authority: PathBuf,
        /// How many whole days it has left.
        days: u64,
    },
}

impl FolderError {
    /// Whether the system failed, rather than that something wrong was asked for.
    #[must_use]
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Make(error) => matches!(
                error,
                Error::Random | Error::Folder { .. } | Error::Write { .. }
            ),
            Self::Lock { .. } | Self::Busy(_) => true,
            _ => false,
        }
    }
}
