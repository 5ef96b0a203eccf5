//! Certificates and revocation lists in a person's words.

use std::{fmt::Write as _, path::Path, time::SystemTime};

use aws_lc_rs::digest;
use rustls::pki_types::{
    CertificateDer, ServerName,
    pem::{PemObject as _, SectionKind},
};
use x509_parser::{
    prelude::{CertificateRevocationList, GeneralName, ParsedExtension, X509Certificate},
    public_key::PublicKey,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use super::{
    CertificateError, Presented, Trust,
    certificate::{bare_serial, content, ip_address, is_der, parse, read_file, system_time},
    revocation::{parse_list, reason_words},
    words::{hexadecimal, in_words, printable},
};

/// A day in seconds.
const DAY: u64 = 24 * 60 * 60;

/// What is in a file: certificates, revocation lists, and that there are keys, which are never shown. With `trust`, whether
/// the chain that the file begins with is verified.
///
/// # Errors
/// When the file can't be read, or nothing in it can.
pub fn show_file(
    path: &Path,
    trust: Option<&Trust>,
    now: SystemTime,
) -> Result<String, CertificateError> {
    show(&read_file(path)?, trust, now).map_err(content(path))
}

fn show(bytes: &[u8], trust: Option<&Trust>, now: SystemTime) -> Result<String, String> {
    let mut words = Words::default();
    let mut chain = Vec::new();
    for (kind, der) in &sections(bytes)? {
        match kind {
            SectionKind::Certificate => {
                let certificate =
                    parse(der).map_err(|why| format!("a certificate in it is damaged ({why})"))?;
                words.certificate(&certificate, der, now);
                chain.push(CertificateDer::from(der.clone()));
            }
            SectionKind::Crl => {
                let list = parse_list(der).map_err(|error| error.to_string())?;
                words.list(&list, now);
            }
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                words.heading("private key, which isn't shown");
            }
            SectionKind::PublicKey => words.heading("public key"),
            SectionKind::Csr => words.heading("request for a certificate"),
            _ => words.heading("something else"),
        }
    }
    if let (Some(trust), false) = (trust, chain.is_empty()) {
        let server = server_name(&chain[0]);
        words.verdict(&trust.judge(&chain, server.as_ref()));
    }
    Ok(words.0)
}

/// What a server presented. With `trust`, whether it is verified under the name that was asked for.
///
/// # Errors
/// When a certificate of the chain is damaged; the error says how.
pub fn show_presented(
    presented: &Presented,
    trust: Option<&Trust>,
    now: SystemTime,
) -> Result<String, String> {
    let Presented {
        chain,
        name,
        handshake,
    } = presented;
    let mut words = Words::default();
    for der in chain {
        words.certificate(&parse(der)?, der, now);
    }
    match handshake {
        Ok(()) => words.heading("presented in a TLS 1.3 handshake, with proof of the leaf's key"),
        Err(why) => words.heading(&format!(
            "the handshake failed after that: {}",
            printable(why)
        )),
    }
    match trust {
        Some(trust) => words.verdict(&trust.judge(chain, Some(name))),
        None => words.heading("not verified: name the CA with --ca"),
    }
    Ok(words.0)
}

/// A DER file is one section.
fn sections(bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    if is_der(bytes) {
        let kind = if parse(bytes).is_ok() {
            SectionKind::Certificate
        } else {
            SectionKind::Crl
        };
        return Ok(vec![(kind, bytes.to_vec())]);
    }
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            format!(
                "its PEM is damaged ({}); write it again",
                crate::pem::fault(&error)
            )
        })?;
    if sections.is_empty() {
        return Err("it holds neither certificates nor revocation lists, as PEM or as DER".into());
    }
    Ok(sections)
}

/// The name under which a certificate is verified as a server's; `None` for one that only clients use.
fn server_name(der: &CertificateDer<'_>) -> Option<ServerName<'static>> {
    let certificate = parse(der).ok()?;
    let usage = certificate.extended_key_usage().ok()??;
    if !usage.value.server_auth || usage.value.client_auth {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            // Any name that the star stands for.
            GeneralName::DNSName(name) => ServerName::try_from(name.replacen('*', "any", 1)).ok(),
            GeneralName::IPAddress(bytes) => ip_address(bytes).map(ServerName::from),
            _ => None,
        })
}

/// The text so far: headings at the margin, properties under them.
#[derive(Default)]
struct Words(String);

impl Words {
    fn heading(&mut self, text: &str) {
        // Writing into a String can't fail.
        let _ = writeln!(self.0, "{text}");
    }

