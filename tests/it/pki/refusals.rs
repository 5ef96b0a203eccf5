//! Command lines that do nothing: exit code 64, one sentence that says what to do.

use super::*;

#[test]
fn what_is_wrong_with_a_command_line_is_said_before_anything_is_written() {
    let workshop = Workshop::with_authority(&[]);
    for (args, part) in [
        (&[][..], "requires a subcommand"),
        (&["issue"], "--client <NAME>"),
        (
            &["issue", "--client", "a", "--server", "b"],
            "cannot be used with",
        ),
        (&["issue", "--client", ""], "1 to 64 characters"),
        (&["issue", "--client", "a\nb"], "1 to 64 characters"),
        (&["issue", "--client", "ca"], "--out NAME"),
        (&["issue", "--client", "CA"], "--out NAME"),
        (&["issue", "--client", "intermediate"], "--out NAME"),
        (&["issue", "--client", "../alice"], "--out NAME"),
        (
            &["issue", "--client", "spiffe://example.org/ci"],
            "--out NAME",
        ),
        (&["issue", "--client", "a", "--out", "b/c"], "--out NAME"),
        (
            &["issue", "--client", "a", "--out", ".hidden"],
            "--out NAME",
        ),
        (&["issue", "--server", "localhost:8443"], "without a port"),
        (&["issue", "--server", "*.org"], "DNS name or an IP address"),
        (&["issue", "--client", "a", "--dns", "a b"], "DNS name"),
        (&["issue", "--client", "a", "--ip", "10.0.0"], "--ip"),
        (
            &["issue", "--client", "a", "--uri", "alice"],
            "with a scheme",
        ),
        (&["issue", "--client", "a", "--days", "0"], "1 to 3650"),
        (&["issue", "--client", "a", "--days", "3651"], "1 to 3650"),
        (&["issue", "--client", "a", "--days", "-1"], "'-1'"),
        (&["renew"], "<CERT>"),
        (&["revoke", "x.crt", "--reason", "mood"], "key-compromise"),
        (&["deny", "x.crt", "--by", "mood"], "serial"),
        (&["show", "x.crt", "--crl", "x"], "--ca"),
        (&["show", "nothing.crt"], "failed to read nothing.crt"),
        (&["show", "localhost:https"], "neither a file nor HOST:PORT"),
    ] {
        let error = workshop.refused(args);
        assert!(error.contains(part), "{args:?}: {error}");
        // A person's sentence, and no log line.
        assert!(
            error.starts_with("error: ") && error.lines().count() == 1,
            "{args:?}: {error}"
        );
    }
    let long = "a".repeat(60) + ".example.org";
    let error = workshop.refused(&["issue", "--server", &long, "--out", "server"]);
    assert!(error.contains("put a shorter name first"), "{error}");
    let organizations = [
        "--organization",
        "a",
        "--organization",
        "b",
        "--organization",
        "c",
    ];
    let error = workshop.refused(&[&["issue", "--client", "a"], &organizations[..]].concat());
    assert!(error.contains("3 organizations"), "{error}");
}

#[test]
fn without_a_ca_each_command_says_how_to_make_one() {
    let workshop = Workshop::new();
    for args in [
        &["issue", "--client", "alice"][..],
        &["renew", "alice.crt"],
        &["revoke", "alice.crt"],
        &["crl"],
    ] {
        let error = workshop.refused(args);
        assert!(
            error.contains("headcount pki init --dir headcount-pki"),
            "{error}"
        );
    }
    assert_eq!(fs::read_dir(workshop.0.path()).unwrap().count(), 0);
}

#[test]
fn a_ca_whose_files_do_not_fit_issues_nothing() {
    let other = Workshop::with_authority(&[]);
    for (file, content, part) in [
        (
            "ca.key",
            other.read("ca.key"),
            "not the one of the certificate",
        ),
        ("ca.key", "junk".into(), "failed to read the key"),
        ("ca.crt", "junk".into(), "holds no certificate"),
        (
            "ca.crt",
            other.read("ca.crt"),
            "not the one of the certificate",
        ),
    ] {
        let workshop = Workshop::with_authority(&[]);
        fs::write(workshop.path(file), content).unwrap();
        let error = workshop.refused(&["issue", "--client", "alice"]);
        assert!(error.contains(part) && error.contains("ca.crt"), "{error}");
        let secret = other.read("ca.key");
        assert!(
            !error.contains(secret.lines().nth(1).unwrap()),
            "a key in a message"
        );
    }
}

#[test]
fn the_help_says_what_it_is_for_and_what_else_there_is() {
    let workshop = Workshop::new();
    let words = workshop.done(&["--help"]);
    assert!(
        words.contains("development and small installations"),
        "{words}"
    );
    assert!(words.contains("https://cert-manager.io"), "{words}");
    for command in ["init", "issue", "renew", "revoke", "crl", "deny", "show"] {
        assert!(
            words.contains(&format!("\n  {command} ")),
            "{command}: {words}"
        );
        assert!(
            workshop.done(&[command, "--help"]).contains("Usage"),
            "{command}"
        );
    }
}
