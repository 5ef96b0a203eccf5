//! Whose list counts for whom, and what an absent, old or damaged one does.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use rcgen::{
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, PublicKeyData, SigningKey,
};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use super::*;

#[test]
fn each_of_two_authorities_of_one_name_has_its_own_list() {
    let (old, new) = (Ca::root(ca_params("root")), Ca::root(ca_params("root")));
    let by_old = [old.sign(&numbered("alice", 7))];
    let by_new = [new.sign(&numbered("alice", 7))];
    let of = |lists: Vec<List>| {
        let verifier = verifier(&[&old, &new], lists, Checks::default());
        (judged(&verifier, &by_old), judged(&verifier, &by_new))
    };
    let (revoking, empty) = (
        |ca: &Ca| ca.crl(crl_of(&[7])),
        |ca: &Ca| ca.crl(crl_of(&[])),
    );
    assert_eq!(of(vec![revoking(&old)]), ("Revoked", "accepted"));
    assert_eq!(of(vec![revoking(&new)]), ("accepted", "Revoked"));
    assert_eq!(
        of(vec![empty(&old), revoking(&new)]),
        ("accepted", "Revoked")
    );
    assert_eq!(
        of(vec![revoking(&new), empty(&old)]),
        ("accepted", "Revoked")
    );
}

#[test]
fn the_newest_of_an_issuers_lists_counts_in_whatever_order_they_come() {
    let root = Ca::root(ca_params("root"));
    let alice = [root.sign(&numbered("alice", 7))];
    let list = |serials: &[u64], month: u8, number: u64| {
        let mut params = crl_of(serials);
        params.this_update = rcgen::date_time_ymd(2026, month, 1);
        params.crl_number = SerialNumber::from(number);
        root.crl(params)
    };
    for (old, new) in [((4, 1), (5, 1)), ((5, 1), (5, 2)), ((5, 255), (5, 256))] {
        for revoked_since in [true, false] {
            let lists = || {
                let (before, since): (&[u64], &[u64]) = if revoked_since {
                    (&[], &[7])
                } else {
                    (&[7], &[])
                };
                vec![list(before, old.0, old.1), list(since, new.0, new.1)]
            };
            let expected = if revoked_since { "Revoked" } else { "accepted" };
            let mut reversed = lists();
            reversed.reverse();
            for lists in [lists(), reversed] {
                assert_eq!(
                    judged(&verifier(&[&root], lists, Checks::default()), &alice),
                    expected
                );
            }
        }
    }
}

#[test]
fn a_list_of_the_future_counts_from_then_on_and_alone_lets_nobody_in() {
    let root = Ca::root(ca_params("root"));
    let alice = [root.sign(&numbered("alice", 7))];
    let may = |serials: &[u64]| root.crl(crl_of(serials));
    let june = |serials: &[u64]| {
        let mut params = crl_of(serials);
        params.this_update = rcgen::date_time_ymd(2026, 6, 11);
        params.next_update = rcgen::date_time_ymd(2026, 8, 1);
        root.crl(params)
    };
    let in_effect = NOW + 10 * DAY - 5 * 60;
    for (lists, before, since) in [
        (vec![may(&[7]), june(&[])], "Revoked", "accepted"),
        (vec![june(&[7]), may(&[])], "accepted", "Revoked"),
        (vec![june(&[])], "CrlInvalid", "accepted"),
        (vec![june(&[7])], "CrlInvalid", "Revoked"),
    ] {
        let verifier = verifier(&[&root], lists, Checks::default());
        // What is remembered of the time before ends with it.
        for (now, expected) in [
            (NOW, before),
            (in_effect - 1, before),
            (in_effect, since),
            (in_effect + DAY, since),
        ] {
            assert_eq!(judged_at(&verifier, &alice, now), expected);
        }
    }
}

#[test]
fn intermediates_are_revoked_by_their_issuer_and_revoke_by_a_list_of_their_own() {
    let root = Ca::root(ca_params("root"));
    let mut sub = ca_params("sub");
    sub.serial_number = Some(SerialNumber::from(9u64));
    let sub = root.sub(sub);
    let chain = [sub.sign(&numbered("alice", 7)), sub.certificate.clone()];
    let of = |lists| judged(&verifier(&[&root], lists, Checks::default()), &chain);
    assert_eq!(
        of(vec![root.crl(crl_of(&[7])), sub.crl(crl_of(&[9]))]),
        "accepted"
    );
    assert_eq!(of(vec![root.crl(crl_of(&[9]))]), "Revoked");
    assert_eq!(of(vec![sub.crl(crl_of(&[7]))]), "Revoked");
    let strict = Checks {
        require_crl: true,
        ..Checks::default()
    };
    let of = |lists| judged(&verifier(&[&root], lists, strict.clone()), &chain);
    assert_eq!(of(vec![]), "RevocationUnknown");
    assert_eq!(of(vec![root.crl(crl_of(&[]))]), "RevocationUnknown");
    assert_eq!(of(vec![sub.crl(crl_of(&[]))]), "RevocationUnknown");
    assert_eq!(
        of(vec![sub.crl(crl_of(&[])), root.crl(crl_of(&[]))]),
        "accepted"
    );
}

