//! Certificates and revocation lists of every kind, also of those that no proper CA makes: hand-made DER, signed by keys of rcgen or,
//! where nobody makes such keys any more, by hand-made RSA.

use std::rc::Rc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_ML_DSA_65, PKCS_RSA_SHA256, PublicKeyData as _, SignatureAlgorithm, SigningKey as _,
};

use super::der::{bits, boolean, integer, name, named_bits, octets, oid, sequence, time, tlv};
pub(crate) use super::rsa::{Hash, Rsa};

pub(crate) const DAY: i64 = 86_400;

pub(crate) const DIGITAL_SIGNATURE: u8 = 0;
pub(crate) const KEY_ENCIPHERMENT: u8 = 2;
pub(crate) const CERT_SIGN: u8 = 5;
pub(crate) const CRL_SIGN: u8 = 6;

pub(crate) const SERVER: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const CLIENT: &str = "1.3.6.1.5.5.7.3.2";
pub(crate) const ANY: &str = "2.5.29.37.0";

pub(crate) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(crate) const KEY_USAGE: &str = "2.5.29.15";
pub(crate) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub(crate) const ALTERNATIVE_NAME: &str = "2.5.29.17";
pub(crate) const NAME_CONSTRAINTS: &str = "2.5.29.30";
/// A number that nobody has given a meaning.
pub(crate) const UNKNOWN: &str = "1.3.6.1.4.1.55555.1";

const RSA_SHA256: &str = "1.2.840.113549.1.1.11";

/// A key that signs certificates.
pub(crate) enum Key {
    Made(KeyPair, &'static str),
    Rsa(Rsa, Hash),
}

impl Key {
    pub(crate) fn p256() -> Rc<Self> {
        Self::made(&PKCS_ECDSA_P256_SHA256, "1.2.840.10045.4.3.2")
    }

    pub(crate) fn p384() -> Rc<Self> {
        Self::made(&PKCS_ECDSA_P384_SHA384, "1.2.840.10045.4.3.3")
    }

    pub(crate) fn p521() -> Rc<Self> {
        Self::made(&PKCS_ECDSA_P521_SHA512, "1.2.840.10045.4.3.4")
    }

    pub(crate) fn ed25519() -> Rc<Self> {
        Self::made(&PKCS_ED25519, "1.3.101.112")
    }

    pub(crate) fn ml_dsa_65() -> Rc<Self> {
        Self::made(&PKCS_ML_DSA_65, "2.16.840.1.101.3.4.3.18")
    }

    fn made(algorithm: &'static SignatureAlgorithm, signature: &'static str) -> Rc<Self> {
        Rc::new(Self::Made(
            KeyPair::generate_for(algorithm).unwrap(),
            signature,
        ))
    }

    /// RSA that a handshake can be made with.
    pub(crate) fn rsa_2048() -> Rc<Self> {
        Self::made(&PKCS_RSA_SHA256, RSA_SHA256)
    }

    /// By hand; the same one for the same seed.
    pub(crate) fn rsa(bits: u64, hash: Hash, seed: u64) -> Rc<Self> {
        Rc::new(Self::Rsa(Rsa::new(bits, seed), hash))
    }

