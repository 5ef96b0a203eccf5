use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber,
    SignatureAlgorithm,
};
use rustls::crypto::aws_lc_rs;

use super::*;
use crate::tls::Refusal;

/// 2026-06-01T00:00:00Z: all that isn't said to be otherwise is valid in this year.
const NOW: u64 = 1_780_272_000;
const DAY: u64 = 86_400;

/// A CA, or what can be one.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn key() -> KeyPair {
    key_of(&PKCS_ECDSA_P256_SHA256)
}

fn key_of(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

impl Ca {
    fn root(params: CertificateParams) -> Self {
        let key = key();
        let certificate = params.self_signed(&key).unwrap().into();
        let issuer = Issuer::new(params, key);
        Self {
            issuer,
            certificate,
        }
    }

    fn sub(&self, params: CertificateParams) -> Self {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().into();
        let issuer = Issuer::new(params, key);
        Self {
            issuer,
            certificate,
        }
    }

    fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&key(), &self.issuer).unwrap().into()
    }

    /// A certificate for another CA's key and name.
    fn cross_sign(&self, other: &Self, params: &CertificateParams) -> CertificateDer<'static> {
        params
            .signed_by(other.issuer.key(), &self.issuer)
            .unwrap()
            .into()
    }

    fn alice(&self) -> CertificateDer<'static> {
        self.sign(&leaf_params("alice"))
    }

    fn crl(&self, params: CertificateRevocationListParams) -> List {
        let list = params.signed_by(&self.issuer).unwrap();
        List::read(Path::new("list.crl"), list.der())
            .unwrap()
            .remove(0)
    }
}

