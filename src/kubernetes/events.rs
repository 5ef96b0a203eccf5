//! Kubernetes Events on Deployments, which `kubectl describe` shows: who set what, and why.
//!
//! Nothing waits for them, and nothing depends on them: they are sent one after the other by a task of its own. Equal ones are one
//! Event with a count, and a Deployment that changes often has few of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, header};
use jiff::{Timestamp, Unit};
use kube::client::Body;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tracing::warn;
use uuid::Uuid;

use super::calls::{ApiServer, CallError};
use crate::telemetry::log::hides;

/// How many may wait to be sent; one more is dropped.
const WAITING: usize = 512;
/// How long one may take.
const SEND: Duration = Duration::from_secs(5);
/// How many a Deployment may have at once, and how long it takes until it may have one more.
const BURST: f64 = 10.0;
const ONE_MORE: Duration = Duration::from_secs(30);
/// How many all of them may have at once, the largest batch among them, and each second.
const ALL_BURST: f64 = 300.0;
const ALL_PER_SECOND: f64 = 10.0;
/// How long after the last one an equal one is the same; Kubernetes forgets Events after an hour.
const SAME: Duration = Duration::from_secs(600);
/// How many Deployments, and Events of each, are remembered.
const DEPLOYMENTS: usize = 1000;
const EVENTS: usize = 8;
/// The longest text of an Event, in bytes (core/v1 Event, as events.k8s.io/v1 bounds its note).
const LONGEST_NOTE: usize = 1024;
/// How often it is said that they fail.
const TELL: Duration = Duration::from_secs(60);

/// The reason of an Event that tells of a lease whose count may not go back.
pub const NOT_REVERTED: &str = "LeaseNotReverted";

/// What an Event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
    /// The Deployment's uid.
    pub uid: Uuid,
    /// The version that the write made.
    pub resource_version: u64,
    /// What happened, in one word.
    pub reason: &'static str,
    /// What happened, for a person; it is cut at 1024 bytes, and what hides or turns text is replaced.
    pub note: String,
}

impl Told {
    /// The Event's type: a warning of what didn't come about, and normal otherwise.
    fn kind(&self) -> &'static str {
        match self.reason {
            NOT_REVERTED => "Warning",
            _ => "Normal",
        }
    }
}

/// Takes what Events are to tell. The default takes nothing.
#[derive(Debug, Clone, Default)]
pub struct Events(Option<(mpsc::Sender<Told>, Arc<EventMetrics>)>);

/// What is counted of Events.
#[derive(Debug, Default)]
pub struct EventMetrics(Family<EventLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    result: &'static str,
}

impl EventMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for result in ["created", "counted", "limited", "failed"] {
            drop(self.0.get_or_create(&EventLabels { result }));
        }
        registry.register(
            "kubernetes_events",
            "Writes that Events on Deployments were to tell of, by result: created, counted (in an equal one), limited or failed",
            self.0.clone(),
        );
    }

    fn count(&self, result: &'static str) {
        self.0.get_or_create(&EventLabels { result }).inc();
    }
}

impl Events {
    /// Has an Event tell of it, sooner or later or not at all.
    pub fn tell(&self, make: impl FnOnce() -> Told) {
        if let Some((sender, metrics)) = &self.0
            && sender.try_send(make()).is_err()
        {
            metrics.count("limited");
        }
    }

    /// Starts the task that sends them, which ends with the last of these handles. Must be called within a runtime.
    pub(super) fn start(api_server: ApiServer, metrics: Arc<EventMetrics>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let recorder = Recorder {
            api_server,
            metrics: Arc::clone(&metrics),
            known: Known::new(Instant::now()),
            told: None,
        };
        // It ends by itself.
        tokio::spawn(recorder.run(receiver));
        Self(Some((sender, metrics)))
    }
}

struct Recorder {
    api_server: ApiServer,
    metrics: Arc<EventMetrics>,
    known: Known,
    /// When it was said that they fail.
    told: Option<Instant>,
}

impl Recorder {
    async fn run(mut self, mut receiver: mpsc::Receiver<Told>) {
        while let Some(told) = receiver.recv().await {
            let result = match self.record(&told).await {
                Ok(result) => result,
                Err(error) => {
                    self.failed(&told, &error);
                    "failed"
                }
            };
            self.metrics.count(result);
        }
    }

