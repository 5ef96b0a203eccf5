//! Certificates: which are accepted, and by which name each other one is refused.

use headcount::pki::{Authority, Issued, Leaf, Usage};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::{
    AlertDescription::{
        CertificateExpired, CertificateRequired, CertificateUnknown, DecryptError, ProtocolVersion,
        UnknownCA, UnsupportedCertificate,
    },
    version::TLS12,
};

use super::Served;

/// An authority and the server that trusts it alone.
async fn served() -> (Authority, Served) {
    let authority = Authority::new("client CA").unwrap();
    let served = Served::trusting(&authority).await;
    (authority, served)
}

/// An authority's certificate and a client's chain with its key, all keys of one kind.
fn all_of(algorithm: &'static SignatureAlgorithm) -> (String, String, String) {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, format!("{algorithm:?} CA"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate_for(algorithm).unwrap();
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, "alice");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate_for(algorithm).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    (authority.pem(), leaf.pem(), key.serialize_pem())
}

#[tokio::test]
async fn keys_of_every_usual_kind_are_accepted() {
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ] {
        let (authority, chain, key) = all_of(algorithm);
        let served = Served::with(&[authority]).await;
        served.accepts(&served.client(Some((&chain, &key)))).await;
    }
}

#[tokio::test]
async fn a_servers_own_key_may_be_of_every_usual_kind() {
    let clients = Authority::new("client CA").unwrap();
    let alice = clients.issue(&Leaf::client("alice")).unwrap();
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let authority = Authority::new("server CA").unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // Self-signed and trusted as it is: the signature of the handshake is what this is about.
        let certificate = params.self_signed(&key).unwrap().pem();
        let pair = Issued {
            chain_pem: certificate.clone(),
            certificate_pem: certificate,
            key_pem: key.serialize_pem(),
        };
        let served = Served::with_pair(authority, &pair, &[clients.certificate_pem()]).await;
        let mut client = served.client_with(&alice);
        trust(&mut client, &pair.certificate_pem);
        served.accepts(&client).await;
    }
}

/// Lets a client trust one certificate more.
fn trust(client: &mut rustls::ClientConfig, pem: &str) {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder(roots.into())
        .build()
        .unwrap();
    client.dangerous().set_certificate_verifier(verifier);
}