fn crl_of(serials: &[u64]) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 5, 1),
        next_update: rcgen::date_time_ymd(2026, 7, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: rcgen::date_time_ymd(2026, 5, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn numbered(name: &str, serial: u64) -> CertificateParams {
    let mut params = leaf_params(name);
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

fn verifier(roots: &[&Ca], lists: Vec<List>, checks: Checks) -> Verifier {
    denying(roots, lists, DenyList::default(), checks)
}

fn denying(roots: &[&Ca], lists: Vec<List>, deny_list: DenyList, checks: Checks) -> Verifier {
    let roots = roots
        .iter()
        .map(|ca| Root::read(std::path::Path::new("ca.pem"), ca.certificate.clone()).unwrap());
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    Verifier::new(roots.collect(), lists, deny_list, checks, algorithms)
}

/// The reason's name, or `accepted`.
fn judged(verifier: &Verifier, chain: &[CertificateDer<'_>]) -> &'static str {
    judged_at(verifier, chain, NOW)
}

fn judged_at(verifier: &Verifier, chain: &[CertificateDer<'_>], now: u64) -> &'static str {
    match verifier.judge(chain, seconds(now)) {
        Ok(_) => "accepted",
        Err(error) => Refusal::of_tls(&error).reason,
    }
}

#[test]
fn an_empty_chain_is_no_certificate() {
    let root = Ca::root(ca_params("root"));
    assert_eq!(
        judged(&verifier(&[&root], vec![], Checks::default()), &[]),
        "NoCertificate"
    );
}

#[test]
fn a_path_that_a_check_refuses_gives_way_to_another_one() {
    let old = {
        let mut params = ca_params("old root");
        params.not_after = rcgen::date_time_ymd(2026, 2, 1);
        Ca::root(params)
    };
    let new = Ca::root(ca_params("new root"));
    let bridge = Ca::root(ca_params("bridge"));
    let by_old = old.cross_sign(&bridge, &ca_params("bridge"));
    let by_new = new.cross_sign(&bridge, &ca_params("bridge"));
    let alice = bridge.alice();
    let both = verifier(&[&old, &new], vec![], Checks::default());
    for chain in [
        [alice.clone(), by_old.clone(), by_new.clone()],
        [alice.clone(), by_new.clone(), by_old.clone()],
    ] {
        let verdict = both.judge(&chain, seconds(NOW)).unwrap();
        assert_eq!(verdict.root.certificate(), &new.certificate);
    }
    assert_eq!(judged(&both, &[alice, by_old]), "RootExpired");
}

#[test]
fn a_renewed_root_stands_in_for_its_expired_twin_of_the_same_name_and_key() {
    let mut params = ca_params("root");
    params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    let old = Ca::root(params);
    let renewed = Ca {
        certificate: ca_params("root")
            .self_signed(old.issuer.key())
            .unwrap()
            .into(),
        issuer: Issuer::new(
            ca_params("root"),
            KeyPair::from_pem(&old.issuer.key().serialize_pem()).unwrap(),
        ),
    };
    let alice = [old.alice()];
    for roots in [[&old, &renewed], [&renewed, &old]] {
        let verdict = verifier(&roots, vec![], Checks::default())
            .judge(&alice, seconds(NOW))
            .unwrap();
        assert_eq!(verdict.root.certificate(), &renewed.certificate);
    }
    assert_eq!(
        judged(&verifier(&[&old], vec![], Checks::default()), &alice),
        "RootExpired"
    );
}

#[test]
fn a_verdict_lasts_as_long_as_the_shortest_lived_part_of_its_path() {
    let root = Ca::root(ca_params("root"));
    let mut sub = ca_params("sub");
    sub.not_before = rcgen::date_time_ymd(2026, 3, 1);
    sub.not_after = rcgen::date_time_ymd(2026, 9, 1);
    let sub = root.sub(sub);
    let chain = [
        sub.alice(),
        sub.certificate.clone(),
        Ca::root(ca_params("of no use")).certificate,
    ];
    let end = |lists: Vec<List>, checks: Checks| {
        let verdict = verifier(&[&root], lists, checks)
            .judge(&chain, seconds(NOW))
            .unwrap();
        assert_eq!(verdict.valid_from, seconds(1_772_323_200));
        verdict.valid_until
    };
    let september = seconds(1_788_220_800);
    assert_eq!(end(vec![], Checks::default()), september);
    // The list may not be used any more in the second of its nextUpdate.
    let july = seconds(1_782_864_000 - 1);
    assert_eq!(end(vec![root.crl(crl_of(&[]))], Checks::default()), july);
    let accepting = Checks {
        expired_crl: ExpiredCrl::Accept,
        ..Checks::default()
    };
    assert_eq!(end(vec![root.crl(crl_of(&[]))], accepting), september);
}

#[test]
fn a_roots_end_is_a_verdicts_end_only_where_roots_must_be_valid() {
    let mut params = ca_params("root");
    params.not_after = rcgen::date_time_ymd(2026, 7, 1);
    let root = Ca::root(params);
    let alice = [root.alice()];
    let end = |root_validity| {
        let checks = Checks {
            root_validity,
            ..Checks::default()
        };
        verifier(&[&root], vec![], checks)
            .judge(&alice, seconds(NOW))
            .unwrap()
            .valid_until
    };
    assert_eq!(end(true), seconds(1_782_864_000));
    assert_eq!(end(false), seconds(1_798_761_600));
}

#[test]
fn what_is_remembered_is_forgotten_when_the_verdict_ends_and_refusals_are_never_remembered() {
    let root = Ca::root(ca_params("root"));
    let alice = [root.alice()];
    let verifier = verifier(&[&root], vec![root.crl(crl_of(&[]))], Checks::default());
    for now in [NOW, NOW + 1] {
        assert_eq!(judged_at(&verifier, &alice, now), "accepted");
    }
    assert!(
        verifier
            .remembered
            .find(&hash(&alice[0], &[]), seconds(NOW))
            .is_some()
    );
    assert_eq!(judged_at(&verifier, &alice, NOW + 30 * DAY), "CrlExpired");
    assert_eq!(judged_at(&verifier, &alice, NOW + 365 * DAY), "Expired");
    assert_eq!(judged_at(&verifier, &alice, NOW - 365 * DAY), "NotValidYet");
    let foreign = [Ca::root(ca_params("foreign")).alice()];
    assert_eq!(judged(&verifier, &foreign), "UnknownIssuer");
    assert!(
        verifier
            .remembered
            .find(&hash(&foreign[0], &[]), seconds(NOW))
            .is_none()
    );
}

#[test]
fn the_deny_list_counts_for_every_certificate_of_the_path_and_for_no_other() {
    let root = Ca::root(ca_params("root"));
    let sub = root.sub(ca_params("sub"));
    let unused = root.sub(ca_params("unused"));
    let chain = [
        sub.alice(),
        sub.certificate.clone(),
        unused.certificate.clone(),
    ];
    let facts = |der: &CertificateDer<'_>| CertificateFacts::read(der).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let verdict = |entries: &str| {
        let text = format!("apiVersion: headcount/v1alpha1\nkind: DenyList\n{entries}\n");
        let list = DenyList::parse(&text).unwrap();
        judged(&denying(&[&root], vec![], list, Checks::default()), &chain)
    };
    for certificate in [&chain[0], &sub.certificate, &root.certificate] {
        let facts = facts(certificate);
        assert_eq!(
            verdict(&format!("spkiSha256: [{}]", hex(&facts.spki_sha256))),
            "Denied"
        );
        let entry = format!(
            "serials: [{{issuer: \"{}\", serial: \"{}\"}}]",
            facts.issuer,
            hex(&facts.serial)
        );
        assert_eq!(verdict(&entry), "Denied", "{entry}");
        assert_eq!(verdict(&format!("names: [{}]", facts.names[0])), "Denied");
    }
    assert_eq!(
        verdict(&format!(
            "spkiSha256: [{}]",
            hex(&facts(&unused.certificate).spki_sha256)
        )),
        "accepted"
    );
    assert_eq!(verdict("names: [Alice, unused]"), "accepted");
}

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
