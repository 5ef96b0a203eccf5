//! `headcount pki revoke` and `crl`.

use x509_parser::{revocation_list::RevokedCertificate, time::ASN1Time};

use super::*;

fn serial(workshop: &Workshop, name: &str) -> Vec<u8> {
    let der = sections(&workshop.read(name)).remove(0);
    certificate(&der).raw_serial().to_vec()
}

/// What a list says.
struct List {
    number: String,
    /// Serial numbers with their reasons.
    entries: Vec<(Vec<u8>, Option<u8>)>,
    /// The seconds from now until the next list.
    left: i64,
}

fn read_list(workshop: &Workshop, name: &str) -> List {
    let der = sections(&workshop.read(name)).remove(0);
    let revoked = list(&der);
    let entry = |entry: &RevokedCertificate<'_>| {
        let reason = entry.reason_code().map(|(_, code)| code.0);
        (entry.raw_serial().to_vec(), reason)
    };
    let until = revoked.next_update().unwrap().timestamp();
    List {
        number: revoked.crl_number().unwrap().to_string(),
        entries: revoked.iter_revoked_certificates().map(entry).collect(),
        left: until - ASN1Time::now().timestamp(),
    }
}

const DAY: i64 = 24 * 60 * 60;

fn near(seconds: i64, days: i64) -> bool {
    (days * DAY - 120..=days * DAY).contains(&seconds)
}

#[test]
fn a_list_grows_with_every_revocation_and_keeps_what_it_had() {
    let workshop = Workshop::with_authority(&[]);
    let mut expected = Vec::new();
    for (number, (name, reason, code)) in (2..).zip([
        ("alice", "key-compromise", Some(1)),
        ("bob", "unspecified", None),
        ("carol", "privilege-withdrawn", Some(9)),
    ]) {
        workshop.done(&["issue", "--client", name]);
        let file = format!("headcount-pki/{name}.crt");
        let words = workshop.done(&["revoke", &file, "--reason", reason]);
        assert!(words.contains("is revoked"), "{words}");
        expected.push((serial(&workshop, &format!("{name}.crt")), code));
        let list = read_list(&workshop, "ca.crl");
        assert_eq!(list.number, number.to_string());
        assert_eq!(list.entries, expected);
        assert!(near(list.left, 30), "{}", list.left);
    }
    let before = workshop.contents();
    let words = workshop.done(&[
        "revoke",
        "headcount-pki/alice.crt",
        "--reason",
        "superseded",
    ]);
    assert!(words.contains("nothing is changed"), "{words}");
    assert_eq!(workshop.contents(), before);

    let words = workshop.done(&["crl", "--crl-days", "3"]);
    assert!(words.contains("to be replaced before"), "{words}");
    let list = read_list(&workshop, "ca.crl");
    assert_eq!((list.number.as_str(), list.entries), ("5", expected));
    assert!(near(list.left, 3), "{}", list.left);
}

#[test]
fn each_ca_has_a_list_of_its_own_and_a_revoked_intermediate_issues_no_more() {
    let workshop = Workshop::with_authority(&["--intermediate"]);
    workshop.done(&["issue", "--client", "alice"]);
    workshop.done(&["issue", "--client", "bob"]);
    workshop.done(&["revoke", "headcount-pki/alice.crt"]);
    assert_eq!(read_list(&workshop, "ca.crl").entries, []);
    assert_eq!(
        read_list(&workshop, "intermediate.crl").entries,
        [(serial(&workshop, "alice.crt"), None)]
    );
    workshop.done(&["crl"]);
    assert_eq!(read_list(&workshop, "ca.crl").number, "2");
    assert_eq!(read_list(&workshop, "intermediate.crl").number, "3");

    workshop.done(&[
        "revoke",
        "headcount-pki/intermediate.crt",
        "--reason",
        "ca-compromise",
    ]);
    assert_eq!(
        read_list(&workshop, "ca.crl").entries,
        [(serial(&workshop, "intermediate.crt"), Some(2))]
    );
    for args in [
        &["issue", "--client", "carol"][..],
        &["renew", "headcount-pki/bob.crt"],
    ] {
        let error = workshop.refused(args);
        assert!(error.contains("intermediate.crt is revoked"), "{error}");
    }
}

#[test]
fn a_root_whose_key_is_elsewhere_keeps_its_list_as_it_is() {
    let workshop = Workshop::with_authority(&["--intermediate"]);
    fs::remove_file(workshop.path("ca.key")).unwrap();
    let before = workshop.read("ca.crl");
    let words = workshop.done(&["crl"]);
    assert!(words.contains("ca.crl: left as it was"), "{words}");
    assert_eq!(workshop.read("ca.crl"), before);
    assert_eq!(read_list(&workshop, "intermediate.crl").number, "2");
    let error = workshop.refused(&["revoke", "headcount-pki/intermediate.crt"]);
    assert!(error.contains("ca.key"), "{error}");
}

#[test]
fn a_lost_or_foreign_list_is_never_replaced_unasked() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--client", "alice"]);
    let alice = "headcount-pki/alice.crt";
    let other = Workshop::with_authority(&[]);
    for content in [other.read("ca.crl"), "junk".into(), workshop.read("ca.crt")] {
        fs::write(workshop.path("ca.crl"), content).unwrap();
        for args in [&["revoke", alice][..], &["crl"], &["crl", "--start-over"]] {
            let error = workshop.refused(args);
            assert!(error.contains("ca.crl"), "{error}");
        }
    }
    fs::remove_file(workshop.path("ca.crl")).unwrap();
    for args in [&["revoke", alice][..], &["crl"]] {
        let error = workshop.refused(args);
        assert!(error.contains("--start-over"), "{error}");
    }
    workshop.done(&["crl", "--start-over"]);
    let number: u64 = read_list(&workshop, "ca.crl").number.parse().unwrap();
    assert!(number > 1_700_000_000, "{number}");
    workshop.done(&["revoke", alice]);
    assert_eq!(
        read_list(&workshop, "ca.crl").number,
        (number + 1).to_string()
    );
}

#[test]
fn only_what_a_ca_of_the_folder_issued_can_be_revoked() {
    let workshop = Workshop::with_authority(&[]);
    let other = Workshop::with_authority(&[]);
    other.done(&["issue", "--client", "mallory"]);
    fs::copy(other.path("mallory.crt"), workshop.path("mallory.crt")).unwrap();
    for (file, part) in [
        ("mallory.crt", "was not issued by a CA in headcount-pki"),
        ("ca.crt", "is a root"),
        ("ca.key", "holds no certificate"),
    ] {
        let error = workshop.refused(&["revoke", &format!("headcount-pki/{file}")]);
        assert!(error.contains(part), "{file}: {error}");
    }
}

#[test]
fn revocations_at_the_same_time_are_all_kept() {
    let workshop = Workshop::with_authority(&[]);
    let names = ["a", "b", "c", "d"];
    for name in names {
        workshop.done(&["issue", "--client", name]);
    }
    std::thread::scope(|scope| {
        for name in names {
            let workshop = &workshop;
            scope.spawn(move || workshop.done(&["revoke", &format!("headcount-pki/{name}.crt")]));
        }
    });
    let list = read_list(&workshop, "ca.crl");
    assert_eq!((list.number.as_str(), list.entries.len()), ("5", 4));
}
