//! More connections than there may be: in total, from one address, of one identity, and than there are file descriptors for.

use std::process::Command;

use futures_util::future::join_all;
use http::Method;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{Duration, timeout},
};

use super::{Attacked, COUNT, PATIENCE};
use crate::support::{
    Client, SimCluster, eventually,
    program::{Program, Serving, serve},
};

impl Attacked {
    /// A new connection, unless the server closes it without a word.
    async fn spare(&self) -> Option<TcpStream> {
        let mut tcp = TcpStream::connect(self.serving.address).await.ok()?;
        let read = timeout(Duration::from_millis(500), tcp.read(&mut [0; 1])).await;
        read.is_err().then_some(tcp)
    }
}

async fn closed_at_once(attacked: &Attacked) -> bool {
    attacked.spare().await.is_none()
}

#[tokio::test]
async fn connections_beyond_those_of_an_address_are_closed_at_once() {
    let attacked = Attacked::limited("connections: {perAddress: 20}").await;
    attacked
        .withstands(async {
            let mut open = Vec::new();
            // The other caller has one of the twenty.
            while open.len() < 19 {
                open.push(attacked.tcp().await);
            }
            let mut refused = 0;
            while refused < 500 {
                // The first ones may take the places of connections that are just ending.
                match attacked.spare().await {
                    Some(tcp) => open.push(tcp),
                    None => refused += 1,
                }
            }
            open.truncate(15);
            let client = attacked.client("http/1.1");
            eventually(PATIENCE, "a free place", async || {
                let request = client.request(Method::GET, COUNT, &[], "");
                client.try_send(request).await.is_ok()
            })
            .await;
        })
        .await;
    attacked.names("AddressConnections").await;
}

#[tokio::test]
async fn connections_beyond_all_that_there_may_be_are_closed_at_once() {
    let attacked = Attacked::limited("connections: {total: 10}").await;
    let mut open = Vec::new();
    let opening = async {
        // The first ones may meet connections that are just ending.
        while open.len() < 10 {
            let missing = (open.len()..10).map(|_| attacked.spare());
            open.extend(join_all(missing).await.into_iter().flatten());
        }
    };
    timeout(PATIENCE, opening).await.expect("ten open ones");
    eventually(PATIENCE, "no place", async || {
        closed_at_once(&attacked).await
    })
    .await;
    drop(open);
    eventually(PATIENCE, "places", async || {
        !closed_at_once(&attacked).await
    })
    .await;
    attacked.names("Connections").await;
}

#[tokio::test]
async fn connections_beyond_those_of_an_identity_are_told_so() {
    let attacked = Attacked::limited("connections: {perIdentity: 3}").await;
    let files = &attacked.serving.files;
    let pair = &files.client2;
    let other = Client::with_files(
        attacked.serving.address,
        &files.ca,
        &pair.certificate,
        &pair.key,
    );
    for protocol in ["http/1.1", "h2"] {
        let client = attacked.client(protocol);
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut connection = client.open().await.unwrap();
            let request = client.request(Method::GET, COUNT, &[], "");
            assert_eq!(connection.send(request).await.unwrap().status, 200);
            open.push(connection);
        }
        let mut fourth = client.open().await.unwrap();
        let request = client.request(Method::GET, COUNT, &[], "");
        let answer = fourth.send(request).await.unwrap();
        assert_eq!(answer.status, 429);
        assert!(
            answer.error().contains("3 connections"),
            "{}",
            answer.error()
        );
        assert!(answer.headers.contains_key("retry-after"));
        timeout(PATIENCE, fourth.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        // Somebody else has connections of their own.
        assert_eq!(other.alpn(&[protocol]).get(COUNT).await.status, 200);
        // Whoever asks nothing on a connection too many doesn't keep it.
        let mut silent = client.connect().await.unwrap();
        let mut came = Vec::new();
        let ended = silent.read_to_end(&mut came);
        let _ = timeout(Duration::from_secs(8), ended).await.unwrap();
        drop(open);
        eventually(PATIENCE, "a free place", async || {
            client.get(COUNT).await.status == 200
        })
        .await;
    }
    attacked.names("IdentityConnections").await;
}

#[tokio::test]
async fn a_reload_holds_for_connections_that_are_opened_later() {
    let attacked = Attacked::limited("connections: {perAddress: 9}").await;
    let client = attacked.client("http/1.1");
    let mut before = client.open().await.unwrap();
    attacked.rewrite("connections: {perAddress: 1}, sizes: {uri: 20}");
    eventually(PATIENCE, "the new limit", async || {
        closed_at_once(&attacked).await
    })
    .await;
    // The open one stays; what its requests may be is judged by what holds now.
    let request = client.request(Method::GET, COUNT, &[], "");
    assert_eq!(before.send(request).await.unwrap().status, 414);
}

#[tokio::test]
async fn with_few_file_descriptors_callers_are_refused_and_probes_are_not() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let serve = serve(&files, cluster.kubeconfig(), &[]);
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("HOME", "/nonexistent");
    command.args(["-c", r#"ulimit -n 256; exec "$0" "$@""#]);
    command.arg(serve.get_program()).args(serve.get_args());
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    let mut open = Vec::new();
    for _ in 0..300 {
        // It may have been refused already.
        open.extend(TcpStream::connect(serving.address).await);
    }
    assert_eq!(serving.admin("GET", "/readyz").await.0, 200);
    drop(open);
    eventually(PATIENCE, "places again", async || {
        let request = serving.client.request(Method::GET, COUNT, &[], "");
        serving.client.try_send(request).await.is_ok()
    })
    .await;
    assert!(serving.program.lines("server.accept.failed").is_empty());
    let few = serving.program.line("server.descriptors.few", 1).await;
    assert_eq!(few.number("connections"), 64);
    let metrics = serving.metrics().await;
    assert!(!metrics.contains("headcount_limits_reached_total{limit=\"Connections\"} 0\n"));
}