#[test]
fn an_expired_list_refuses_all_of_its_ca_unless_it_is_accepted_and_then_still_revokes() {
    let root = Ca::root(ca_params("root"));
    let other = Ca::root(ca_params("other"));
    let mut old = crl_of(&[7]);
    old.next_update = rcgen::date_time_ymd(2026, 6, 1);
    let (alice, bob) = (
        [root.sign(&numbered("alice", 7))],
        [root.sign(&numbered("bob", 8))],
    );
    let of = |checks: &Checks, chain: &[CertificateDer<'_>]| {
        judged(
            &verifier(
                &[&root, &other],
                vec![root.crl(old.clone())],
                checks.clone(),
            ),
            chain,
        )
    };
    let strict = Checks::default();
    assert_eq!(
        (of(&strict, &alice), of(&strict, &bob)),
        ("CrlExpired", "CrlExpired")
    );
    assert_eq!(of(&strict, &[other.alice()]), "accepted");
    let accepting = Checks {
        expired_crl: ExpiredCrl::Accept,
        ..Checks::default()
    };
    assert_eq!(
        (of(&accepting, &alice), of(&accepting, &bob)),
        ("Revoked", "accepted")
    );
}

#[test]
fn a_list_that_its_issuer_did_not_sign_or_may_not_sign_is_not_passed_over() {
    let root = Ca::root(ca_params("root"));
    let alice = [root.alice()];
    let of = |root: &Ca, list: List, chain: &[CertificateDer<'_>]| {
        judged(&verifier(&[root], vec![list], Checks::default()), chain)
    };
    let damaged = {
        let mut der = crl_of(&[]).signed_by(&root.issuer).unwrap().der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        List::read(Path::new("list.crl"), &der).unwrap().remove(0)
    };
    assert_eq!(of(&root, damaged, &alice), "CrlInvalid");
    // Another key of that name signed it, and says so: it is another CA's.
    let namesake = Ca::root(ca_params("root"));
    assert_eq!(of(&root, namesake.crl(crl_of(&[])), &alice), "accepted");
    let mut params = ca_params("root");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mute = Ca::root(params.clone());
    let list = {
        params.key_usages.push(KeyUsagePurpose::CrlSign);
        let issuer = Issuer::new(params, mute.issuer.key());
        let list = crl_of(&[]).signed_by(&issuer).unwrap();
        List::read(Path::new("list.crl"), list.der())
            .unwrap()
            .remove(0)
    };
    assert_eq!(of(&mute, list, &[mute.alice()]), "CrlInvalid");
}

#[test]
fn a_list_for_a_part_of_the_certificates_says_nothing_of_the_others() {
    let root = Ca::root(ca_params("root"));
    let mut sub = ca_params("sub");
    sub.serial_number = Some(SerialNumber::from(7u64));
    let sub = root.sub(sub);
    let direct = [root.sign(&numbered("alice", 7))];
    let by_sub = [sub.alice(), sub.certificate.clone()];
    let list = |scope, uri: &str| {
        let mut params = crl_of(&[7]);
        let distribution_point = CrlDistributionPoint {
            uris: vec![uri.into()],
        };
        params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point,
            scope,
        });
        root.crl(params)
    };
    let of = |list: List, chain: &[CertificateDer<'_>]| {
        judged(&verifier(&[&root], vec![list], Checks::default()), chain)
    };
    let here = "http://crl.example.org/1";
    assert_eq!(
        of(list(Some(CrlScope::UserCertsOnly), here), &direct),
        "Revoked"
    );
    assert_eq!(
        of(list(Some(CrlScope::UserCertsOnly), here), &by_sub),
        "accepted"
    );
    assert_eq!(
        of(list(Some(CrlScope::CaCertsOnly), here), &direct),
        "accepted"
    );
    assert_eq!(
        of(list(Some(CrlScope::CaCertsOnly), here), &by_sub),
        "Revoked"
    );
    assert_eq!(of(list(None, here), &direct), "Revoked");
    // A certificate that names where its list is published isn't in the lists of other places.
    let mut params = numbered("alice", 7);
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec![here.into()],
    }];
    let pointing = [root.sign(&params)];
    assert_eq!(of(list(None, here), &pointing), "Revoked");
    assert_eq!(
        of(list(None, "http://crl.example.org/2"), &pointing),
        "accepted"
    );
    assert_eq!(of(root.crl(crl_of(&[7])), &pointing), "Revoked");
}

