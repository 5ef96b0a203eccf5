//! `headcount pki show`: files and servers, in words.

use std::net::{Ipv4Addr, TcpListener};

use headcount::pki::{Authority, Leaf, write_certificate};

use super::*;
use crate::support::{program::Serving, write_kubeconfig};

/// The value of a property in the words, for the first certificate or list that has it.
fn property<'a>(words: &'a str, name: &str) -> &'a str {
    words
        .lines()
        .find_map(|line| {
            line.strip_prefix("  ")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        })
        .unwrap_or_else(|| panic!("no {name} in {words}"))
        .trim()
}

#[test]
fn a_chain_is_said_in_words_and_verified_against_its_ca() {
    let workshop = Workshop::with_authority(&["--intermediate"]);
    workshop.done(&[
        "issue",
        "--client",
        "alice",
        "--organization",
        "team-a",
        "--uri",
        "spiffe://example.org/alice",
        "--ip",
        "::1",
        "--dns",
        "alice.example.org",
    ]);
    let words = workshop.done(&[
        "show",
        "headcount-pki/alice.crt",
        "--ca",
        "headcount-pki/ca.crt",
    ]);
    for (name, value) in [
        ("subject", "O=team-a, CN=alice"),
        ("issuer", "CN=headcount CA intermediate"),
        (
            "names",
            "DNS alice.example.org, URI spiffe://example.org/alice, IP ::1",
        ),
        ("usage", "digitalSignature, clientAuth"),
        ("key", "ECDSA P-256"),
        ("signature", "ECDSA with SHA-256"),
        ("CA", "at most 0 CAs below it"),
    ] {
        assert_eq!(property(&words, name), value, "{words}");
    }
    assert!(
        property(&words, "valid").ends_with(", 89 days left"),
        "{words}"
    );
    let der = sections(&workshop.read("alice.crt")).remove(0);
    let der = rustls::pki_types::CertificateDer::from(der);
    let hash = headcount::pki::public_key_hash(&der).unwrap();
    assert_eq!(
        property(&words, "key SHA-256"),
        headcount::pki::hexadecimal(&hash)
    );
    assert_eq!(words.matches("\nCA certificate\n").count(), 1, "{words}");
    assert!(
        words.ends_with("verified: a chain leads to the CA of --ca\n") && !words.contains("NOT")
    );

    let other = Workshop::with_authority(&[]);
    let foreign = other.path("ca.crt").display().to_string();
    let words = workshop.done(&["show", "headcount-pki/alice.crt", "--ca", &foreign]);
    assert!(words.contains("NOT verified: "), "{words}");
}

#[test]
fn a_revoked_certificate_is_verified_without_the_list_and_not_with_it() {
    let workshop = Workshop::with_authority(&[]);
    workshop.done(&["issue", "--client", "alice"]);
    workshop.done(&["issue", "--server", "localhost"]);
    workshop.done(&[
        "revoke",
        "headcount-pki/alice.crt",
        "--reason",
        "key-compromise",
    ]);
    let ca = ["--ca", "headcount-pki/ca.crt"];
    let crl = ["--crl", "headcount-pki/ca.crl"];
    let show = |file: &str, flags: &[&str]| {
        let file = format!("headcount-pki/{file}");
        workshop.done(&[&["show", &file][..], flags].concat())
    };
    assert!(!show("alice.crt", &ca).contains("NOT"));
    let both = [ca, crl].concat();
    assert!(show("alice.crt", &both).contains("NOT verified: "));
    assert!(!show("localhost.crt", &both).contains("NOT"));

    let words = show("ca.crl", &[]);
    assert_eq!(property(&words, "number"), "2");
    assert_eq!(property(&words, "revoked"), "1");
    assert!(
        property(&words, "valid").ends_with(", 29 days left"),
        "{words}"
    );
    let der = sections(&workshop.read("alice.crt")).remove(0);
    let serial = headcount::pki::hexadecimal(certificate(&der).raw_serial());
    assert!(words.contains(&format!("    {serial}, 20")), "{words}");
    assert!(words.contains(", key compromise"), "{words}");
}

