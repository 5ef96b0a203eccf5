//! What cert-manager makes of the manifests.

use http::Method;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{oid_registry, parse_x509_certificate, prelude::GeneralName};

use super::{
    cluster::{BUNDLE, CLIENT, CLIENT_CA, Cluster, SERVER, SERVER_CA, checkout},
    served::Served,
};

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

async fn shown(cluster: &Cluster, secret: &str) -> Shown {
    let pem = cluster.text(secret, "tls.crt").await;
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

pub(super) async fn certificates_have_the_usages_names_and_keys_that_they_need(cluster: &Cluster) {
    for (secret, name) in [
        (CLIENT_CA, "CN=headcount client CA 1"),
        (SERVER_CA, "CN=headcount server CA 1"),
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
        assert_eq!(shown(cluster, secret).await, expected);
    }
    let server = Shown {
        subject: String::new(),
        issuer: "CN=headcount server CA 1".to_owned(),
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
    assert_eq!(shown(cluster, SERVER).await, server);
    let client = Shown {
        subject: "O=team-a, CN=ci-deployer".to_owned(),
        issuer: "CN=headcount client CA 1".to_owned(),
        names: vec!["spiffe://example.org/ns/team-a/sa/ci-deployer".to_owned()],
        authority: false,
        key_usage: "Digital Signature".to_owned(),
        extended: vec!["client"],
        days: 90,
    };
    assert_eq!(shown(cluster, CLIENT).await, client);
}

pub(super) async fn the_bundle_is_made_of_authorities_alone(cluster: &Cluster) {
    cluster.trust(&[CLIENT_CA]).await.unwrap();
    let authority = cluster.text(CLIENT_CA, "tls.crt").await;
    let bundle = cluster.text(BUNDLE, "ca.crt").await;
    assert_eq!(bundle.trim(), authority.trim());
    // The ca.crt beside the server's certificate is the other authority's.
    assert_ne!(cluster.text(SERVER, "ca.crt").await, authority);

    for (arguments, sentence) in [
        (&[][..], "which authorities?"),
        (&[CLIENT_CA, "nobody"], "not found"),
        (&[BUNDLE], "holds no certificate in tls.crt"),
    ] {
        let error = cluster.trust(arguments).await.unwrap_err();
        assert!(error.contains(sentence), "{error}");
    }
    assert_eq!(cluster.text(BUNDLE, "ca.crt").await, bundle);
}

pub(super) async fn an_issued_client_is_let_in_and_one_of_another_authority_is_not(
    cluster: &Cluster,
    served: &Served,
) {
    let client = served.client(cluster, CLIENT).await;
    served.becomes_healthy(&client).await;
    for protocol in ["http/1.1", "h2"] {
        let answer = client.alpn(&[protocol]).get("/deployments").await;
        assert_eq!(answer.status, 200, "{protocol}");
        assert_eq!(answer.json()[0]["name"], "headcount", "{protocol}");
    }
    let accepted = served.program.line("tls.client.accepted", 1).await;
    assert_eq!(accepted.text("subject"), "O=team-a, CN=ci-deployer");

    // The same client, as the authority of the server's certificate would vouch for it: the ca.crt beside that is no bundle.
    let manifest = std::fs::read_to_string(checkout("deploy/cert-manager/30-client.yaml")).unwrap();
    let manifest = manifest
        .replace("headcount-clients", "headcount-servers")
        .replace(CLIENT, "stranger");
    cluster.apply(&manifest).await;
    cluster.ready("stranger").await;
    let stranger = served.client(cluster, "stranger").await;
    let request = stranger.request(Method::GET, "/health", &[], "");
    assert!(stranger.try_send(request).await.is_err());
    let refused = served.program.line("tls.client.refused", 1).await;
    assert_eq!(refused.text("reason"), "UnknownIssuer");
}
