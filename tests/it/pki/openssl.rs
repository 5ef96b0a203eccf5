//! What OpenSSL makes of the folder's files, where it is installed.

use std::io::{self, Write as _};

use super::*;

/// Whether there is an `openssl`; without it these tests say so and pass, since others read the same files by x509-parser.
fn installed() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        let _ = writeln!(io::stderr(), "SKIPPED: openssl isn't installed");
    }
    found
}

fn openssl(workshop: &Workshop, args: &str) -> Done {
    let mut command = Command::new("openssl");
    command.args(args.split(' '));
    command.current_dir(workshop.path(""));
    let output = command.output().unwrap();
    Done {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn openssl_verifies_what_was_issued_and_sees_what_was_revoked() {
    if !installed() {
        return;
    }
    for flags in [&[][..], &["--intermediate"]] {
        let workshop = Workshop::with_authority(flags);
        workshop.done(&["issue", "--client", "alice", "--organization", "team-a"]);
        workshop.done(&["issue", "--client", "bob"]);
        workshop.done(&["issue", "--server", "localhost", "127.0.0.1"]);
        workshop.done(&["renew", "headcount-pki/bob.crt"]);
        workshop.done(&["revoke", "headcount-pki/alice.crt"]);
        let lists = if flags.is_empty() {
            "-CRLfile ca.crl".to_owned()
        } else {
            "-CRLfile ca.crl -CRLfile intermediate.crl".to_owned()
        };
        let verify = |name: &str, purpose: &str| {
            let untrusted = format!("-untrusted {name}.crt");
            let args = format!(
                "verify -x509_strict -crl_check_all -CAfile ca.crt {lists} {untrusted} -purpose {purpose} {name}.crt"
            );
            openssl(&workshop, &args)
        };
        let bob = verify("bob", "sslclient");
        assert_eq!(
            (bob.code, bob.stdout.as_str()),
            (Some(0), "bob.crt: OK\n"),
            "{bob:#?}"
        );
        let server = verify("localhost", "sslserver");
        assert_eq!(server.code, Some(0), "{server:#?}");
        assert_ne!(verify("bob", "sslserver").code, Some(0));
        assert_ne!(verify("localhost", "sslclient").code, Some(0));
        let alice = verify("alice", "sslclient");
        assert!(
            alice.code != Some(0) && alice.stderr.contains("certificate revoked"),
            "{alice:#?}"
        );
    }
}

#[test]
fn openssl_reads_lists_keys_and_certificates() {
    if !installed() {
        return;
    }
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&[
        "issue",
        "--client",
        "alice",
        "--uri",
        "spiffe://example.org/alice",
    ]);
    workshop.done(&[
        "revoke",
        "headcount-pki/alice.crt",
        "--reason",
        "key-compromise",
    ]);
    let list = openssl(&workshop, "crl -in ca.crl -noout -text -CAfile ca.crt");
    assert!(list.stderr.contains("verify OK"), "{list:#?}");
    for part in [
        "Key Compromise",
        "X509v3 CRL Number",
        "Authority Key Identifier",
    ] {
        assert!(list.stdout.contains(part), "{list:#?}");
    }
    let text = openssl(&workshop, "x509 -in alice.crt -noout -text").stdout;
    for part in [
        "TLS Web Client Authentication",
        "URI:spiffe://example.org/alice",
        "CA:FALSE",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let key = openssl(&workshop, "pkey -in alice.key -noout -text").stdout;
    assert!(key.contains("NIST CURVE: P-256"), "the kind of the key");
}

#[test]
fn a_list_that_openssl_wrote_is_extended_and_nothing_of_it_is_lost() {
    if !installed() {
        return;
    }
    let workshop = Workshop::with_authority(&[]);
    for name in ["alice", "bob"] {
        workshop.done(&["issue", "--client", name]);
    }
    let write = |name: &str, text: &str| fs::write(workshop.path(name), text).unwrap();
    write("index.txt", "");
    write("number", "0FFF\n");
    write(
        "openssl.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n",
    );
    let authority = "-config openssl.cnf -cert ca.crt -keyfile ca.key";
    let revoked = openssl(
        &workshop,
        &format!("ca {authority} -revoke alice.crt -crl_compromise 20260101000000Z"),
    );
    assert_eq!(revoked.code, Some(0), "{revoked:#?}");
    let listed = openssl(&workshop, &format!("ca {authority} -gencrl -out ca.crl"));
    assert_eq!(listed.code, Some(0), "{listed:#?}");

    workshop.done(&["revoke", "headcount-pki/bob.crt"]);
    let text = openssl(&workshop, "crl -in ca.crl -noout -text -CAfile ca.crt");
    for part in ["Jan  1 00:00:00 2026", "Key Compromise"] {
        assert!(text.stdout.contains(part), "{part}: {text:#?}");
    }
    let number = openssl(&workshop, "crl -in ca.crl -noout -crlnumber").stdout;
    assert_eq!(number.trim(), "crlNumber=0x1000");
    assert_eq!(text.stdout.matches("Serial Number").count(), 2, "{text:#?}");
}
