//! The checks of a client's path that go beyond path building: what they are called, which of them are made, and their verdict.
//!
//! webpki has verified the path that comes here: signatures, validity, names, CA flags and path lengths below the root, critical
//! extensions and name constraints. It reads no key usage, takes a certificate without extended key usage for one of every purpose,
//! and looks at nothing of a root but its name, key and name constraints.

use std::num::NonZeroU32;

use rustls::{CertificateError, Error, OtherError, pki_types::UnixTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::yaml::given;

use super::{
    constraints,
    deny_list::Denial,
    facts::{Facts, Key},
};

/// A day, in seconds.
const DAY: u64 = 24 * 60 * 60;

/// Which checks are made beyond path building (the section `clientCertificates` of the configuration file). Switched off, a check lets
/// in what it would refuse; numbers can only make stricter what the cryptography refuses anyway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Checks {
    /// A client's certificate must name its purpose: an extended key usage with clientAuth (RFC 5280, 4.2.1.12). One that names other
    /// purposes only, anyExtendedKeyUsage alone among them, is refused in any case.
    pub require_extended_key_usage: bool,
    /// Where there is a key usage, a client's must have digitalSignature and must not have keyCertSign, and an issuer's must have
    /// keyCertSign (RFC 5280, 4.2.1.3 and 6.1.4 (n)).
    pub key_usage: bool,
    /// A certificate that signed itself is nobody's client, even when it is among the CAs.
    pub refuse_self_signed: bool,
    /// A root must be valid too.
    pub root_validity: bool,
    /// A root's own pathLenConstraint holds (RFC 5280, 4.2.1.9).
    pub root_path_length: bool,
    /// A root must be a CA's certificate: of X.509's first version, or with CA:true. Its extended key usage, where it has one, must
    /// include clientAuth, and it may have no critical extension that isn't understood.
    pub root_usage: bool,
    /// The least length of RSA keys on the path, in bits; 2048 to 8192.
    pub minimum_rsa_bits: RsaBits,
    /// The weakest hash under a signature on the path; the root's own signature proves nothing and isn't looked at.
    pub minimum_hash: Hash,
    /// The longest time from notBefore to notAfter of a client's certificate, in days; without it any.
    #[serde(deserialize_with = "given")]
    pub maximum_lifetime_days: Option<NonZeroU32>,
    /// Whether an issuer without a revocation list is refused.
    pub require_crl: bool,
    /// What a revocation list whose nextUpdate has passed is worth.
    pub expired_crl: ExpiredCrl,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            require_extended_key_usage: true,
            key_usage: true,
            refuse_self_signed: true,
            root_validity: true,
            root_path_length: true,
            root_usage: true,
            minimum_rsa_bits: RsaBits::default(),
            minimum_hash: Hash::default(),
            maximum_lifetime_days: None,
            require_crl: false,
            expired_crl: ExpiredCrl::default(),
        }
    }
}

/// A length of RSA keys in bits, from 2048 to 8192: what TLS's RSA signatures are verified with here.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "u32")]
#[schemars(extend("minimum" = 2048, "maximum" = 8192))]
pub struct RsaBits(u32);

impl RsaBits {
    const LEAST: u32 = 2048;
    const MOST: u32 = 8192;
}

impl Default for RsaBits {
    fn default() -> Self {
        Self(Self::LEAST)
    }
}

impl TryFrom<u32> for RsaBits {
    type Error = String;

    fn try_from(bits: u32) -> Result<Self, String> {
        if !(Self::LEAST..=Self::MOST).contains(&bits) {
            return Err(format!(
                "{bits} is no length of usable RSA keys, which have {} to {} bits",
                Self::LEAST,
                Self::MOST
            ));
        }
        Ok(Self(bits))
    }
}

/// A hash under a signature, the weakest first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512, and Ed25519 and ML-DSA, which have hashes of their own inside.
    Sha512,
}

/// What a revocation list whose nextUpdate has passed is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExpiredCrl {
    /// Nothing: the clients of its CA are refused until there is a newer one.
    #[default]
    Refuse,
    /// As much as before: what it revokes stays revoked.
    Accept,
}

