mod revocation;

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SanType, SerialNumber,
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
        (verdict.valid_until, verdict.bound)
    };
    let september = (seconds(1_788_220_800), Bound::Issuer);
    assert_eq!(end(vec![], Checks::default()), september);
    // The list may not be used any more in the second of its nextUpdate.
    let july = (seconds(1_782_864_000 - 1), Bound::RevocationList);
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
        let verdict = verifier(&[&root], vec![], checks)
            .judge(&alice, seconds(NOW))
            .unwrap();
        (verdict.valid_until, verdict.bound)
    };
    assert_eq!(end(true), (seconds(1_782_864_000), Bound::Issuer));
    assert_eq!(end(false), (seconds(1_798_761_600), Bound::Certificate));
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
fn a_common_name_that_is_a_dns_name_is_held_to_constraints_whatever_stands_beside_it() {
    let root = Ca::root(ca_params("root"));
    let mut params = ca_params("team-a CA");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("team-a.example.com".into())],
        excluded_subtrees: vec![],
    });
    let team = root.sub(params);
    let verifier = verifier(&[&root], vec![], Checks::default());
    let of = |common: &str, alternative: &str| {
        let mut params = leaf_params(common);
        params.subject_alt_names = vec![SanType::DnsName(alternative.try_into().unwrap())];
        let chain = [team.sign(&params), team.certificate.clone()];
        judged(&verifier, &chain)
    };
    let own = "x.team-a.example.com";
    assert_eq!(of("admin.example.com", own), "NameConstraints");
    assert_eq!(of(own, "admin.example.com"), "NameConstraints");
    assert_eq!(of(own, own), "accepted");
    assert_eq!(of("Alice", own), "accepted");
}

/// With an e-mail address in the subject.
fn at(mut params: CertificateParams, address: &str) -> CertificateParams {
    let kind = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
    let address = rcgen::DnValue::Ia5String(address.try_into().unwrap());
    params.distinguished_name.push(kind, address);
    params
}

#[test]
fn an_e_mail_address_in_a_subject_is_held_to_constraints() {
    let subtrees = |subtrees: &[&str]| {
        let subtrees = subtrees.iter().map(|base| (*base).to_owned());
        subtrees.map(GeneralSubtree::Rfc822Name).collect()
    };
    let team = |permitted: &[&str], excluded: &[&str]| {
        let mut params = ca_params("team-a CA");
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        });
        params
    };
    for (permitted, excluded, address, expected) in [
        (&["example.com"][..], &[][..], "a@example.com", "accepted"),
        (&["example.com"], &[], "a@example.org", "NameConstraints"),
        (&["example.com"], &[], "nobody", "NameConstraints"),
        (
            &["example.com", ".example.com"],
            &[],
            "a@b.example.com",
            "accepted",
        ),
        (
            &["example.com"],
            &["a@example.com"],
            "a@example.com",
            "NameConstraints",
        ),
        (
            &["example.com"],
            &["a@example.com"],
            "b@example.com",
            "accepted",
        ),
        (&[], &["example.com"], "a@example.com", "NameConstraints"),
        (&[], &["example.com"], "a@example.com.", "NameConstraints"),
        (&[], &["example.com"], "a@example.org", "accepted"),
    ] {
        let what = format!("{address}: {permitted:?}, {excluded:?}");
        let alice = at(leaf_params("alice"), address);
        // On an intermediate, and on the root.
        let root = Ca::root(ca_params("root"));
        let sub = root.sub(team(permitted, excluded));
        let anchored = verifier(&[&root], vec![], Checks::default());
        let chain = [sub.sign(&alice), sub.certificate.clone()];
        assert_eq!(judged(&anchored, &chain), expected, "{what}");
        let root = Ca::root(team(permitted, excluded));
        let anchored = verifier(&[&root], vec![], Checks::default());
        assert_eq!(judged(&anchored, &[root.sign(&alice)]), expected, "{what}");
        // An intermediate is held to them as well.
        let sub = root.sub(at(ca_params("sub"), address));
        let chain = [sub.alice(), sub.certificate.clone()];
        assert_eq!(judged(&anchored, &chain), expected, "{what}");
        assert_eq!(judged(&anchored, &[root.alice()]), "accepted");
    }
}

#[test]
fn a_ca_that_issued_itself_is_not_held_to_constraints() {
    let mut params = at(ca_params("root"), "ca@example.org");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::Rfc822Name("example.com".into())],
        excluded_subtrees: vec![],
    });
    let root = Ca::root(params.clone());
    let renewed = root.sub(params);
    let chain = [renewed.alice(), renewed.certificate.clone()];
    let verifier = verifier(&[&root], vec![], Checks::default());
    assert_eq!(judged(&verifier, &chain), "accepted");
}

#[test]
fn no_more_certificates_are_looked_at_than_a_path_may_have() {
    let root = Ca::root(ca_params("root"));
    let sub = root.sub(ca_params("sub"));
    let verifier = verifier(&[&root], vec![], Checks::default());
    let among = |unused: usize| {
        let unused = (0..unused).map(|_| Ca::root(ca_params("unused")).certificate);
        let chain = [sub.alice()].into_iter().chain(unused);
        let chain: Vec<_> = chain.chain([sub.certificate.clone()]).collect();
        judged(&verifier, &chain)
    };
    assert_eq!(among(MOST_INTERMEDIATES - 1), "accepted");
    assert_eq!(among(MOST_INTERMEDIATES), "PathTooComplex");
    let junk = vec![CertificateDer::from(vec![0; 300]); 100];
    let chain: Vec<_> = [sub.alice()].into_iter().chain(junk).collect();
    assert_eq!(judged(&verifier, &chain), "PathTooComplex");
}
