//! What cert-manager makes of the chart.

use std::fs;

use http::Method;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{oid_registry, parse_x509_certificate, prelude::GeneralName};

use super::issued::{CLIENT, CLIENT_CA, Issued, SERVER, SERVER_CA};

/// What of a certificate its users judge.
#[derive(Debug, PartialEq)]
struct Shown {
    subject: String,
    issuer: String,
    names: Vec<String>,
    authority: bool,
    key_usage: String,
    extended: Vec<&'static str>,
    days: i64,
}

async fn shown(issued: &Issued, secret: &str) -> Shown {
    let pem = issued.text(secret, "tls.crt").await;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    let key = &certificate.public_key().algorithm;
    let curve = key.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve, oid_registry::OID_EC_P256, "{secret}");
    let names = certificate.subject_alternative_name().unwrap();
    let names = names.map_or(vec![], |names| names.value.general_names.clone());
    let extended = certificate.extended_key_usage().unwrap();
    let extended = extended.map_or(vec![], |usage| {
        let purposes = [
            (usage.value.server_auth, "server"),
            (usage.value.client_auth, "client"),
            (usage.value.any, "any"),
        ];
        let held = purposes.into_iter().filter(|(has, _)| *has);
        held.map(|(_, purpose)| purpose).collect()
    });
    let validity = certificate.validity();
    Shown {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: names
            .into_iter()
            .map(|name| match name {
                GeneralName::DNSName(name) | GeneralName::URI(name) => name.to_owned(),
                other => panic!("{other}"),
            })
            .collect(),
        authority: certificate.is_ca(),
        key_usage: certificate.key_usage().unwrap().unwrap().value.to_string(),
        extended,
        days: (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400,
    }
}

pub(super) async fn certificates_have_the_usages_names_and_keys_that_they_need(issued: &Issued) {
    for (secret, name) in [
        (CLIENT_CA, "CN=headcount-client-ca-1"),
        (SERVER_CA, "CN=headcount-server-ca-1"),
    ] {
        let expected = Shown {
            subject: name.to_owned(),
            issuer: name.to_owned(),
            names: vec![],
            authority: true,
            key_usage: "Key Cert Sign, CRL Sign".to_owned(),
            extended: vec![],
            days: 3_650,
        };
        assert_eq!(shown(issued, secret).await, expected);
    }
    let server = Shown {
        subject: String::new(),
        issuer: "CN=headcount-server-ca-1".to_owned(),
        names: [
            "headcount.headcount.svc",
            "headcount.headcount.svc.cluster.local",
            "headcount.headcount",
            "headcount",
        ]
        .map(str::to_owned)
        .to_vec(),
        authority: false,
        key_usage: "Digital Signature".to_owned(),
        extended: vec!["server"],
        days: 90,
    };
    assert_eq!(shown(issued, SERVER).await, server);
    let client = Shown {
        subject: "O=team-a, CN=ci-deployer".to_owned(),
        issuer: "CN=headcount-client-ca-1".to_owned(),
        names: vec!["spiffe://example.org/ns/team-a/sa/ci-deployer".to_owned()],
        authority: false,
        key_usage: "Digital Signature".to_owned(),
        extended: vec!["client"],
        days: 90,
    };
    assert_eq!(shown(issued, CLIENT).await, client);
}

pub(super) fn of_the_authorities_of_clients_their_certificates_alone_are_in_the_pod(
    issued: &Issued,
) {
    let pod = issued.pod();
    let process = pod.program().as_ref().unwrap().id();
    let names = |folder: &str| {
        let folder = format!("/proc/{process}/root/etc/headcount/{folder}");
        let names = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("..")).collect();
        names.sort();
        names
    };
    assert_eq!(names("client-ca"), ["headcount-client-ca-1.crt"]);
    assert_eq!(names("server"), ["ca.crt", "tls.crt", "tls.key"]);
}

pub(super) async fn an_issued_client_is_let_in_and_one_of_another_authority_is_not(
    issued: &Issued,
) {
    let client = issued.client().await;
    for protocol in ["http/1.1", "h2"] {
        let answer = client.alpn(&[protocol]).get("/deployments").await;
        assert_eq!(answer.status, 200, "{protocol}");
        assert_eq!(answer.json()[0]["name"], "headcount", "{protocol}");
    }
    let accepted = issued.line("tls.client.accepted", 1).await;
    assert_eq!(accepted.text("subject"), "O=team-a, CN=ci-deployer");

    // The same client, as the authority of the server's certificate would vouch for it.
    issued.apply(STRANGER).await;
    issued.ready("headcount-client-stranger").await;
    let stranger = issued.world.client("stranger").await;
    let request = stranger.request(Method::GET, "/health", &[], "");
    assert!(stranger.try_send(request).await.is_err());
    let refused = issued.line("tls.client.refused", 1).await;
    assert_eq!(refused.text("reason"), "UnknownIssuer");
}

const STRANGER: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: headcount-client-stranger, namespace: headcount}
spec:
  secretName: headcount-client-stranger
  issuerRef: {name: headcount-servers}
  commonName: ci-deployer
  subject: {organizations: [team-a]}
  usages: [digital signature, client auth]
  privateKey: {algorithm: ECDSA, size: 256}
";
