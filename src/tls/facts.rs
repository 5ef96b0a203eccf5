//! What the checks look at in one certificate, read once. Judges nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use x509_parser::{
    asn1_rs::{Any, Class, Tag, oid},
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
        OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSAENCRYPTION,
        OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519, OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS,
        Oid,
    },
    prelude::{ASN1Time, FromDer as _, ParsedExtension, X509Certificate, X509Version},
    public_key::{PublicKey, RSAPublicKey},
    signature_algorithm::RsaSsaPssParams,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use super::expiry::{Expiring, Expiry};

use super::checks::Hash;

/// ML-DSA-44, -65 and -87 (RFC 9881), as keys and as signatures.
const ML_DSA: [Oid<'static>; 3] = [
    oid!(2.16.840.1.101.3.4.3.17),
    oid!(2.16.840.1.101.3.4.3.18),
    oid!(2.16.840.1.101.3.4.3.19),
];

/// A certificate, and of its extensions those that say what it may be used for.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) certificate: X509Certificate<'a>,
    /// Whether it is a CA's; `None` when it doesn't say.
    pub(super) ca: Option<bool>,
    /// How many CAs may stand between it and a leaf.
    pub(super) path_len: Option<u32>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    /// The subject key identifier.
    pub(super) key_id: Option<&'a [u8]>,
    /// Whether a critical extension isn't understood.
    pub(super) has_unknown_critical: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct KeyUsage {
    pub(super) digital_signature: bool,
    pub(super) cert_sign: bool,
    pub(super) crl_sign: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ExtendedKeyUsage {
    pub(super) client: bool,
}

/// The kind of a public key, and how strong it is where kinds alone don't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Rsa {
        bits: usize,
    },
    EllipticCurve,
    Ed25519,
    MlDsa,
    /// A kind, a curve or an encoding that no handshake can be made with.
    Other,
}

impl<'a> Facts<'a> {
    /// The error is a sentence's second half.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, &'static str> {
        let certificate = match X509Certificate::from_der(der) {
            Ok(([], certificate)) => certificate,
            Ok(_) => return Err("bytes follow it"),
            Err(_) => return Err("it is no X.509 certificate"),
        };
        // Lists name certificates by it: it must have one form only (X.690, 8.3.2).
        if !is_integer(certificate.raw_serial()) {
            return Err("its serial number is no number in DER");
        }
        if !is_name(certificate.subject().as_raw()) {
            return Err("its subject is no name in DER");
        }
        if !is_public_key(certificate.tbs_certificate.subject_pki.raw) {
            return Err("its public key is no SubjectPublicKeyInfo in DER");
        }
        // An extension that is there twice says two things (RFC 5280, 4.2).
        certificate
            .extensions_map()
            .map_err(|_| "it has an extension twice")?;
        if !certificate
            .extensions()
            .iter()
            .all(|extension| is_oid(extension.oid.as_bytes()))
        {
            return Err("an extension's type is no object identifier in DER");
        }
        let (mut ca, mut path_len) = (None, None);
        let (mut key_usage, mut extended_key_usage, mut key_id) = (None, None, None);
        let mut has_unknown_critical = false;
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    ca = Some(constraints.ca);
                    path_len = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) if is_bit_string(extension.value) => {
                    key_usage = Some(KeyUsage {
                        digital_signature: usage.digital_signature(),
                        cert_sign: usage.key_cert_sign(),
                        crl_sign: usage.crl_sign(),
                    });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    extended_key_usage = Some(ExtendedKeyUsage {
                        client: usage.client_auth,
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => key_id = Some(id.0),
                ParsedExtension::NameConstraints(_) => {}
                // What can't be read is not the same as what isn't there.
                _ if decides(&extension.oid) => {
                    return Err("an extension that bounds its use can't be read");
                }
                ParsedExtension::UnsupportedExtension { .. }
                | ParsedExtension::ParseError { .. } => {
                    has_unknown_critical |= extension.critical;
                }
                _ => {}
            }
        }
        Ok(Self {
            certificate,
            ca,
            path_len,
            key_usage,
            extended_key_usage,
            key_id,
            has_unknown_critical,
        })
    }

    /// Whether it is of X.509's first version, which has no extensions: all that it says of its use is that it was trusted.
    pub(super) fn is_version_1(&self) -> bool {
        self.certificate.version() == X509Version::V1
    }

    /// Whether its subject issued it. It needn't be signed by its own key (RFC 5280, 3.2).
    pub(super) fn is_self_issued(&self) -> bool {
        self.certificate.subject().as_raw() == self.certificate.issuer().as_raw()
    }

    /// The whole SubjectPublicKeyInfo.
    pub(super) fn public_key(&self) -> &'a [u8] {
        self.certificate.tbs_certificate.subject_pki.raw
    }

    /// When it expires, as somebody is told of it.
    pub(super) fn expiry(&self, what: Expiring) -> Expiry {
        let (from, until) = self.validity();
        Expiry {
            what,
            name: self.certificate.subject().to_string(),
            from: system_time(from),
            until: system_time(until),
        }
    }

    /// Its first second and its last.
    pub(super) fn validity(&self) -> (UnixTime, UnixTime) {
        let validity = self.certificate.validity();
        (
            unix_time(validity.not_before),
            unix_time(validity.not_after),
        )
    }

    pub(super) fn key(&self) -> Key {
        key(self.certificate.public_key())
    }

    /// The hash under its signature; `None` for one that isn't known.
    pub(super) fn signature_hash(&self) -> Option<Hash> {
        hash(&self.certificate.signature_algorithm)
    }
}

