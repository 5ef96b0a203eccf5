use proptest::prelude::*;

use super::*;
use crate::pki::{Authority, Leaf};

fn certificate(change: impl FnOnce(&mut Leaf)) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    let mut leaf = Leaf::client("alice");
    change(&mut leaf);
    let issued = Authority::new("clients").unwrap().issue(&leaf).unwrap();
    CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap()
}

fn principal(change: impl FnOnce(&mut Leaf)) -> Result<Principal, NoPrincipal> {
    IdentityRules::default().principal(&certificate(change))
}

fn named(change: impl FnOnce(&mut Leaf)) -> (String, NameKind) {
    let Principal { name, kind, .. } = principal(change).unwrap();
    (name, kind)
}

const SPIFFE: &str = "spiffe://example.org/ns/ci/sa/runner";

#[test]
fn the_first_kind_of_name_that_a_certificate_has_names_its_bearer() {
    assert_eq!(named(|_| {}), ("alice".into(), NameKind::CommonName));
    let dns = named(|leaf| leaf.dns_names = vec!["runner.example.org".into()]);
    assert_eq!(dns, ("runner.example.org".into(), NameKind::Dns));
    let uri = named(|leaf| {
        leaf.dns_names = vec!["runner.example.org".into()];
        leaf.uris = vec![SPIFFE.into()];
    });
    assert_eq!(uri, (SPIFFE.into(), NameKind::Uri));
}

#[test]
fn the_configuration_chooses_the_kinds_and_their_order() {
    let both = certificate(|leaf| leaf.uris = vec![SPIFFE.into()]);
    let rules = |kinds: &[NameKind]| IdentityRules {
        principal: kinds.to_vec(),
        ..Default::default()
    };
    let by_name = rules(&[NameKind::CommonName, NameKind::Uri]).principal(&both);
    assert_eq!(by_name.unwrap().name, "alice");
    let by_dns = rules(&[NameKind::Dns]).principal(&both);
    assert_eq!(by_dns, Err(NoPrincipal::Missing("dns".into())));
    assert!(rules(&[]).check().is_err());
    assert!(rules(&[NameKind::Dns, NameKind::Dns]).check().is_err());
}

#[test]
fn two_names_of_the_kind_that_counts_are_no_name() {
    let two =
        principal(|leaf| leaf.uris = vec![SPIFFE.into(), "spiffe://example.org/admin".into()]);
    let (kind, count) = (NameKind::Uri, 2);
    assert_eq!(two, Err(NoPrincipal::Several { kind, count }));
    let two =
        principal(|leaf| leaf.dns_names = vec!["a.example.org".into(), "b.example.org".into()]);
    assert!(matches!(two, Err(NoPrincipal::Several { .. })), "{two:?}");
}

#[test]
fn an_empty_name_or_one_with_control_characters_is_no_name() {
    for name in ["", "  ", "ali\nce", "alice\0", "\u{1b}[31m"] {
        let refused = principal(|leaf| leaf.common_name = name.into());
        assert!(refused.is_err(), "{name:?}: {refused:?}");
    }
}

#[test]
fn a_name_or_group_that_looks_like_another_one_is_none() {
    for hidden in ["\u{202e}", "\u{61c}", "\u{200b}", "\u{ad}", "\u{e0041}"] {
        let name = format!("ali{hidden}ce");
        let refused = principal(|leaf| leaf.common_name.clone_from(&name));
        assert!(
            matches!(refused, Err(NoPrincipal::Unusable { .. })),
            "{name:?}: {refused:?}"
        );
        let named =
            principal(|leaf| leaf.organizations = vec!["web".into(), format!("on{hidden}call")]);
        assert_eq!(named.unwrap().groups, ["web"], "{hidden:?}");
    }
    let named = principal(|leaf| leaf.common_name = "Zoë 李 عليّ ❤\u{fe0f}".into());
    assert_eq!(named.unwrap().name, "Zoë 李 عليّ ❤\u{fe0f}");
}

