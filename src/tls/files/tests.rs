//! Files of every kind of damage: an error that names them, and never a panic.

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use super::*;
use crate::{
    access::{IdentityRules, Principal},
    pki::{Authority, Leaf, Reason, RevocationList},
    tls::{Identity, Refusal, deny_list::CertificateFacts, facts::Facts},
};

/// Good files, of which bad ones are made.
struct Corpus {
    authority: Authority,
    material: TlsMaterial,
    /// A client's chain.
    alice: Vec<CertificateDer<'static>>,
}

impl Corpus {
    fn new() -> Self {
        let authority = Authority::new("client CA").unwrap();
        let server = authority.issue(&Leaf::server(&["localhost"])).unwrap();
        let below = authority.intermediate("intermediate CA", 0).unwrap();
        let alice = Leaf::client("alice").dns_name("alice.example.com");
        let alice = below
            .issue(&alice.uri("spiffe://example.com/alice"))
            .unwrap();
        let mut list = RevocationList::empty(0);
        let now = std::time::SystemTime::now();
        list.revoke(&[7], Reason::KeyCompromise, now);
        let list = list
            .sign(&authority, now, std::time::Duration::from_secs(3600))
            .unwrap();
        let content = |name: &str, text: &str| Content {
            path: name.into(),
            bytes: text.as_bytes().to_vec().into(),
        };
        let denied = "apiVersion: headcount/v1alpha1\nkind: DenyList\nserials:\n  - issuer: CN=client CA\n    serial: 4f:3a\nnames: [bob]\n";
        let material = TlsMaterial {
            cert: content("server.crt", &server.chain_pem),
            key: content("server.key", &server.key_pem),
            client_ca: vec![content("ca.crt", &authority.certificate_pem())],
            client_crl: vec![content("ca.crl", &list)],
            deny_list: Some(content("deny.yaml", denied)),
        };
        let alice = CertificateDer::pem_slice_iter(alice.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        Self {
            authority,
            material,
            alice,
        }
    }

    /// The files, each with its name.
    fn files(material: &mut TlsMaterial) -> Vec<(&'static str, &mut Content)> {
        let [ca] = &mut material.client_ca[..] else {
            unreachable!()
        };
        let [crl] = &mut material.client_crl[..] else {
            unreachable!()
        };
        vec![
            ("server.crt", &mut material.cert),
            ("server.key", &mut material.key),
            ("ca.crt", ca),
            ("ca.crl", crl),
            ("deny.yaml", material.deny_list.as_mut().unwrap()),
        ]
    }
}

/// What may have happened to some bytes.
#[derive(Debug, Clone)]
enum Damage {
    Changed(prop::sample::Index, u8),
    Removed(prop::sample::Index, u8),
    Doubled(prop::sample::Index, u8),
    Inserted(prop::sample::Index, Vec<u8>),
    CutOff(prop::sample::Index),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<prop::sample::Index>;
        prop_oneof![
            4 => (at(), 1..=u8::MAX).prop_map(|(at, mask)| Self::Changed(at, mask)),
            1 => (at(), 1..=u8::MAX).prop_map(|(at, length)| Self::Removed(at, length)),
            1 => (at(), 1..=u8::MAX).prop_map(|(at, length)| Self::Doubled(at, length)),
            1 => (at(), prop::collection::vec(any::<u8>(), 1..64)).prop_map(|(at, bytes)| Self::Inserted(at, bytes)),
            1 => at().prop_map(Self::CutOff),
        ]
    }

