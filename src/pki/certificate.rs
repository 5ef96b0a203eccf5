//! Certificates that exist already: read from files, and taken apart as far as making their successors needs.

use std::{
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::{Leaf, Usage};

/// No file of certificates is longer, in bytes: a bundle of all public roots is a fifth of it.
const LONGEST: u64 = 1024 * 1024;

/// The key usage digitalSignature alone, as x509-parser counts its bits.
const DIGITAL_SIGNATURE: u16 = 1;

/// A file that holds no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file can't be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is readable and isn't what it should be.
    #[error("failed to use {}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
}

/// The certificates in a file, at least one, in their order: PEM, or one certificate in DER. At most 1 MiB is read.
///
/// # Errors
/// When the file can't be read, is too long, or holds no certificate or one that is damaged.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    certificates(&read_file(path)?).map_err(content(path))
}

/// A file's bytes, of those that may hold certificates or revocation lists.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|source| CertificateError::Read {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > LONGEST {
        return Err(content(path)("it is longer than 1 MiB".into()));
    }
    Ok(bytes)
}

pub(super) fn content(path: &Path) -> impl Fn(String) -> CertificateError {
    move |why| CertificateError::Content {
        path: path.to_owned(),
        why,
    }
}

/// The certificates in a file's bytes; the error says what is wrong with them.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = if is_der(bytes) {
        vec![CertificateDer::from(bytes.to_vec())]
    } else {
        CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                format!(
                    "its PEM is damaged ({}); write it again",
                    crate::pem::fault(&error)
                )
            })?
    };
    if found.is_empty() {
        return Err(
            "it holds no certificate, neither as PEM (BEGIN CERTIFICATE) nor as DER".into(),
        );
    }
    for (der, position) in found.iter().zip(1..) {
        parse(der).map_err(|why| format!("certificate {position} in it is damaged ({why})"))?;
    }
    Ok(found)
}

/// DER begins with a SEQUENCE, and no text with a zero.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

/// A whole certificate and nothing behind it.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("bytes follow it".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The first certificate of a text, and its PEM section without what stands around it.
pub(super) fn first_section(pem: &str) -> Option<(CertificateDer<'static>, &str)> {
    const END: &str = "-----END CERTIFICATE-----";
    let start = pem.find("-----BEGIN CERTIFICATE-----")?;
    let end = start + pem[start..].find(END)? + END.len();
    // The line's end belongs to it, so that sections can follow each other.
    let end = pem[end..].find('\n').map_or(pem.len(), |n| end + n + 1);
    let section = &pem[start..end];
    let certificate = CertificateDer::from_pem_slice(section.as_bytes()).ok()?;
    Some((certificate, section))
}

/// A certificate's SubjectPublicKeyInfo as it stands there.
pub(super) fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    parse(certificate)
        .ok()
        .map(|parsed| parsed.tbs_certificate.subject_pki.raw)
}

/// The SHA-256 hash of a certificate's SubjectPublicKeyInfo (RFC 7469, 2.4), which stays the same for as long as the key does;
/// `None` for what is no certificate.
#[must_use]
pub fn public_key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let key = public_key(certificate)?;
    digest::digest(&digest::SHA256, key)
        .as_ref()
        .try_into()
        .ok()
}

/// Whether the certificate's issuer is the authority's subject, byte for byte.
pub(super) fn names_as_issuer(certificate: &[u8], authority: &[u8]) -> bool {
    match (parse(certificate), parse(authority)) {
        (Ok(certificate), Ok(authority)) => {
            certificate.issuer().as_raw() == authority.subject().as_raw()
        }
        _ => false,
    }
}

/// Whether the authority signed it: the names fit and the signature does.
pub(super) fn issued_by(certificate: &[u8], authority: &[u8]) -> bool {
    match (parse(certificate), parse(authority)) {
        (Ok(certificate), Ok(authority)) => {
            certificate.issuer().as_raw() == authority.subject().as_raw()
                && certificate
                    .verify_signature(Some(authority.public_key()))
                    .is_ok()
        }
        _ => false,
    }
}

