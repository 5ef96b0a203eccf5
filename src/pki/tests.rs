use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use rustls::{
    CertificateError, RootCertStore,
    client::danger::ServerCertVerifier,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(authority: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(chain(authority).remove(0)).unwrap();
    Arc::new(roots)
}

/// What a server that trusts `authority` says to a client that presents `chain_pem`.
fn judge_client(authority: &str, chain_pem: &str) -> Result<(), rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider())
        .build()
        .unwrap();
    let chain = chain(chain_pem);
    verifier
        .verify_client_cert(&chain[0], &chain[1..], UnixTime::now())
        .map(|_| ())
}

/// What a client that trusts `authority` says to a server that presents `chain_pem` as `name`.
fn judge_server(authority: &str, chain_pem: &str, name: &str) -> Result<(), rustls::Error> {
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots(authority), provider())
            .build()
            .unwrap();
    let chain = chain(chain_pem);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
        .map(|_| ())
}

fn invalid(error: CertificateError) -> Result<(), rustls::Error> {
    Err(rustls::Error::InvalidCertificate(error))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_client_is_accepted_by_its_own_authority_alone() {
    let authority = Authority::new("one").unwrap();
    let same_name = Authority::new("one").unwrap();
    let client = authority.issue(&Leaf::client("alice")).unwrap().chain_pem;
    assert_eq!(judge_client(&authority.certificate_pem(), &client), Ok(()));
    let refused = judge_client(&same_name.certificate_pem(), &client);
    assert!(
        matches!(refused, Err(rustls::Error::InvalidCertificate(_))),
        "{refused:?}"
    );
}

#[test]
fn a_client_through_an_intermediate_is_accepted_with_the_chain_and_refused_without() {
    let root = Authority::new("root").unwrap();
    let middle = root.intermediate("middle", 1).unwrap();
    let low = middle.intermediate("low", 0).unwrap();
    let client = low.issue(&Leaf::client("alice")).unwrap();
    assert_eq!(chain(&client.chain_pem).len(), 3);
    assert_eq!(
        judge_client(&root.certificate_pem(), &client.chain_pem),
        Ok(())
    );
    assert_eq!(
        judge_client(&root.certificate_pem(), &client.certificate_pem),
        invalid(CertificateError::UnknownIssuer)
    );
}

#[test]
fn validity_and_usage_are_what_was_asked_for() {
    let authority = Authority::new("root").unwrap();
    let root = authority.certificate_pem();
    let judge = |leaf: Leaf| judge_client(&root, &authority.issue(&leaf).unwrap().chain_pem);
    let alice = Leaf::client("alice");
    assert!(matches!(
        judge(alice.clone().expired()),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::ExpiredContext { .. }
        ))
    ));
    assert!(matches!(
        judge(alice.clone().not_yet_valid()),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYetContext { .. }
        ))
    ));
    assert!(judge(alice.clone().valid_until(SystemTime::now() - MINUTE)).is_err());
    assert!(judge(Leaf::server(&["localhost"])).is_err());
    assert!(judge(alice.clone().usage(Usage::Any)).is_err());
    assert_eq!(judge(alice.clone().usage(Usage::Both)), Ok(()));
    assert_eq!(judge(alice.usage(Usage::None)), Ok(()));
}

#[test]
fn a_server_answers_to_each_of_its_names_and_no_other() {
    let authority = Authority::new("root").unwrap();
    let root = authority.certificate_pem();
    let server = authority
        .issue(&Leaf::server(&SERVER_NAMES))
        .unwrap()
        .chain_pem;
    for name in SERVER_NAMES {
        assert_eq!(judge_server(&root, &server, name), Ok(()), "{name}");
    }
    assert!(judge_server(&root, &server, "kubernetes").is_err());
}

#[test]
fn a_leaf_says_what_was_asked_for() {
    let authority = Authority::new("root").unwrap();
    let leaf = Leaf::client("alice")
        .organization("platform")
        .organization("on-call")
        .uri("spiffe://cluster.local/ns/ci/sa/runner")
        .dns_name("runner.ci")
        .serial(&[1, 2, 3]);
    let der = chain(&authority.issue(&leaf).unwrap().certificate_pem).remove(0);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        certificate.subject().to_string(),
        "O=platform, O=on-call, CN=alice"
    );
    assert_eq!(certificate.issuer().to_string(), "CN=root");
    assert_eq!(certificate.raw_serial(), [1, 2, 3]);
    assert!(!certificate.is_ca());
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let names = &certificate
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names.len(), 2);

    let extensions: Vec<_> = certificate
        .extensions()
        .iter()
        .map(|extension| extension.oid.to_id_string())
        .collect();
    assert!(
        extensions.contains(&"2.5.29.35".to_owned()),
        "authority key id in {extensions:?}"
    );
}

