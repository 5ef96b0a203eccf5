//! `headcount pki renew`: the same, but later.

use super::*;

#[test]
fn a_renewed_certificate_says_the_same_with_a_new_serial_number_for_the_same_key() {
    for flags in [&[][..], &["--intermediate"]] {
        let workshop = Workshop::with_authority(flags);
        workshop.done(&[
            "issue",
            "--client",
            "alice",
            "--organization",
            "team-a",
            "--organization",
            "team-b",
            "--uri",
            "spiffe://example.org/alice",
            "--dns",
            "alice.example.org",
            "--ip",
            "10.0.0.1",
            "--days",
            "20",
        ]);
        let (before, key) = (workshop.read("alice.crt"), workshop.read("alice.key"));
        let words = workshop.done(&["renew", "headcount-pki/alice.crt"]);
        assert!(words.contains("alice.crt: renewed"), "{words}");
        let (before, after) = (sections(&before), sections(&workshop.read("alice.crt")));
        assert_eq!(before.len(), after.len());
        let (old, new) = (certificate(&before[0]), certificate(&after[0]));
        assert_eq!(new.subject().as_raw(), old.subject().as_raw());
        assert_eq!(new.public_key().raw, old.public_key().raw);
        assert_ne!(new.raw_serial(), old.raw_serial());
        let names = |c: &X509Certificate<'_>| {
            let names = c.subject_alternative_name().unwrap().unwrap().value;
            let mut names: Vec<_> = names
                .general_names
                .iter()
                .map(ToString::to_string)
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&new), names(&old));
        assert_eq!((days(&old), days(&new)), (20, 20));
        assert_eq!(workshop.read("alice.key"), key);
    }
}

#[test]
fn another_lifetime_and_a_new_key_are_given_when_asked_for() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--server", "localhost"]);
    let old_key = workshop.read("localhost.key");
    let old = sections(&workshop.read("localhost.crt")).remove(0);
    workshop.done(&[
        "renew",
        "headcount-pki/localhost.crt",
        "--days",
        "3",
        "--new-key",
    ]);
    let new = sections(&workshop.read("localhost.crt")).remove(0);
    assert_eq!(days(&certificate(&new)), 3);
    assert_ne!(
        certificate(&new).public_key().raw,
        certificate(&old).public_key().raw
    );
    assert_ne!(workshop.read("localhost.key"), old_key);
    assert_eq!(workshop.mode("localhost.key"), 0o600);
}

#[test]
fn what_cannot_be_renewed_is_said_and_left_alone() {
    let workshop = Workshop::with_authority(&["--intermediate"]);
    let other = Workshop::with_authority(&[]);
    other.done(&["issue", "--client", "mallory"]);
    fs::copy(other.path("mallory.crt"), workshop.path("mallory.crt")).unwrap();
    workshop.done(&["issue", "--client", "bob"]);
    workshop.done(&["revoke", "headcount-pki/bob.crt"]);
    fs::write(workshop.path("empty.crt"), "").unwrap();
    for (file, part) in [
        ("mallory.crt", "was not issued by a CA in headcount-pki"),
        ("bob.crt", "it is revoked"),
        ("ca.crt", "the rights of a CA"),
        ("intermediate.crt", "the rights of a CA"),
        ("empty.crt", "holds no certificate"),
        ("nobody.crt", "failed to read headcount-pki/nobody.crt"),
    ] {
        let error = workshop.refused(&["renew", &format!("headcount-pki/{file}")]);
        assert!(error.contains(part), "{file}: {error}");
    }
}

#[test]
fn nothing_outlives_its_ca() {
    let workshop = Workshop::with_authority(&["--intermediate"]);
    let error = workshop.refused(&["issue", "--client", "alice", "--days", "2000"]);
    assert!(
        error.contains("intermediate.crt ends in 1824 days"),
        "{error}"
    );
    workshop.done(&["issue", "--client", "alice", "--days", "1824"]);
    workshop.refused(&["renew", "headcount-pki/alice.crt", "--days", "1826"]);
}