    fn property(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "  {name:<12} {}", printable(value));
    }

    fn verdict(&mut self, verdict: &Result<(), String>) {
        match verdict {
            Ok(()) => self.heading("verified: a chain leads to the CA of --ca"),
            Err(why) => self.heading(&format!("NOT verified: {}", printable(why))),
        }
    }

    fn certificate(&mut self, certificate: &X509Certificate<'_>, der: &[u8], now: SystemTime) {
        self.heading(if certificate.is_ca() {
            "CA certificate"
        } else {
            "certificate"
        });
        let or_none = |text: String| if text.is_empty() { "none".into() } else { text };
        self.property("subject", &or_none(certificate.subject().to_string()));
        let issuer = certificate.issuer().to_string();
        let itself = certificate.issuer().as_raw() == certificate.subject().as_raw();
        self.property("issuer", if itself { "itself" } else { &issuer });
        let serial = hexadecimal(bare_serial(certificate.raw_serial()));
        self.property("serial", &serial);
        self.property("names", &or_none(names(certificate)));
        self.property("usage", &usage(certificate));
        if let Ok(Some(constraints)) = certificate.basic_constraints()
            && constraints.value.ca
        {
            let below = constraints.value.path_len_constraint.map_or_else(
                || "any number of CAs below it".into(),
                |below| format!("at most {below} CAs below it"),
            );
            self.property("CA", &below);
        }
        let validity = certificate.validity();
        let (from, until) = (
            system_time(validity.not_before),
            system_time(validity.not_after),
        );
        let span = format!("{} to {}", in_words(from), in_words(until));
        self.property(
            "valid",
            &format!("{span}, {}", validity_words(from, until, now)),
        );
        self.property("key", &key_kind(certificate.public_key()));
        let signature = &certificate.signature_algorithm;
        self.property("signature", &signature_kind(signature));
        let key = certificate.tbs_certificate.subject_pki.raw;
        let sha256 = |bytes| hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref());
        self.property("key SHA-256", &sha256(key));
        self.property("SHA-256", &sha256(der));
    }

    fn list(&mut self, list: &CertificateRevocationList<'_>, now: SystemTime) {
        self.heading("revocation list");
        self.property("issuer", &list.issuer().to_string());
        let number = list
            .crl_number()
            .map_or_else(|| "none".into(), ToString::to_string);
        self.property("number", &number);
        let from = system_time(list.last_update());
        match list.next_update().map(system_time) {
            Some(until) => {
                let span = format!("{} to {}", in_words(from), in_words(until));
                self.property(
                    "valid",
                    &format!("{span}, {}", validity_words(from, until, now)),
                );
            }
            None => self.property("valid", &format!("{}, without an end", in_words(from))),
        }
        self.property("signature", &signature_kind(&list.signature_algorithm));
        let revoked: Vec<_> = list.iter_revoked_certificates().collect();
        self.property("revoked", &revoked.len().to_string());
        for entry in revoked {
            let serial = hexadecimal(bare_serial(entry.raw_serial()));
            let at = in_words(system_time(entry.revocation_date));
            let reason = entry.reason_code().map_or(0, |(_, code)| code.0);
            self.heading(&format!("    {serial}, {at}, {}", reason_words(reason)));
        }
    }
}

fn validity_words(from: SystemTime, until: SystemTime, now: SystemTime) -> String {
    if let Ok(early) = from.duration_since(now)
        && !early.is_zero()
    {
        return "NOT YET VALID".into();
    }
    match until.duration_since(now).map(|left| left.as_secs()) {
        Err(_) => "EXPIRED".into(),
        Ok(left) if left < DAY => counted(left / 3600, "hour"),
        Ok(left) => counted(left / DAY, "day"),
    }
}

fn counted(count: u64, unit: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} left")
}

