//! `GET /whoami`.

use std::time::{Duration, SystemTime};

use headcount::pki::{Leaf, RevocationList};
use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::Governed;
use crate::support::{SimCluster, eventually};

#[tokio::test]
async fn it_says_whom_the_server_takes_the_caller_for_and_what_that_may_do() {
    let settings = "
authorization:
  mode: policy
  rules:
    - name: ci
      subjects: ['group:ci']
      verbs: [get, scale]
      namespaces: [web, 'team-*']
      labelSelector: tier=front
      bounds: {max: 10}
    - name: others
      subjects: [bob]
      verbs: ['*']
";
    let governed = Governed::by(settings, SimCluster::start().await).await;
    let mut leaf = Leaf::client("runner");
    leaf.uris = vec!["spiffe://example.org/ci/web".into()];
    leaf.organizations = vec!["ci".into()];
    leaf.serial = Some(vec![0x2a]);
    let answer = governed.client_of(&leaf).get("/whoami").await;
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!(told["principal"], "spiffe://example.org/ci/web");
    assert_eq!(told["principalKind"], "uri");
    assert_eq!(told["groups"], json!(["ci"]));
    assert_eq!(told["certificate"]["serial"], "2a");
    assert_eq!(told["certificate"]["issuer"], "CN=clients");
    let bound = &told["certificate"]["validUntilOf"];
    assert_eq!(bound, "certificate");
    let ends = ["validUntil", "notAfter"].map(|end| &told["certificate"][end]);
    assert!(ends[0].is_string() && ends[0] == ends[1], "{ends:?}");
    assert_eq!(told["authorization"], "policy");
    let rule = json!([{
        "rule": "ci", "effect": "allow", "verbs": ["get", "scale"], "namespaces": ["web", "team-*"],
        "labelSelector": "tier=front", "bounds": {"max": 10},
    }]);
    assert_eq!(told["permissions"], rule);
    assert!(told.get("readOnly").is_none(), "{told}");
    assert!(!answer.text().contains("bob"), "nobody else is told of");
}

#[tokio::test]
async fn it_needs_a_valid_certificate_and_nothing_more() {
    let governed = Governed::by("", SimCluster::start().await).await;
    let mut leaf = Leaf::client("runner");
    leaf.uris = vec![
        "spiffe://example.org/a".into(),
        "spiffe://example.org/b".into(),
    ];
    let told = governed.client_of(&leaf).get("/whoami").await.json();
    assert_eq!(told["principal"], json!(null));
    assert_eq!(
        told["noPrincipal"],
        "it has 2 names of the kind uri, and must have one"
    );
    assert_eq!(
        told["permissions"],
        json!([{"effect": "allow", "verbs": ["get", "list", "watch", "scale"]}])
    );
    let anybody = governed.client("anybody");
    assert_eq!(
        anybody.send(Method::HEAD, "/whoami", &[], "").await.text(),
        ""
    );
    assert_eq!(
        anybody.send(Method::PUT, "/whoami", &[], "").await.status,
        405
    );
}

#[tokio::test]
async fn the_end_of_a_revocation_list_is_told_as_that_and_beside_it_the_certificates_own() {
    let governed = Governed::by("", SimCluster::start().await).await;
    let certificate = async || {
        let told = governed.client("runner").get("/whoami").await.json();
        told["certificate"].clone()
    };
    let before = certificate().await;
    assert_eq!(before["validUntilOf"], "certificate");
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let mut list = RevocationList::empty(0);
    let list = list.sign(&governed.clients, now, hour).unwrap();
    let file = governed.folder.path().join("clients.crl");
    std::fs::write(&file, list).unwrap();
    governed.becomes(&format!("clientCrl: {}\n", file.display()));
    eventually(Duration::from_secs(20), "the list", async || {
        certificate().await["validUntilOf"] == "revocationList"
    })
    .await;
    let told = certificate().await;
    let [until, own] = ["validUntil", "notAfter"].map(|end| told[end].as_str().unwrap().to_owned());
    assert!(until < own, "{told:#}");
    let [until, own] = [until, own].map(|time| time.parse::<Timestamp>().unwrap());
    let left = until.duration_since(Timestamp::now()).as_secs();
    assert!((3500..=3600).contains(&left), "{told:#}");
    assert!(own > until);
}