    async fn record(&mut self, told: &Told) -> Result<&'static str, CallError> {
        let now = Instant::now();
        match self.known.judge(told, now) {
            Judged::Same { name, count } => {
                let counted = self.send(Method::PATCH, told, &name, again(count));
                match counted.await {
                    // It was deleted, or forgotten.
                    Err(error) if error.code() == 404 => {}
                    other => return other.map(|()| "counted"),
                }
            }
            Judged::Limited => return Ok("limited"),
            Judged::New => {}
        }
        let name = event_name(&told.name);
        let skipped = self.known.add(told, &name, now);
        self.send(Method::POST, told, &name, new(told, &name, skipped))
            .await?;
        Ok("created")
    }

    async fn send(
        &self,
        method: Method,
        told: &Told,
        name: &str,
        body: Value,
    ) -> Result<(), CallError> {
        let (path, content_type) = if method == Method::POST {
            (String::new(), "application/json")
        } else {
            (format!("/{name}"), "application/merge-patch+json")
        };
        let mut request = Request::new(Body::from(body.to_string().into_bytes()));
        *request.method_mut() = method;
        // All names were validated: nothing in them needs escaping.
        *request.uri_mut() = format!("/api/v1/namespaces/{}/events{path}", told.namespace)
            .parse()
            .unwrap_or_default();
        for (name, value) in [
            (header::CONTENT_TYPE, content_type),
            (header::ACCEPT, "application/json"),
        ] {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        self.api_server.send_aside(request, SEND).await
    }

    fn failed(&mut self, told: &Told, error: &CallError) {
        if self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        self.told = Some(Instant::now());
        warn!(name: "kubernetes.event.failed", namespace = %told.namespace, name = %told.name, error = %error,
            "failed to tell of a write in an Event; this server's account needs the right to create and patch events");
    }
}

/// What becomes of one.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    New,
    /// It is counted in the Event of this name.
    Same {
        name: String,
        count: u64,
    },
    Limited,
}

/// So many at once, and one more after a time.
struct Tokens {
    left: f64,
    at: Instant,
}

impl Tokens {
    fn take(&mut self, now: Instant, burst: f64, per_second: f64) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * per_second).min(burst);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

/// What was sent of late.
struct Known {
    all: Tokens,
    of: HashMap<Uuid, Deployment>,
}

struct Deployment {
    tokens: Tokens,
    events: VecDeque<Sent>,
    /// Writes since the last Event that have none.
    skipped: u64,
}

struct Sent {
    reason: &'static str,
    note: String,
    name: String,
    count: u64,
    at: Instant,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            all: Tokens {
                left: ALL_BURST,
                at: now,
            },
            of: HashMap::new(),
        }
    }

    fn judge(&mut self, told: &Told, now: Instant) -> Judged {
        if self.of.len() >= DEPLOYMENTS && !self.of.contains_key(&told.uid) {
            let oldest = self.of.iter().min_by_key(|(_, of)| of.tokens.at);
            if let Some(oldest) = oldest.map(|(uid, _)| *uid) {
                self.of.remove(&oldest);
            }
        }
        let of = self.of.entry(told.uid).or_insert_with(|| Deployment {
            tokens: Tokens {
                left: BURST,
                at: now,
            },
            events: VecDeque::new(),
            skipped: 0,
        });
        let may = of.tokens.take(now, BURST, 1.0 / ONE_MORE.as_secs_f64())
            && self.all.take(now, ALL_BURST, ALL_PER_SECOND);
        if !may {
            of.skipped += 1;
            return Judged::Limited;
        }
        let same = of.events.iter_mut().find(|sent| {
            sent.reason == told.reason && sent.note == told.note && now - sent.at < SAME
        });
        match same {
            Some(sent) => {
                sent.count += 1;
                sent.at = now;
                Judged::Same {
                    name: sent.name.clone(),
                    count: sent.count,
                }
            }
            None => Judged::New,
        }
    }

    /// Remembers a new one; how many writes before it have none.
    fn add(&mut self, told: &Told, name: &str, now: Instant) -> u64 {
        let Some(of) = self.of.get_mut(&told.uid) else {
            return 0;
        };
        of.events
            .retain(|sent| sent.reason != told.reason || sent.note != told.note);
        if of.events.len() == EVENTS {
            of.events.pop_front();
        }
        of.events.push_back(Sent {
            reason: told.reason,
            note: told.note.clone(),
            name: name.to_owned(),
            count: 1,
            at: now,
        });
        std::mem::take(&mut of.skipped)
    }
}

/// A name that no other Event has.
fn event_name(deployment: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xffff;
    // Names are 253 characters at most, and end with a letter or digit before the dot.
    let stem: String = deployment.chars().take(200).collect();
    let stem = stem.trim_end_matches(['-', '.']);
    format!("{stem}.{:016x}{count:04x}", fastrand::u64(..))
}

