//! Clients that don't stop asking while something changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::renewing::request;
use crate::support::{Client, Connection, Failure, met_a_goodbye};

/// How long one request may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests of one client: what changes needs the processors too.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
pub(super) const PROTOCOLS: [&str; 2] = ["http/1.1", "h2"];

/// Requests over both protocols, one after another: each on a new connection, and each on one that stays open.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    askers: JoinSet<Result<u32, String>>,
}

impl Load {
    /// Starts it.
    pub(super) fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut askers = JoinSet::new();
        for protocol in PROTOCOLS {
            for kept in [false, true] {
                askers.spawn(ask(client.alpn(&[protocol]), kept, Arc::clone(&stop)));
            }
        }
        Self { stop, askers }
    }

    /// Ends it, and fails the test if one request had no 200.
    pub(super) async fn has_not_failed(self) {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.askers.join_all().await;
        for outcome in &answered {
            assert!(matches!(outcome, Ok(count) if *count > 10), "{answered:?}");
        }
    }
}

async fn ask(client: Client, kept: bool, stop: Arc<AtomicBool>) -> Result<u32, String> {
    let mut open: Option<Connection> = None;
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let one = async {
            // One that the server has said goodbye on is replaced; what is sent must be answered.
            if let Some(mut connection) = open.take()
                && connection.ready().await
            {
                match connection.send(request(&client)).await {
                    Ok(answer) => return Ok((connection, answer)),
                    Err(failure) if met_a_goodbye(&failure) => {}
                    Err(failure) => return Err(failure),
                }
            }
            let mut connection = client.open().await?;
            let answer = connection.send(request(&client)).await?;
            Ok::<_, Failure>((connection, answer))
        };
        let context = format!("after {answered} answers, kept open {kept}");
        let (connection, answer) = timeout(PATIENCE, one)
            .await
            .map_err(|_| format!("{context}: no answer"))?
            .map_err(|error| format!("{context}: {error}"))?;
        if answer.status != 200 {
            return Err(format!("{context}: {answer:?}"));
        }
        if kept && answer.header("connection") != "close" {
            open = Some(connection);
        }
        answered += 1;
        sleep(PAUSE).await;
    }
    Ok(answered)
}
