//! Two servers behind one address are replaced one after the other, as a Deployment does it, and no caller notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, header};
use tokio::time::{Instant, sleep};

use crate::support::{Balancer, Client, SimCluster, eventually, program::Serving};

/// What callers have seen.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answered: AtomicUsize,
    connections: AtomicUsize,
}

impl Load {
    /// Sends one request after the other on a connection for as long as the server keeps it. Whatever is sent must be answered:
    /// nothing is tried again, but a connection that is closed before anything is sent on it is replaced.
    async fn call(self: Arc<Self>, client: Client, writes: bool, pause: Duration) {
        while !self.over.load(Ordering::Relaxed) {
            let mut connection = client.open().await.unwrap_or_else(|e| panic!("open: {e}"));
            self.connections.fetch_add(1, Ordering::Relaxed);
            while connection.ready().await && !self.over.load(Ordering::Relaxed) {
                let request = if writes {
                    let body = format!("{{\"replicaCount\":{}}}", fastrand_of_time());
                    let headers = [("content-type", "application/json")];
                    client.request(Method::PUT, REPLICAS, &headers, &body)
                } else {
                    client.request(Method::GET, REPLICAS, &[], "")
                };
                let answer = connection.send(request).await;
                let answer = answer.unwrap_or_else(|e| panic!("a request failed: {e}"));
                assert!(
                    matches!(answer.status.as_u16(), 200 | 202),
                    "{} {}",
                    answer.status,
                    answer.text()
                );
                self.answered.fetch_add(1, Ordering::Relaxed);
                if answer.header(header::CONNECTION.as_str()) == "close" {
                    break;
                }
                sleep(pause).await;
            }
        }
    }
}

const REPLICAS: &str = "/namespaces/web/deployments/shop/replicas";

/// Some count or other.
fn fastrand_of_time() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() % 50
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let balancer = Balancer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let start = async || {
        let serving = Serving::with(&files, cluster.kubeconfig(), &["--drain-delay=1s"]).await;
        balancer.add(serving.address, serving.admin_address);
        serving
    };
    let mut servers = vec![start().await, start().await];
    let both = async || balancer.ready() == 2;
    eventually(Duration::from_secs(20), "both are ready", both).await;

    let load = Arc::new(Load::default());
    let client = Client::with_files(
        balancer.address,
        &files.ca,
        &files.client.certificate,
        &files.client.key,
    );
    let multiplexed = client.alpn(&["h2"]);
    let (at_once, idle) = (Duration::ZERO, Duration::from_millis(700));
    let calls: Vec<_> = [
        (&client, false, at_once),
        (&client, true, Duration::from_millis(5)),
        // Idle more than not: their connections are closed between two requests.
        (&client, false, idle),
        (&client, false, idle * 2),
        (&multiplexed, false, at_once),
        (&multiplexed, false, idle),
        (&multiplexed, true, Duration::from_millis(5)),
    ]
    .into_iter()
    .map(|(client, writes, pause)| {
        tokio::spawn(Arc::clone(&load).call(client.clone(), writes, pause))
    })
    .collect();
    sleep(Duration::from_millis(500)).await;
    for _ in 0..2 {
        // As a Deployment with maxSurge 1 and maxUnavailable 0 does it: first the new one, then the old one goes.
        servers.push(start().await);
        let ready = async || balancer.ready() == 3;
        eventually(Duration::from_secs(20), "the new one is ready", ready).await;
        let before = load.answered.load(Ordering::Relaxed);
        let since = Instant::now();
        let ended = servers.remove(0).terminated().await;
        assert_eq!(ended.code, Some(0), "{:#?}", ended.stderr);
        assert!(since.elapsed() < Duration::from_secs(5));
        assert!(load.answered.load(Ordering::Relaxed) > before);
        assert_eq!(balancer.ready(), 2);
    }
    sleep(Duration::from_millis(500)).await;
    load.over.store(true, Ordering::Relaxed);
    for call in calls {
        // A request that failed has panicked.
        call.await.unwrap();
    }
    let connections = load.connections.load(Ordering::Relaxed);
    assert!(
        (14..).contains(&connections),
        "everybody had to move twice: {connections}"
    );
}
