//! The first version's servers are replaced one by one with the newest, and those with the first version's again, while callers read,
//! write, and count up with entity tags that one version gave and the other judges.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, header};
use http_body_util::Full;
use tokio::time::{Instant, sleep};

use super::{Version, first_version, started};
use crate::support::{
    Answer, Balancer, Client, Connection, SimCluster, eventually, met_a_goodbye, program::Serving,
};

const LOADED: &str = "/namespaces/web/deployments/shop/replicas";
const COUNTED: &str = "/namespaces/web/deployments/counted/replicas";

/// What callers have seen.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answered: AtomicUsize,
    /// Counts that were raised by one …
    raised: AtomicUsize,
    /// … and that somebody else was faster with.
    refused: AtomicUsize,
    /// Tags of one server that another one judged and took.
    across: AtomicUsize,
}

/// A caller on one connection after the other. Whatever is sent must be answered; only what met a goodbye is sent again.
struct Caller {
    client: Client,
    connection: Option<Connection>,
    load: Arc<Load>,
}

impl Caller {
    fn is_over(&self) -> bool {
        self.load.over.load(Ordering::Relaxed)
    }

    async fn send(&mut self, request: Request<Full<bytes::Bytes>>) -> Answer {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.open().await,
            };
            if !connection.ready().await {
                connection = self.open().await;
                assert!(connection.ready().await, "a new connection was closed");
            }
            match connection.send(request.clone()).await {
                Ok(answer) => {
                    self.load.answered.fetch_add(1, Ordering::Relaxed);
                    if answer.header(header::CONNECTION.as_str()) != "close" {
                        self.connection = Some(connection);
                    }
                    return answer;
                }
                Err(failure) if met_a_goodbye(&failure) => {}
                Err(error) => panic!("a request failed: {error:?}"),
            }
        }
    }

    async fn open(&self) -> Connection {
        let opened = self.client.open().await;
        opened.unwrap_or_else(|e| panic!("open: {e}"))
    }

    fn put(&self, path: &str, count: i64, condition: Option<&str>) -> Request<Full<bytes::Bytes>> {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(condition.map(|tag| ("if-match", tag)));
        let body = format!("{{\"replicaCount\":{count}}}");
        self.client.request(Method::PUT, path, &headers, &body)
    }

    async fn reads(mut self, pause: Duration) {
        while !self.is_over() {
            let request = self.client.request(Method::GET, LOADED, &[], "");
            let answer = self.send(request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            sleep(pause).await;
        }
    }

    async fn writes(mut self) {
        for count in 0.. {
            if self.is_over() {
                break;
            }
            let request = self.put(LOADED, count % 50, None);
            let answer = self.send(request).await;
            assert!(
                matches!(answer.status.as_u16(), 200 | 202),
                "{} {}",
                answer.status,
                answer.text()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Reads on one connection and writes, on the condition of what was read, on another, which may be to the other version.
    async fn counts_up(mut self) {
        while !self.is_over() {
            let reading = self.open().await;
            let writing = self.connection.replace(reading);
            let request = self.client.request(Method::GET, COUNTED, &[], "");
            let read = self.send(request).await;
            assert_eq!(read.status, 200, "{}", read.text());
            let (count, tag) = (
                read.json()["replicaCount"].as_i64().unwrap(),
                read.header("etag").to_owned(),
            );
            self.connection = writing;
            let request = self.put(COUNTED, count + 1, Some(&tag));
            let written = self.send(request).await;
            match written.status.as_u16() {
                200 | 202 => self.load.raised.fetch_add(1, Ordering::Relaxed),
                412 => self.load.refused.fetch_add(1, Ordering::Relaxed),
                _ => panic!("{} {}", written.status, written.text()),
            };
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_and_a_rollback_under_load_fail_no_request_and_lose_no_update() {
    let Some(first) = first_version().await else {
        return;
    };
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.create("web", "counted", 0);
    let balancer = Balancer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(&folder.path().join("pki")).unwrap();
    // Each version has its configuration as it knows it.
    let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\nlimits: {rates: {writes: unlimited}}\n";
    let configuration = |version: Version| {
        let (name, logging) = match version {
            Version::First => ("first.yaml", "logFormat: json\n"),
            Version::Newest => ("newest.yaml", "logging: {format: json}\n"),
        };
        let path = folder.path().join(name);
        fs::write(&path, format!("{head}{logging}")).unwrap();
        format!("--config={}", path.display())
    };
    let start = async |version: Version| -> Serving {
        let flags = [configuration(version), "--drain-delay=1s".to_owned()];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let serving = started(version, &first, &files, &cluster, &flags).await;
        balancer.add(serving.address, serving.admin_address);
        serving
    };
    let ready = async |count: usize| {
        let ready = async || balancer.ready() == count;
        eventually(Duration::from_secs(20), "all are ready", ready).await;
    };
    let mut servers = vec![start(Version::First).await, start(Version::First).await];
    ready(2).await;

    let load = Arc::new(Load::default());
    let client = Client::with_files(
        balancer.address,
        &files.ca,
        &files.client.certificate,
        &files.client.key,
    );
    let caller = |client: &Client| Caller {
        client: client.clone(),
        connection: None,
        load: Arc::clone(&load),
    };
    let multiplexed = client.alpn(&["h2"]);
    let (at_once, idle) = (Duration::from_millis(1), Duration::from_millis(400));
    let calls = [
        tokio::spawn(caller(&client).reads(at_once)),
        tokio::spawn(caller(&client).reads(idle)),
        tokio::spawn(caller(&multiplexed).reads(at_once)),
        tokio::spawn(caller(&client).writes()),
        tokio::spawn(caller(&multiplexed).writes()),
        tokio::spawn(caller(&client).counts_up()),
        tokio::spawn(caller(&client).counts_up()),
        tokio::spawn(caller(&multiplexed).counts_up()),
    ];
    sleep(Duration::from_millis(500)).await;
    // As a Deployment with maxSurge 1 and maxUnavailable 0 does it: first the new one, then the old one goes.
    for version in [
        Version::Newest,
        Version::Newest,
        Version::First,
        Version::First,
    ] {
        servers.push(start(version).await);
        ready(3).await;
        across(&servers, &load).await;
        let before = load.answered.load(Ordering::Relaxed);
        let since = Instant::now();
        let ended = servers.remove(0).terminated().await;
        assert_eq!(ended.code, Some(0), "{:#?}", ended.stderr);
        assert!(since.elapsed() < Duration::from_secs(10));
        assert!(load.answered.load(Ordering::Relaxed) > before);
        assert_eq!(balancer.ready(), 2);
    }
    sleep(Duration::from_millis(500)).await;
    load.over.store(true, Ordering::Relaxed);
    for call in calls {
        // A request that failed has panicked.
        call.await.unwrap();
    }

    let raised = load.raised.load(Ordering::Relaxed);
    assert!(raised > 20, "{raised}");
    assert_eq!(load.across.load(Ordering::Relaxed), 8);
    for server in &servers {
        let counted = server.client.count("web", "counted").await;
        assert_eq!(
            counted,
            Ok(raised as i64),
            "an update was lost, or one was made that was refused"
        );
    }
}

/// What the newest server and the one before it gave a tag for, the other one takes while nothing changes.
async fn across(servers: &[Serving], load: &Load) {
    let [.., before, newest] = servers else {
        panic!("two servers are there at least");
    };
    for (gives, takes) in [(before, newest), (newest, before)] {
        let read = gives.client.get(COUNTED).await;
        let tag = read.header("etag").to_owned();
        let not_modified = [("if-none-match", tag.as_str())];
        let again = takes
            .client
            .send(Method::GET, COUNTED, &not_modified, "")
            .await;
        match again.status.as_u16() {
            304 => {}
            // Somebody counted up between the two.
            200 => assert_ne!(again.header("etag"), tag),
            _ => panic!("{} {}", again.status, again.text()),
        }
        load.across.fetch_add(1, Ordering::Relaxed);
    }
}