fn names(certificate: &X509Certificate<'_>) -> String {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return String::new();
    };
    let words = names.value.general_names.iter().map(|name| match name {
        GeneralName::DNSName(name) => format!("DNS {name}"),
        GeneralName::URI(uri) => format!("URI {uri}"),
        GeneralName::RFC822Name(address) => format!("e-mail {address}"),
        GeneralName::IPAddress(bytes) => ip_address(bytes).map_or_else(
            || "a damaged IP address".into(),
            |address| format!("IP {address}"),
        ),
        other => other.to_string(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn usage(certificate: &X509Certificate<'_>) -> String {
    let mut words = Vec::new();
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => {
                for (named, name) in [
                    (usage.any, "anyExtendedKeyUsage"),
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.code_signing, "codeSigning"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ] {
                    if named {
                        words.push(name.to_owned());
                    }
                }
                words.extend(usage.other.iter().map(ToString::to_string));
            }
            ParsedExtension::KeyUsage(usage) => {
                for (named, name) in [
                    (usage.digital_signature(), "digitalSignature"),
                    (usage.non_repudiation(), "nonRepudiation"),
                    (usage.key_encipherment(), "keyEncipherment"),
                    (usage.data_encipherment(), "dataEncipherment"),
                    (usage.key_agreement(), "keyAgreement"),
                    (usage.key_cert_sign(), "keyCertSign"),
                    (usage.crl_sign(), "cRLSign"),
                    (usage.encipher_only(), "encipherOnly"),
                    (usage.decipher_only(), "decipherOnly"),
                ] {
                    if named {
                        words.push(name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    if words.is_empty() {
        return "not said".into();
    }
    words.join(", ")
}

fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    let algorithm = key.algorithm.algorithm.to_id_string();
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok())
        .map(|oid| oid.to_id_string());
    match (algorithm.as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "ECDSA P-256".into(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "ECDSA P-384".into(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "ECDSA P-521".into(),
        ("1.3.101.112", _) => "Ed25519".into(),
        ("1.2.840.113549.1.1.1", _) => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => format!("RSA {} bits", rsa.key_size()),
            _ => "RSA".into(),
        },
        (other, _) => other.to_owned(),
    }
}

fn signature_kind(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let id = algorithm.algorithm.to_id_string();
    match id.as_str() {
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256".into(),
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384".into(),
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512".into(),
        "1.2.840.113549.1.1.5" => "RSA with SHA-1, which is too weak".into(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".into(),
        "1.2.840.113549.1.1.11" => "RSA with SHA-256".into(),
        "1.2.840.113549.1.1.12" => "RSA with SHA-384".into(),
        "1.2.840.113549.1.1.13" => "RSA with SHA-512".into(),
        "1.3.101.112" => "Ed25519".into(),
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        pki::{
            Authority, Leaf, Reason, RevocationList, certificate::leaf_of, revocation::list_der,
        },
        tls::deny_list::CertificateFacts,
    };

    fn damaged(der: &[u8], changes: &[(prop::sample::Index, u8)], length: usize) -> Vec<u8> {
        let mut bytes = der.to_vec();
        for (at, value) in changes {
            bytes[at.index(der.len())] = *value;
        }
        bytes.truncate(length);
        bytes
    }

    fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
        prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..6)
    }

    #[test]
    fn the_days_left_are_whole_ones_and_the_last_day_is_told_in_hours() {
        let hour = Duration::from_secs(3600);
        let now = SystemTime::UNIX_EPOCH + 1_000_000 * hour;
        for (until, expected) in [
            (now + 90 * 24 * hour, "90 days left"),
            (now + 25 * hour, "1 day left"),
            (now + 23 * hour, "23 hours left"),
            (now, "0 hours left"),
            (now - hour, "EXPIRED"),
        ] {
            assert_eq!(validity_words(now - 2 * hour, until, now), expected);
        }
        assert_eq!(validity_words(now, now + hour, now), "1 hour left");
        assert_eq!(
            validity_words(now + hour, now + 2 * hour, now),
            "NOT YET VALID"
        );
    }

    proptest! {
        #[test]
        fn no_damaged_certificate_panics_whoever_reads_it(changes in changes(), length in 0..2000usize) {
            let leaf = Leaf::client("alice")
                .organization("team-a")
                .dns_name("alice.example.org")
                .uri("spiffe://example.org/alice");
            let issued = Authority::new("root").unwrap().issue(&leaf).unwrap();
            let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
            let bytes = damaged(&der, &changes, length);
            let _ = show(&bytes, None, SystemTime::now());
            let _ = leaf_of(&bytes.clone().into());
            let _ = CertificateFacts::read(&bytes);
        }

        #[test]
        fn no_damaged_list_panics_and_none_is_read_with_other_entries(changes in changes(), length in 0..1000usize) {
            let authority = Authority::new("root").unwrap();
            let mut list = RevocationList::empty(7);
            list.revoke(&[0x40, 1], Reason::KeyCompromise, SystemTime::now());
            let month = Duration::from_secs(30 * DAY);
            let pem = list.sign(&authority, SystemTime::now(), month).unwrap();
            let der = list_der(pem.as_bytes()).unwrap();
            let bytes = damaged(&der, &changes, length);
            let _ = show(&bytes, None, SystemTime::now());
            // What isn't signed may change, such as how many bits of the signature's last byte are unused.
            if let Ok(read) = RevocationList::read(&bytes, authority.certificate()) {
                prop_assert_eq!(read.entries(), list.entries());
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert!(show(text.as_bytes(), None, SystemTime::now()).is_err());
            let _ = show(&bytes, None, SystemTime::now());
        }
    }
}