/// Seconds since 1970; times before are 1970.
pub(super) fn unix_time(time: ASN1Time) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A serial number as it is compared: without the zeros that it may begin with.
pub(super) fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros.min(serial.len().saturating_sub(1))..]
}

/// Whether the content of an INTEGER is there and no longer than it needs to be.
fn is_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [_] => true,
        [0, second, ..] => second & 0x80 != 0,
        [0xff, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

/// Whether it is a sequence of sets of pairs of a type and a value, and nothing more: the parsers skip what stands behind a value, and
/// whom a name means must not depend on who reads it.
fn is_name(der: &[u8]) -> bool {
    let name = || {
        for set in parts(only(der)?)? {
            for pair in parts(set.data)? {
                let pair = parts(pair.data)?;
                let [kind, _value] = &pair[..] else {
                    return None;
                };
                (is(kind, Tag::Oid) && is_oid(kind.data)).then_some(())?;
            }
        }
        Some(())
    };
    name().is_some()
}

/// Whether it is an algorithm and a BIT STRING, whose tag the parser doesn't look at.
fn is_public_key(der: &[u8]) -> bool {
    only(der).and_then(parts).is_some_and(|parts| {
        matches!(&parts[..], [algorithm, key] if is(algorithm, Tag::Sequence) && is(key, Tag::BitString))
    })
}

/// Whether an element is of a universal type: other classes have the same numbers.
fn is(element: &Any<'_>, tag: Tag) -> bool {
    element.class() == Class::Universal && element.tag() == tag
}

/// Whether the content of an OBJECT IDENTIFIER is whole: the last byte of a number has no high bit (X.690, 8.19.2).
fn is_oid(content: &[u8]) -> bool {
    content.last().is_some_and(|last| last & 0x80 == 0)
}

/// The content of what is one element and no more.
fn only(der: &[u8]) -> Option<&[u8]> {
    match Any::from_der(der) {
        Ok(([], element)) => Some(element.data),
        _ => None,
    }
}

/// The elements that a content consists of.
fn parts(mut content: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (rest, part) = Any::from_der(content).ok()?;
        parts.push(part);
        content = rest;
    }
    Some(parts)
}

/// Whether the bits that a BIT STRING of a few bytes declares as unused are (X.690, 11.2.1), which the parser doesn't look at.
fn is_bit_string(der: &[u8]) -> bool {
    match der {
        [3, _, 0] => true,
        [3, _, unused, .., last] => *unused < 8 && last & !(0xff << unused) == 0,
        _ => false,
    }
}

