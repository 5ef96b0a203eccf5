//! Scenes of CAs and leaves with up to a few faults each, the same ones for the same seed (but for keys and signatures).

use std::rc::Rc;

use fastrand::Rng;

use super::leaves::leaf;
use crate::tls::{
    chains::*,
    der::{name, octets, sequence, tlv},
};

/// When all of it is judged: 2026-06-01T00:00:00Z.
pub(super) const NOW: i64 = 1_780_272_000;

/// Some CAs, and leaves that are judged among them.
pub(super) struct Scene {
    pub(super) roots: Vec<Vec<u8>>,
    /// What every client of the scene sends besides its leaf.
    pub(super) others: Vec<Vec<u8>>,
    /// The lists of all CAs, in scenes that have lists.
    pub(super) crls: Option<Vec<Vec<u8>>>,
    /// Each with the faults that were put into it.
    pub(super) leaves: Vec<(Vec<u8>, String)>,
    /// The faults of the CAs.
    pub(super) faults: String,
}

/// Keys are few, because making them takes longer than using them.
pub(super) struct Keys {
    pub(super) plain: Vec<Rc<Key>>,
    pub(super) other: Vec<(&'static str, Rc<Key>)>,
}

impl Keys {
    pub(super) fn new() -> Self {
        let rsa = |bits, hash| Key::rsa(bits, hash, 7);
        Self {
            plain: (0..12).map(|_| Key::p256()).collect(),
            other: vec![
                ("P-384", Key::p384()),
                ("P-521", Key::p521()),
                ("Ed25519", Key::ed25519()),
                ("RSA 2048", rsa(2048, Hash::Sha256)),
                ("RSA 2048, SHA-384", rsa(2048, Hash::Sha384)),
                ("RSA 2048, SHA-512", rsa(2048, Hash::Sha512)),
                ("RSA 2048, SHA-1", rsa(2048, Hash::Sha1)),
                ("RSA 1024", rsa(1024, Hash::Sha256)),
                ("RSA 2047", rsa(2047, Hash::Sha256)),
            ],
        }
    }
}

/// What a certificate says, and for which key.
pub(super) struct Spec {
    pub(super) certificate: Certificate,
    pub(super) key: Rc<Key>,
}

pub(super) fn valid(certificate: Certificate, from: i64, to: i64) -> Certificate {
    Certificate {
        not_before: NOW + from * DAY,
        not_after: NOW + to * DAY,
        ..certificate
    }
}

pub(super) fn usual(certificate: Certificate, random: &mut Rng) -> Certificate {
    Certificate {
        serial: [&[0x40][..], &random.u64(..).to_be_bytes()].concat(),
        ..valid(certificate, -100, 100)
    }
}

/// How many faults: none as often as any.
pub(super) fn how_many(random: &mut Rng) -> usize {
    match random.u8(0..20) {
        0..10 => 0,
        10..16 => 1,
        16..19 => 2,
        _ => 3,
    }
}

pub(super) fn scene(seed: u64, keys: &Keys, leaves: usize) -> Scene {
    let mut random = Rng::with_seed(seed);
    let random = &mut random;
    let depth = random.usize(0..=3);
    let mut unused = keys.plain.clone();
    random.shuffle(&mut unused);
    let mut next_key = || unused.pop().unwrap();
    let mut specs: Vec<Spec> = (0..=depth)
        .map(|level| Spec {
            certificate: usual(Certificate::ca(&format!("CA {level}")), random),
            key: next_key(),
        })
        .collect();
    let key_ids = random.bool();
    if key_ids {
        for (level, spec) in (1..).zip(&mut specs) {
            let certificate = spec.certificate.clone().with(key_id(level));
            spec.certificate = match level {
                1 => certificate,
                _ => certificate.with(issuer_key_id(level - 1)),
            };
        }
    }
    let mut faults = Vec::new();
    for _ in 0..how_many(random) {
        let level = random.usize(0..specs.len());
        let spec = &mut specs[level];
        let fault = ca_fault(spec, keys, random);
        faults.push(format!(
            "{} {fault}",
            if level == 0 {
                "root".into()
            } else {
                format!("CA {level}")
            }
        ));
    }
    let mut specs = specs.into_iter();
    let first = specs.next().unwrap();
    let mut cas = vec![Ca::root(first.certificate, first.key)];
    for Spec { certificate, key } in specs {
        let ca = cas.last().unwrap().sub(certificate, key);
        cas.push(ca);
    }
    let mut roots = vec![cas[0].der.clone()];
    let mut others: Vec<_> = cas[1..].iter().map(|ca| ca.der.clone()).collect();
    if random.u8(0..5) == 0 {
        let fault = scene_fault(&cas, &mut roots, &mut others, &mut next_key, random);
        faults.push(fault.to_owned());
    }
    let issuer = cas.last().unwrap();
    let mut revoked = Vec::new();
    let leaves = (0..leaves)
        .map(|_| {
            let key_id = key_ids.then_some(cas.len() as u8);
            let (der, mut faults, serial) = leaf(issuer, key_id, keys, random);
            // A list with a number that is none would be no list to OpenSSL.
            let listable = !serial.is_empty() && serial != [0, 0, 1];
            if random.u8(0..4) == 0 && listable {
                revoked.push(serial);
                faults.push("perhaps revoked".into());
            }
            (der, faults.join(", "))
        })
        .collect();
    let mut leaves: Vec<_> = leaves;
    if let Some(trusted) = roots
        .get(1)
        .filter(|_| faults.iter().any(|fault| fault.contains("self-signed")))
    {
        leaves[0] = (trusted.clone(), "the self-signed one".into());
    }
    if let Some(ca) = others.last().filter(|_| random.u8(0..20) == 0) {
        leaves[1] = (ca.clone(), "a CA".into());
    }
    let crls = (random.u8(0..4) == 0).then(|| {
        let mut all = Vec::new();
        for (level, ca) in cas.iter().enumerate() {
            let serials: Vec<&[u8]> = if level + 1 == cas.len() {
                revoked.iter().map(Vec::as_slice).collect()
            } else {
                Vec::new()
            };
            let (from, to, fault) = match random.u8(0..16) {
                0 => (-20, -10, "expired list"),
                1 => continue,
                _ => (-10, 10, ""),
            };
            if !fault.is_empty() {
                faults.push(format!("CA {level} {fault}"));
            }
            all.push(ca.crl_at(NOW, &serials, from, to));
        }
        all
    });
    Scene {
        roots,
        others,
        crls,
        leaves,
        faults: faults.join(", "),
    }
}

fn key_id(level: u8) -> Extension {
    Extension::new("2.5.29.14", false, octets(&[level; 20]))
}

pub(super) fn issuer_key_id(level: u8) -> Extension {
    Extension::new("2.5.29.35", false, sequence(&[&tlv(0x80, &[level; 20])]))
}

/// Permits names of the form that this tag stands for.
fn permits(form: u8, subtree: &[u8]) -> Extension {
    let subtrees = sequence(&[&tlv(form, subtree)]);
    Extension::new(NAME_CONSTRAINTS, true, sequence(&[&tlv(0xa0, &subtrees)]))
}

fn ca_fault(spec: &mut Spec, keys: &Keys, random: &mut Rng) -> &'static str {
    let ca = spec.certificate.clone();
    let (changed, fault) = match random.u8(0..30) {
        0 => (valid(ca, -100, -1), "expired"),
        1 => (valid(ca, 1, 100), "not yet valid"),
        2 => (
            ca.with(Extension::basic_constraints(true, Some(0))),
            "pathLen 0",
        ),
        3 => (
            ca.with(Extension::basic_constraints(true, Some(1))),
            "pathLen 1",
        ),
        4 => (ca.without(BASIC_CONSTRAINTS), "without basic constraints"),
        5 => (
            ca.with(Extension::basic_constraints(false, None)),
            "CA:false",
        ),
        6 => (ca.without(KEY_USAGE), "without key usage"),
        7 => (
            ca.with(Extension::key_usage(&[CRL_SIGN, DIGITAL_SIGNATURE])),
            "without keyCertSign",
        ),
        8 => (
            ca.with(Extension::key_usage(&[CERT_SIGN])),
            "without cRLSign",
        ),
        9 => (
            ca.with(Extension::extended_key_usage(&[SERVER])),
            "serverAuth",
        ),
        10 => (
            ca.with(Extension::extended_key_usage(&[CLIENT])),
            "clientAuth",
        ),
        11 => (
            ca.with(Extension::extended_key_usage(&[ANY])),
            "any purpose",
        ),
        12 => (
            ca.with(Extension::extended_key_usage(&[SERVER, CLIENT])),
            "both purposes",
        ),
        13 => (
            ca.with(Extension::new(UNKNOWN, true, vec![5, 0])),
            "unknown critical extension",
        ),
        14 => (
            ca.with(Extension::new(UNKNOWN, false, vec![5, 0])),
            "unknown extension",
        ),
        15 => (ca.version_1(), "version 1"),
        16 => (
            ca.with(Extension::name_constraints(0xa0, "example.com")),
            "permits example.com",
        ),
        17 => (
            ca.with(Extension::name_constraints(0xa1, "example.com")),
            "excludes example.com",
        ),
        18 => {
            let critical = Extension::extended_key_usage(&[CLIENT]).critical();
            (ca.with(critical), "critical clientAuth")
        }
        19 => (
            Certificate {
                subject: name("CA 0"),
                ..ca
            },
            "named like the root",
        ),
        20 => {
            let mut twice = ca;
            twice
                .extensions
                .push(Extension::key_usage(&[CERT_SIGN, CRL_SIGN]));
            (twice, "key usage twice")
        }
        21 => {
            let constraints = sequence(&[&tlv(0x80, &[0])]);
            (
                ca.with(Extension::new("2.5.29.36", true, constraints)),
                "policy constraints",
            )
        }
        23 => (ca.with(permits(0x86, b".example.com")), "permits URIs"),
        24 => (ca.with(permits(0x81, b"example.com")), "permits mail"),
        25 => (
            ca.with(permits(0x87, &[10, 0, 0, 0, 255, 0, 0, 0])),
            "permits addresses",
        ),
        26 => (
            ca.with(permits(0xa4, &name("alice"))),
            "permits directory names",
        ),
        22 => (ca.with(key_id(8)), "another key id"),
        _ => {
            let (kind, key) = &keys.other[random.usize(0..keys.other.len())];
            spec.key = key.clone();
            (ca, *kind)
        }
    };
    spec.certificate = changed;
    fault
}

