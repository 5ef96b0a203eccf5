//! Leaves with up to a few faults each, in what they say or in how it is written.

use fastrand::Rng;

use super::generator::{Keys, Spec, how_many, issuer_key_id, usual, valid};
use crate::tls::{
    chains::*,
    der::{bits, boolean, name, named_bits, octets, oid, sequence, tlv},
};

/// The certificate, its faults and its serial number.
pub(super) fn leaf(
    issuer: &Ca,
    key_id: Option<u8>,
    keys: &Keys,
    random: &mut Rng,
) -> (Vec<u8>, Vec<String>, Vec<u8>) {
    let mut spec = Spec {
        certificate: usual(Certificate::client("alice"), random),
        key: keys.plain[random.usize(0..keys.plain.len())].clone(),
    };
    if let Some(id) = key_id {
        spec.certificate = spec.certificate.with(issuer_key_id(id));
    }
    let mut faults: Vec<String> = Vec::new();
    let mut encoding: Option<(&'static str, Edit)> = None;
    for _ in 0..how_many(random) {
        if random.u8(0..4) == 0 {
            encoding = Some(edit(random));
        } else {
            faults.push(leaf_fault(&mut spec, keys, random).to_owned());
        }
    }
    let certificate = Certificate {
        issuer: issuer.name.clone(),
        ..spec.certificate
    };
    let serial = certificate.serial.clone();
    let der = match encoding {
        None => certificate.sign(&spec.key, &issuer.key),
        Some((fault, edit)) => {
            faults.push(fault.into());
            edit(&certificate, &spec.key, &issuer.key, random)
        }
    };
    (der, faults, serial)
}

/// A subject alternative name of the form that this tag stands for.
fn names(form: u8, name: &[u8]) -> Extension {
    Extension::new(ALTERNATIVE_NAME, false, sequence(&[&tlv(form, name)]))
}

fn leaf_fault(spec: &mut Spec, keys: &Keys, random: &mut Rng) -> &'static str {
    let leaf = spec.certificate.clone();
    let key_usage = |set: &[u8]| Extension::key_usage(set);
    let eku = |purposes: &[&str]| Extension::extended_key_usage(purposes);
    let serial = |leaf: Certificate, serial: &[u8]| Certificate {
        serial: serial.to_vec(),
        ..leaf
    };
    let more = |leaf: Certificate, extension: Extension| {
        let mut more = leaf;
        more.extensions.push(extension);
        more
    };
    let (changed, fault) = match random.u8(0..56) {
        0 => (valid(leaf, -100, -1), "expired"),
        1 => (valid(leaf, 1, 100), "not yet valid"),
        2 => (valid(leaf, 100, -100), "ends before it begins"),
        3 | 4 => (leaf.without(EXTENDED_KEY_USAGE), "no purpose"),
        5 => (leaf.with(eku(&[SERVER])), "serverAuth"),
        6 => (leaf.with(eku(&[ANY])), "any purpose"),
        7 => (leaf.with(eku(&[ANY, CLIENT])), "any purpose and clientAuth"),
        8 => (leaf.with(eku(&[SERVER, CLIENT])), "both purposes"),
        9 => (leaf.with(eku(&[])), "purposes, and none of them"),
        10 => (leaf.with(eku(&[CLIENT]).critical()), "critical clientAuth"),
        11 => (leaf.without(KEY_USAGE), "no key usage"),
        12 => (leaf.with(key_usage(&[])), "a key usage of nothing"),
        13 => (leaf.with(key_usage(&[KEY_ENCIPHERMENT])), "keyEncipherment"),
        14 => (
            leaf.with(key_usage(&[DIGITAL_SIGNATURE, CERT_SIGN])),
            "digitalSignature and keyCertSign",
        ),
        15 => (
            leaf.with(key_usage(&[DIGITAL_SIGNATURE, CRL_SIGN])),
            "digitalSignature and cRLSign",
        ),
        16 => (
            leaf.with(Extension::new(KEY_USAGE, true, tlv(3, &[0, 0x80]))),
            "a key usage with zeros behind it",
        ),
        17 => (
            leaf.with(Extension::new(KEY_USAGE, true, vec![5, 0])),
            "a key usage that is none",
        ),
        18 => (
            leaf.with(Extension::basic_constraints(true, None)),
            "CA:true",
        ),
        19 => (
            leaf.with(Extension::basic_constraints(true, Some(0))),
            "CA:true, pathLen 0",
        ),
        20 => (
            leaf.with(Extension::basic_constraints(false, None)),
            "CA:false",
        ),
        21 => (
            leaf.with(Extension::new(
                BASIC_CONSTRAINTS,
                true,
                sequence(&[&boolean(false)]),
            )),
            "CA:false in so many words",
        ),
        22 => (
            leaf.with(Extension::basic_constraints(false, Some(0))),
            "CA:false, pathLen 0",
        ),
        23 => (
            leaf.with(Extension::new(UNKNOWN, true, vec![5, 0])),
            "unknown critical extension",
        ),
        24 => (
            leaf.with(Extension::new(UNKNOWN, false, vec![5, 0])),
            "unknown extension",
        ),
        25 => {
            let unknown = Extension::new(UNKNOWN, false, vec![5, 0]);
            (
                more(more(leaf, unknown.clone()), unknown),
                "unknown extension twice",
            )
        }
        26 => (
            more(leaf, key_usage(&[DIGITAL_SIGNATURE])),
            "key usage twice",
        ),
        27 => (leaf.version_1(), "version 1"),
        28 => (
            Certificate {
                version: Some(1),
                ..leaf
            },
            "version 2 with extensions",
        ),
        29 => (
            Certificate {
                version: None,
                ..leaf
            },
            "version 1 with extensions",
        ),
        30 => (
            Certificate {
                version: Some(3),
                ..leaf
            },
            "version 4",
        ),
        31 => (serial(leaf, &[0]), "serial 0"),
        32 => (serial(leaf, &[0x80, 1]), "negative serial"),
        33 => (serial(leaf, &[0x7f; 20]), "serial of 20 bytes"),
        34 => (serial(leaf, &[0x7f; 21]), "serial of 21 bytes"),
        35 => (serial(leaf, &[]), "empty serial"),
        36 => (serial(leaf, &[0, 0, 1]), "serial with zeros before it"),
        37 => (
            leaf.with(Extension::dns_name("alice.example.com")),
            "name in example.com",
        ),
        38 => (
            leaf.with(Extension::dns_name("alice.example.org")),
            "name in example.org",
        ),
        39 => (
            Certificate {
                subject: sequence(&[]),
                ..leaf
            },
            "no subject",
        ),
        40 => (
            leaf.with(Extension::name_constraints(0xa0, "example.com")),
            "name constraints",
        ),
        41 => {
            let policy = sequence(&[&sequence(&[&oid("2.5.29.32.0")])]);
            (
                leaf.with(Extension::new("2.5.29.32", true, policy)),
                "critical policies",
            )
        }
        42 => (leaf.with(issuer_key_id(9)), "another issuer's key id"),
        43 => (
            Certificate {
                tail: tlv(0x81, &[0, 1]),
                ..leaf
            },
            "an issuer's unique id",
        ),
        44 => {
            let validity = |seconds: i64| {
                let time = jiff::Timestamp::from_second(seconds).unwrap();
                let time = time.to_zoned(jiff::tz::TimeZone::UTC);
                tlv(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
            };
            let validity = sequence(&[&validity(leaf.not_before), &validity(leaf.not_after)]);
            (
                Certificate {
                    validity: Some(validity),
                    ..leaf
                },
                "times with centuries",
            )
        }
        45 => (
            leaf.without(KEY_USAGE).without(EXTENDED_KEY_USAGE),
            "no extension",
        ),
        46 => (leaf.with(names(0x86, b"https://a.example.com/")), "URI"),
        47 => (leaf.with(names(0x81, b"alice@example.com")), "mail"),
        48 => (
            leaf.with(names(0x87, &[10, 1, 2, 3])),
            "address in 10.0.0.0/8",
        ),
        49 => (leaf.with(names(0x87, &[192, 0, 2, 1])), "address elsewhere"),
        50 => {
            let subject = name("alice.example.org");
            (
                Certificate { subject, ..leaf },
                "common name in example.org",
            )
        }
        _ => {
            let (kind, key) = &keys.other[random.usize(0..keys.other.len())];
            spec.key = key.clone();
            (leaf, *kind)
        }
    };
    spec.certificate = changed;
    fault
}

type Edit = fn(&Certificate, &Key, &Key, &mut Rng) -> Vec<u8>;

/// What is wrong with the bytes rather than with what they say.
fn edit(random: &mut Rng) -> (&'static str, Edit) {
    match random.u8(0..10) {
        0 => ("damaged signature", |certificate, key, signer, _| {
            let mut der = certificate.sign(key, signer);
            *der.last_mut().unwrap() ^= 1;
            der
        }),
        1 => ("signed by its own key", |certificate, key, _, _| {
            certificate.sign(key, key)
        }),
        2 => ("bytes behind it", |certificate, key, signer, _| {
            let mut der = certificate.sign(key, signer);
            der.push(0);
            der
        }),
        3 => ("cut off", |certificate, key, signer, random| {
            let mut der = certificate.sign(key, signer);
            der.truncate(random.usize(1..der.len()));
            der
        }),
        4 => ("two algorithms", |certificate, key, signer, _| {
            let content = certificate.content(key, signer);
            let other = sequence(&[&oid("1.2.840.10045.4.3.1")]);
            sequence(&[&content, &other, &bits(&signer.sign(&content))])
        }),
        5 => (
            "its issuer's name as a PrintableString",
            |certificate, key, signer, _| {
                let mut changed = certificate.clone();
                let common_name = certificate.issuer[11..].to_vec();
                let attribute = sequence(&[&oid("2.5.4.3"), &tlv(19, &common_name)]);
                changed.issuer = sequence(&[&tlv(0x31, &attribute)]);
                changed.sign(key, signer)
            },
        ),
        6 => (
            "criticality false in so many words",
            |certificate, key, signer, _| {
                let mut changed = certificate.clone();
                let usage = octets(&named_bits(&[DIGITAL_SIGNATURE]));
                let extension = sequence(&[&oid(KEY_USAGE), &boolean(false), &usage]);
                changed = changed.without(KEY_USAGE);
                changed.extensions.push(Extension::raw(extension));
                changed.sign(key, signer)
            },
        ),
        7 => ("criticality 1", |certificate, key, signer, _| {
            let mut changed = certificate.clone().without(KEY_USAGE);
            let usage = octets(&named_bits(&[DIGITAL_SIGNATURE]));
            let extension = sequence(&[&oid(KEY_USAGE), &tlv(1, &[1]), &usage]);
            changed.extensions.push(Extension::raw(extension));
            changed.sign(key, signer)
        }),
        _ => (
            "a changed byte, signed",
            |certificate, key, signer, random| {
                let mut content = certificate.content(key, signer);
                let at = random.usize(0..content.len());
                content[at] ^= 1 << random.u8(0..8);
                signer.signed(&content)
            },
        ),
    }
}