/// Why a path that webpki would accept is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckFailed {
    #[error("a certificate on the path can't be read: {0}")]
    Unreadable(&'static str),
    #[error(
        "it comes with {found} others; {most} at most are looked at, so send those alone that are between it and the root"
    )]
    TooManyCertificates { found: usize, most: usize },
    #[error("it has no extended key usage; a client's must have clientAuth")]
    NoExtendedKeyUsage,
    #[error("its key usage has no digitalSignature, or has a CA's keyCertSign")]
    KeyUsage,
    #[error("it signed itself; a client's certificate must be issued by a CA")]
    SelfSigned,
    #[error("it is valid for {days} days; {most} are allowed")]
    LifetimeTooLong { days: u64, most: u32 },
    #[error("an issuer's key usage has no keyCertSign")]
    IssuerKeyUsage,
    #[error(
        "its common name is a DNS name, or a subject on its path has an e-mail address, that an issuer may not vouch for"
    )]
    NameConstraints,
    #[error("its root isn't a CA's certificate; take it out of the client CA bundle")]
    RootNotCa,
    #[error("its root's extended key usage has no clientAuth")]
    RootPurpose,
    #[error("its root has a critical extension that isn't understood")]
    RootCriticalExtension,
    #[error("its root has expired; replace it in the client CA bundle")]
    RootExpired,
    #[error("its root isn't valid yet")]
    RootNotValidYet,
    #[error("its root allows {allowed} CAs below it, and there are {found}")]
    RootPathLength { allowed: u32, found: usize },
    #[error("an RSA key on its path has {bits} bits; at least {least} are needed")]
    WeakKey { bits: usize, least: u32 },
    #[error(
        "a key on its path is of a kind that can't be used: neither RSA (rsaEncryption, up to 8192 bits) nor P-256, P-384, P-521, Ed25519 or ML-DSA"
    )]
    UnsupportedKey,
    #[error("a signature on its path is made with a weaker hash than the configuration allows")]
    SignatureHash,
    #[error("it, or one of its issuers, is denied: {0}")]
    Denied(Denial),
    #[error("the revocation list of one of its issuers {0}; fetch it again from the CA")]
    CrlInvalid(&'static str),
}

impl CheckFailed {
    /// Whether it is the root's fault, so that what another root's path is refused for says more of the client.
    pub(super) fn is_of_root(error: &Error) -> bool {
        matches!(error, Error::InvalidCertificate(CertificateError::Other(OtherError(other)))
            if other.downcast_ref::<Self>().is_some_and(|failed| failed.reason().starts_with("Root")))
    }

    /// The reason's name in the log and the metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "Unreadable",
            Self::TooManyCertificates { .. } => "PathTooComplex",
            Self::NoExtendedKeyUsage => "NoExtendedKeyUsage",
            Self::KeyUsage => "KeyUsage",
            Self::SelfSigned => "SelfSigned",
            Self::LifetimeTooLong { .. } => "LifetimeTooLong",
            Self::IssuerKeyUsage => "IssuerKeyUsage",
            Self::NameConstraints => "NameConstraints",
            Self::RootNotCa => "RootNotCa",
            Self::RootPurpose => "RootPurpose",
            Self::RootCriticalExtension => "RootCriticalExtension",
            Self::RootExpired => "RootExpired",
            Self::RootNotValidYet => "RootNotValidYet",
            Self::RootPathLength { .. } => "RootPathLength",
            Self::WeakKey { .. } => "WeakKey",
            Self::UnsupportedKey => "UnsupportedKey",
            Self::SignatureHash => "SignatureHash",
            Self::Denied(_) => "Denied",
            Self::CrlInvalid(_) => "CrlInvalid",
        }
    }
}

impl From<CheckFailed> for Error {
    /// The alert that goes with it is certificate_unknown: "some other issue" (RFC 8446, 6.2), of which the log says more.
    fn from(failed: CheckFailed) -> Self {
        let other = OtherError(std::sync::Arc::new(failed));
        Self::InvalidCertificate(CertificateError::Other(other))
    }
}

