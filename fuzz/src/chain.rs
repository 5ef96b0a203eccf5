//! Any bytes as a chain of certificates. Where the first byte is odd, the leaf is signed by a CA that is trusted: so the search gets
//! past the signature, to everything that a certificate's content may be.

use std::{
    fs,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_lc_rs::signature::Ed25519KeyPair;
use headcount::{
    access::IdentityRules,
    tls::{Identity, TlsFiles, TlsSettings, Verdict, Verifier, deny_list::CertificateFacts},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A moment at which the committed certificates are valid.
const NOW: Duration = Duration::from_secs(1_800_000_000);
/// The algorithm identifier of Ed25519 (RFC 8410).
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

struct Trusted {
    key: Ed25519KeyPair,
    verifier: Arc<Verifier>,
}

/// The same CA in every run: its key is no secret.
static TRUSTED: LazyLock<Trusted> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is a key");
    let document = key.to_pkcs8v1().expect("a key has this form");
    let signer = KeyPair::try_from(document.as_ref()).expect("it is a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "fuzz");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.serial_number = Some(SerialNumber::from(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = params.self_signed(&signer).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let files = TlsFiles {
        cert: place("tls.crt", &root.pem()),
        key: place("tls.key", &signer.serialize_pem()),
        client_ca: vec![place("ca.crt", &root.pem())],
        ..TlsFiles::default()
    };
    let loaded = files.load(&TlsSettings::default()).expect("they fit");
    Trusted {
        key,
        verifier: loaded.verifier,
    }
});

/// What the CA has signed: `content` in a SEQUENCE with the algorithm and the signature.
fn signed(content: &[u8]) -> Vec<u8> {
    let key = &TRUSTED.key;
    let mut bits = vec![0];
    bits.extend_from_slice(key.sign(content).as_ref());
    element(0x30, &[content, ED25519, &element(3, &bits)].concat())
}

/// A DER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut head = vec![tag];
    match length {
        0..0x80 => head.push(length as u8),
        0x80..0x100 => head.extend([0x81, length as u8]),
        _ => head.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    [head.as_slice(), content].concat()
}

/// The moment at which chains are judged.
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(NOW)
}

/// A chain that is let in, and the verdict on it.
fn let_in(bytes: &[u8]) -> Option<(Vec<CertificateDer<'static>>, Verdict)> {
    let (&first, bytes) = bytes.split_first()?;
    if bytes.len() > 0xf000 {
        return None;
    }
    let is_signed = first & 1 == 1;
    let leaf = match is_signed {
        true => signed(bytes),
        false => bytes.to_vec(),
    };
    // Behind the leaf, intermediates: the same certificate, or what it begins with.
    let mut chain = vec![CertificateDer::from(leaf)];
    for n in 0..(first >> 1) & 3 {
        let cut = bytes.len() / (usize::from(n) + 1);
        chain.push(CertificateDer::from(bytes[..cut].to_vec()));
    }
    let judge = || {
        let verdict = TRUSTED.verifier.judge(&chain, now());
        verdict.map_err(|error| error.to_string())
    };
    let verdict = judge();
    assert_eq!(verdict, judge(), "judged twice");
    let verdict = verdict.ok()?;
    assert!(is_signed, "nobody has signed it");
    Some((chain, verdict))
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((chain, verdict)) = let_in(bytes) else {
        return;
    };
    // Who is let in can be read, is valid, and is a client and no authority.
    assert!(verdict.holds(now()));
    // What its names may be is the log's to escape.
    let _ = Identity::read(&chain).expect("who is let in has an identity");
    let _ = CertificateFacts::read(&chain[0]).expect("the deny list can look at it");
    let (rest, leaf) = X509Certificate::from_der(&chain[0]).expect("it is a certificate");
    assert!(rest.is_empty());
    let seconds = NOW.as_secs() as i64;
    let validity = leaf.validity();
    assert!(
        validity.not_before.timestamp() <= seconds && seconds <= validity.not_after.timestamp()
    );
    assert!(!leaf.is_ca());
    let usages = leaf.extended_key_usage().expect("readable").expect("there");
    assert!(usages.value.client_auth);
    if let Some(usage) = leaf.key_usage().expect("readable") {
        assert!(usage.value.digital_signature() && !usage.value.key_cert_sign());
    }
    if let Ok(principal) = IdentityRules::default().principal(&chain[0]) {
        assert!(!principal.name.trim().is_empty() && !principal.name.chars().any(char::is_control));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_starts_from_a_chain_that_is_let_in() {
        assert!(
            crate::inputs("chain")
                .iter()
                .any(|input| let_in(input).is_some())
        );
    }
}
