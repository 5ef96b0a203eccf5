//! What ends first of all that lets a client in.

use std::{iter, time::Duration};

use rustls::pki_types::UnixTime;

/// What ends a verdict first: the client's own certificate where others end with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The client's own certificate.
    Certificate,
    /// That of a CA above it.
    Issuer,
    /// A revocation list, after which a newer one is needed.
    RevocationList,
}

impl Bound {
    /// The earliest of the ends of a path's certificates, of which the client's own is the first, and of the revocation lists that
    /// were asked; and whose that is.
    pub(super) fn first(path: Vec<UnixTime>, lists: Option<UnixTime>) -> (UnixTime, Self) {
        let bounds = iter::once(Self::Certificate).chain(iter::repeat(Self::Issuer));
        let ends = iter::zip(path, bounds);
        let ends = ends.chain(lists.map(|end| (end, Self::RevocationList)));
        let never = UnixTime::since_unix_epoch(Duration::ZERO);
        ends.min_by_key(|(end, _)| *end)
            .unwrap_or((never, Self::Certificate))
    }

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Issuer => "issuer",
            Self::RevocationList => "revocationList",
        }
    }
}
