//! Names that are made to forge records make none.

use headcount::pki::{Authority, Leaf};

use super::{Audited, of};
use crate::support::{Client, SimCluster};

/// Ends the line, begins another record, clears the screen, turns the text around, and is in no alphabet.
const EVIL: &str = "x\",\"result\":\"applied\"}\n{\"event\":\"scale.applied\",\"principal\":\"alice\"}\r\n\u{1b}[2J\u{1b}]0;owned\u{7}\u{85}\u{202e}\u{2028}\u{200b}\\é😀";

#[tokio::test]
async fn a_refused_clients_names_make_no_record_and_no_field() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let audited = Audited::new("", "");
    let serving = audited.serve(&cluster).await;
    let authority = Authority::new(EVIL).unwrap();
    let issued = authority
        .issue(&Leaf::client(EVIL).organization(EVIL))
        .unwrap();
    let ca = std::fs::read_to_string(&serving.files.ca).unwrap();
    let pair = (issued.chain_pem.as_str(), issued.key_pem.as_str());
    let mallory = Client::new(serving.address, &ca, Some(pair));
    assert!(mallory.try_send(http::Request::default()).await.is_err());
    serving.program.line("tls.client.refused", 1).await;
    // Names in a path, and ids.
    let path = "/namespaces/we%0Ab/deployments/sh%1b%5b2Jop%E2%80%AE/replicas";
    let forged = "a\",\"event\":\"forged";
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", forged),
        ("traceparent", forged),
    ];
    let answer = serving
        .client
        .send(http::Method::PUT, path, &headers, r#"{"replicaCount":1}"#);
    assert_eq!(answer.await.status, 400);
    assert_eq!(serving.terminated().await.code, Some(0));

    let text = std::fs::read_to_string(audited.file()).unwrap();
    let hides = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2028}\u{200b}".contains(c));
    assert!(!text.chars().any(hides), "a terminal would obey: {text:?}");
    let records = audited.records();
    assert!(of(&records, "scale.applied").is_empty() && of(&records, "forged").is_empty());
    let refused = of(&records, "tls.client.refused")[0];
    assert_eq!(refused["result"], "denied");
    for name in ["subject", "issuer", "names"] {
        let said = refused[name].as_str().unwrap();
        assert!(
            said.contains("owned") && said.contains("scale.applied"),
            "{said:?}"
        );
    }
    let failed = of(&records, "scale.failed")[0];
    assert_eq!(
        (failed["namespace"].as_str(), failed["name"].as_str()),
        (Some("we\nb"), Some("sh\u{1b}[2Jop\u{202e}"))
    );
    assert_eq!(audited.verify(&[]).await.0, 0);
}
