//! A small certificate authority: for the demo, the tests, `make deploy` and `headcount pki`.
//!
//! Owns what a certificate and a revocation list of this project look like and how their files are written and read back.
//! Never decides who is let in: that is the TLS layer's work.

mod certificate;
mod deny;
mod files;
mod folder;
mod leaf;
mod presented;
mod revocation;
mod show;
mod trust;
mod words;

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls::pki_types::CertificateDer;

pub use certificate::{CertificateError, public_key_hash, read_certificates};
pub use deny::{DenyBy, DenyError, deny};
pub use files::{
    DemoFiles, Pair, SERVER_NAMES, create_folder, write_certificate, write_demo, write_private,
};
pub use folder::{Folder, FolderError, NewAuthority, Renewal, Revocation, is_file_stem};
pub use leaf::{Leaf, Usage};
pub use presented::{Presented, PresentedError, presented_by};
pub use revocation::{Reason, RevocationError, RevocationList, Revoked};
pub use show::{show_file, show_presented};
pub use trust::Trust;
pub use words::{
    hexadecimal, in_words, is_common_name, is_dns_name, is_uri, json_escaped, printable,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a certificate's start lies in the past, so that a peer whose clock is a little behind accepts it.
const CLOCK_SKEW: Duration = MINUTE.saturating_mul(5);
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
const INTERMEDIATE_LIFETIME: Duration = DAY.saturating_mul(5 * 365);
const LEAF_LIFETIME: Duration = DAY.saturating_mul(365);

/// 9999-12-31T23:59:59Z in seconds since 1970: the last time that X.509 can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// Why a certificate was not made or a file not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The certificate could not be made, for example because a name does not fit its field.
    #[error("failed to make the certificate {subject:?}: {source}")]
    Certificate {
        /// The common name that it was to have.
        subject: String,
        /// What the certificate library says.
        source: rcgen::Error,
    },
    /// A subject can carry two organizations at most.
    #[error(
        "failed to make the certificate {subject:?}: it has {count} organizations, at most 2 are possible"
    )]
    TooManyOrganizations {
        /// The common name that it was to have.
        subject: String,
        /// How many organizations were asked for.
        count: usize,
    },
    /// The validity lies before 1970 or after 9999.
    #[error(
        "failed to make the certificate {subject:?}: its validity must lie between the years 1970 and 9999"
    )]
    Validity {
        /// The common name that it was to have.
        subject: String,
    },
    /// An authority's certificate can't be read.
    #[error("failed to read the CA certificate: it must be an X.509 certificate in PEM")]
    AuthorityCertificate,
    /// An authority's key can't be read.
    #[error("failed to read the key: it must be one unencrypted private key in PEM")]
    Key,
    /// An authority's key and certificate don't belong together.
    #[error("failed to use the key: it is not the one of the certificate")]
    ForeignKey,
    /// The authority's name can't be written as its certificate has it.
    #[error(
        "failed to make the certificate: the authority's subject has a form that can't be repeated as an issuer; use an authority made by `headcount pki init`"
    )]
    IssuerName,
    /// The system gave no random bytes for a serial number or a file name.
    #[error("failed to get random bytes from the system")]
    Random,
    /// The folder could not be made.
    #[error("failed to create the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be written; what stood there before still stands.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A certificate authority with its key in memory; it never writes the key anywhere by itself.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    /// The certificates between a leaf and the root, nearest first, in PEM; empty for a root.
    intermediates: String,
}

