//! `headcount pki deny`: what it writes is what the deny list's reader denies.

use headcount::tls::deny_list::{CertificateFacts, Denial, DenyList};

use super::*;

fn verdict(workshop: &Workshop, list: &str, name: &str) -> Option<Denial> {
    let list = DenyList::parse(&workshop.read(list)).unwrap();
    let der = sections(&workshop.read(name)).remove(0);
    list.denies(&CertificateFacts::read(&der).unwrap())
}

#[test]
fn a_denied_certificate_is_denied_in_each_of_the_three_ways_and_no_other_is() {
    for (by, expected) in [
        (&[][..], Denial::Serial),
        (&["--by", "serial"], Denial::Serial),
        (&["--by", "key"], Denial::Key),
        (&["--by", "name"], Denial::Name("alice".into())),
        (&["--by", "serial", "--by", "key"], Denial::Key),
    ] {
        let workshop = Workshop::with_authority(&[]);
        workshop.done(&[
            "issue",
            "--client",
            "alice",
            "--uri",
            "spiffe://example.org/alice",
        ]);
        workshop.done(&["issue", "--client", "bob"]);
        let args = [&["deny", "headcount-pki/alice.crt"], by].concat();
        let words = workshop.done(&args);
        assert!(words.contains("is denied"), "{words}");
        assert_eq!(
            verdict(&workshop, "deny-list.yaml", "alice.crt"),
            Some(expected)
        );
        assert_eq!(verdict(&workshop, "deny-list.yaml", "bob.crt"), None);
        // Once is enough.
        let before = workshop.contents();
        assert!(workshop.done(&args).contains("nothing is changed"));
        assert_eq!(workshop.contents(), before);
        workshop.done(&["deny", "headcount-pki/bob.crt"]);
        assert!(verdict(&workshop, "deny-list.yaml", "alice.crt").is_some());
        assert_eq!(
            verdict(&workshop, "deny-list.yaml", "bob.crt"),
            Some(Denial::Serial)
        );
    }
}

#[test]
fn a_denied_key_stays_denied_after_a_renewal_and_a_denied_serial_number_does_not() {
    for (by, denied) in [("key", true), ("serial", false), ("name", true)] {
        let workshop = Workshop::with_authority(&[]);
        workshop.done(&["issue", "--client", "alice"]);
        workshop.done(&["deny", "headcount-pki/alice.crt", "--by", by]);
        workshop.done(&["renew", "headcount-pki/alice.crt"]);
        assert_eq!(
            verdict(&workshop, "deny-list.yaml", "alice.crt").is_some(),
            denied,
            "{by}"
        );
    }
}

#[test]
fn a_list_that_a_person_wrote_keeps_its_comments_and_its_order() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--client", "alice"]);
    let text = "# ours\nkind: DenyList\nnames:\n# since May\n- mallory # left\napiVersion: headcount/v1alpha1\n";
    fs::write(workshop.path("list.yaml"), text).unwrap();
    let args = [
        "deny",
        "headcount-pki/alice.crt",
        "--deny-list",
        "headcount-pki/list.yaml",
        "--by",
        "name",
    ];
    workshop.done(&args);
    let after = workshop.read("list.yaml");
    let kept: Vec<_> = after
        .lines()
        .filter(|line| text.lines().any(|l| l == *line))
        .collect();
    assert_eq!(kept, text.lines().collect::<Vec<_>>());
    assert!(
        after.contains("- \"alice\"") && after.contains("# CN=alice, 20"),
        "{after}"
    );
}

#[test]
fn a_list_that_lines_cannot_be_added_to_is_left_alone_and_the_lines_are_said() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--client", "alice"]);
    let head = "apiVersion: headcount/v1alpha1\nkind: DenyList\n";
    for (content, parts) in [
        (
            format!("{head}serials: [{{issuer: a, serial: 12}}]\n"),
            ["add by hand", "issuer: \"CN=headcount CA\""],
        ),
        (format!("{head}name: [a]\n"), ["deny-list.yaml", "line 3"]),
        ("- junk".into(), ["deny-list.yaml", "failed to understand"]),
    ] {
        fs::write(workshop.path("deny-list.yaml"), content).unwrap();
        let error = workshop.refused(&["deny", "headcount-pki/alice.crt"]);
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }
    let error = workshop.refused(&["deny", "headcount-pki/alice.key"]);
    assert!(error.contains("holds no certificate"), "{error}");
}

#[test]
fn a_certificate_of_another_ca_is_denied_without_a_ca_of_our_own() {
    let (workshop, other) = (Workshop::new(), Workshop::with_authority(&[]));
    other.done(&["issue", "--client", "alice"]);
    let alice = other.path("alice.crt").display().to_string();
    let error = workshop.refused(&["deny", &alice]);
    assert!(
        error.contains("headcount-pki is missing") && error.contains("--deny-list"),
        "{error}"
    );
    workshop.done(&["deny", &alice, "--deny-list", "list.yaml"]);
    let list = fs::read_to_string(workshop.0.path().join("list.yaml")).unwrap();
    let der = sections(&other.read("alice.crt")).remove(0);
    let facts = CertificateFacts::read(&der).unwrap();
    assert_eq!(
        DenyList::parse(&list).unwrap().denies(&facts),
        Some(Denial::Serial)
    );
}
