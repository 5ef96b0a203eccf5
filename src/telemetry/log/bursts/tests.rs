use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tokio::time::advance;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

use super::{super::*, *};

/// A subscriber whose bursts are summarised, and its lines.
struct Logged {
    bursts: Shared,
    written: Arc<Mutex<String>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Logged {
    fn start() -> Self {
        let (bursts, written) = (Shared::default(), Arc::<Mutex<String>>::default());
        let to = Arc::clone(&written);
        let lines = Lines {
            format: Format::Json,
            output: move |line: &str| to.lock().unwrap().push_str(line),
            bursts: Some(Arc::clone(&bursts)),
        };
        let lines = lines.with_filter(Levels::from(Severity::Debug));
        let subscriber = tracing_subscriber::registry().with(lines);
        Self {
            bursts,
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn tell(&self) {
        tell(&self.bursts, |bursts| bursts.ended(Instant::now()));
    }

    fn lines(&self) -> Vec<Map<String, Value>> {
        let text = std::mem::take(&mut *self.written.lock().unwrap());
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    fn events(&self) -> Vec<String> {
        let lines = self.lines().into_iter();
        lines
            .map(|line| line["event"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn refused(address: &str) {
    tracing::warn!(name: "tls.client.refused", reason = "UnknownIssuer", subject = "CN=mallory", address, "client refused: UnknownIssuer");
}

#[tokio::test(start_paused = true)]
async fn the_first_ten_of_equal_lines_appear_and_the_rest_are_one_line() {
    let logged = Logged::start();
    for port in 0..500 {
        refused(&format!("192.0.2.1:{port}"));
        advance(Duration::from_millis(10)).await;
    }
    logged.tell();
    assert_eq!(logged.events(), ["tls.client.refused"; 10]);
    advance(WINDOW).await;
    logged.tell();
    let told = logged.lines();
    assert_eq!(told.len(), 1);
    let mut told = told[0].clone();
    told.remove("timestamp");
    let expected = serde_json::json!({"severity": "WARN", "event": "log.repeated", "message": "490 more in 5 s: client refused: UnknownIssuer",
        "repeated": "tls.client.refused", "count": 490, "seconds": 4.89, "subject": "CN=mallory", "reason": "UnknownIssuer", "address": "192.0.2.1"});
    assert_eq!(Value::Object(told), expected);
    logged.tell();
    assert_eq!(logged.events(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_goes_on_is_told_of_every_ten_seconds() {
    let logged = Logged::start();
    for _ in 0..30 {
        for _ in 0..20 {
            refused("192.0.2.1:1");
        }
        advance(Duration::from_secs(1)).await;
        logged.tell();
    }
    let lines = logged.lines();
    let (told, first): (Vec<_>, Vec<_>) = lines.iter().partition(|l| l["event"] == "log.repeated");
    assert_eq!((told.len(), first.len()), (3, 30));
    assert!(told.iter().all(|line| line["count"] == 190), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn lines_that_come_again_before_they_were_told_of_lose_nothing() {
    let logged = Logged::start();
    (0..15).for_each(|_| refused("192.0.2.1:1"));
    advance(WINDOW).await;
    (0..12).for_each(|_| refused("192.0.2.1:1"));
    tell(&logged.bursts, Bursts::all);
    let lines = logged.lines();
    let counts = lines.iter().filter_map(|line| line.get("count")?.as_u64());
    assert_eq!(counts.collect::<Vec<_>>(), [5, 2]);
    assert_eq!(lines.len(), 22);
}

#[tokio::test(start_paused = true)]
async fn lines_that_differ_in_what_matters_all_appear() {
    let logged = Logged::start();
    for number in 0..100 {
        refused(&format!("192.0.2.{number}:1"));
        let error = format!("reason {number}");
        tracing::warn!(name: "informer.probe.failed", error, "the probe failed");
    }
    assert_eq!(logged.events().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn of_writes_and_deployments_every_line_appears() {
    let logged = Logged::start();
    for _ in 0..100 {
        tracing::info!(name: "scale.applied", principal = "alice", "applied");
        tracing::warn!(name: "scale.failed", principal = "alice", "failed");
        tracing::info!(name: "image.applied", principal = "alice", "applied");
        tracing::warn!(name: "image.failed", principal = "alice", "failed");
        tracing::info!(name: "informer.deployment.changed", namespace = "web", "changed");
    }
    assert_eq!(logged.events().len(), 500);
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_every_line_another_one_takes_no_memory() {
    let logged = Logged::start();
    for number in 0..5000 {
        refused(&format!("peer {number}"));
    }
    assert_eq!(logged.bursts.lock().unwrap().known.len(), MOST);
    // Those that there is no room for appear, each of them.
    (0..20).for_each(|_| refused("a peer too many"));
    assert_eq!(logged.events().len(), 5020);
    // And there is room again for what comes later.
    advance(WINDOW).await;
    (0..20).for_each(|_| refused("a later one"));
    assert_eq!(logged.events().len(), 10);
    assert_eq!(logged.bursts.lock().unwrap().known.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_debug_lines_is_told_of_as_such() {
    let logged = Logged::start();
    for _ in 0..11 {
        tracing::debug!(name: "tls.client.left", address = "[2001:db8::1]:7", "left");
    }
    tell(&logged.bursts, Bursts::all);
    let told = logged.lines().pop().unwrap();
    assert_eq!(
        (&told["severity"], &told["count"], &told["address"]),
        (&"DEBUG".into(), &1.into(), &"[2001:db8::1]".into())
    );
}
