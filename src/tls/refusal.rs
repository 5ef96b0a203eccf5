//! Why a handshake was refused: the name that the log and the metrics give it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::{IdentityError, checks::CheckFailed};
use crate::limits::Limit;

/// A refused handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason's name, one of a few.
    pub reason: &'static str,
    /// Whether it smells of an attack rather than of a mistake.
    pub suspicious: bool,
    /// The library's own words.
    pub detail: String,
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self {
            reason: "Unreadable",
            suspicious: true,
            detail: error.to_string(),
        }
    }
}

impl Refusal {
    /// The handshake took too long.
    pub fn timeout() -> Self {
        Self {
            reason: Limit::HandshakeTimeout.name(),
            suspicious: false,
            detail: "the handshake took too long".into(),
        }
    }

    /// A limit was reached before the handshake was over.
    pub fn by(limit: Limit) -> Self {
        Self {
            reason: limit.name(),
            suspicious: limit == Limit::HandshakeSize,
            detail: "a limit was reached before the handshake was over".into(),
        }
    }

    /// What an error of the handshake means; `None` when the peer went away before it said anything, as probes do.
    pub fn of(error: &io::Error) -> Option<Self> {
        let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
            // The peer closed or reset the connection.
            let started = error.kind() != io::ErrorKind::UnexpectedEof
                && error.kind() != io::ErrorKind::ConnectionReset;
            return started.then(|| Self {
                reason: "ConnectionLost",
                suspicious: false,
                detail: error.to_string(),
            });
        };
        Some(Self::of_tls(tls))
    }

    /// What an error of rustls means, that of a verifier among them.
    #[must_use]
    pub fn of_tls(error: &Error) -> Self {
        let (reason, suspicious) = match error {
            Error::InvalidCertificate(certificate) => of_certificate(certificate),
            Error::NoCertificatesPresented => ("NoCertificate", false),
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ) => ("ProtocolVersion", false),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => ("Incompatible", false),
            // The client refused us: it doesn't trust our certificate, or doesn't have the right name for us.
            Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown,
            ) => ("RefusedByClient", false),
            Error::AlertReceived(_) => ("AlertReceived", false),
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => ("NotTls", true),
            Error::DecryptError | Error::PeerMisbehaved(_) => ("Misbehaved", true),
            _ => ("Failed", false),
        };
        Self {
            reason,
            suspicious,
            detail: in_words(error),
        }
    }
}

/// An error of rustls for a person: where it would show how it is stored, what it says.
pub(crate) fn in_words(error: &Error) -> String {
    let Error::InvalidCertificate(certificate) = error else {
        return error.to_string();
    };
    match certificate {
        CertificateError::Other(OtherError(other)) => format!("invalid peer certificate: {other}"),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "invalid peer certificate: a signature on its path is made as nobody should any more, with SHA-1 or MD5 for example".into()
        }
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "invalid peer certificate: a signature on its path isn't of its issuer's kind of key".into()
        }
        CertificateError::ExpiredRevocationListContext { .. } => {
            "invalid peer certificate: the revocation list of one of its issuers has expired; fetch a new one from the CA".into()
        }
        CertificateError::UnknownRevocationStatus => {
            "invalid peer certificate: one of its issuers has no revocation list, and requireCrl asks for it".into()
        }
        _ => error.to_string(),
    }
}

fn of_certificate(error: &CertificateError) -> (&'static str, bool) {
    match error {
        CertificateError::UnknownIssuer => ("UnknownIssuer", true),
        CertificateError::BadSignature => ("BadSignature", true),
        CertificateError::Revoked => ("Revoked", true),
        CertificateError::BadEncoding => ("BadEncoding", true),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => ("Expired", false),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("NotValidYet", false)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ("InvalidPurpose", true)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ("NotValidForName", true)
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            ("SignatureAlgorithm", true)
        }
        CertificateError::UnknownRevocationStatus => ("RevocationUnknown", true),
        CertificateError::ExpiredRevocationListContext { .. } => ("CrlExpired", true),
        CertificateError::Other(OtherError(other)) => (of_other(&**other), true),
        _ => ("InvalidCertificate", true),
    }
}

/// What our own checks found, or webpki and rustls has no word for it.
fn of_other(error: &(dyn std::error::Error + 'static)) -> &'static str {
    use webpki::Error as Webpki;
    if let Some(failed) = error.downcast_ref::<CheckFailed>() {
        return failed.reason();
    }
    match error.downcast_ref() {
        Some(Webpki::UnsupportedCriticalExtension) => "UnhandledCriticalExtension",
        Some(Webpki::CaUsedAsEndEntity) => "CaUsedAsClient",
        Some(Webpki::EndEntityUsedAsCa) => "IssuerNotCa",
        Some(Webpki::PathLenConstraintViolated) => "PathLength",
        Some(Webpki::NameConstraintViolation) => "NameConstraints",
        Some(Webpki::EmptyEkuExtension) => "InvalidPurpose",
        Some(Webpki::UnsupportedCertVersion) => "Version",
        Some(
            Webpki::MaximumPathDepthExceeded
            | Webpki::MaximumSignatureChecksExceeded
            | Webpki::MaximumPathBuildCallsExceeded
            | Webpki::MaximumNameConstraintComparisonsExceeded,
        ) => "PathTooComplex",
        Some(
            Webpki::ExtensionValueInvalid
            | Webpki::MalformedExtensions
            | Webpki::SignatureAlgorithmMismatch
            | Webpki::InvalidNetworkMaskConstraint
            | Webpki::MalformedNameConstraint
            | Webpki::MalformedDnsIdentifier
            | Webpki::InvalidSerialNumber,
        ) => "BadEncoding",
        _ => "InvalidCertificate",
    }
}

#[cfg(test)]
mod tests {
    /// The names of reasons among the text literals of a source: one word that begins with a capital, before a comma.
    fn reasons(source: &str) -> Vec<&str> {
        let source = source.split("#[cfg(test)]").next().unwrap();
        let parts: Vec<_> = source.split('"').collect();
        let literals = parts.windows(2).skip(1).step_by(2);
        literals
            .filter(|pair| pair[1].starts_with(','))
            .map(|pair| pair[0])
            .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
            .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric()))
            .collect()
    }

    #[test]
    fn the_page_about_tls_explains_every_reason() {
        let page = include_str!("../../docs/tls.md");
        let mut all = reasons(include_str!("refusal.rs"));
        all.extend(reasons(include_str!("checks.rs")));
        for known in ["NoCertificate", "Failed", "CrlInvalid"] {
            assert!(all.contains(&known), "{known} isn't found in {all:?}");
        }
        // What the server itself counts.
        all.extend(["accepted", "Abandoned"]);
        for reason in all {
            assert!(page.contains(&format!("`{reason}`")), "{reason}");
        }
    }
}
