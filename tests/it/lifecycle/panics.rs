//! Panics stay where they happen: one request, one connection, one write; and the process ends where nothing works without the part.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Method;
use instructions::served::{self, Served};
use simkube::{Cluster, NewDeployment, Options};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex};

use crate::support::{
    Clock, InProcess, Sent, SimCluster, eventually,
    program::{Program, Serving, serve},
};

const REPLICAS: &str = "/namespaces/web/deployments/shop/replicas";

async fn in_process() -> InProcess {
    let cluster = Cluster::new(Options::default());
    cluster.create(NewDeployment::new("web", "shop").replicas(3));
    InProcess::synced(&cluster).await
}

#[tokio::test(start_paused = true)]
async fn a_write_that_panics_costs_its_own_answer_and_nothing_else() {
    let this = in_process().await;
    this.panic_on(|sent| sent.uri.path().ends_with("/scale"));
    let failed = this.put("web", "shop", 5, &[]).await;
    assert_eq!(failed.status, 500);
    assert!(
        failed.error().contains("its log says why"),
        "{}",
        failed.error()
    );
    // Everybody else goes on, and so does the next write.
    assert_eq!(this.get("web", "shop", &[]).await.status, 200);
    this.panic_on(|_| false);
    assert_eq!(this.put("web", "shop", 6, &[]).await.status, 200);
    assert_eq!(this.count("web", "shop"), Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_read_of_containers_that_panics_costs_those_who_asked_and_nobody_else() {
    let this = in_process().await;
    let path = "/namespaces/web/deployments/shop/containers";
    this.panic_on(Sent::is_of_one);
    let failed = this.send(Method::GET, path, &[], "").await;
    assert_eq!(failed.status, 500);
    this.panic_on(|_| false);
    let read = this.send(Method::GET, path, &[], "").await;
    assert_eq!(read.status, 200, "{}", read.text());
    assert_eq!(this.send(Method::GET, REPLICAS, &[], "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_informer_that_panics_has_ended_and_is_not_taken_for_one_that_follows() {
    let this = in_process().await;
    this.panic_on(|_| true);
    // Nothing is left that would probe: health tells of it, until the process ends because of it.
    let (took, _) = this.is_lost(Duration::from_secs(30)).await;
    assert!(took <= Duration::from_secs(10), "{took:?}");
    assert!(this.informer_has_ended());
    assert_eq!(this.get("web", "shop", &[]).await.status, 200);
}

/// A stream that panics when it is read.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("as if by mistake")
    }
}

impl AsyncWrite for Broken {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_connection_that_panics_takes_no_other_with_it() {
    let server = Served::new(10).unwrap();
    let mut connections = Vec::new();
    for number in 0..3 {
        if number == 1 {
            let broken = server.serve(Broken, false).await;
            assert!(broken.unwrap_err().is_panic());
        }
        let (caller, end) = duplex(64 * 1024);
        server.serve(end, false);
        connections.push(caller);
    }
    for mut caller in connections {
        caller.write_all(&served::get("/whoami", "")).await.unwrap();
        let mut status = [0; 15];
        caller.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200 OK");
    }
}

/// A program that serves, and its clocks.
async fn serving(cluster: &SimCluster) -> (Serving, Clock) {
    cluster.create("web", "shop", 3);
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let clock = Clock::new();
    let mut command = serve(&files, cluster.kubeconfig(), &[]);
    clock.give(&mut command);
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    (serving, clock)
}

#[tokio::test]
async fn the_process_ends_with_a_message_when_the_informer_or_the_look_at_the_memory_panics() {
    for (thread, part) in [("informer", "informer"), ("memory", "look at the memory")] {
        let cluster = SimCluster::start().await;
        let (serving, clock) = serving(&cluster).await;
        clock.panic_in(thread);
        let ended = serving.program.ended().await;
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        let panicked = ended
            .stderr
            .iter()
            .filter(|l| l.contains("process.panicked"));
        assert_eq!(panicked.count(), 1, "{ended:#?}");
        let last = ended.stderr.last().unwrap();
        let why = format!("the {part} ended unexpectedly; the lines before this one say why");
        assert!(
            last.contains("server.failed") && last.contains(&why),
            "{last}"
        );
    }
}

#[tokio::test]
async fn what_panics_on_reading_changed_files_leaves_those_in_force() {
    let cluster = SimCluster::start().await;
    let (serving, clock) = serving(&cluster).await;
    let key = &serving.files.server.key;
    let text = std::fs::read_to_string(key).unwrap();
    clock.panic_at_the_date_in("reload");
    std::fs::write(key, format!("{text}\n")).unwrap();
    let failed = serving.program.line("reload.failed", 1).await;
    assert!(failed.text("error").contains("panicked"), "{failed:?}");
    assert_eq!(serving.client.count("web", "shop").await, Ok(3));
    // And the next look is one again.
    std::fs::write(key, format!("{text}\n\n")).unwrap();
    serving.program.line("reload.applied", 1).await;
    let served = async || serving.client.count("web", "shop").await == Ok(3);
    eventually(Duration::from_secs(5), "it serves", served).await;
    assert_eq!(serving.terminated().await.code, Some(0));
}
