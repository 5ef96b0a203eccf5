//! Certificates for trying things out: a small certificate authority, for the demo, the tests and `make deploy`.
//!
//! Owns what a certificate of this project looks like and how its files are written.
//! Never reads a certificate, never judges one: that is the TLS layer's work.

mod files;

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

pub use files::{
    DemoFiles, Pair, SERVER_NAMES, create_folder, write_certificate, write_demo, write_private,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a certificate's start lies in the past, so that a peer whose clock is a little behind accepts it.
const CLOCK_SKEW: Duration = MINUTE.saturating_mul(5);
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
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

/// A certificate authority with its key in memory; it never writes the key anywhere.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates between a leaf and the root, nearest first, in PEM; empty for a root.
    intermediates: String,
}

impl Authority {
    /// A self-signed root that may sign certificates and revocation lists, valid for ten years.
    ///
    /// # Errors
    /// When the system gives no random bytes or the name does not fit into a certificate.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        let params = authority_params(common_name, BasicConstraints::Unconstrained)?;
        let issuer = generate_key(common_name).and_then(|key| {
            CertifiedIssuer::self_signed(params, key).map_err(certificate_error(common_name))
        })?;
        Ok(Self {
            issuer,
            intermediates: String::new(),
        })
    }

    /// An authority signed by this one. At most `path_len` further authorities may stand below it.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn intermediate(&self, common_name: &str, path_len: u8) -> Result<Self, Error> {
        let params = authority_params(common_name, BasicConstraints::Constrained(path_len))?;
        let issuer = generate_key(common_name).and_then(|key| {
            CertifiedIssuer::signed_by(params, key, &self.issuer)
                .map_err(certificate_error(common_name))
        })?;
        let intermediates = format!("{}{}", issuer.pem(), self.intermediates);
        Ok(Self {
            issuer,
            intermediates,
        })
    }

    /// This authority's own certificate in PEM: what a peer that trusts it puts into its bundle.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Makes a key and a certificate for it, signed by this authority.
    ///
    /// # Errors
    /// When a name does not fit into a certificate, the validity cannot be expressed, or the system gives no random bytes.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, Error> {
        let subject = &leaf.common_name;
        let key = generate_key(subject)?;
        let certificate = leaf
            .params()?
            .signed_by(&key, &self.issuer)
            .map_err(certificate_error(subject))?;
        let certificate_pem = certificate.pem();
        Ok(Issued {
            chain_pem: format!("{certificate_pem}{}", self.intermediates),
            certificate_pem,
            key_pem: key.serialize_pem(),
        })
    }
}

/// What a leaf's extended key usage allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// serverAuth alone.
    Server,
    /// clientAuth alone.
    Client,
    /// serverAuth and clientAuth.
    Both,
    /// anyExtendedKeyUsage alone, which names no purpose.
    Any,
    /// No extended key usage extension at all.
    None,
}

/// What a certificate that is not an authority's is to say.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations, at most two.
    pub organizations: Vec<String>,
    /// DNS names in the subject alternative name.
    pub dns_names: Vec<String>,
    /// IP addresses in the subject alternative name.
    pub ip_addresses: Vec<IpAddr>,
    /// URIs in the subject alternative name.
    pub uris: Vec<String>,
    /// The extended key usage.
    pub usage: Usage,
    /// The first second in which it is valid.
    pub not_before: SystemTime,
    /// The last second in which it is valid.
    pub not_after: SystemTime,
    /// The serial number, big-endian, at most 20 bytes; random when absent.
    pub serial: Option<Vec<u8>>,
}

impl Leaf {
    /// A server's certificate for these DNS names and IP addresses; the first one is the common name too.
    #[must_use]
    pub fn server(names: &[&str]) -> Self {
        let mut leaf =
            Self::valid_for_a_year(names.first().copied().unwrap_or_default(), Usage::Server);
        for name in names {
            match name.parse() {
                Ok(address) => leaf.ip_addresses.push(address),
                Err(_) => leaf.dns_names.push((*name).to_owned()),
            }
        }
        leaf
    }

    /// A client's certificate with this common name and no subject alternative name.
    #[must_use]
    pub fn client(common_name: &str) -> Self {
        Self::valid_for_a_year(common_name, Usage::Client)
    }

    fn valid_for_a_year(common_name: &str, usage: Usage) -> Self {
        let now = SystemTime::now();
        Self {
            common_name: common_name.to_owned(),
            organizations: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            usage,
            not_before: now - CLOCK_SKEW,
            not_after: now + LEAF_LIFETIME,
            serial: None,
        }
    }

    /// Valid for a day that ended yesterday.
    #[must_use]
    pub fn expired(mut self) -> Self {
        let now = SystemTime::now();
        self.not_before = now - 2 * DAY;
        self.not_after = now - DAY;
        self
    }

    /// Valid for a day that begins tomorrow.
    #[must_use]
    pub fn not_yet_valid(mut self) -> Self {
        let now = SystemTime::now();
        self.not_before = now + DAY;
        self.not_after = now + 2 * DAY;
        self
    }

    /// Valid up to and including the second in which `time` lies.
    #[must_use]
    pub fn valid_until(mut self, time: SystemTime) -> Self {
        self.not_after = time;
        self
    }

    /// With another extended key usage.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// With one organization more in the subject.
    #[must_use]
    pub fn organization(mut self, name: &str) -> Self {
        self.organizations.push(name.to_owned());
        self
    }

    /// With one DNS name more in the subject alternative name.
    #[must_use]
    pub fn dns_name(mut self, name: &str) -> Self {
        self.dns_names.push(name.to_owned());
        self
    }

    /// With one URI more in the subject alternative name.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// With this serial number, big-endian.
    #[must_use]
    pub fn serial(mut self, bytes: &[u8]) -> Self {
        self.serial = Some(bytes.to_vec());
        self
    }

    fn params(&self) -> Result<CertificateParams, Error> {
        let subject = &self.common_name;
        let mut params = CertificateParams::default();
        params.distinguished_name = self.distinguished_name()?;
        set_validity(&mut params, subject, self.not_before, self.not_after)?;
        params.serial_number = Some(match &self.serial {
            Some(bytes) => SerialNumber::from_slice(bytes),
            None => random_serial()?,
        });
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match self.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Usage::Any => vec![ExtendedKeyUsagePurpose::Any],
            Usage::None => Vec::new(),
        };
        for name in &self.dns_names {
            let name = name
                .as_str()
                .try_into()
                .map_err(certificate_error(subject))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        for uri in &self.uris {
            let uri = uri
                .as_str()
                .try_into()
                .map_err(certificate_error(subject))?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params
            .subject_alt_names
            .extend(self.ip_addresses.iter().copied().map(SanType::IpAddress));
        Ok(params)
    }

    fn distinguished_name(&self) -> Result<DistinguishedName, Error> {
        // rcgen holds one value a type; the same type by its number is another key to it, so there can be two.
        let types = [
            DnType::OrganizationName,
            DnType::CustomDnType(vec![2, 5, 4, 10]),
        ];
        if self.organizations.len() > types.len() {
            return Err(Error::TooManyOrganizations {
                subject: self.common_name.clone(),
                count: self.organizations.len(),
            });
        }
        let mut name = DistinguishedName::new();
        for (kind, organization) in types.into_iter().zip(&self.organizations) {
            name.push(kind, organization.as_str());
        }
        name.push(DnType::CommonName, self.common_name.as_str());
        Ok(name)
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
) -> Result<CertificateParams, Error> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    set_validity(
        &mut params,
        common_name,
        now - CLOCK_SKEW,
        now + AUTHORITY_LIFETIME,
    )?;
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