fn decides(oid: &Oid<'_>) -> bool {
    [
        OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_EXTENDED_KEY_USAGE,
        OID_X509_EXT_NAME_CONSTRAINTS,
    ]
    .contains(oid)
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> Key {
    let algorithm = &info.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        match info.parsed() {
            Ok(PublicKey::RSA(key)) => Key::Rsa { bits: bits(&key) },
            _ => Key::Other,
        }
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref();
        match curve.and_then(|curve| curve.as_oid().ok()) {
            Some(curve) if [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521].contains(&curve) => {
                Key::EllipticCurve
            }
            _ => Key::Other,
        }
    } else if *algorithm == OID_SIG_ED25519 {
        Key::Ed25519
    } else if ML_DSA.contains(algorithm) {
        Key::MlDsa
    } else {
        Key::Other
    }
}

/// The modulus's length without the zeros that it may begin with.
fn bits(key: &RSAPublicKey<'_>) -> usize {
    let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = &key.modulus[zeros..];
    let first = modulus
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    modulus.len() * 8 - first
}

fn hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let known = [
        (OID_PKCS1_SHA256WITHRSA, Hash::Sha256),
        (OID_PKCS1_SHA384WITHRSA, Hash::Sha384),
        (OID_PKCS1_SHA512WITHRSA, Hash::Sha512),
        (OID_SIG_ECDSA_WITH_SHA256, Hash::Sha256),
        (OID_SIG_ECDSA_WITH_SHA384, Hash::Sha384),
        (OID_SIG_ECDSA_WITH_SHA512, Hash::Sha512),
        // Ed25519 hashes with SHA-512 inside (RFC 8032, 5.1).
        (OID_SIG_ED25519, Hash::Sha512),
        (OID_NIST_HASH_SHA256, Hash::Sha256),
        (OID_NIST_HASH_SHA384, Hash::Sha384),
        (OID_NIST_HASH_SHA512, Hash::Sha512),
    ];
    if algorithm.algorithm == OID_PKCS1_RSASSAPSS {
        let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
        return hash(parameters.hash_algorithm()?);
    }
    // ML-DSA hashes with SHAKE-256 inside (FIPS 204).
    if ML_DSA.contains(&algorithm.algorithm) {
        return Some(Hash::Sha512);
    }
    known
        .into_iter()
        .find(|(oid, _)| *oid == algorithm.algorithm)
        .map(|(_, hash)| hash)
}

/// The same time in the terms of std.
pub(super) fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        for good in [
            &[0][..],
            &[1],
            &[0x80],
            &[0, 0x80],
            &[0xff],
            &[0xff, 0x7f],
            &[0x7f; 21],
        ] {
            assert!(is_integer(good), "{good:?}");
        }
        for bad in [&[][..], &[0, 1], &[0, 0], &[0xff, 0x80]] {
            assert!(!is_integer(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_pairs_of_a_type_and_a_value_with_nothing_behind_them() {
        let name = |pair: &[u8]| {
            let wrapped = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
            wrapped(0x30, &wrapped(0x31, &wrapped(0x30, pair)))
        };
        let (kind, value) = ([6, 3, 0x55, 4, 3], [12, 1, b'a']);
        let whole = name(&[&kind[..], &value].concat());
        assert!(is_name(&whole) && is_name(&[0x30, 0]));
        for bad in [
            name(&[&kind[..], &value, &[0]].concat()),
            name(&[&kind[..], &value, &value].concat()),
            name(&kind),
            name(&[&value[..], &value].concat()),
            name(&[&[0x86, 3, 0x55, 4, 3][..], &value].concat()),
            name(&[&[6, 3, 0x55, 4, 0x83][..], &value].concat()),
            [&whole[..], &[0]].concat(),
            whole[..whole.len() - 1].to_vec(),
        ] {
            assert!(!is_name(&bad), "{bad:?}");
        }
    }

    #[test]
    fn bits_that_are_declared_unused_are_unused() {
        for good in [
            &[3, 1, 0][..],
            &[3, 2, 7, 0x80],
            &[3, 2, 0, 0x80],
            &[3, 3, 7, 0xff, 0x80],
        ] {
            assert!(is_bit_string(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &[3, 1, 1],
            &[3, 2, 7, 0xc0],
            &[3, 2, 8, 0],
            &[4, 2, 7, 0x80],
        ] {
            assert!(!is_bit_string(bad), "{bad:?}");
        }
    }
}
