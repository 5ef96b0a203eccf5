//! In a control group with a limit: what isn't refused in time is ended by the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future, stream};
use http::{Method, Request};
use http_body_util::StreamBody;
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{task::JoinSet, time::sleep};

use super::{MIB, metric};
use crate::support::{
    Client, SimCluster, eventually,
    program::{Program, Serving, serve},
    skipped,
};

/// A control group of its own, in version 1 or 2; it goes with this.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    usage: &'static str,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it is gone or about to be.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Group {
    /// One below the root of the tree, if this machine lets a test make it.
    fn new(name: &str) -> Option<Self> {
        let name = format!("headcount-test-{name}-{}", std::process::id());
        let made = |root: &Path| {
            let folder = root.join(&name);
            fs::create_dir(&folder).ok().map(|()| folder)
        };
        let (old, new) = (
            Path::new("/sys/fs/cgroup/memory"),
            Path::new("/sys/fs/cgroup"),
        );
        if old.join("memory.limit_in_bytes").exists() {
            return Some(Self {
                folder: made(old)?,
                limit: "memory.limit_in_bytes",
                usage: "memory.usage_in_bytes",
            });
        }
        if new.join("cgroup.controllers").exists() {
            // Where it is so already, this changes nothing.
            let _ = fs::write(new.join("cgroup.subtree_control"), "+memory");
            let group = Self {
                folder: made(new)?,
                limit: "memory.max",
                usage: "memory.current",
            };
            return group.folder.join("memory.max").exists().then_some(group);
        }
        None
    }

    fn used(&self) -> usize {
        let text = fs::read_to_string(self.folder.join(self.usage)).unwrap();
        text.trim().parse().unwrap()
    }

    fn allow(&self, bytes: usize) {
        fs::write(self.folder.join(self.limit), bytes.to_string()).unwrap();
    }
}

/// A server in a group of its own that may use so much more than it does; `None` where no groups can be made.
async fn in_a_group(
    cluster: &SimCluster,
    name: &str,
    more: usize,
    settings: &str,
) -> Option<(Serving, Group)> {
    let Some(group) = Group::new(name) else {
        skipped(
            "this machine doesn't let a test make control groups (root and a writable /sys/fs/cgroup)",
        );
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let file = folder.path().join("headcount.yaml");
    let text = format!("apiVersion: headcount/v1alpha1\nkind: Configuration\n{settings}");
    fs::write(&file, text).unwrap();
    let flag = format!("--config={}", file.display());
    let command = serve(&files, cluster.kubeconfig(), &[&flag]);
    let mut inside = std::process::Command::new("/bin/sh");
    let procs = group.folder.join("cgroup.procs");
    inside
        .env_clear()
        .env("HOME", "/nonexistent")
        .args(["-ec", "echo $$ >\"$0\"; exec \"$@\""])
        .arg(procs)
        .arg(command.get_program())
        .args(command.get_args());
    let serving = Serving::of(Program::start(inside), files, folder).await;
    serving.becomes_ready().await;
    sleep(Duration::from_millis(500)).await;
    group.allow(group.used() + more);
    Some((serving, group))
}

/// Nothing but memory bounds the flood.
const UNBOUNDED: &str = "limits:\n  rates: {writes: unlimited}\n  http2: {streams: 256, streamsPerCaller: 8192}\n  requests: {atOnce: 8192, waiting: 8192, longestWait: 5s}\n";

/// As many writes at once as a connection allows, whose bodies never end: sixty kilobytes each, which the server keeps. Says how
/// many were refused with 503.
async fn unfinished_writes(client: Client) -> usize {
    let Ok(stream) = client.alpn(&["h2"]).connect().await else {
        return 0;
    };
    let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let Ok((sender, connection)) = made else {
        return 0;
    };
    let driving = tokio::spawn(connection);
    let mut writes = JoinSet::new();
    for _ in 0..250 {
        let mut sender = sender.clone();
        writes.spawn(async move {
            let part = Bytes::from_static(&[b' '; 60_000]);
            let part = stream::once(future::ready(Ok::<_, std::io::Error>(Frame::data(part))));
            let body = StreamBody::new(Box::pin(part.chain(stream::pending())));
            let uri = "https://a/api/v1/namespaces/web/deployments/shop/replicas";
            let request = Request::builder().method(Method::PUT).uri(uri);
            let request = request.header("content-type", "application/json");
            sender.ready().await.ok()?;
            let answer = sender.send_request(request.body(body).unwrap());
            answer.await.ok().map(|answer| answer.status().as_u16())
        });
    }
    let mut refused = 0;
    let all = async {
        while let Some(write) = writes.join_next().await {
            let status = write.unwrap();
            refused += usize::from(status == Some(503));
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(8), all).await;
    driving.abort();
    refused
}

async fn flood(client: &Client) -> usize {
    let mut connections = JoinSet::new();
    for _ in 0..8 {
        connections.spawn(unfinished_writes(client.clone()));
    }
    connections.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_the_kernel_would_end_it_for_is_refused_in_time() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let Some((serving, group)) = in_a_group(&cluster, "shed", 40 * MIB, UNBOUNDED).await else {
        return;
    };
    let budget = async || metric(&serving, "memory_budget_bytes").await > 0;
    eventually(Duration::from_secs(5), "its group's limit", budget).await;
    let mut kept = serving.client.open().await.unwrap();
    let path = "/namespaces/web/deployments/shop/replicas";
    let flooding = tokio::spawn({
        let client = serving.client.clone();
        async move { flood(&client).await }
    });
    while !flooding.is_finished() {
        let read = serving.client.request(Method::GET, path, &[], "");
        assert_eq!(kept.send(read).await.unwrap().status, 200);
        assert_eq!(serving.admin("GET", "/livez").await.0, 200);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(flooding.await.unwrap() > 100, "nothing was refused");
    assert!(!serving.program.lines("limit.reached").is_empty());
    let again = async || {
        let write = serving.client.scale("web", "shop", 5, &[]).await;
        write.status == 200 && serving.client.get("/deployments").await.status == 200
    };
    eventually(Duration::from_secs(10), "all is served again", again).await;
    assert_eq!(serving.terminated().await.code, Some(0));
    drop(group);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_shedding_the_kernel_ends_it_in_the_same_flood() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let endless = format!("{UNBOUNDED}  memory:\n    budget: 64Gi\n");
    let Some((serving, _group)) = in_a_group(&cluster, "not", 40 * MIB, &endless).await else {
        return;
    };
    flood(&serving.client).await;
    let ended = serving.program.ended().await;
    assert_eq!(ended.code, None, "{ended:#?}");
}
