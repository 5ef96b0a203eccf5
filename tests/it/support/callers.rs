//! Callers who read and write all the time, and can't bear one failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, header};
use tokio::{task::JoinHandle, time::sleep};

use super::{Client, met_a_goodbye};

/// Several at once, over HTTP/1.1 and HTTP/2, busy and mostly idle.
pub(crate) struct Callers {
    seen: Arc<Seen>,
    calls: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answered: AtomicUsize,
    connections: AtomicUsize,
}

impl Callers {
    /// Starts them on the replicas of one Deployment.
    pub(crate) fn start(client: &Client, namespace: &str, name: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let path = format!("/namespaces/{namespace}/deployments/{name}/replicas");
        let multiplexed = client.alpn(&["h2"]);
        let (at_once, idle) = (Duration::ZERO, Duration::from_millis(700));
        let calls = [
            (client, false, at_once),
            (client, true, Duration::from_millis(5)),
            // Idle more than not: their connections are closed between two requests.
            (client, false, idle),
            (client, false, idle * 2),
            (&multiplexed, false, at_once),
            (&multiplexed, false, idle),
            (&multiplexed, true, Duration::from_millis(5)),
        ];
        let calls = calls.into_iter().map(|(client, writes, pause)| {
            tokio::spawn(Arc::clone(&seen).call(client.clone(), path.clone(), writes, pause))
        });
        Self {
            calls: calls.collect(),
            seen,
        }
    }

    /// How many requests have been answered.
    pub(crate) fn answered(&self) -> usize {
        self.seen.answered.load(Ordering::Relaxed)
    }

    /// Ends them, and fails the test if one request had no answer, or one that isn't success; over how many connections they went.
    pub(crate) async fn have_not_failed(self) -> usize {
        self.seen.over.store(true, Ordering::Relaxed);
        for call in self.calls {
            // A request that failed has panicked.
            call.await.unwrap();
        }
        self.seen.connections.load(Ordering::Relaxed)
    }
}

impl Seen {
    /// Sends one request after the other on a connection for as long as the server keeps it. Whatever is sent must be answered:
    /// nothing is tried again, but a connection that is closed before the server looks at a request on it is replaced.
    async fn call(self: Arc<Self>, client: Client, path: String, writes: bool, pause: Duration) {
        while !self.over.load(Ordering::Relaxed) {
            let mut connection = client.open().await.unwrap_or_else(|e| panic!("open: {e}"));
            self.connections.fetch_add(1, Ordering::Relaxed);
            while connection.ready().await && !self.over.load(Ordering::Relaxed) {
                let request = if writes {
                    let body = format!("{{\"replicaCount\":{}}}", some_count());
                    let headers = [("content-type", "application/json")];
                    client.request(Method::PUT, &path, &headers, &body)
                } else {
                    client.request(Method::GET, &path, &[], "")
                };
                let answer = match connection.send(request).await {
                    Ok(answer) => answer,
                    Err(failure) if met_a_goodbye(&failure) => break,
                    Err(failure) => panic!("a request failed: {failure:?}"),
                };
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

fn some_count() -> u128 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() % 50
}
