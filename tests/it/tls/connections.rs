//! What peers do with a connection: other protocols, garbage, silence, and handshakes that are never shortened.

use std::{io::Read as _, time::Duration};

use headcount::pki::{Authority, Leaf};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{advance, pause, resume, timeout},
};

use super::{REQUEST, Served};
use crate::support::{eventually, program::admin};

async fn served() -> (Served, ClientConfig) {
    let authority = Authority::new("client CA").unwrap();
    let served = Served::trusting(&authority).await;
    let alice = served.client_with(&authority.issue(&Leaf::client("alice")).unwrap());
    (served, alice)
}

/// What comes until the server closes the connection.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the bytes is an end like another.
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes");
    bytes
}

/// Whether the connection has neither bytes nor an end.
fn is_open(tcp: &TcpStream) -> bool {
    tcp.try_read(&mut [0; 1])
        .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn plain_http_gets_no_http_answer_and_a_warning() {
    let (served, _) = served().await;
    let mut tcp = served.tcp().await;
    tcp.write_all(REQUEST).await.unwrap();
    let answer = rest(&mut tcp).await;
    assert!(!answer.windows(4).any(|w| w == b"HTTP"), "{answer:?}");
    let line = served.log.first_about(tcp.local_addr().unwrap()).await;
    assert_eq!(
        (line.text("reason"), line.severity.as_str()),
        ("NotTls", "WARN")
    );
}

#[tokio::test]
async fn garbage_is_closed_with_a_warning() {
    let (served, alice) = served().await;
    let handshake_of_another_kind = [&[22, 3, 1, 0, 4, 2, 0, 0, 0][..], &[0; 64]].concat();
    for garbage in [
        vec![0; 64],
        vec![0xff; 20_000],
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        handshake_of_another_kind,
    ] {
        let mut tcp = served.tcp().await;
        let peer = tcp.local_addr().unwrap();
        // The server may close before it has read all.
        let _ = tcp.write_all(&garbage).await;
        rest(&mut tcp).await;
        let line = served.log.first_about(peer).await;
        let found = (
            line.event.as_str(),
            line.text("reason"),
            line.severity.as_str(),
        );
        assert_eq!(found, ("tls.client.refused", "NotTls", "WARN"), "{line:?}");
    }
    served.accepts(&alice).await;
}

#[tokio::test]
async fn a_client_hello_in_single_bytes_is_understood() {
    let (served, alice) = served().await;
    let name = ServerName::IpAddress(served.address.ip().into());
    let mut client = ClientConnection::new(alice.into(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut tcp = served.tcp().await;
    for byte in hello {
        tcp.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // A handshake record, not an alert.
    assert_eq!(
        timeout(Duration::from_secs(5), tcp.read_u8())
            .await
            .unwrap()
            .unwrap(),
        22
    );
}

#[tokio::test]
async fn a_client_that_leaves_at_once_is_no_news() {
    let (served, alice) = served().await;
    let polite = served.tcp().await;
    let rude = served.tcp().await;
    rude.set_zero_linger().unwrap();
    for tcp in [polite, rude] {
        let peer = tcp.local_addr().unwrap();
        drop(tcp);
        let line = served.log.first_about(peer).await;
        assert_eq!(
            (line.event.as_str(), line.severity.as_str()),
            ("tls.client.left", "DEBUG")
        );
    }
    served.accepts(&alice).await;
}

#[tokio::test]
async fn a_silent_client_is_cut_after_five_seconds_and_delays_nobody() {
    let (served, alice) = served().await;
    let mut silent = served.tcp().await;
    let mut slow = served.tcp().await;
    slow.write_all(&[22, 3, 1]).await.unwrap();
    // Connections are accepted in order: once this one is answered, the clocks of the other two run.
    served.accepts(&alice).await;
    pause();
    advance(Duration::from_millis(4_500)).await;
    assert!(is_open(&silent) && is_open(&slow));
    advance(Duration::from_millis(500)).await;
    resume();
    for tcp in [&mut silent, &mut slow] {
        assert_eq!(rest(tcp).await, b"");
        let line = served.log.first_about(tcp.local_addr().unwrap()).await;
        assert_eq!(
            (line.event.as_str(), line.text("reason")),
            ("tls.client.refused", "HandshakeTimeout")
        );
        assert_eq!(line.severity, "INFO");
    }
}

#[tokio::test]
async fn a_client_that_asks_nothing_is_cut_after_ten_seconds() {
    let (served, alice) = served().await;
    let mut stream = served.connect(&alice).await;
    let peer = stream.get_ref().0.local_addr().unwrap();
    served.log.first_about(peer).await;
    pause();
    advance(Duration::from_millis(9_500)).await;
    assert!(is_open(stream.get_ref().0));
    advance(Duration::from_millis(500)).await;
    resume();
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_body_that_never_comes_is_408_after_twenty_seconds() {
    let (served, alice) = served().await;
    let mut stream = served.connect(&alice).await;
    let head = "PUT /api/v1/namespaces/web/deployments/shop/replicas HTTP/1.1\r\nHost: a\r\n\
        Content-Type: application/json\r\nContent-Length: 18\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    pause();
    advance(Duration::from_millis(19_500)).await;
    assert!(is_open(stream.get_ref().0));
    advance(Duration::from_millis(500)).await;
    resume();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with(r#"{"error":"the body didn't arrive within 20 s: send it at once"}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn the_protocol_is_chosen_by_alpn() {
    let (served, alice) = served().await;
    let offering = |protocols: &[&str]| {
        let mut client = alice.clone();
        client.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        client
    };
    for (offered, chosen) in [
        (&["h2"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = served.connect(&offering(offered)).await;
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            chosen.map(str::as_bytes),
            "{offered:?}"
        );
    }
    served.accepts(&offering(&[])).await;
    let refused = served.refuses(&offering(&["spdy/3"])).await;
    refused.because(
        "Incompatible",
        "INFO",
        AlertDescription::NoApplicationProtocol,
    );
}

#[tokio::test]
async fn http_2_on_a_connection_without_alpn_is_no_http_2() {
    let (served, alice) = served().await;
    let mut stream = served.connect(&alice).await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let answer = rest(&mut stream).await;
    assert!(!answer.starts_with(b"\0\0"), "HTTP/2 frames: {answer:?}");
}

#[tokio::test]
async fn every_handshake_is_a_full_one() {
    let (served, mut alice) = served().await;
    // The client keeps tickets and would send early data, if it were given any.
    alice.enable_early_data = true;
    for _ in 0..2 {
        let mut stream = served.connect(&alice).await;
        stream.write_all(REQUEST).await.unwrap();
        assert!(rest(&mut stream).await.starts_with(b"HTTP/1.1 "));
        let (_, connection) = stream.get_mut();
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.tls13_tickets_received(), 0);
        assert!(!connection.is_early_data_accepted() && connection.early_data().is_none());
        assert!(
            connection.reader().read(&mut [0; 1]).is_ok_and(|n| n == 0),
            "bytes behind the answer"
        );
    }
}

#[tokio::test]
async fn a_connection_is_counted_while_it_is_open_and_worth_one_line() {
    let (served, alice) = served().await;
    let open = async |count: u32| {
        let (_, metrics) = admin(served.admin_address, "GET", "/metrics").await;
        metrics.contains(&format!("\nheadcount_connections {count}\n"))
    };
    let stream = served.connect(&alice).await;
    let peer = stream.get_ref().0.local_addr().unwrap();
    let silent = served.tcp().await;
    eventually(Duration::from_secs(5), "two connections", async || {
        open(2).await
    })
    .await;
    drop((stream, silent));
    eventually(Duration::from_secs(5), "no connection", async || {
        open(0).await
    })
    .await;
    let lines = served.log.about(peer);
    let events: Vec<_> = lines.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(events, ["tls.client.accepted"]);
}
