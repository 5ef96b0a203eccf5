//! With a budget as a setting: what is refused, in which order, and that it comes back.

use std::{fs, time::Duration};

use http::{HeaderValue, Method};
use simkube::{Fault, On, Rule};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_rustls::client::TlsStream;

use super::{MIB, budget_that_leaves, cluster_with_list_of, configured, metric};
use crate::support::{Client, eventually, program::Serving};

/// What the process needs may change meanwhile: what was seen then doesn't count.
const ATTEMPTS: usize = 8;
const LIST: &str = "GET /api/v1/deployments HTTP/1.1\r\nHost: a\r\n\r\n";

/// Asks for the list and reads no more of the answer than its status, which is returned with the connection.
async fn list_unread(client: &Client) -> (u16, TlsStream<TcpStream>) {
    let mut stream = client.reading_slowly().connect().await.unwrap();
    stream.write_all(LIST.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    let status = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
    (status, stream)
}

fn budget_of(bytes: usize) -> String {
    format!(
        "apiVersion: headcount/v1alpha1\nkind: Configuration\nlimits:\n  memory:\n    budget: {bytes}\n"
    )
}

async fn one_count(serving: &Serving) {
    let count = serving.client.count(
        "a-namespace-of-a-team",
        "a-deployment-with-a-long-name-0000007",
    );
    assert_eq!(count.await, Ok(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_lists_are_bounded_by_the_budget_and_nobody_else_is_refused() {
    let cluster = cluster_with_list_of(6 * MIB).await;
    let (serving, _folder, file) = configured(&cluster, "").await;
    assert_eq!(metric(&serving, "memory_budget_bytes").await, 0);
    serving.client.get("/deployments").await;
    // Room for a relist, and for about six lists that hold a snapshot each.
    let budget = budget_that_leaves(&serving, 80 * MIB);
    fs::write(&file, budget_of(budget)).unwrap();
    let known = async || metric(&serving, "memory_budget_bytes").await == budget as i64;
    eventually(Duration::from_secs(10), "the budget is in force", known).await;

    let mut held = Vec::new();
    let mut refused = 0;
    for number in 0..64 {
        // Each reads another state.
        let name = format!("a-deployment-with-a-long-name-{:07}", 100 + number);
        cluster.cluster.scale("a-namespace-of-a-team", &name, 9);
        let (status, stream) = list_unread(&serving.client).await;
        match status {
            200 => held.push(stream),
            503 => refused += 1,
            other => panic!("{other}"),
        }
        one_count(&serving).await;
        assert!(serving.program.resident() < budget, "more than the budget");
    }
    assert!(held.len() >= 2, "{} lists were served", held.len());
    assert!(refused >= 16, "{refused} lists were refused");
    let answer = serving.client.get("/deployments").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, "3")
    );
    assert!(
        answer.error().contains("short of memory"),
        "{}",
        answer.error()
    );
    let page = serving.client.get("/deployments?limit=10").await;
    assert_eq!(
        (page.status.as_u16(), page.header("retry-after")),
        (503, "3"),
        "the pages after it would need the whole snapshot"
    );
    let (write, health) = (
        serving.client.scale(
            "a-namespace-of-a-team",
            "a-deployment-with-a-long-name-0000001",
            4,
            &[],
        ),
        serving.client.get("/health"),
    );
    assert_eq!(
        (write.await.status.as_u16(), health.await.status.as_u16()),
        (200, 200)
    );
    assert!(metric(&serving, "memory_reserved_bytes").await > 10 * MIB as i64);
    let reached = serving.program.line("limit.reached", 1).await;
    assert_eq!(
        (reached.text("limit"), reached.text("principal")),
        ("Memory", "alice")
    );

    drop(held);
    let served = async || serving.client.get("/deployments").await.status == 200;
    eventually(Duration::from_secs(10), "lists are served again", served).await;
    let given_back = async || metric(&serving, "memory_reserved_bytes").await == 0;
    eventually(Duration::from_secs(5), "nothing is reserved", given_back).await;
    let page = serving.client.get("/deployments?limit=10").await;
    assert!(page.status == 200 && page.headers.contains_key("link"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_long_as_nothing_changes_readers_of_a_list_share_what_it_needs() {
    let cluster = cluster_with_list_of(6 * MIB).await;
    let (serving, _folder, _) = configured(&cluster, "").await;
    let mut held = Vec::new();
    for _ in 0..16 {
        let (status, stream) = list_unread(&serving.client).await;
        assert_eq!(status, 200);
        held.push(stream);
    }
    let reserved = metric(&serving, "memory_reserved_bytes").await as usize;
    // One snapshot, and a quarter of a mebibyte for each.
    assert!((10 * MIB..16 * MIB).contains(&reserved), "{reserved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_expensive_is_refused_first_then_all_but_single_reads_and_new_connections_last() {
    let cluster = cluster_with_list_of(MIB / 8).await;
    let (serving, _folder, file) = configured(&cluster, "").await;
    let client = &serving.client;
    let mut open = client.open().await.unwrap();
    let path =
        "/namespaces/a-namespace-of-a-team/deployments/a-deployment-with-a-long-name-0000001";
    let replicas = format!("{path}/replicas");
    let told = async |said: &str| {
        let (status, told) = serving.admin("GET", "/readyz?verbose").await;
        assert_eq!(status, 200, "{told}");
        let mut lines = told.lines();
        lines.any(|l| l.starts_with("[-]memory ") && l.contains(said))
    };
    let leave = async |left: usize, said: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // Again, since reading the new budget takes some memory too.
            let budget = serving.program.resident() + left;
            fs::write(&file, budget_of(budget)).unwrap();
            let known = async || metric(&serving, "memory_budget_bytes").await == budget as i64;
            eventually(Duration::from_secs(10), "the budget is in force", known).await;
            sleep(Duration::from_millis(100)).await;
            if told(said).await {
                return;
            }
            assert!(Instant::now() < deadline, "{said}");
        }
    };
    let json = [("content-type", "application/json")];
    let write = || client.request(Method::PUT, &replicas, &json, "{\"replicaCount\":5}");
    let read = || client.request(Method::GET, &replicas, &[], "");
    let list = || client.request(Method::GET, "/deployments", &[], "");

    // Lists are served one at a time; what is reserved already leaves none for a wait.
    let one_at_a_time = "lists are refused but for one at a time";
    let ahead = [("x-min-resource-version", "999999999")];
    let given_back = async || metric(&serving, "memory_reserved_bytes").await == 0;
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        leave(7 * MIB, one_at_a_time).await;
        let listed = open.send(list()).await.unwrap().status.as_u16();
        eventually(Duration::from_secs(5), "nothing is reserved", given_back).await;
        let wait = client.send(Method::GET, &replicas, &ahead, "");
        let waiting = async {
            sleep(Duration::from_millis(500)).await;
            let list = client.get("/deployments").await.status.as_u16();
            let another = client.send(Method::GET, &replicas, &ahead, "").await;
            (list, another.status.as_u16())
        };
        let (waited, (list, another)) = tokio::join!(wait, waiting);
        let waited = waited.error().contains("hasn't reached");
        let written = open.send(write()).await.unwrap().status.as_u16();
        seen.push((listed, waited, list, another, written));
        if told(one_at_a_time).await {
            break;
        }
    }
    assert_eq!(seen.last(), Some(&(200, true, 503, 503, 200)), "{seen:?}");

    let only_counts = "all is refused but reads of one count";
    let containers = format!("{path}/containers");
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        leave(5 * MIB, only_counts).await;
        let mut refused = Vec::new();
        let containers = client.request(Method::GET, &containers, &[], "");
        for request in [list(), write(), containers] {
            let answer = open.send(request).await.unwrap();
            let again = answer.headers.get("retry-after").cloned();
            refused.push((answer.status.as_u16(), again));
        }
        let mut served = Vec::new();
        for path in [&*replicas, "/health", "/whoami"] {
            served.push(client.get(path).await.status.as_u16());
        }
        seen.push((refused, served));
        if told(only_counts).await {
            break;
        }
    }
    let soon = Some(HeaderValue::from_static("3"));
    let refused = vec![(503, soon); 3];
    assert_eq!(seen.last(), Some(&(refused, vec![200; 3])), "{seen:?}");
    let refused = serving.program.line("scale.failed", 1).await;
    assert_eq!(refused.number("result"), 503);

    leave(2 * MIB, "new connections are refused").await;
    assert!(client.try_send(read()).await.is_err());
    assert_eq!(open.send(read()).await.unwrap().status, 200);

    // The informer goes on whatever the pressure: it even lists everything anew.
    let events = [On::OpenWatches, On::Watch].map(|on| Rule::new(on, Fault::Expired).times(1));
    for expired in events {
        cluster.cluster.faults().add(expired);
    }
    serving.program.line("informer.synced", 2).await;
    let changed = "a-deployment-with-a-long-name-0000001";
    cluster.cluster.scale("a-namespace-of-a-team", changed, 8);
    let mut followed = false;
    for _ in 0..50 {
        let answer = open.send(read()).await.unwrap();
        followed |= answer.json()["replicaCount"] == 8;
        sleep(Duration::from_millis(if followed { 0 } else { 50 })).await;
    }
    assert!(followed, "the informer is shed too");

    fs::write(
        &file,
        "apiVersion: headcount/v1alpha1\nkind: Configuration\n",
    )
    .unwrap();
    let served = async || client.try_send(list()).await.is_ok_and(|a| a.status == 200);
    eventually(Duration::from_secs(10), "all is served again", served).await;
}
