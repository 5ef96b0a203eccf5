//! What a certificate that is not an authority's says, before it is made.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};

use super::{
    CLOCK_SKEW, DAY, Error, LEAF_LIFETIME, certificate_error, random_serial, set_validity,
};

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

    /// Valid from five minutes ago until `lifetime` from now.
    #[must_use]
    pub fn valid_for(mut self, lifetime: Duration) -> Self {
        let now = SystemTime::now();
        self.not_before = now - CLOCK_SKEW;
        self.not_after = now + lifetime;
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

    pub(super) fn params(&self) -> Result<CertificateParams, Error> {
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
