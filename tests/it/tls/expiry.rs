//! A certificate that expires while its connection is open.

use std::time::{Duration, SystemTime};

use headcount::pki::{Authority, Leaf};
use http::StatusCode;
use rustls::AlertDescription::CertificateExpired;
use tokio::time::{sleep, timeout};

use super::{
    Served,
    sender::{Sender, sentence},
};

#[tokio::test]
async fn a_certificate_that_expires_on_an_open_connection_is_401_and_ends_the_connection() {
    let authority = Authority::new("client CA").unwrap();
    let served = Served::trusting(&authority).await;
    let end = SystemTime::now() + Duration::from_secs(2);
    let alice = served.client_with(
        &authority
            .issue(&Leaf::client("alice").valid_until(end))
            .unwrap(),
    );
    let mut connections = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let (mut sender, ended) = Sender::connect(&served, &alice, protocol).await;
        // The cluster is away, and the certificate is fine.
        let response = sender.get().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        sentence(response).await;
        connections.push((sender, ended, protocol));
    }
    // The second in which `end` lies is the last one of the certificate.
    let past = end + Duration::from_secs(1);
    sleep(past.duration_since(SystemTime::now()).unwrap() + Duration::from_millis(100)).await;
    for (mut sender, ended, protocol) in connections {
        assert!(
            !ended.is_finished(),
            "an idle {protocol} connection is not what is judged"
        );
        let response = sender.get().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{protocol}");
        let closing = response
            .headers()
            .get("connection")
            .map(|v| v.to_str().unwrap().to_owned());
        // HTTP/2 has no such header, and says the same by GOAWAY.
        assert_eq!(
            closing.as_deref(),
            (protocol == "http/1.1").then_some("close")
        );
        let told = sentence(response).await;
        assert!(
            told.starts_with(r#"{"error":"the client certificate has expired "#),
            "{told}"
        );
        let ended = timeout(Duration::from_secs(5), ended)
            .await
            .expect("the connection ends");
        assert!(ended.unwrap().is_ok(), "{protocol}: it ends in order");
        assert!(
            sender.get().await.is_err(),
            "{protocol}: nothing more is answered"
        );
    }
    served
        .refuses(&alice)
        .await
        .because("Expired", "INFO", CertificateExpired);
}