fn scene_fault(
    cas: &[Ca],
    roots: &mut Vec<Vec<u8>>,
    others: &mut Vec<Vec<u8>>,
    next_key: &mut impl FnMut() -> Rc<Key>,
    random: &mut Rng,
) -> &'static str {
    let again = |name: &str, random: &mut Rng| usual(Certificate::ca(name), random);
    match random.u8(0..8) {
        0 if !others.is_empty() => {
            others.remove(random.usize(0..others.len()));
            "an intermediate is missing"
        }
        1 => {
            roots[0] = Ca::root(again("CA 0", random), next_key()).der;
            "another root of the name"
        }
        2 => {
            roots.insert(0, Ca::root(again("CA 0", random), next_key()).der);
            "a second root of the name"
        }
        3 => {
            let expired = valid(again("CA 0", random), -100, -50);
            roots.insert(0, Ca::root(expired, cas[0].key.clone()).der);
            "an expired twin of the root"
        }
        4 if cas.len() > 1 => {
            let other = Ca::root(again("other root", random), next_key());
            let cross = other.issue(&again("CA 1", random), &cas[1].key);
            others.insert(0, cross);
            roots.push(other.der);
            "cross-signed"
        }
        5 => {
            others.extend(roots.iter().cloned());
            "the root is sent too"
        }
        6 => {
            roots.push(
                Ca::root(
                    usual(Certificate::client("alice"), random),
                    cas[0].key.clone(),
                )
                .der,
            );
            "a trusted self-signed client"
        }
        _ => {
            others.push(Ca::root(again("decoy", random), next_key()).der);
            "a decoy"
        }
    }
}