/// The key of a CA that writes some bytes otherwise than rcgen does, and signs what it has written.
struct Rewriting<'a> {
    key: &'a KeyPair,
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Rewriting<'_> {
    fn rewrite(&self, der: &[u8]) -> Vec<u8> {
        let at = der.windows(self.from.len()).position(|w| w == self.from);
        let mut rewritten = der.to_vec();
        if let Some(at) = at {
            rewritten[at..at + self.to.len()].copy_from_slice(&self.to);
        }
        rewritten
    }
}

impl PublicKeyData for Rewriting<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl SigningKey for Rewriting<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(&self.rewrite(message))
    }
}

#[test]
fn a_revoked_serial_number_is_compared_with_its_sign_and_without_needless_zeros() {
    let root = Ca::root(ca_params("root"));
    // What rcgen writes for a number becomes these bytes.
    let list = |number: u64, from: &[u8], to: &[u8]| {
        let (from, to) = (from.to_vec(), to.to_vec());
        let key = root.issuer.key();
        let key = Rewriting { key, from, to };
        let issuer = Issuer::new(ca_params("root"), &key);
        let list = crl_of(&[number]).signed_by(&issuer).unwrap();
        let der = key.rewrite(list.der());
        List::read(Path::new("list.crl"), &der).unwrap().remove(0)
    };
    let of = |list: List, serial: u64| {
        let chain = [root.sign(&numbered("alice", serial))];
        judged(&verifier(&[&root], vec![list], Checks::default()), &chain)
    };
    let negative = || list(0x7f01, &[2, 2, 0x7f, 1], &[2, 2, 0xff, 1]);
    assert_eq!(of(negative(), 0xff01), "accepted");
    assert_eq!(of(negative(), 0x7f01), "accepted");
    assert_eq!(of(root.crl(crl_of(&[0xff01])), 0xff01), "Revoked");
    let zeros = list(0x7f_7f01, &[2, 3, 0x7f, 0x7f, 1], &[2, 3, 0, 0x7f, 1]);
    assert_eq!(of(zeros, 0x7f01), "Revoked");
}

/// A value of DER, of less than 128 bytes that are all ASCII, so that rcgen takes it for an address.
fn tlv(tag: char, content: &str) -> String {
    let length = char::from(u8::try_from(content.len()).unwrap());
    format!("{tag}{length}{content}")
}

/// An attribute of a name: its common name (RFC 5280, 4.1.2.4).
fn attribute(text: &str) -> String {
    tlv('0', &format!("\x06\x03\x55\x04\x03{}", tlv('\x0c', text)))
}

fn directory_name(common_names: &[&str]) -> String {
    let sets = common_names.iter().map(|text| tlv('1', &attribute(text)));
    tlv('0', &sets.collect::<String>())
}

/// How a point is written as another kind of name than an address, which is all that rcgen knows.
fn renamed<'a>(key: &'a KeyPair, uri: &str, tag: u8) -> Rewriting<'a> {
    let length = u8::try_from(uri.len()).unwrap();
    let from = [&[0x86, length], uri.as_bytes()].concat();
    let to = vec![tag];
    Rewriting { key, from, to }
}

fn points(uris: &[&str]) -> CrlDistributionPoint {
    let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
    CrlDistributionPoint { uris }
}

/// A list that revokes number 7, published at these names; what stands for an address is of a kind of names with this tag.
fn partition(root: &Ca, names: &[&str], tag: u8) -> Result<Vec<List>, String> {
    let key = renamed(root.issuer.key(), names[0], tag);
    let mut params = crl_of(&[7]);
    params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: points(names),
        scope: None,
    });
    let issuer = Issuer::new(ca_params("root"), &key);
    let list = params.signed_by(&issuer).unwrap();
    List::read(Path::new("list.crl"), &key.rewrite(list.der()))
}

/// Alice's certificate, number 7, which names where its list is.
fn pointing(root: &Ca, names: &[&str], tag: u8) -> [CertificateDer<'static>; 1] {
    let key = renamed(root.issuer.key(), names[0], tag);
    sign_pointing(names, &key)
}

fn sign_pointing(names: &[&str], key: &Rewriting<'_>) -> [CertificateDer<'static>; 1] {
    let mut params = numbered("alice", 7);
    params.crl_distribution_points = vec![points(names)];
    let issuer = Issuer::new(ca_params("root"), key);
    let alice = params.signed_by(&super::key(), &issuer).unwrap();
    [key.rewrite(alice.der()).into()]
}