    /// The private key in PEM, for a client's handshake.
    pub(crate) fn pem(&self) -> String {
        match self {
            Self::Made(key, _) => key.serialize_pem(),
            Self::Rsa(..) => panic!("a hand-made key signs certificates alone"),
        }
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn public(&self) -> Vec<u8> {
        match self {
            Self::Made(key, _) => key.subject_public_key_info(),
            Self::Rsa(key, _) => key.public(),
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    fn algorithm(&self) -> Vec<u8> {
        match self {
            Self::Made(_, RSA_SHA256) => sequence(&[&oid(RSA_SHA256), &tlv(5, &[])]),
            Self::Made(_, signature) => sequence(&[&oid(signature)]),
            Self::Rsa(_, hash) => {
                let last = match hash {
                    Hash::Sha1 => 5,
                    Hash::Sha256 => 11,
                    Hash::Sha384 => 12,
                    Hash::Sha512 => 13,
                };
                let signature = oid(&format!("1.2.840.113549.1.1.{last}"));
                sequence(&[&signature, &tlv(5, &[])])
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Made(key, _) => key.sign(message).unwrap(),
            Self::Rsa(key, hash) => key.sign(*hash, message),
        }
    }

    /// What is to be signed, with its algorithm and signature.
    pub(crate) fn signed(&self, content: &[u8]) -> Vec<u8> {
        sequence(&[content, &self.algorithm(), &bits(&self.sign(content))])
    }
}

/// What a certificate says. All of it can be changed before it is signed.
#[derive(Clone)]
pub(crate) struct Certificate {
    /// The number behind `version`; `None` leaves it out, which means version 1.
    pub(crate) version: Option<u8>,
    /// The INTEGER's content, as it stands there.
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    /// In seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) subject: Vec<u8>,
    /// What stands between the key and the extensions: unique identifiers.
    pub(crate) tail: Vec<u8>,
    /// The validity in DER, where it isn't to be written as it should be.
    pub(crate) validity: Option<Vec<u8>>,
    pub(crate) extensions: Vec<Extension>,
}

#[derive(Clone)]
pub(crate) struct Extension {
    id: &'static str,
    critical: bool,
    value: Vec<u8>,
    raw: Option<Vec<u8>>,
}

impl Extension {
    /// One that is written as it stands here.
    pub(crate) fn raw(der: Vec<u8>) -> Self {
        Self {
            raw: Some(der),
            ..Self::new("", false, Vec::new())
        }
    }

    pub(crate) fn new(id: &'static str, critical: bool, value: Vec<u8>) -> Self {
        Self {
            id,
            critical,
            value,
            raw: None,
        }
    }

    pub(crate) fn basic_constraints(ca: bool, path_len: Option<u8>) -> Self {
        let ca = if ca { boolean(true) } else { Vec::new() };
        let path_len = path_len
            .map(|length| integer(&[length]))
            .unwrap_or_default();
        Self::new(BASIC_CONSTRAINTS, true, sequence(&[&ca, &path_len]))
    }

    pub(crate) fn key_usage(set: &[u8]) -> Self {
        Self::new(KEY_USAGE, true, named_bits(set))
    }

    pub(crate) fn extended_key_usage(purposes: &[&str]) -> Self {
        let purposes: Vec<_> = purposes.iter().map(|purpose| oid(purpose)).collect();
        Self::new(EXTENDED_KEY_USAGE, false, tlv(0x30, &purposes.concat()))
    }

    pub(crate) fn dns_name(name: &str) -> Self {
        Self::new(
            ALTERNATIVE_NAME,
            false,
            sequence(&[&tlv(0x82, name.as_bytes())]),
        )
    }

    /// Permits (tag 0xa0) or excludes (0xa1) DNS names below `domain`.
    pub(crate) fn name_constraints(tag: u8, domain: &str) -> Self {
        let subtree = sequence(&[&tlv(0x82, domain.as_bytes())]);
        Self::new(NAME_CONSTRAINTS, true, sequence(&[&tlv(tag, &subtree)]))
    }

    pub(crate) fn critical(self) -> Self {
        Self {
            critical: true,
            ..self
        }
    }

    fn der(&self) -> Vec<u8> {
        if let Some(der) = &self.raw {
            return der.clone();
        }
        let critical = if self.critical {
            boolean(true)
        } else {
            Vec::new()
        };
        sequence(&[&oid(self.id), &critical, &octets(&self.value)])
    }
}

impl Certificate {
    fn new(subject: &str, extensions: Vec<Extension>) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let serial = [&[0x40][..], &fastrand::u64(..).to_be_bytes()].concat();
        Self {
            version: Some(2),
            serial,
            issuer: name("nobody"),
            not_before: now - DAY,
            not_after: now + 30 * DAY,
            subject: name(subject),
            tail: Vec::new(),
            validity: None,
            extensions,
        }
    }

    pub(crate) fn ca(subject: &str) -> Self {
        let extensions = vec![
            Extension::basic_constraints(true, None),
            Extension::key_usage(&[CERT_SIGN, CRL_SIGN]),
        ];
        Self::new(subject, extensions)
    }

    pub(crate) fn client(subject: &str) -> Self {
        let extensions = vec![
            Extension::key_usage(&[DIGITAL_SIGNATURE]),
            Extension::extended_key_usage(&[CLIENT]),
        ];
        Self::new(subject, extensions)
    }

    /// With this extension instead of the one that it had.
    pub(crate) fn with(self, extension: Extension) -> Self {
        let mut changed = self.without(extension.id);
        changed.extensions.push(extension);
        changed
    }

    pub(crate) fn without(mut self, id: &str) -> Self {
        self.extensions.retain(|extension| extension.id != id);
        self
    }

    /// Valid in these days from now.
    pub(crate) fn valid(mut self, from: i64, to: i64) -> Self {
        let now = jiff::Timestamp::now().as_second();
        (self.not_before, self.not_after) = (now + from * DAY, now + to * DAY);
        self
    }

    /// Version 1, which knows no extensions.
    pub(crate) fn version_1(mut self) -> Self {
        self.version = None;
        self.extensions.clear();
        self
    }

    pub(crate) fn sign(&self, key: &Key, signer: &Key) -> Vec<u8> {
        signer.signed(&self.content(key, signer))
    }

    /// What is signed.
    pub(crate) fn content(&self, key: &Key, signer: &Key) -> Vec<u8> {
        let version = self.version.map(|version| tlv(0xa0, &integer(&[version])));
        let extensions: Vec<_> = self.extensions.iter().map(Extension::der).collect();
        let extensions = match &extensions[..] {
            [] => Vec::new(),
            some => tlv(0xa3, &tlv(0x30, &some.concat())),
        };
        let times = || sequence(&[&time(self.not_before), &time(self.not_after)]);
        sequence(&[
            &version.unwrap_or_default(),
            &tlv(2, &self.serial),
            &signer.algorithm(),
            &self.issuer,
            &self.validity.clone().unwrap_or_else(times),
            &self.subject,
            &key.public(),
            &self.tail,
            &extensions,
        ])
    }
}

/// A CA: its name, its key and its certificate.
#[derive(Clone)]
pub(crate) struct Ca {
    pub(crate) name: Vec<u8>,
    pub(crate) key: Rc<Key>,
    pub(crate) der: Vec<u8>,
}

impl Ca {
    pub(crate) fn root(certificate: Certificate, key: Rc<Key>) -> Self {
        let name = certificate.subject.clone();
        let certificate = Certificate {
            issuer: name.clone(),
            ..certificate
        };
        let der = certificate.sign(&key, &key);
        Self { name, key, der }
    }

    /// A CA below this one.
    pub(crate) fn sub(&self, certificate: Certificate, key: Rc<Key>) -> Self {
        Self {
            name: certificate.subject.clone(),
            der: self.issue(&certificate, &key),
            key,
        }
    }

    /// A certificate for a key, in this CA's name.
    pub(crate) fn issue(&self, certificate: &Certificate, key: &Key) -> Vec<u8> {
        let certificate = Certificate {
            issuer: self.name.clone(),
            ..certificate.clone()
        };
        certificate.sign(key, &self.key)
    }

    /// A revocation list of these serial numbers (contents of INTEGERs), valid in these days from now.
    pub(crate) fn crl(&self, serials: &[&[u8]], from: i64, to: i64) -> Vec<u8> {
        self.crl_at(jiff::Timestamp::now().as_second(), serials, from, to)
    }

    /// The same in days from another time.
    pub(crate) fn crl_at(&self, now: i64, serials: &[&[u8]], from: i64, to: i64) -> Vec<u8> {
        let revoked: Vec<_> = serials
            .iter()
            .map(|serial| sequence(&[&tlv(2, serial), &time(now + from * DAY)]))
            .collect();
        let revoked = match &revoked[..] {
            [] => Vec::new(),
            some => tlv(0x30, &some.concat()),
        };
        let number = sequence(&[&oid("2.5.29.20"), &octets(&integer(&[1]))]);
        let content = sequence(&[
            &integer(&[1]),
            &self.key.algorithm(),
            &self.name,
            &time(now + from * DAY),
            &time(now + to * DAY),
            &revoked,
            &tlv(0xa0, &sequence(&[&number])),
        ]);
        self.key.signed(&content)
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

pub(crate) fn certificates_pem<'a>(ders: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    ders.into_iter()
        .map(|der| pem("CERTIFICATE", der))
        .collect()
}