impl Authority {
    /// A self-signed root that may sign certificates and revocation lists, valid for ten years.
    ///
    /// # Errors
    /// When the system gives no random bytes or the name does not fit into a certificate.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        Self::root(common_name, BasicConstraints::Unconstrained)
    }

    /// As [`Authority::new`], but with at most `path_len` further authorities below it (RFC 5280, 4.2.1.9).
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn with_path_len(common_name: &str, path_len: u8) -> Result<Self, Error> {
        Self::root(common_name, BasicConstraints::Constrained(path_len))
    }

    fn root(common_name: &str, constraints: BasicConstraints) -> Result<Self, Error> {
        let params = authority_params(common_name, constraints, AUTHORITY_LIFETIME)?;
        let key = generate_key(common_name)?;
        let certificate = params
            .self_signed(&key)
            .map_err(certificate_error(common_name))?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate_pem: certificate.pem(),
            certificate: certificate.into(),
            intermediates: String::new(),
        })
    }

    /// An authority signed by this one, valid for five years. At most `path_len` further authorities may stand below it.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn intermediate(&self, common_name: &str, path_len: u8) -> Result<Self, Error> {
        let constraints = BasicConstraints::Constrained(path_len);
        let params = authority_params(common_name, constraints, INTERMEDIATE_LIFETIME)?;
        let key = generate_key(common_name)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(certificate_error(common_name))?;
        let certificate_pem = certificate.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            intermediates: format!("{certificate_pem}{}", self.intermediates),
            certificate_pem,
            certificate: certificate.into(),
        })
    }

    /// An authority that was made before, from its certificate and its key (PKCS #8, PKCS #1 or SEC 1, in PEM).
    ///
    /// `presented` says whether its leaves need its certificate on the way to the root, which a root's don't.
    ///
    /// # Errors
    /// When the key can't be read or isn't the certificate's. The messages never quote the key.
    pub fn load(certificate_pem: &str, key_pem: &str, presented: bool) -> Result<Self, Error> {
        let (certificate, certificate_pem) =
            certificate::first_section(certificate_pem).ok_or(Error::AuthorityCertificate)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| Error::Key)?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|_| Error::AuthorityCertificate)?;
        if certificate::public_key(&certificate) != Some(&issuer.key().subject_public_key_info()) {
            return Err(Error::ForeignKey);
        }
        Ok(Self {
            issuer,
            certificate,
            intermediates: if presented {
                certificate_pem.to_owned()
            } else {
                String::new()
            },
            certificate_pem: certificate_pem.to_owned(),
        })
    }

    /// This authority's own certificate in PEM: what a peer that trusts it puts into its bundle.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate_pem.clone()
    }

    /// This authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// This authority's private key in PEM, PKCS #8: for [`write_private`] and nothing else.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a key and a certificate for it, signed by this authority.
    ///
    /// # Errors
    /// When a name does not fit into a certificate, the validity cannot be expressed, or the system gives no random bytes.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, Error> {
        let key = generate_key(&leaf.common_name)?;
        let certificate_pem = self.certify(leaf, &key)?;
        Ok(Issued {
            chain_pem: format!("{certificate_pem}{}", self.intermediates),
            certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Makes a certificate for a key that exists already, given as a DER SubjectPublicKeyInfo; the chain in PEM.
    ///
    /// # Errors
    /// As [`Authority::issue`], and when the key is of a kind that can't be certified.
    pub fn issue_for(&self, leaf: &Leaf, public_key: &[u8]) -> Result<String, Error> {
        let key = rcgen::SubjectPublicKeyInfo::from_der(public_key)
            .map_err(certificate_error(&leaf.common_name))?;
        let certificate_pem = self.certify(leaf, &key)?;
        Ok(format!("{certificate_pem}{}", self.intermediates))
    }

    fn certify(&self, leaf: &Leaf, key: &impl PublicKeyData) -> Result<String, Error> {
        let certificate = leaf
            .params()?
            .signed_by(key, &self.issuer)
            .map_err(certificate_error(&leaf.common_name))?;
        // A peer compares names by their bytes, and some names of other tools' authorities are not written back as they were.
        if !certificate::names_as_issuer(certificate.der(), &self.certificate) {
            return Err(Error::IssuerName);
        }
        Ok(certificate.pem())
    }
}

/// A certificate with its key, all in PEM.
pub struct Issued {
    /// The leaf alone.
    pub certificate_pem: String,
    /// The leaf, then its intermediates up to, but without, the root: what a peer presents.
    pub chain_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

fn authority_params(
    common_name: &str,
    constraints: BasicConstraints,
    lifetime: Duration,
) -> Result<CertificateParams, Error> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    set_validity(&mut params, common_name, now - CLOCK_SKEW, now + lifetime)?;
    params.serial_number = Some(random_serial()?);
    params.is_ca = IsCa::Ca(constraints);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn set_validity(
    params: &mut CertificateParams,
    subject: &str,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<(), Error> {
    let since_1970 = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .map(|duration| duration.as_secs())
            .filter(|seconds| *seconds <= LAST_SECOND)
            .map(|seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds))
            .ok_or_else(|| Error::Validity {
                subject: subject.to_owned(),
            })
    };
    params.not_before = since_1970(not_before)?;
    params.not_after = since_1970(not_after)?;
    Ok(())
}

/// An elliptic-curve key on P-256: small, fast to make and accepted everywhere.
fn generate_key(subject: &str) -> Result<KeyPair, Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(certificate_error(subject))
}

fn certificate_error(subject: &str) -> impl Fn(rcgen::Error) -> Error {
    move |source| Error::Certificate {
        subject: subject.to_owned(),
        source,
    }
}

fn random_serial() -> Result<SerialNumber, Error> {
    let mut bytes = random_bytes()?;
    // Neither a sign to hide behind a zero byte nor a leading zero to drop: every serial reads as 16 bytes.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn random_bytes() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Error::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
