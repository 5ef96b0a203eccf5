//! Signals: callers are told to go elsewhere, what is in flight is finished, and a second signal doesn't wait for that.

use std::time::Duration;

use http::Method;
use simkube::{Fault, On, Rule};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    cli::silent_port,
    support::{Client, SimCluster, eventually, program::Serving},
};

const REPLICAS: &str = "/namespaces/web/deployments/shop/replicas";

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
    serving.program.line("server.closing", 1).await;
    assert_eq!(draining.number("writes"), 1);
    let (status, why) = serving.admin("GET", "/readyz").await;
    assert_eq!((status, why.as_str()), (503, "not ready: shutting down\n"));
    assert_eq!(serving.admin("GET", "/livez").await.0, 200);
    let refused = async || TcpStream::connect(serving.address).await.is_err();
    eventually(Duration::from_millis(500), "nobody new is let in", refused).await;
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
async fn whoever_waits_for_a_rollout_is_answered_when_the_server_closes() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    // Nobody rolls anything out: it would be waited for as long as was asked.
    cluster.cluster.set_rollout(None);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let client = serving.client.clone();
    let waiting = tokio::spawn(async move {
        client
            .scale("web", "shop", 5, &[("prefer", "wait=300")])
            .await
    });
    let written = async || cluster.count("web", "shop") == Some(5);
    eventually(Duration::from_secs(10), "the write", written).await;
    let since = Instant::now();
    serving.program.signal("TERM");
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let ended = serving.program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(since.elapsed() < Duration::from_secs(5));
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
async fn whoever_the_kernel_has_let_in_as_the_server_closes_is_not_reset() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    // More than a task of the runtime takes at once; they are accepted by the kernel, and by nobody else.
    serving.program.signal("STOP");
    let mut waiting = Vec::new();
    for _ in 0..500 {
        let connected = timeout(Duration::from_secs(5), TcpStream::connect(serving.address));
        waiting.push(connected.await.expect("the kernel has room").unwrap());
    }
    serving.program.signal("TERM");
    serving.program.signal("CONT");
    let mut reset = 0;
    for mut tcp in waiting {
        reset += usize::from(tcp.read(&mut [0]).await.is_err());
    }
    assert_eq!(reset, 0);
    assert_eq!(serving.program.ended().await.code, Some(0));
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
    let port = silent_port();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    crate::support::write_kubeconfig(
        &kubeconfig,
        &format!("http://{}", port.local_addr().unwrap()),
    );
    let serving = Serving::start(&kubeconfig, &[]).await;
    assert_eq!(serving.terminated().await.code, Some(0));
}

#[tokio::test]
async fn until_the_delay_is_over_everybody_is_served_and_told_to_go_elsewhere() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &["--drain-delay=2s"]).await;
    let multiplexed = serving.client.alpn(&["h2"]);
    let get = |client: &Client| client.request(Method::GET, REPLICAS, &[], "");
    let mut kept = serving.client.open().await.unwrap();
    let mut streams = multiplexed.open().await.unwrap();
    let before = kept.send(get(&serving.client)).await.unwrap();
    assert_eq!(
        (before.status.as_u16(), before.header("connection")),
        (200, "")
    );
    assert_eq!(streams.send(get(&multiplexed)).await.unwrap().status, 200);
    serving.program.signal("TERM");
    serving.program.line("server.draining", 1).await;
    let since = Instant::now();
    let (status, verbose) = serving.admin("GET", "/readyz?verbose").await;
    assert!(
        status == 503 && verbose.contains("[-]shutdown under way"),
        "{verbose}"
    );
    // A connection is served once more, with HTTP/2 as often as it likes; new ones are let in; writes too.
    let last = kept.send(get(&serving.client)).await.unwrap();
    assert_eq!(
        (last.status.as_u16(), last.header("connection")),
        (200, "close")
    );
    assert!(!kept.ready().await, "the server has closed it");
    for _ in 0..3 {
        assert_eq!(streams.send(get(&multiplexed)).await.unwrap().status, 200);
        let new = serving.client.get(REPLICAS).await;
        assert_eq!(
            (new.status.as_u16(), new.header("connection")),
            (200, "close")
        );
    }
    let write = serving.client.scale("web", "shop", 4, &[]).await;
    assert_eq!(write.status, 200);
    assert!(since.elapsed() < Duration::from_secs(2), "too slow to tell");
    serving.program.line("server.closing", 1).await;
    assert!(since.elapsed() > Duration::from_millis(1500));
    // GOAWAY: the client has nothing to wait for.
    streams.ended.await.unwrap().unwrap();
    let ended = serving.program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(since.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_request_that_comes_as_the_server_closes_is_answered() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let get = || serving.client.request(Method::GET, REPLICAS, &[], "");
    let mut used = serving.client.open().await.unwrap();
    assert_eq!(used.send(get()).await.unwrap().status, 200);
    let mut unused = serving.client.open().await.unwrap();
    serving.program.signal("TERM");
    serving.program.line("server.closing", 1).await;
    sleep(Duration::from_millis(300)).await;
    for late in [&mut used, &mut unused] {
        let answer = late.send(get()).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.header("connection")),
            (200, "close")
        );
    }
    assert_eq!(serving.program.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_caller_who_hangs_up_takes_nothing_from_a_write_that_is_drained() {
    let cluster = SimCluster::start().await;
    let (serving, write) = writing(&cluster, Duration::from_secs(1)).await;
    serving.program.signal("TERM");
    serving.program.line("server.closing", 1).await;
    write.abort();
    let ended = serving.program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(cluster.count("web", "shop"), Some(5));
    let applied = ended.stderr.iter().filter(|l| l.contains("scale.applied"));
    assert_eq!(applied.count(), 1, "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_slowly_or_sends_nothing_holds_the_end_for_twenty_seconds_at_most() {
    let cluster = SimCluster::start().await;
    for number in 0..20_000 {
        let name = format!("a-deployment-with-a-long-name-{number:05}");
        cluster.create("a-namespace-with-a-long-name", &name, 3);
    }
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    // Twelve bytes now and then: never stalled, and never done.
    let mut slow = serving.client.reading_slowly().connect().await.unwrap();
    let request = b"GET /api/v1/deployments HTTP/1.1\r\nHost: a\r\n\r\n";
    slow.write_all(request).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut some = [0; 12];
        while slow.read_exact(&mut some).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let _silent = TcpStream::connect(serving.address).await.unwrap();
    let _idle = serving.client.connect().await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let since = Instant::now();
    serving.program.signal("TERM");
    let ended = serving.program.ended().await;
    let took = since.elapsed();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        (Duration::from_secs(15)..Duration::from_secs(22)).contains(&took),
        "{took:?}"
    );
    let cut = ended.stderr.iter().find(|l| l.contains("server.drain.cut"));
    assert!(
        cut.is_some_and(|l| l.contains("connections=1")),
        "{ended:#?}"
    );
    reading.abort();
}
