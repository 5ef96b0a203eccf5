//! Signals: what is in flight is finished, and a second one doesn't wait for that.

use std::time::Duration;

use simkube::{Fault, On, Rule};
use tokio::{net::TcpStream, time::Instant};

use crate::support::{SimCluster, eventually, program::Serving};

/// A server with a write in flight that the cluster takes some time for.
async fn writing(
    cluster: &SimCluster,
    takes: Duration,
) -> (Serving, tokio::task::JoinHandle<(u16, String)>) {
    cluster.create("web", "shop", 3);
    cluster
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(takes)));
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let client = serving.client.clone();
    let write = tokio::spawn(async move {
        let answer = client.scale("web", "shop", 5, &[]).await;
        (answer.status.as_u16(), answer.text().to_owned())
    });
    let sent = async || cluster.cluster.counts().scales == 1;
    eventually(
        Duration::from_secs(10),
        "the write reaches the cluster",
        sent,
    )
    .await;
    (serving, write)
}

async fn finishes_what_is_in_flight(signal: &str) {
    let cluster = SimCluster::start().await;
    let (serving, write) = writing(&cluster, Duration::from_secs(1)).await;
    // A connection that only idles delays nothing.
    let _idle = serving.client.connect().await.unwrap();
    assert_eq!(serving.admin("GET", "/readyz").await.0, 200);
    serving.program.signal(signal);
    let draining = serving.program.line("server.draining", 1).await;
    assert_eq!(draining.number("writes"), 1);
    let (status, why) = serving.admin("GET", "/readyz").await;
    assert_eq!((status, why.as_str()), (503, "not ready: shutting down\n"));
    assert_eq!(serving.admin("GET", "/livez").await.0, 200);
    assert!(
        TcpStream::connect(serving.address).await.is_err(),
        "nobody new is let in"
    );
    assert!(!write.is_finished());
    let (status, body) = write.await.unwrap();
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"message":"Replica count updated successfully."}"#)
    );
    let since = Instant::now();
    let ended = serving.program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "nothing is left to wait for"
    );
    assert_eq!(cluster.count("web", "shop"), Some(5));
    assert!(
        ended.stderr.last().unwrap().contains("server.stopped"),
        "{ended:#?}"
    );
}

#[tokio::test]
async fn sigterm_lets_a_write_in_flight_finish_and_ends_with_0() {
    finishes_what_is_in_flight("TERM").await;
}

#[tokio::test]
async fn sigint_lets_a_write_in_flight_finish_and_ends_with_0() {
    finishes_what_is_in_flight("INT").await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for second in ["TERM", "INT"] {
        let cluster = SimCluster::start().await;
        let (serving, write) = writing(&cluster, Duration::from_secs(60)).await;
        serving.program.signal("TERM");
        serving.program.line("server.draining", 1).await;
        assert!(!write.is_finished());
        let since = Instant::now();
        serving.program.signal(second);
        let ended = serving.program.ended().await;
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(since.elapsed() < Duration::from_secs(2));
        assert!(
            write.await.is_err(),
            "the caller learns that there is no answer"
        );
    }
}

#[tokio::test]
async fn a_signal_before_the_cluster_is_there_ends_with_0() {
    let port = super::silent_port();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    crate::support::write_kubeconfig(
        &kubeconfig,
        &format!("http://{}", port.local_addr().unwrap()),
    );
    let serving = Serving::start(&kubeconfig, &[]).await;
    assert_eq!(serving.terminated().await.code, Some(0));
}