#[tokio::test]
async fn an_accepted_client_is_logged_with_subject_serial_issuer_and_address() {
    let (authority, served) = served().await;
    let leaf = Leaf::client("alice")
        .organization("platform")
        .serial(&[0x0a, 0x1b, 0xff]);
    let line = served
        .accepts(&served.client_with(&authority.issue(&leaf).unwrap()))
        .await;
    assert_eq!(
        line.names(),
        ["address", "issuer", "principal", "serial", "subject"]
    );
    assert_eq!(line.text("subject"), "O=platform, CN=alice");
    assert_eq!(
        (line.text("serial"), line.text("issuer")),
        ("0a1bff", "CN=client CA")
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let (_authority, served) = served().await;
    let refused = served.refuses(&served.client(None)).await;
    refused.because("NoCertificate", "INFO", CertificateRequired);
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let (authority, served) = served().await;
    let expired = authority.issue(&Leaf::client("alice").expired()).unwrap();
    served.refuses(&served.client_with(&expired)).await.because(
        "Expired",
        "INFO",
        CertificateExpired,
    );
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_refused() {
    let (authority, served) = served().await;
    let early = authority
        .issue(&Leaf::client("alice").not_yet_valid())
        .unwrap();
    served.refuses(&served.client_with(&early)).await.because(
        "NotValidYet",
        "INFO",
        CertificateExpired,
    );
}

#[tokio::test]
async fn a_foreign_authority_is_refused_with_a_warning() {
    let (_authority, served) = served().await;
    let foreign = Authority::new("foreign CA")
        .unwrap()
        .issue(&Leaf::client("alice"))
        .unwrap();
    let refused = served.refuses(&served.client_with(&foreign)).await;
    refused.because("UnknownIssuer", "WARN", UnknownCA);
    let line = refused.line;
    assert_eq!(
        (
            line.text("subject"),
            line.text("issuer"),
            line.text("names")
        ),
        ("CN=alice", "CN=foreign CA", "alice")
    );
    assert!(!line.text("serial").is_empty());
}

#[tokio::test]
async fn a_foreign_authority_of_the_same_name_is_refused_with_a_warning() {
    let (_authority, served) = served().await;
    let impostor = Authority::new("client CA")
        .unwrap()
        .issue(&Leaf::client("alice"))
        .unwrap();
    served
        .refuses(&served.client_with(&impostor))
        .await
        .because("BadSignature", "WARN", DecryptError);
}

#[tokio::test]
async fn the_servers_own_authority_is_none_of_its_clients() {
    let (_authority, served) = served().await;
    let leaf = served
        .server_authority
        .issue(&Leaf::client("alice"))
        .unwrap();
    served
        .refuses(&served.client_with(&leaf))
        .await
        .because("UnknownIssuer", "WARN", UnknownCA);
}

#[tokio::test]
async fn a_certificate_for_another_purpose_is_refused_with_a_warning() {
    let (authority, served) = served().await;
    for usage in [Usage::Server, Usage::Any] {
        let leaf = authority
            .issue(&Leaf::client("alice").usage(usage))
            .unwrap();
        let refused = served.refuses(&served.client_with(&leaf)).await;
        refused.because("InvalidPurpose", "WARN", UnsupportedCertificate);
    }
    let both = authority
        .issue(&Leaf::client("alice").usage(Usage::Both))
        .unwrap();
    served.accepts(&served.client_with(&both)).await;
}

#[tokio::test]
async fn what_only_the_verifier_has_a_name_for_is_refused_by_that_name() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let served = Served::with(&[authority.pem()]).await;
    let alice = || {
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, "alice");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf
    };
    let mut critical = alice();
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
    unknown.set_criticality(true);
    critical.custom_extensions = vec![unknown];
    let mut ca = alice();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (leaf, reason) in [
        (critical, "UnhandledCriticalExtension"),
        (ca, "CaUsedAsClient"),
    ] {
        let key = KeyPair::generate().unwrap();
        let chain = leaf.signed_by(&key, &authority).unwrap().pem();
        let client = served.client(Some((&chain, &key.serialize_pem())));
        served
            .refuses(&client)
            .await
            .because(reason, "WARN", CertificateUnknown);
    }
}

#[tokio::test]
async fn a_chain_is_accepted_with_its_intermediates_and_refused_without() {
    let (root, served) = served().await;
    let upper = root.intermediate("upper CA", 1).unwrap();
    let lower = upper.intermediate("lower CA", 0).unwrap();
    for authority in [&upper, &lower] {
        let alice = authority.issue(&Leaf::client("alice")).unwrap();
        served.accepts(&served.client_with(&alice)).await;
        let leaf_alone = served.client(Some((&alice.certificate_pem, &alice.key_pem)));
        served
            .refuses(&leaf_alone)
            .await
            .because("UnknownIssuer", "WARN", UnknownCA);
    }
}

#[tokio::test]
async fn every_authority_of_a_bundle_and_of_several_files_is_trusted_and_no_other() {
    let authorities =
        ["first", "second", "third", "other"].map(|name| Authority::new(name).unwrap());
    let [first, second, third, other] = &authorities;
    let bundle = format!(
        "# the first two\n{}\n{}",
        first.certificate_pem(),
        second.certificate_pem()
    );
    let served = Served::with(&[bundle, third.certificate_pem()]).await;
    for authority in [first, second, third] {
        let alice = authority.issue(&Leaf::client("alice")).unwrap();
        served.accepts(&served.client_with(&alice)).await;
    }
    let alice = other.issue(&Leaf::client("alice")).unwrap();
    served
        .refuses(&served.client_with(&alice))
        .await
        .because("UnknownIssuer", "WARN", UnknownCA);
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let (authority, served) = served().await;
    let alice = authority.issue(&Leaf::client("alice")).unwrap();
    let client = served.client_speaking(&TLS12, Some((&alice.chain_pem, &alice.key_pem)));
    served
        .refuses(&client)
        .await
        .because("ProtocolVersion", "INFO", ProtocolVersion);
}
