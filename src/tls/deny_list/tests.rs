use proptest::prelude::*;

use super::*;
use crate::pki::{Authority, Leaf};

const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: DenyList\n";

fn parse(rest: &str) -> Result<DenyList, DenyListError> {
    DenyList::parse(&format!("{HEAD}{rest}"))
}

fn facts() -> CertificateFacts {
    CertificateFacts {
        issuer: "CN=headcount CA".into(),
        serial: vec![0x4f, 0x3a, 0x01],
        spki_sha256: [0xab; 32],
        names: vec!["alice".into(), "spiffe://example.org/alice".into()],
        has_unreadable_name: false,
    }
}

fn verdict(rest: &str) -> Option<Denial> {
    parse(rest).unwrap().denies(&facts())
}

#[test]
fn a_serial_number_is_denied_with_its_issuer_alone_however_it_is_written() {
    for serial in [
        "4f3a01",
        "4F:3A:01",
        "004f3a01",
        "\"00:4f:3a:01\"",
        "'4F3A01'",
    ] {
        let list = format!("serials:\n  - issuer: CN=headcount CA\n    serial: {serial}\n");
        assert_eq!(verdict(&list), Some(Denial::Serial), "{serial}");
    }
    for (issuer, serial) in [
        ("CN=another CA", "4f3a01"),
        ("CN=headcount CA", "4f3a02"),
        ("CN=headcount CA", "4f3a0100"),
        ("cn=headcount ca", "4f3a01"),
    ] {
        let list = format!("serials: [{{issuer: {issuer}, serial: {serial}}}]\n");
        assert_eq!(verdict(&list), None, "{issuer} {serial}");
    }
}

#[test]
fn a_serial_number_of_digits_alone_is_read_as_hexadecimal() {
    let list =
        parse("serials:\n- {issuer: a, serial: 0x10}\n").map_err(|error| error.line.is_some());
    assert_eq!(list, Err(true));
    let list = parse("serials:\n- {issuer: a, serial: 10}\n- {issuer: a, serial: 1e5}\n").unwrap();
    let denied = |serial: &[u8]| {
        let facts = CertificateFacts {
            issuer: "a".into(),
            serial: serial.to_vec(),
            ..facts()
        };
        list.denies(&facts).is_some()
    };
    assert!(denied(&[0x10]) && denied(&[0x01, 0xe5]) && !denied(&[10]));
}

#[test]
fn a_key_is_denied_whatever_else_the_certificate_says() {
    let colons = ["ab"; 32].join(":");
    for hash in ["ab".repeat(32), "AB".repeat(32), colons] {
        let list = format!("spkiSha256:\n  - {hash}\n");
        assert_eq!(verdict(&list), Some(Denial::Key));
    }
    let list = format!("spkiSha256:\n  - {}\n", "ac".repeat(32));
    assert_eq!(verdict(&list), None);
}

#[test]
fn a_name_is_denied_byte_for_byte() {
    let uri = "spiffe://example.org/alice";
    for (name, denied) in [
        ("alice", true),
        (uri, true),
        ("Alice", false),
        ("alic", false),
        ("alice2", false),
    ] {
        let expected = denied.then(|| Denial::Name(name.into()));
        assert_eq!(verdict(&format!("names: [\"{name}\"]\n")), expected);
    }
}

#[test]
fn a_list_without_entries_denies_nobody() {
    for rest in ["", "names: []\nserials: []\nspkiSha256: []\n", "# nobody\n"] {
        let list = parse(rest).unwrap();
        assert!(list.is_empty() && list.denies(&facts()).is_none(), "{rest}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (rest, line, part) in [
        ("name: [alice]\n", Some(3), "name"),
        ("names: [alice]\nnames: [bob]\n", Some(4), "names"),
        ("names: alice\n", Some(3), ""),
        ("names:\n", Some(3), "no value"),
        ("serials:\nnames: [alice]\n", Some(3), "no value"),
        ("spkiSha256: ~\n", Some(3), "no value"),
        ("names:\n  - alice\n  - ''\n", Some(5), "empty"),
        (
            "serials:\n  - {issuer: CN=a, serial: 12zz}\n",
            Some(4),
            "12zz",
        ),
        (
            "serials:\n  - {issuer: CN=a, serial: '4f:3'}\n",
            Some(4),
            "hexadecimal",
        ),
        (
            "serials:\n  - {issuer: CN=a, serial: ''}\n",
            Some(4),
            "hexadecimal",
        ),
        ("serials:\n  - serial: 12\n", Some(4), "issuer"),
        ("serials:\n  - {issuer: '', serial: 12}\n", Some(4), "empty"),
        (
            "serials:\n  - {issuer: a, serial: 12, note: x}\n",
            Some(4),
            "note",
        ),
        ("spkiSha256: [abcd]\n", Some(3), "64 hexadecimal digits"),
        ("names: [alice\n", None, ""),
    ] {
        let error = parse(rest).unwrap_err();
        assert!(line.is_none() || error.line == line, "{rest}: {error:?}");
        assert!(error.to_string().contains(part), "{rest}: {error}");
    }
    for text in ["", "names: [alice]\n", "[]", "a", "kind: DenyList\n"] {
        assert!(DenyList::parse(text).is_err(), "{text}");
    }
    let other = DenyList::parse("apiVersion: headcount/v9\nkind: DenyList\n").unwrap_err();
    assert!(other.to_string().contains(API_VERSION), "{other}");
}

#[test]
fn facts_are_read_from_a_certificate_and_match_a_list_that_names_them() {
    let authority = Authority::new("root").unwrap();
    let leaf = Leaf::client("alice")
        .organization("team-a")
        .dns_name("runner.example.org")
        .uri("spiffe://example.org/alice")
        .serial(&[0xf0, 1]);
    let issued = authority.issue(&leaf).unwrap();
    let der = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
        issued.certificate_pem.as_bytes(),
    )
    .unwrap();
    let facts = CertificateFacts::read(&der).unwrap();
    assert_eq!(
        (facts.issuer.as_str(), &facts.serial[..]),
        ("CN=root", &[0xf0, 1][..])
    );
    assert_eq!(
        facts.names,
        ["alice", "runner.example.org", "spiffe://example.org/alice"]
    );
    assert_eq!(crate::pki::public_key_hash(&der), Some(facts.spki_sha256));
    let list = parse("serials:\n  - {issuer: CN=root, serial: f001}\n").unwrap();
    assert_eq!(list.denies(&facts), Some(Denial::Serial));
    assert_eq!(CertificateFacts::read(b"no certificate"), None);
}