const URI: u8 = 0x86;
const DIRECTORY_NAME: u8 = 0xa4;
const DNS_NAME: u8 = 0x82;

#[test]
fn a_list_that_is_published_under_a_directory_name_revokes_who_names_it() {
    let root = Ca::root(ca_params("root"));
    let (first, second) = (directory_name(&["CRL1"]), directory_name(&["CRL2"]));
    let uri = "http://crl.example.org/1";
    let of = |list: &[&str], chain: &[CertificateDer<'_>]| {
        let lists = partition(&root, list, DIRECTORY_NAME).unwrap();
        judged(&verifier(&[&root], lists, Checks::default()), chain)
    };
    for names in [&[&*first][..], &[&first, uri]] {
        for list in [&[&*first][..], &[&first, uri]] {
            let alice = pointing(&root, names, DIRECTORY_NAME);
            assert_eq!(of(list, &alice), "Revoked");
        }
        let alice = pointing(&root, names, DIRECTORY_NAME);
        assert_eq!(of(&[&second], &alice), "accepted");
    }
    assert_eq!(of(&[&first, uri], &pointing(&root, &[uri], URI)), "Revoked");
    assert_eq!(
        of(&[&first], &[root.sign(&numbered("alice", 7))]),
        "Revoked"
    );
}

#[test]
fn a_certificate_whose_lists_place_cant_be_read_is_looked_for_in_each() {
    let root = Ca::root(ca_params("root"));
    // What is named by an address, [0] of names, becomes named below the issuer's name, [1] of attributes.
    let attribute = attribute("CRL1");
    let uri = "u".repeat(attribute.len() - 2);
    let length = u8::try_from(uri.len()).unwrap();
    let key = Rewriting {
        key: root.issuer.key(),
        from: [&[0xa0, length + 2, 0x86, length], uri.as_bytes()].concat(),
        to: [&[0xa1, length + 2], attribute.as_bytes()].concat(),
    };
    let lists = partition(&root, &["http://crl.example.org/1"], URI).unwrap();
    let verifier = verifier(&[&root], lists, Checks::default());
    assert_eq!(judged(&verifier, &sign_pointing(&[&uri], &key)), "Revoked");
}

#[test]
fn a_list_whose_place_no_certificate_can_be_compared_with_is_not_taken() {
    let root = Ca::root(ca_params("root"));
    let refused = partition(&root, &["crl.example.org"], DNS_NAME).unwrap_err();
    assert!(
        refused.contains("neither an address nor a directory name"),
        "{refused}"
    );
    assert!(partition(&root, &["http://crl.example.org/1"], URI).is_ok());
}

/// Verifies as ECDSA on P-256 with SHA-256 is verified, and counts what is long.
#[derive(Debug)]
struct Counting;

/// Verifications of more than [`LONG`] bytes.
static LONG_ONES: AtomicUsize = AtomicUsize::new(0);
const LONG: usize = 4096;

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if message.len() > LONG {
            LONG_ONES.fetch_add(1, Ordering::Relaxed);
        }
        webpki::aws_lc_rs::ECDSA_P256_SHA256.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        webpki::aws_lc_rs::ECDSA_P256_SHA256.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        webpki::aws_lc_rs::ECDSA_P256_SHA256.signature_alg_id()
    }
}

#[test]
fn a_lists_signature_is_verified_once_by_a_key_whatever_chains_come() {
    let root = Ca::root(ca_params("root"));
    let mut params = ca_params("sub");
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1]);
    let subs = [root.sub(params.clone()), root.sub(params)];
    let serials: Vec<_> = (1000..2000).collect();
    let mut long = crl_of(&serials);
    long.key_identifier_method = KeyIdMethod::PreSpecified(vec![1]);
    let list = subs[0].crl(long);
    let roots = vec![Root::read(Path::new("ca.pem"), root.certificate.clone()).unwrap()];
    let algorithms = WebPkiSupportedAlgorithms {
        all: &[&Counting],
        mapping: &[],
    };
    let verifier = Verifier::new(
        roots,
        vec![list],
        DenyList::default(),
        Checks::default(),
        algorithms,
    );
    // The second CA can't be told from the first until the signature is looked at.
    for (sub, verdict) in subs.iter().zip(["accepted", "CrlInvalid"]) {
        let alice = sub.alice();
        for unused in ["a", "b", "c"] {
            let unused = Ca::root(ca_params(unused)).certificate;
            let chain = [alice.clone(), sub.certificate.clone(), unused];
            assert_eq!(judged(&verifier, &chain), verdict);
        }
    }
    assert_eq!(LONG_ONES.load(Ordering::Relaxed), subs.len());
}
