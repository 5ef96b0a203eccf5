//! Who a client is, read once after its certificate was verified.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::{parse_x509_certificate, time::ASN1Time};

use super::{Bound, Expiring, Expiry};

/// The verified client of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate's subject, as an RFC 4514-like string.
    pub subject: String,
    /// The certificate's serial number in hexadecimal.
    pub serial: String,
    /// The subject of the CA that issued it.
    pub issuer: String,
    /// The first second in which it is valid.
    pub not_before: SystemTime,
    /// Until when its chain is accepted: the last second of whichever certificate or revocation list ends first.
    pub valid_until: SystemTime,
    /// Whose end that is.
    pub bound: Bound,
    /// The last second in which the certificate itself is valid.
    pub not_after: SystemTime,
}

/// A certificate that rustls verified and that still can't be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the client certificate: {0}")]
pub struct IdentityError(String);

impl Identity {
    /// Reads the leaf of the chain that a client sent.
    ///
    /// # Errors
    ///
    /// When there is no leaf or it isn't an X.509 certificate.
    pub fn read(chain: &[CertificateDer<'_>]) -> Result<Self, IdentityError> {
        let leaf = chain
            .first()
            .ok_or_else(|| IdentityError("there is none".into()))?;
        let (_, certificate) =
            parse_x509_certificate(leaf).map_err(|e| IdentityError(e.to_string()))?;
        let validity = certificate.validity();
        let time = |time: ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
            UNIX_EPOCH + Duration::from_secs(seconds)
        };
        Ok(Self {
            subject: certificate.subject().to_string(),
            serial: serial(certificate.raw_serial()),
            issuer: certificate.issuer().to_string(),
            not_before: time(validity.not_before),
            valid_until: time(validity.not_after),
            bound: Bound::Certificate,
            not_after: time(validity.not_after),
        })
    }

    /// When it expires, as somebody is told of it.
    pub(crate) fn expiry(&self) -> Expiry {
        Expiry {
            what: Expiring::Client,
            name: self.subject.clone(),
            from: self.not_before,
            until: self.valid_until,
        }
    }

    /// How long it still lasts; a day at most, for whoever sleeps so long.
    pub(crate) fn time_left(&self) -> Duration {
        let end = self.valid_until + Duration::from_secs(1);
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        // A moment more, so that it has expired then.
        left.min(Duration::from_secs(24 * 60 * 60)) + Duration::from_millis(10)
    }

    /// Whether it has expired since the handshake. The last second still counts (RFC 5280, 4.1.2.5).
    pub fn expired(&self) -> bool {
        SystemTime::now() > self.valid_until + Duration::from_secs(1)
    }
}

/// As openssl prints it: without the zero byte that keeps a DER integer positive.
fn serial(der: &[u8]) -> String {
    let bytes = match der {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
