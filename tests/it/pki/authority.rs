//! Making a CA, and issuing by it.

use super::*;

#[test]
fn a_new_ca_is_private_and_may_sign_certificates_and_lists_alone() {
    let workshop = Workshop::new();
    let words = workshop.done(&["init", "--name", "team-a CA"]);
    assert!(
        words.contains("cert-manager") && words.contains("ca.key"),
        "{words}"
    );
    assert_eq!(workshop.names(), ["ca.crl", "ca.crt", "ca.key"]);
    assert_eq!((workshop.mode(""), workshop.mode("ca.key")), (0o700, 0o600));

    let der = sections(&workshop.read("ca.crt")).remove(0);
    let ca = certificate(&der);
    assert_eq!(ca.subject().to_string(), "CN=team-a CA");
    assert_eq!(ca.issuer(), ca.subject());
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = ca.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1 << 5 | 1 << 6, "{usage}");
    assert_eq!(days(&ca), 3650);
    ca.verify_signature(None).unwrap();

    let der = sections(&workshop.read("ca.crl")).remove(0);
    let revoked = list(&der);
    revoked.verify_signature(ca.public_key()).unwrap();
    assert_eq!(revoked.crl_number().unwrap().to_string(), "1");
    assert_eq!(revoked.iter_revoked_certificates().count(), 0);
}

#[test]
fn an_intermediate_issues_and_the_root_stays_out_of_the_chain() {
    let workshop = Workshop::with_authority(&["--intermediate"]);
    assert_eq!(
        workshop.names(),
        [
            "ca.crl",
            "ca.crt",
            "ca.key",
            "intermediate.crl",
            "intermediate.crt",
            "intermediate.key"
        ]
    );
    assert_eq!(workshop.mode("intermediate.key"), 0o600);
    // The root's key can be elsewhere.
    fs::remove_file(workshop.path("ca.key")).unwrap();
    workshop.done(&["issue", "--client", "alice"]);
    let chain = sections(&workshop.read("alice.crt"));
    let root = sections(&workshop.read("ca.crt")).remove(0);
    let [leaf, middle] = &chain[..] else {
        panic!("{} certificates", chain.len());
    };
    let (leaf, middle, root) = (certificate(leaf), certificate(middle), certificate(&root));
    leaf.verify_signature(Some(middle.public_key())).unwrap();
    middle.verify_signature(Some(root.public_key())).unwrap();
    let path_len = |ca: &X509Certificate<'_>| {
        let constraints = ca.basic_constraints().unwrap().unwrap();
        constraints.value.path_len_constraint
    };
    assert_eq!((path_len(&root), path_len(&middle)), (Some(1), Some(0)));
    assert_eq!((days(&root), days(&middle)), (3650, 5 * 365));
}

#[test]
fn a_client_says_what_was_asked_for_and_may_be_a_client_alone() {
    let workshop = Workshop::with_authority(&[]);
    let words = workshop.done(&[
        "issue",
        "--client",
        "ci-deployer",
        "--organization",
        "team-a",
        "--organization",
        "on-call",
        "--uri",
        "spiffe://example.org/ci",
        "--dns",
        "ci.example.org",
        "--days",
        "7",
    ]);
    assert!(
        words.contains("ci-deployer.crt") && words.contains("ci-deployer.key"),
        "{words}"
    );
    assert_eq!(
        (
            workshop.mode("ci-deployer.key"),
            workshop.mode("ci-deployer.crt")
        ),
        (0o600, 0o644)
    );
    let der = sections(&workshop.read("ci-deployer.crt")).remove(0);
    let client = certificate(&der);
    assert_eq!(
        client.subject().to_string(),
        "O=team-a, O=on-call, CN=ci-deployer"
    );
    assert_eq!(client.key_usage().unwrap().unwrap().value.flags, 1);
    let usage = client.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any && usage.other.is_empty());
    assert!(!client.is_ca());
    let names = &client
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names.len(), 2);
    assert_eq!(days(&client), 7);
    assert_eq!(client.raw_serial().len(), 16);
}

#[test]
fn a_server_answers_to_all_its_names_for_ninety_days() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&[
        "issue",
        "--server",
        "headcount.example.org",
        "127.0.0.1",
        "*.apps.example.org",
        "--ip",
        "::1",
        "--dns",
        "localhost",
    ]);
    let der = sections(&workshop.read("headcount.example.org.crt")).remove(0);
    let server = certificate(&der);
    assert_eq!(server.subject().to_string(), "CN=headcount.example.org");
    let usage = server.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    let names = &server
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(days(&server), 90);
}

#[test]
fn another_name_for_the_files_can_be_given() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--server", "*.example.org", "--out", "server"]);
    workshop.done(&["issue", "--client", "Alice Example", "--out", "alice"]);
    let names = workshop.names();
    assert_eq!(names[..2], ["alice.crt", "alice.key"]);
    assert_eq!(names[5..], ["server.crt", "server.key"]);
}

#[test]
fn no_key_is_overwritten_unless_force_says_so() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--client", "alice"]);
    for args in [
        &["init"][..],
        &["init", "--intermediate"],
        &["issue", "--client", "alice"],
        &["issue", "--server", "localhost", "--out", "alice"],
    ] {
        let error = workshop.refused(args);
        assert!(
            error.contains(".key exists") && error.contains("--force"),
            "{error}"
        );
    }
    // A lone key is one too, and so is a link to nowhere.
    fs::remove_file(workshop.path("alice.crt")).unwrap();
    workshop.refused(&["issue", "--client", "alice"]);
    std::os::unix::fs::symlink("nowhere", workshop.path("bob.key")).unwrap();
    workshop.refused(&["issue", "--client", "bob"]);

    let before = workshop.contents();
    workshop.done(&["issue", "--client", "alice", "--force"]);
    assert_ne!(workshop.contents()["alice.key"], before["alice.key"]);
    workshop.done(&["init", "--force", "--intermediate"]);
    assert_ne!(workshop.contents()["ca.key"], before["ca.key"]);
    assert_eq!(workshop.mode("ca.key"), 0o600);
    // Without an intermediate the old one may not go on issuing.
    workshop.done(&["init", "--force"]);
    assert!(
        !workshop
            .names()
            .iter()
            .any(|name| name.starts_with("intermediate"))
    );
    workshop.done(&["issue", "--client", "carol"]);
}

#[test]
fn a_failure_to_write_leaves_nothing_behind_and_is_no_bad_usage() {
    let workshop = Workshop::with_authority(&[]);
    fs::create_dir(workshop.path("alice.crt")).unwrap();
    let before = workshop.names();
    let done = workshop.run(&["issue", "--client", "alice", "--force"]);
    assert_eq!(done.code, Some(1), "{done:#?}");
    assert!(done.stderr.contains("failed to write"), "{done:#?}");
    assert_eq!(workshop.names(), before);
}
