//! Whose list counts for whom, and what an absent, old or damaged one does.

use std::path::Path;

use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};

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