#[test]
fn serial_numbers_are_random_and_of_sixteen_bytes() {
    let authority = Authority::new("root").unwrap();
    let serial = || {
        let der = chain(
            &authority
                .issue(&Leaf::client("alice"))
                .unwrap()
                .certificate_pem,
        )
        .remove(0);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        certificate.raw_serial().to_vec()
    };
    let (one, other) = (serial(), serial());
    assert_ne!(one, other);
    assert_eq!((one.len(), other.len()), (16, 16));
}

#[test]
fn what_a_certificate_cannot_say_is_an_error_that_names_it() {
    let authority = Authority::new("root").unwrap();
    let message = |leaf: Leaf| {
        authority
            .issue(&leaf)
            .err()
            .map(|error| error.to_string())
            .unwrap()
    };
    let three = Leaf::client("alice")
        .organization("a")
        .organization("b")
        .organization("c");
    assert!(message(three).contains("3 organizations"));
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND + 1);
    assert!(message(Leaf::client("alice").valid_until(far)).contains("9999"));
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    assert!(
        authority
            .issue(&Leaf::client("alice").valid_until(last))
            .is_ok()
    );
    assert!(message(Leaf::client("alice").dns_name("ü")).contains("alice"));
}

#[test]
fn a_key_file_is_its_owners_alone_and_nothing_half_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.key");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    write_private(&path, "new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(mode(&path), 0o600);

    let taken = folder.path().join("folder");
    fs::create_dir(&taken).unwrap();
    let error = write_private(&taken, "new").unwrap_err().to_string();
    assert!(
        error.starts_with("failed to write ") && error.contains("folder"),
        "{error}"
    );
    assert_eq!(names(folder.path()), ["folder", "server.key"]);
}

#[test]
fn the_demo_folder_is_complete_private_and_replaced_as_a_whole() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/demo");
    let files = write_demo(&folder).unwrap();
    let expected = [
        "ca.crt",
        "client.crt",
        "client.key",
        "client2.crt",
        "client2.key",
        "expired.crt",
        "expired.key",
        "foreign-ca.crt",
        "foreign.crt",
        "foreign.key",
        "server.crt",
        "server.key",
    ];
    assert_eq!(names(&folder), expected);
    assert_eq!(mode(&folder), 0o700);
    for pair in [
        &files.server,
        &files.client,
        &files.client2,
        &files.expired,
        &files.foreign,
    ] {
        assert_eq!(mode(&pair.key), 0o600);
    }
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let old_authority = read(&files.ca);

    fs::write(folder.join("notes"), "mine").unwrap();
    let files = write_demo(&folder).unwrap();
    assert_eq!(names(&folder).len(), expected.len() + 1);
    let (ca, foreign_ca) = (read(&files.ca), read(&files.foreign_ca));
    assert_ne!(ca, old_authority);
    assert_eq!(
        judge_server(&ca, &read(&files.server.certificate), "localhost"),
        Ok(())
    );
    for client in [&files.client, &files.client2] {
        assert_eq!(judge_client(&ca, &read(&client.certificate)), Ok(()));
    }
    assert!(judge_client(&ca, &read(&files.expired.certificate)).is_err());
    let foreign = read(&files.foreign.certificate);
    assert_eq!(
        judge_client(&ca, &foreign),
        invalid(CertificateError::UnknownIssuer)
    );
    assert_eq!(judge_client(&foreign_ca, &foreign), Ok(()));
    for pair in [
        &files.server,
        &files.client,
        &files.client2,
        &files.expired,
        &files.foreign,
    ] {
        let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
        let matching = CertifiedKey::from_der(chain(&read(&pair.certificate)), key, &provider());
        assert!(
            matching.is_ok(),
            "{} does not fit {}",
            pair.key.display(),
            pair.certificate.display()
        );
    }
}
