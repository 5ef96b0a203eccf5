//! Files that somebody broke: whatever is in them, nothing panics, and what is refused is refused in one sentence.
//!
//! Seeded mutations of files that are fine, the same in every run. `fuzz/` looks further, guided by coverage.

use std::{path::PathBuf, sync::Arc};

use headcount::{
    access::IdentityRules,
    config::Config,
    pki::{Authority, Leaf, Reason, RevocationList, read_certificates},
    tls::{
        TlsFiles, TlsSettings,
        deny_list::{CertificateFacts, DenyList},
    },
};
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};

/// Changes a text or DER in one to eight places.
struct Mutator {
    random: fastrand::Rng,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    fn of(corpus: Vec<Vec<u8>>) -> Self {
        let random = fastrand::Rng::with_seed(0x5eed);
        Self { random, corpus }
    }

    fn next(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let mut bytes = self.corpus[random.usize(..self.corpus.len())].clone();
        for _ in 0..random.usize(1..=8) {
            if bytes.is_empty() {
                break;
            }
            let at = random.usize(..bytes.len());
            let end = (at + random.usize(..40)).min(bytes.len());
            match random.u8(..8) {
                0 => bytes[at] ^= 1 << random.u8(..8),
                1 => bytes[at] = [0x00, 0x7f, 0x80, 0xff, b'\n', b'"'][random.usize(..6)],
                2 => bytes.insert(at, random.u8(..)),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.truncate(at),
                5 => {
                    let run = bytes[at..end].to_vec();
                    bytes.splice(at..at, run);
                }
                6 => {
                    let other = &self.corpus[random.usize(..self.corpus.len())];
                    let from = random.usize(..other.len());
                    let to = (from + random.usize(..60)).min(other.len());
                    bytes.splice(at..end, other[from..to].to_vec());
                }
                _ => {
                    let spaces = vec![b' '; random.usize(..8)];
                    bytes.splice(at..at, spaces);
                }
            }
        }
        bytes
    }
}

fn is_one_sentence(error: &dyn std::fmt::Display) {
    let words = error.to_string();
    assert!(!words.is_empty() && !words.contains('\n'), "{words:?}");
}

fn certificate() -> (Authority, Vec<u8>) {
    let authority = Authority::new("clients").unwrap();
    let mut leaf = Leaf::client("alice");
    leaf.organizations = vec!["oncall".into(), "web".into()];
    leaf.uris = vec!["spiffe://example.org/ns/ci/sa/runner".into()];
    leaf.dns_names = vec!["runner.example.org".into()];
    let issued = authority.issue(&leaf).unwrap();
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    (authority, der.to_vec())
}

#[test]
fn certificates() {
    let (authority, der) = certificate();
    let folder = tempfile::tempdir().unwrap();
    let verifier = verifier_of(&folder, &authority);
    let mut mutator = Mutator::of(vec![der]);
    for _ in 0..20_000 {
        let der = CertificateDer::from(mutator.next());
        if let Ok(principal) = IdentityRules::default().principal(&der) {
            let name = principal.name;
            assert!(!name.trim().is_empty() && !name.chars().any(char::is_control));
        }
        let _ = CertificateFacts::read(&der);
        // A signature doesn't survive a change: what is accepted is what was signed.
        let accepted = verifier.judge(&[der.clone()], UnixTime::now()).is_ok();
        assert_eq!(accepted, mutator.corpus.contains(&der.to_vec()));
    }
}

fn verifier_of(folder: &tempfile::TempDir, authority: &Authority) -> Arc<headcount::tls::Verifier> {
    let server = authority.issue(&Leaf::server(&["localhost"])).unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = TlsFiles {
        cert: write("tls.crt", &server.chain_pem),
        key: write("tls.key", &server.key_pem),
        client_ca: vec![write("ca.crt", &authority.certificate_pem())],
        ..TlsFiles::default()
    };
    files.load(&TlsSettings::default()).unwrap().verifier
}

#[test]
fn pem_files_and_lists() {
    let (authority, _) = certificate();
    let folder = tempfile::tempdir().unwrap();
    verifier_of(&folder, &authority);
    let path = |name: &str| folder.path().join(name);
    let now = std::time::SystemTime::now();
    let mut list = RevocationList::empty(0);
    list.revoke(&[42], Reason::KeyCompromise, now);
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let crl = list.sign(&authority, now, day).unwrap();
    let deny = "apiVersion: headcount/v1alpha1\nkind: DenyList\nserials:\n  - {issuer: CN=a, serial: '4f:3a'}\nnames: [mallory]\n";
    std::fs::write(path("crl.pem"), &crl).unwrap();
    std::fs::write(path("deny.yaml"), deny).unwrap();
    let files = TlsFiles {
        cert: path("tls.crt"),
        key: path("tls.key"),
        client_ca: vec![path("ca.crt")],
        client_crl: vec![path("crl.pem")],
        deny_list: Some(path("deny.yaml")),
    };
    files.load(&TlsSettings::default()).unwrap();
    let names = ["tls.crt", "tls.key", "ca.crt", "crl.pem", "deny.yaml"];
    let fine: Vec<Vec<u8>> = names
        .iter()
        .map(|name| std::fs::read(path(name)).unwrap())
        .collect();
    let mut mutator = Mutator::of(fine.clone());
    for round in 0..4000 {
        let (name, original) = (names[round % names.len()], &fine[round % names.len()]);
        let broken = mutator.next();
        std::fs::write(path(name), &broken).unwrap();
        if let Err(error) = files.load(&TlsSettings::default()) {
            is_one_sentence(&error);
        }
        let _ = read_certificates(&path(name));
        std::fs::write(path(name), original).unwrap();
    }
}

#[test]
fn policies_and_deny_lists() {
    let policy = "apiVersion: headcount/v1alpha1\nkind: Configuration\nmaxReplicas: 50\nauthorization:\n  mode: policy\n  rules:\n    - name: ci\n      subjects: ['spiffe://example.org/ci/*', 'group:oncall']\n      verbs: [get, list, scale, image]\n      namespaces: [web, 'team-*']\n      labelSelector: tier in (front, back),!legacy\n      bounds: {min: 1, max: 10, maxStep: 4, allowZero: false}\n      images: {registries: [registry.example.com/shop], tags: ['v*'], digest: allowed}\n    - {name: no, effect: deny, subjects: ['*'], verbs: ['*']}\nidentity:\n  principal: [uri, commonName]\n  authorities: [{clientCa: ca.crt, names: ['ci-*']}]\nclientCertificates: {minimumRsaBits: 3072, requireCrl: true}\n";
    let deny = "apiVersion: headcount/v1alpha1\nkind: DenyList\nserials:\n  - {issuer: CN=a, serial: '4f:3a'}\nspkiSha256: [aa]\nnames: [mallory]\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.yaml");
    let mut mutator = Mutator::of(vec![policy.into(), deny.into()]);
    for _ in 0..6000 {
        let text = mutator.next();
        std::fs::write(&file, &text).unwrap();
        if let Err(error) = Config::access(&file) {
            is_one_sentence(&error);
        }
        if let Err(error) = DenyList::parse(&String::from_utf8_lossy(&text)) {
            is_one_sentence(&error);
        }
    }
}