impl Checks {
    /// Judges a verified path: the leaf, its issuers from the nearest on, and the root.
    pub(super) fn judge(
        &self,
        path: &[Facts<'_>],
        root: &Facts<'_>,
        now: UnixTime,
    ) -> Result<(), CheckFailed> {
        if let [leaf, issuers @ ..] = path {
            let issuer = issuers.first().unwrap_or(root);
            self.judge_leaf(leaf, issuer)?;
        }
        for issuer in path.iter().skip(1) {
            self.judge_issuer(issuer)?;
        }
        self.judge_root(root, path, now)?;
        if !constraints::permit(path, root) {
            return Err(CheckFailed::NameConstraints);
        }
        for certificate in path.iter().chain([root]) {
            self.judge_key(certificate.key())?;
        }
        for certificate in path {
            if certificate.signature_hash() < Some(self.minimum_hash) {
                return Err(CheckFailed::SignatureHash);
            }
        }
        Ok(())
    }

    fn judge_leaf(&self, leaf: &Facts<'_>, issuer: &Facts<'_>) -> Result<(), CheckFailed> {
        let self_signed = leaf.is_self_issued() && leaf.public_key() == issuer.public_key();
        if self.refuse_self_signed && self_signed {
            return Err(CheckFailed::SelfSigned);
        }
        if self.require_extended_key_usage && leaf.extended_key_usage.is_none() {
            return Err(CheckFailed::NoExtendedKeyUsage);
        }
        let usable = leaf
            .key_usage
            .is_none_or(|usage| usage.digital_signature && !usage.cert_sign);
        if self.key_usage && !usable {
            return Err(CheckFailed::KeyUsage);
        }
        let (not_before, not_after) = leaf.validity();
        let lifetime = not_after.as_secs().saturating_sub(not_before.as_secs());
        match self.maximum_lifetime_days {
            Some(most) if lifetime > u64::from(most.get()) * DAY => {
                Err(CheckFailed::LifetimeTooLong {
                    days: lifetime.div_ceil(DAY),
                    most: most.get(),
                })
            }
            _ => Ok(()),
        }
    }

    fn judge_issuer(&self, issuer: &Facts<'_>) -> Result<(), CheckFailed> {
        if self.key_usage && issuer.key_usage.is_some_and(|usage| !usage.cert_sign) {
            return Err(CheckFailed::IssuerKeyUsage);
        }
        Ok(())
    }

    /// What of it doesn't depend on a path is judged with an empty one.
    pub(super) fn judge_root(
        &self,
        root: &Facts<'_>,
        path: &[Facts<'_>],
        now: UnixTime,
    ) -> Result<(), CheckFailed> {
        // A client's self-signed certificate that was let in is its own root, and no CA's.
        let own = path.first().is_some_and(|leaf| {
            path.len() == 1 && leaf.certificate.as_raw() == root.certificate.as_raw()
        });
        if !own {
            self.judge_issuer(root)?;
            if self.root_usage && !root.is_version_1() && root.ca != Some(true) {
                return Err(CheckFailed::RootNotCa);
            }
        }
        let other_purpose = root.extended_key_usage.is_some_and(|usage| !usage.client);
        if self.root_usage && other_purpose {
            return Err(CheckFailed::RootPurpose);
        }
        if self.root_usage && root.has_unknown_critical {
            return Err(CheckFailed::RootCriticalExtension);
        }
        let (not_before, not_after) = root.validity();
        if self.root_validity && now < not_before {
            return Err(CheckFailed::RootNotValidYet);
        }
        if self.root_validity && now > not_after {
            return Err(CheckFailed::RootExpired);
        }
        // Self-issued CAs, as in a change of keys, don't count (RFC 5280, 4.2.1.9).
        let below = path
            .iter()
            .skip(1)
            .filter(|ca| !ca.is_self_issued())
            .count();
        match root.path_len {
            Some(allowed) if self.root_path_length && below > allowed as usize => {
                Err(CheckFailed::RootPathLength {
                    allowed,
                    found: below,
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a key is strong enough, and of a kind that a handshake can be made with.
    pub(super) fn judge_key(&self, key: Key) -> Result<(), CheckFailed> {
        let least = self.minimum_rsa_bits.0;
        match key {
            Key::Rsa { bits } if bits < least as usize => Err(CheckFailed::WeakKey { bits, least }),
            Key::Rsa { bits } if bits > RsaBits::MOST as usize => Err(CheckFailed::UnsupportedKey),
            Key::Other => Err(CheckFailed::UnsupportedKey),
            _ => Ok(()),
        }
    }
}
