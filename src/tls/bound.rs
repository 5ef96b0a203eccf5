//! What ends first of all that lets a client in.

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