/// An ASN.1 time as the system's; times before 1970 become 1970.
pub(super) fn system_time(time: x509_parser::time::ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// The serial number as it is compared: without the zeros that it may begin with.
pub(super) fn bare_serial(raw: &[u8]) -> &[u8] {
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    &raw[zeros.min(raw.len().saturating_sub(1))..]
}

/// What a successor of this certificate has to say, with the times of the old one.
///
/// The error is what the certificate has that a [`Leaf`] can't say, so that nothing gets lost unnoticed.
pub(super) fn leaf_of(certificate: &CertificateDer<'_>) -> Result<Leaf, String> {
    let parsed = parse(certificate)?;
    if parsed.is_ca() {
        return Err("the rights of a CA".into());
    }
    let mut leaf = Leaf::client("");
    leaf.not_before = system_time(parsed.validity().not_before);
    leaf.not_after = system_time(parsed.validity().not_after);
    leaf.usage = Usage::None;
    for rdn in parsed.subject().iter() {
        let attributes: Vec<_> = rdn.iter().collect();
        let [attribute] = attributes[..] else {
            return Err("a subject whose parts have several values".into());
        };
        let value = attribute
            .as_str()
            .map_err(|_| "a subject that isn't text")?
            .to_owned();
        match attribute.attr_type().to_id_string().as_str() {
            "2.5.4.10" if leaf.common_name.is_empty() => leaf.organizations.push(value),
            "2.5.4.10" => return Err("an organization behind its common name".into()),
            "2.5.4.3" if leaf.common_name.is_empty() => leaf.common_name = value,
            other => return Err(format!("the attribute {other} in its subject")),
        }
    }
    if leaf.common_name.is_empty() {
        return Err("no common name".into());
    }
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => {}
            ParsedExtension::BasicConstraints(_) => {}
            ParsedExtension::KeyUsage(usage) if usage.flags == DIGITAL_SIGNATURE => {}
            ParsedExtension::KeyUsage(usage) => return Err(format!("the key usage {usage}")),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let further = usage.code_signing
                    || usage.email_protection
                    || usage.time_stamping
                    || usage.ocsp_signing
                    || !usage.other.is_empty();
                leaf.usage = match (usage.any, usage.server_auth, usage.client_auth, further) {
                    (false, true, false, false) => Usage::Server,
                    (false, false, true, false) => Usage::Client,
                    (false, true, true, false) => Usage::Both,
                    (true, false, false, false) => Usage::Any,
                    _ => return Err("further extended key usages".into()),
                };
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match name {
                        GeneralName::DNSName(name) => leaf.dns_names.push((*name).to_owned()),
                        GeneralName::URI(uri) => leaf.uris.push((*uri).to_owned()),
                        GeneralName::IPAddress(bytes) => leaf
                            .ip_addresses
                            .push(ip_address(bytes).ok_or("a damaged IP address")?),
                        other => return Err(format!("the name {other}")),
                    }
                }
            }
            _ => return Err(format!("the extension {}", extension.oid)),
        }
    }
    Ok(leaf)
}

/// An address of a subject alternative name.
pub(super) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
        SanType,
    };

    use super::*;

    /// What a successor of a certificate can't say, after `change` was made to a plain client's.
    fn unlike(change: impl FnOnce(&mut CertificateParams)) -> Option<String> {
        let mut params = Leaf::client("alice")
            .organization("team-a")
            .params()
            .unwrap();
        change(&mut params);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = Issuer::new(CertificateParams::default(), &key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        leaf_of(certificate.der()).err()
    }

    #[test]
    fn a_successor_that_would_say_less_is_refused_by_what_it_lacks() {
        assert_eq!(unlike(|_| {}), None);
        let refused = |change: &dyn Fn(&mut CertificateParams)| unlike(change).unwrap();
        let parts = [
            refused(&|params| {
                params.subject_alt_names =
                    vec![SanType::Rfc822Name("a@example.org".try_into().unwrap())];
            }),
            refused(&|params| params.key_usages.push(KeyUsagePurpose::KeyAgreement)),
            refused(&|params| {
                params
                    .extended_key_usages
                    .push(ExtendedKeyUsagePurpose::CodeSigning)
            }),
            refused(&|params| params.distinguished_name.push(DnType::CountryName, "XX")),
            refused(&|params| {
                let behind = DnType::CustomDnType(vec![2, 5, 4, 10]);
                params.distinguished_name.push(behind, "team-b");
            }),
            refused(&|params| {
                params.distinguished_name.remove(DnType::CommonName);
            }),
            refused(&|params| {
                params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
                    uris: vec!["http://crl.example.org".into()],
                }];
            }),
        ];
        for (found, expected) in parts.iter().zip([
            "example.org",
            "Key Agreement",
            "further extended key usages",
            "the attribute 2.5.4.6",
            "behind its common name",
            "no common name",
            "the extension 2.5.29.31",
        ]) {
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }

    #[test]
    fn a_section_is_found_among_other_text_and_half_of_one_is_none() {
        let pem = super::super::Authority::new("root")
            .unwrap()
            .certificate_pem();
        let around = format!("subject=CN=root\n{pem}\n-----BEGIN X509 CRL-----\n");
        let (der, section) = first_section(&around).unwrap();
        assert_eq!(
            (section, certificates(pem.as_bytes()).unwrap()),
            (pem.as_str(), vec![der])
        );
        for half in ["", "text", &pem[..pem.len() / 2], &pem[40..]] {
            assert!(first_section(half).is_none(), "{half}");
        }
    }

    #[test]
    fn serial_numbers_are_compared_without_the_zeros_before_them() {
        for (raw, bare) in [
            (&[0, 0x80][..], &[0x80][..]),
            (&[0, 0], &[0]),
            (&[0], &[0]),
            (&[1, 0], &[1, 0]),
            (&[], &[]),
        ] {
            assert_eq!(bare_serial(raw), bare);
        }
    }
}