/// A self-signed certificate with this common name.
fn named(name: rcgen::DnValue) -> CertificateFacts {
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap());
    CertificateFacts::read(certificate.unwrap().der()).unwrap()
}

#[test]
fn a_common_name_is_denied_in_every_encoding_that_it_may_have() {
    use rcgen::DnValue;
    let list = parse("names: [alice, aliée😀]\n").unwrap();
    for name in [
        DnValue::BmpString("alice".try_into().unwrap()),
        DnValue::UniversalString("alice".try_into().unwrap()),
        DnValue::TeletexString("alice".try_into().unwrap()),
        DnValue::PrintableString("alice".try_into().unwrap()),
        DnValue::Ia5String("alice".try_into().unwrap()),
        DnValue::Utf8String("alice".into()),
        DnValue::UniversalString("aliée😀".try_into().unwrap()),
    ] {
        let facts = named(name.clone());
        assert!(
            matches!(list.denies(&facts), Some(Denial::Name(_))),
            "{name:?}"
        );
        assert_eq!(parse("names: [bob]\n").unwrap().denies(&facts), None);
    }
}

#[test]
fn a_name_that_cant_be_read_is_denied_while_names_are_listed() {
    let damaged = |text: &str, damage: &dyn Fn(&mut [u8])| {
        let mut params = rcgen::CertificateParams::default();
        let name = rcgen::string::BmpString::try_from(text).unwrap();
        params.distinguished_name.push(
            rcgen::DnType::CommonName,
            rcgen::DnValue::BmpString(name.clone()),
        );
        params.subject_alt_names = ["dns.example.org"]
            .map(|name| rcgen::SanType::DnsName(name.try_into().unwrap()))
            .to_vec();
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap());
        let mut der = certificate.unwrap().der().to_vec();
        damage(&mut der);
        CertificateFacts::read(&der).unwrap()
    };
    let replace = |from: &'static [u8], to: &'static [u8]| {
        move |der: &mut [u8]| {
            while let Some(at) = der.windows(from.len()).position(|part| part == from) {
                der[at..at + to.len()].copy_from_slice(to);
            }
        }
    };
    let bmp = b"\x1e\x04\0a\0b";
    let unreadable = [
        ("half a surrogate pair", replace(bmp, b"\x1e\x04\xd8\0\0b")),
        ("T.61 outside ASCII", replace(bmp, b"\x14\x04\0a\xe9b")),
        ("no code point", replace(bmp, b"\x1c\x04\0a\0b")),
        ("no string", replace(bmp, b"\x04\x04abcd")),
        ("another class", replace(bmp, b"\x8c\x04abcd")),
        ("no UTF-8", replace(bmp, b"\x0c\x04\xff\xff\xff\xff")),
        ("a DNS name", replace(b"\x82\x0fdns", b"\x82\x0f\xff")),
        ("a URI", replace(b"\x82\x0fdns", b"\x86\x0f\xff")),
        ("no list of names", replace(b"\x82\x0fdns", b"\x82\x10")),
    ];
    for (what, damage) in unreadable {
        let facts = damaged("ab", &damage);
        assert!(facts.has_unreadable_name, "{what}");
        let verdict = |rest| parse(rest).unwrap().denies(&facts);
        assert_eq!(verdict("names: [x]\n"), Some(Denial::UnreadableName));
        assert_eq!(verdict("serials: [{issuer: a, serial: 1}]\n"), None);
    }
    assert!(!damaged("ab", &|_| {}).has_unreadable_name);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = DenyList::parse(&text);
        let _ = parse(&text);
    }

    #[test]
    fn every_name_that_is_written_quoted_is_denied(name in "[^\\p{C}\\p{Z}]{1,40}") {
        let list = parse(&format!("names: [{}]\n", serde_json::to_string(&name).unwrap())).unwrap();
        let facts = CertificateFacts { names: vec![name.clone()], ..facts() };
        prop_assert_eq!(list.denies(&facts), Some(Denial::Name(name)));
    }

    #[test]
    fn every_serial_number_is_found_again(serial in prop::collection::vec(any::<u8>(), 1..=20)) {
        let hex: String = serial.iter().map(|b| format!("{b:02x}")).collect();
        let list = parse(&format!("serials: [{{issuer: CN=root, serial: '{hex}'}}]\n")).unwrap();
        let facts = CertificateFacts { issuer: "CN=root".into(), serial, ..facts() };
        prop_assert_eq!(list.denies(&facts), Some(Denial::Serial));
    }
}