#[test]
fn only_a_uri_looks_like_one() {
    let refused = principal(|leaf| leaf.common_name = SPIFFE.into());
    assert!(
        matches!(refused, Err(NoPrincipal::Unusable { .. })),
        "{refused:?}"
    );
}

#[test]
fn groups_are_the_organizations_unless_there_are_to_be_none() {
    let change = |leaf: &mut Leaf| leaf.organizations = vec!["oncall".into(), "web".into()];
    assert_eq!(principal(change).unwrap().groups, ["oncall", "web"]);
    let rules = IdentityRules {
        groups: GroupSource::None,
        ..Default::default()
    };
    let without = rules.principal(&certificate(change)).unwrap();
    assert!(without.groups.is_empty());
}

fn bound(names: &str, groups: &str) -> IdentityRules {
    let rules =
        format!("authorities:\n  - clientCa: ci.pem\n    names: {names}\n    groups: {groups}\n");
    serde_saphyr::from_str(&rules).unwrap()
}

#[test]
fn a_bound_ca_vouches_for_its_names_and_groups_alone() {
    let rules = bound("['ci-*', runner]", "[ci]");
    let of = |name: &str| {
        principal(|leaf| {
            leaf.common_name = name.into();
            leaf.organizations = vec!["ci".into(), "oncall".into()];
        })
    };
    let judged =
        |name: &str, bundle: &str| rules.vouched_for(of(name), |path| path == Path::new(bundle));
    let runner = judged("ci-1", "ci.pem").unwrap().unwrap();
    assert_eq!(
        (runner.name.as_str(), runner.groups),
        ("ci-1", vec!["ci".to_owned()])
    );
    assert_eq!(judged("runner", "ci.pem").unwrap().unwrap().name, "runner");
    let refused = judged("alice", "ci.pem").unwrap_err().to_string();
    assert!(
        refused.contains(r#"names "alice""#) && refused.contains("ci-*, runner"),
        "{refused}"
    );
    // Another CA isn't bound, and its groups all count.
    assert_eq!(
        judged("alice", "people.pem").unwrap().unwrap().groups.len(),
        2
    );
}

#[test]
fn a_bound_ca_vouches_for_nobody_without_a_name_and_for_no_group_unless_told() {
    let rules = bound("['*']", "[]");
    let two =
        principal(|leaf| leaf.uris = vec![SPIFFE.into(), "spiffe://example.org/admin".into()]);
    assert!(rules.vouched_for(two, |_| true).is_err());
    let alice = principal(|leaf| leaf.organizations = vec!["oncall".into()]);
    assert!(
        rules
            .vouched_for(alice, |_| true)
            .unwrap()
            .unwrap()
            .groups
            .is_empty()
    );
    assert!(bound("[]", "[]").check().is_err());
    for emptied in ["authorities: []", "authorities:", "authorities: ~"] {
        assert!(
            serde_saphyr::from_str::<IdentityRules>(emptied).is_err(),
            "{emptied}"
        );
    }
    assert!(
        serde_saphyr::from_str::<IdentityRules>("authorities: [{clientCa: a, names: ['']}]")
            .is_err()
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_junk_is_nobody(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(IdentityRules::default().principal(&CertificateDer::from(bytes)).is_err());
    }
}

#[test]
fn a_certificate_with_any_byte_changed_never_panics_and_never_has_a_name_that_is_unusable() {
    let der = certificate(|leaf| {
        leaf.uris = vec![SPIFFE.into()];
        leaf.organizations = vec!["oncall".into()];
    });
    for at in 0..der.len() {
        for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = der.to_vec();
            bytes[at] ^= change;
            if let Ok(named) = IdentityRules::default().principal(&CertificateDer::from(bytes)) {
                assert!(!named.name.is_empty() && !named.name.chars().any(char::is_control));
            }
        }
    }
}
