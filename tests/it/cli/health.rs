//! `headcount health` against the real server and against what is none: its words and its exit codes.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use headcount::pki::{Authority, DemoFiles, Leaf, Pair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::silent_port;
use crate::support::{
    SimCluster,
    program::{Ended, Program, Serving, headcount},
};

/// What the command says of a server with these files.
async fn asked(server: &str, ca: &Path, pair: &Pair, more: &[&str]) -> Ended {
    let mut command = headcount(["health", "--server", server]);
    command.arg("--ca").arg(ca);
    command.arg("--cert").arg(&pair.certificate);
    command.arg("--key").arg(&pair.key).args(more);
    Program::start(command).ended().await
}

async fn alice(address: SocketAddr, files: &DemoFiles) -> Ended {
    let server = format!("https://{address}");
    asked(&server, &files.ca, &files.client, &["--timeout=5s"]).await
}

/// Asserts that it failed with this code and one sentence that has all parts.
fn failed(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    let [sentence] = &ended.stderr[..] else {
        panic!("{ended:#?}");
    };
    assert!(sentence.starts_with("error: "), "{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} isn't in {sentence:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_server_is_told_and_a_lost_cluster_is_told_with_its_reason() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;

    let ended = alice(serving.address, &serving.files).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(
        ended.stdout,
        [r#"{"status":"healthy","kubernetes":"connected"}"#]
    );
    assert!(ended.stderr.is_empty(), "{ended:#?}");

    // By a name, which the system resolves.
    let server = format!("https://localhost:{}", serving.address.port());
    let files = &serving.files;
    let ended = asked(&server, &files.ca, &files.client, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");

    cluster.kill();
    let mut tries = 0;
    let ended = loop {
        let ended = alice(serving.address, &serving.files).await;
        if ended.code != Some(0) {
            break ended;
        }
        tries += 1;
        assert!(tries < 300, "it stays healthy");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    failed(&ended, 1, &["is not healthy: ", "headcount doctor"]);
    assert!(
        ended.stdout[0].starts_with(r#"{"status":"unhealthy","error":""#),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_that_is_refused_is_told_why_every_time() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let files = &serving.files;
    let server = format!("https://{}", serving.address);
    for (pair, part) in [
        (&files.expired, "it has expired"),
        (&files.foreign, "its CA is none of the server's client CAs"),
        (&files.server, "it isn't for clients"),
    ] {
        // The verdict comes with the first bytes read, maybe after the request has failed to be sent.
        for _ in 0..10 {
            let ended = asked(&server, &files.ca, pair, &[]).await;
            failed(&ended, 1, &["refused the client certificate: ", part]);
            assert!(ended.stdout.is_empty(), "{ended:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_gets_nothing() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let files = &serving.files;
    let server = format!("https://{}", serving.address);
    let ended = asked(&server, &files.foreign_ca, &files.client, &[]).await;
    failed(&ended, 1, &["failed to trust ", "none of the CAs in --ca"]);

    let serving = Serving::with(files, cluster.kubeconfig(), &["--listen=127.0.0.2:0"]).await;
    let elsewhere = format!("https://{}", serving.address);
    let ended = asked(&elsewhere, &files.ca, &files.client, &[]).await;
    failed(
        &ended,
        1,
        &["failed to trust ", "for other names [", "localhost"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_server_is_not_trusted() {
    let cluster = SimCluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let authority = Authority::new("another CA").unwrap();
    let issued = authority.issue(&Leaf::server(&["127.0.0.1"]).expired());
    let issued = issued.unwrap();
    fs::write(&files.server.certificate, issued.chain_pem).unwrap();
    fs::write(&files.server.key, issued.key_pem).unwrap();
    let ca = folder.path().join("another-ca.crt");
    fs::write(&ca, authority.certificate_pem()).unwrap();
    let serving = Serving::with(&files, cluster.kubeconfig(), &[]).await;
    let server = format!("https://{}", serving.address);
    let ended = asked(&server, &ca, &files.client, &[]).await;
    failed(
        &ended,
        1,
        &["failed to trust ", "its certificate has expired"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_says_nothing_is_told_in_time() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let files = &serving.files;

    let port = silent_port();
    let ended = alice(port.local_addr().unwrap(), files).await;
    failed(
        &ended,
        1,
        &["failed to connect to https://127.0.0.1:", "refused"],
    );

    let ended = asked("https://headcount.invalid", &files.ca, &files.client, &[]).await;
    failed(
        &ended,
        1,
        &["failed to find https://headcount.invalid by its name: "],
    );

    // Connections are taken by the kernel, and nobody ever reads them.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let started = std::time::Instant::now();
    let ended = asked(&server, &files.ca, &files.client, &["--timeout=300ms"]).await;
    failed(
        &ended,
        1,
        &["has not shaken hands within 300ms", "--timeout"],
    );
    assert!(started.elapsed() < Duration::from_secs(5));

    // Of another protocol: the listener of probes and metrics.
    let ended = alice(serving.admin_address, files).await;
    failed(&ended, 1, &["doesn't speak TLS", "port"]);

    // One that hangs up.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.read(&mut [0; 64]).await;
            let _ = tcp.shutdown().await;
        }
    });
    failed(
        &alice(address, files).await,
        1,
        &["the connection ended before an answer came"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_and_odd_addresses_are_usage_errors() {
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let mut mixed = files.client.clone();
    mixed.key.clone_from(&files.client2.key);
    let server = "https://127.0.0.1:9";
    let ended = asked(server, &files.ca, &mixed, &[]).await;
    failed(
        &ended,
        64,
        &[
            "client.crt",
            "client2.key",
            "the key isn't the certificate's",
        ],
    );

    mixed.key = folder.path().join("missing.key");
    let ended = asked(server, &files.ca, &mixed, &[]).await;
    failed(
        &ended,
        64,
        &["failed to read the private key from ", "missing.key"],
    );
    mixed.key.clone_from(&files.ca);
    let ended = asked(server, &files.ca, &mixed, &[]).await;
    failed(
        &ended,
        64,
        &["failed to read the private key from ", "no PEM section"],
    );

    let ended = asked(server, &files.client.key, &files.client, &[]).await;
    failed(&ended, 64, &["client.key", "holds no certificate"]);
    for wrong in ["http://localhost", "localhost:8443", "https://a/b"] {
        let ended = asked(wrong, &files.ca, &files.client, &[]).await;
        failed(&ended, 64, &["--server", "https://HOST:PORT"]);
    }
    let ended = asked(server, &files.ca, &files.client, &["--timeout=0s"]).await;
    failed(&ended, 64, &["--timeout", "500ms"]);
}