fn time() -> String {
    // Kubernetes' Time has whole seconds.
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

fn again(count: u64) -> Value {
    json!({ "count": count, "lastTimestamp": time() })
}

fn new(told: &Told, name: &str, skipped: u64) -> Value {
    let more = match skipped {
        0 => String::new(),
        1 => " (after 1 more write)".to_owned(),
        some => format!(" (after {some} more writes)"),
    };
    // A terminal shows it.
    let shown = |c| if hides(c) { '\u{fffd}' } else { c };
    let mut note: String = told.note.chars().map(shown).collect();
    let most = LONGEST_NOTE - more.len() - '…'.len_utf8();
    if note.len() > most {
        note.truncate(note.floor_char_boundary(most));
        note.push('…');
    }
    let now = time();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": told.namespace },
        "involvedObject": {
            "apiVersion": "apps/v1", "kind": "Deployment", "namespace": told.namespace, "name": told.name, "uid": told.uid,
            "resourceVersion": told.resource_version.to_string(),
        },
        "reason": told.reason,
        "message": note + &more,
        "type": told.kind(),
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": { "component": "headcount" },
        "reportingComponent": "headcount",
        "reportingInstance": "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uid: u128, note: &str) -> Told {
        Told {
            namespace: "web".into(),
            name: "shop".into(),
            uid: Uuid::from_u128(uid),
            resource_version: 7,
            reason: "ScaledByHeadcount",
            note: note.into(),
        }
    }

    #[test]
    fn of_a_count_that_may_not_go_back_a_warning_tells() {
        let told = told(1, "alice: 3 to 5");
        assert_eq!(new(&told, "e1", 0)["type"], "Normal");
        let reason = NOT_REVERTED;
        assert_eq!(new(&Told { reason, ..told }, "e1", 0)["type"], "Warning");
    }

    #[test]
    fn equal_events_are_one_with_a_count() {
        let now = Instant::now();
        let mut known = Known::new(now);
        let same = told(1, "alice 3 → 5");
        assert_eq!(known.judge(&same, now), Judged::New);
        known.add(&same, "e1", now);
        let counted = |count| Judged::Same {
            name: "e1".into(),
            count,
        };
        assert_eq!(known.judge(&same, now), counted(2));
        assert_eq!(known.judge(&same, now), counted(3));
        assert_eq!(known.judge(&told(1, "alice 5 → 3"), now), Judged::New);
        assert_eq!(known.judge(&told(2, "alice 3 → 5"), now), Judged::New);
        assert_eq!(known.judge(&same, now + SAME), Judged::New, "long after");
    }

    #[test]
    fn a_deployment_that_changes_often_has_few_and_the_next_one_tells_how_many_are_missing() {
        let now = Instant::now();
        let mut known = Known::new(now);
        let mut sent = 0;
        for turn in 0..50 {
            let one = told(1, &turn.to_string());
            if known.judge(&one, now) == Judged::New {
                sent += 1;
                assert_eq!(known.add(&one, "e", now), 0);
            }
        }
        assert_eq!(sent, 10);
        let later = now + ONE_MORE;
        assert_eq!(known.judge(&told(1, "later"), later), Judged::New);
        let skipped = known.add(&told(1, "later"), "e", later);
        assert_eq!(skipped, 40);
        let event = new(&told(1, "later"), "e", skipped);
        assert_eq!(event["message"], "later (after 40 more writes)");
    }

    #[test]
    fn all_deployments_together_are_bounded_in_number_and_in_memory() {
        let now = Instant::now();
        let mut known = Known::new(now);
        let judged = (0..3000).map(|uid| known.judge(&told(uid, "x"), now));
        let sent = judged.filter(|judged| *judged == Judged::New).count();
        assert_eq!((sent, known.of.len()), (300, DEPLOYMENTS));
    }

    #[test]
    fn what_hides_or_turns_text_is_replaced_in_a_note() {
        let event = new(&told(1, "ali\u{202e}ce: 3 → 10\n"), "e1", 0);
        assert_eq!(event["message"], "ali\u{fffd}ce: 3 → 10\u{fffd}");
    }

    #[test]
    fn names_and_notes_are_as_long_as_they_may_be() {
        let name = event_name(&"a.".repeat(126));
        assert!(
            crate::name::is_deployment(&name) && name.len() < 253,
            "{name}"
        );
        let event = new(&told(1, &"→".repeat(1000)), "e", 12);
        let message = event["message"].as_str().unwrap();
        assert!(message.len() <= 1024 && message.ends_with("… (after 12 more writes)"));
    }
}