#[test]
fn a_ca_a_key_and_der_are_recognised_and_no_key_is_shown() {
    let workshop = Workshop::with_authority(&[]);
    let words = workshop.done(&["show", "headcount-pki/ca.crt"]);
    assert!(words.starts_with("CA certificate\n"), "{words}");
    assert_eq!(property(&words, "issuer"), "itself");
    assert_eq!(property(&words, "usage"), "keyCertSign, cRLSign");
    assert_eq!(
        workshop.done(&["show", "headcount-pki/ca.key"]),
        "private key, which isn't shown\n"
    );
    for file in ["ca.crt", "ca.crl"] {
        let der = sections(&workshop.read(file)).remove(0);
        fs::write(workshop.path("file.der"), der).unwrap();
        assert_eq!(
            workshop.done(&["show", "headcount-pki/file.der"]),
            workshop.done(&["show", &format!("headcount-pki/{file}")])
        );
    }
    for content in [
        &b"junk"[..],
        b"",
        b"0\x82junk",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    ] {
        fs::write(workshop.path("junk"), content).unwrap();
        let error = workshop.refused(&["show", "headcount-pki/junk"]);
        assert!(
            error.contains("failed to use headcount-pki/junk: "),
            "{error}"
        );
    }
    fs::write(workshop.path("junk"), vec![b'x'; 2 << 20]).unwrap();
    assert!(
        workshop
            .refused(&["show", "headcount-pki/junk"])
            .contains("longer than 1 MiB")
    );
}

#[test]
fn what_a_certificate_says_moves_no_cursor_and_expiry_is_loud() {
    let workshop = Workshop::new();
    let authority = Authority::new("\u{1b}[2JCA\n").unwrap();
    let leaf = Leaf::client("evil\u{1b}[31m\r\nverified: yes").expired();
    let issued = authority.issue(&leaf).unwrap();
    write_certificate(&workshop.0.path().join("evil.crt"), &issued.chain_pem).unwrap();
    let words = workshop.done(&["show", "evil.crt"]);
    assert!(
        !words.contains('\u{1b}') && !words.contains('\r'),
        "{words:?}"
    );
    assert!(!words.contains("\nverified"), "{words:?}");
    assert!(property(&words, "valid").ends_with(", EXPIRED"), "{words}");
    let later = authority
        .issue(&Leaf::client("later").not_yet_valid())
        .unwrap();
    write_certificate(&workshop.0.path().join("later.crt"), &later.chain_pem).unwrap();
    let words = workshop.done(&["show", "later.crt"]);
    assert!(
        property(&words, "valid").ends_with(", NOT YET VALID"),
        "{words}"
    );
}

#[tokio::test]
async fn a_server_shows_its_chain_to_someone_without_a_certificate() {
    let cluster = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let kubeconfig = cluster.path().join("kubeconfig");
    write_kubeconfig(
        &kubeconfig,
        &format!("http://{}", silent.local_addr().unwrap()),
    );
    let serving = Serving::start(&kubeconfig, &[]).await;
    let workshop = Workshop::with_authority(&[]);
    let (address, ca) = (
        serving.address.to_string(),
        serving.files.ca.display().to_string(),
    );
    let localhost = format!("localhost:{}", serving.address.port());
    for target in [&address, &localhost] {
        let words = workshop.done(&["show", target, "--ca", &ca]);
        assert_eq!(property(&words, "subject"), "CN=localhost");
        assert!(words.contains("with proof of the leaf's key"), "{words}");
        assert!(
            words.ends_with("\nverified: a chain leads to the CA of --ca\n"),
            "{words}"
        );
    }
    let words = workshop.done(&["show", &address, "--ca", "headcount-pki/ca.crt"]);
    assert!(words.contains("NOT verified: "), "{words}");
    let words = workshop.done(&["show", &address]);
    assert!(words.contains("not verified: name the CA"), "{words}");
}

#[test]
fn a_server_that_is_none_is_a_failure_and_no_bad_usage() {
    let workshop = Workshop::new();
    // Held so that nobody else gets it, and never accepted at.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let target = held.local_addr().unwrap().to_string();
    let done = workshop.run(&["show", &target]);
    assert_eq!(done.code, Some(1), "{done:#?}");
    assert!(done.stderr.contains("failed to connect to"), "{done:#?}");

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let done = workshop.run(&["show", &target]);
    answering.join().unwrap();
    assert_eq!(done.code, Some(1), "{done:#?}");
    assert!(
        done.stderr.contains("failed to get a certificate"),
        "{done:#?}"
    );
}