    fn some() -> impl Strategy<Value = Vec<Self>> {
        prop::collection::vec(Self::any(), 1..4)
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let part = |at: &prop::sample::Index, length: u8| {
            let at = at.index(bytes.len());
            at..bytes.len().min(at + usize::from(length))
        };
        match self {
            Self::Changed(at, mask) => *at.get_mut(bytes) ^= mask,
            Self::Removed(at, length) => drop(bytes.drain(part(at, *length))),
            Self::Doubled(at, length) => {
                let part = part(at, *length);
                let copy = bytes[part.clone()].to_vec();
                bytes.splice(part.start..part.start, copy);
            }
            Self::Inserted(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::CutOff(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

#[test]
fn the_undamaged_files_make_a_server_that_lets_alice_in() {
    let corpus = Corpus::new();
    let tls = corpus.material.build(&TlsSettings::default()).unwrap();
    let verdict = tls.verifier.judge(&corpus.alice, UnixTime::now()).unwrap();
    assert_eq!(verdict.root.certificate(), corpus.authority.certificate());
    assert!(corpus.material == corpus.material.clone());
}

#[test]
fn damaged_files_are_usable_still_or_an_error_of_one_line_that_names_the_file() {
    let corpus = Corpus::new();
    let config = ProptestConfig::with_cases(2_000);
    let inputs = (any::<prop::sample::Index>(), Damage::some());
    proptest!(config, |((which, damages) in inputs)| {
        let mut material = corpus.material.clone();
        let mut files = Corpus::files(&mut material);
        let (name, content) = which.get_mut(&mut files);
        damages.iter().for_each(|damage| damage.apply(&mut content.bytes));
        let name = *name;
        if let Err(error) = material.build(&TlsSettings::default()) {
            let error = error.to_string();
            prop_assert!(error.contains(name), "{error}");
            prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    });
}

#[test]
fn a_damaged_chain_is_read_without_a_panic_and_refused() {
    let corpus = Corpus::new();
    let verifier = corpus
        .material
        .build(&TlsSettings::default())
        .unwrap()
        .verifier;
    let config = ProptestConfig::with_cases(5_000);
    let inputs = (any::<prop::sample::Index>(), Damage::some());
    proptest!(config, |((which, damages) in inputs)| {
        let mut chain: Vec<Vec<u8>> = corpus.alice.iter().map(|der| der.to_vec()).collect();
        let damaged = which.get_mut(&mut chain);
        damages.iter().for_each(|damage| damage.apply(damaged));
        let _ = (Facts::read(damaged), CertificateFacts::read(damaged));
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let _ = Identity::read(&chain);
        for der in &chain {
            if let Ok(Principal { name, .. }) = IdentityRules::default().principal(der) {
                prop_assert!(!name.trim().is_empty() && !name.chars().any(char::is_control));
            }
        }
        match verifier.judge(&chain, UnixTime::now()) {
            // Two changes may undo each other.
            Ok(_) => prop_assert!(chain == corpus.alice, "a damaged chain was let in"),
            Err(error) => prop_assert!(!Refusal::of_tls(&error).reason.is_empty()),
        }
    });
}

#[test]
fn no_bytes_at_all_make_a_panic() {
    let corpus = Corpus::new();
    let verifier = corpus
        .material
        .build(&TlsSettings::default())
        .unwrap()
        .verifier;
    proptest!(ProptestConfig::with_cases(2_000), |(bytes in prop::collection::vec(any::<u8>(), 0..512))| {
        prop_assert!(Facts::read(&bytes).is_err());
        prop_assert!(List::read(Path::new("ca.crl"), &bytes).is_err());
        prop_assert!(verifier.judge(&[CertificateDer::from(bytes)], UnixTime::now()).is_err());
    });
}

#[test]
fn a_file_that_was_cut_off_is_told_with_the_line_that_it_lacks() {
    let corpus = Corpus::new();
    for (name, line) in [
        ("server.crt", "-----END CERTIFICATE-----"),
        ("server.key", "-----END PRIVATE KEY-----"),
        ("ca.crt", "-----END CERTIFICATE-----"),
        ("ca.crl", "-----END X509 CRL-----"),
    ] {
        let mut material = corpus.material.clone();
        for (file, content) in Corpus::files(&mut material) {
            if file == name {
                let length = content.bytes.len();
                content.bytes.truncate(length - 8);
            }
        }
        let error = material.build(&TlsSettings::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(name) && error.contains(line), "{error}");
    }
}
