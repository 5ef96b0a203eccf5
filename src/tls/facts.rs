//! What the checks look at in one certificate, read once. Judges nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
        OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSAENCRYPTION,
        OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ECDSA_WITH_SHA512, OID_SIG_ED25519, OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, Oid,
    },
    prelude::{ASN1Time, FromDer as _, ParsedExtension, X509Certificate, X509Version},
    public_key::{PublicKey, RSAPublicKey},
    signature_algorithm::RsaSsaPssParams,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use super::expiry::{Expiring, Expiry};

use super::checks::Hash;

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
    pub(super) any: bool,
}

/// The kind of a public key, and how strong it is where kinds alone don't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Rsa {
        bits: usize,
    },
    EllipticCurve,
    Ed25519,
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
        // An extension that is there twice says two things (RFC 5280, 4.2).
        certificate
            .extensions_map()
            .map_err(|_| "it has an extension twice")?;
        let (mut ca, mut path_len) = (None, None);
        let (mut key_usage, mut extended_key_usage, mut key_id) = (None, None, None);
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    ca = Some(constraints.ca);
                    path_len = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => {
                    key_usage = Some(KeyUsage {
                        digital_signature: usage.digital_signature(),
                        cert_sign: usage.key_cert_sign(),
                        crl_sign: usage.crl_sign(),
                    });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    extended_key_usage = Some(ExtendedKeyUsage {
                        client: usage.client_auth,
                        any: usage.any,
                    });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => key_id = Some(id.0),
                // What can't be read is not the same as what isn't there.
                _ if decides(&extension.oid) => {
                    return Err("an extension that says what it is for can't be read");
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

fn decides(oid: &Oid<'_>) -> bool {
    [
        OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_EXTENDED_KEY_USAGE,
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
    known
        .into_iter()
        .find(|(oid, _)| *oid == algorithm.algorithm)
        .map(|(_, hash)| hash)
}

/// The same time in the terms of std.
pub(super) fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}
