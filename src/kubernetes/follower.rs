//! A list of a few objects and the watch that goes on from it, in JSON: what is followed beside the Deployments.
//!
//! Failures here are nobody else's: reads and writes of counts go on.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    calls::{ApiServer, CallError, next_chunk, small_body},
    wire::{DecodeError, Status},
};

/// Objects in one page, which together are far below the bound of a small answer.
const PAGE: usize = 250;
/// A list of more pages has no end.
const MOST_PAGES: usize = 1000;
/// How long the API server may take until it answers, and between two pieces of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a whole page may take.
const WHOLE_PAGE: Duration = Duration::from_secs(60);
/// A watch that goes on for longer than it should is cut: its connection is half-open.
const OVERTIME: Duration = Duration::from_secs(3);
/// A watch that ends sooner has failed, however cleanly it ends.
const SHORT: Duration = Duration::from_secs(1);
/// One event of a watch is no longer.
const LONGEST_EVENT: usize = 4 << 20;
/// Rights and APIs change rarely: whoever was refused asks again after this time.
const REFUSED: Duration = Duration::from_secs(60);
/// Lists that follow each other faster than this wait longer and longer.
const RELIST_PACE: Duration = Duration::from_secs(10);

/// What becomes of the objects.
pub(super) trait Followed {
    /// One of them; a bookmark, which has a version alone, is one too.
    type Object: DeserializeOwned;
    /// What they are called in messages.
    const WHAT: &'static str;
    /// The API server ends a watch after so many seconds: a copy that a dead connection feeds is older by no more than that.
    const WATCH_SECONDS: u64 = 60;

    /// Its resourceVersion.
    fn version(object: &Self::Object) -> &str;

    /// These are all, at this version.
    fn listed(&mut self, all: Vec<Self::Object>, version: u64);

    /// This one is new, another, or gone.
    fn changed(&mut self, object: Self::Object, deleted: bool);

    /// Makes known what has changed; all is known up to a version.
    fn publish(&mut self, version: u64);

    /// Nothing is known of them any more.
    fn forget(&mut self);

    /// Tells that they are followed.
    fn followed(&self);

    /// Tells why they aren't.
    fn lost(&self, error: &CallError);
}

/// Follows the objects of one collection.
pub(super) struct Follower<F> {
    api_server: ApiServer,
    collection: String,
    /// What further parameters select them, each with a `&` before it.
    selection: &'static str,
    /// Moves when the cluster was recognised as restored from an older state.
    restores: watch::Receiver<u64>,
    followed: F,
    backoff: Backoff,
    /// Whether the log's last word was that they are followed.
    told: Option<bool>,
}

/// Why a watch can't go on.
#[derive(Debug)]
enum End {
    /// It was too old: everything is listed anew.
    Expired,
    Failed(CallError),
}

impl<F: Followed> Follower<F> {
    pub(super) fn new(
        api_server: ApiServer,
        collection: String,
        selection: &'static str,
        restores: watch::Receiver<u64>,
        followed: F,
    ) -> Self {
        Self {
            api_server,
            collection,
            selection,
            restores,
            followed,
            backoff: Backoff::default(),
            told: None,
        }
    }

    /// Follows them for ever.
    pub(super) async fn run(mut self) {
        let mut relists = Backoff::default();
        loop {
            let start = Instant::now();
            match self.list().await {
                Ok(version) => {
                    self.is_followed();
                    self.watch_from(version).await;
                }
                Err(error) => self.failed(&error).await,
            }
            // One relist is immediate, a row of them is paced.
            if start.elapsed() < RELIST_PACE {
                sleep(relists.next(None)).await;
            } else {
                relists.reset();
            }
        }
    }

    /// Watches, again and again, until everything has to be listed anew.
    async fn watch_from(&mut self, mut version: u64) {
        let mut restores = self.restores.clone();
        restores.mark_unchanged();
        loop {
            let end = tokio::select! {
                biased;
                // What is older now was newer before: versions say nothing.
                Ok(()) = restores.changed() => return,
                end = self.watch(&mut version) => end,
            };
            match end {
                Ok(()) => self.is_followed(),
                Err(End::Expired) => return,
                Err(End::Failed(error)) => {
                    self.failed(&error).await;
                    // It answers, and not what was asked for: perhaps it can't go on from this version.
                    if error.code() != 0 {
                        return;
                    }
                }
            }
        }
    }

    /// Lists all of them, which are known once they are complete; the version that the list shows.
    async fn list(&mut self) -> Result<u64, CallError> {
        let mut objects = Vec::new();
        let mut token = String::new();
        for _ in 0..MOST_PAGES {
            let page: List<F::Object> = timeout(WHOLE_PAGE, self.page(&token))
                .await
                .unwrap_or(Err(CallError::Silent(WHOLE_PAGE)))?;
            objects.extend(page.items);
            token = page.metadata.continue_token;
            if token.is_empty() {
                let version = page.metadata.resource_version.parse();
                let version = version.map_err(|_| DecodeError::Envelope)?;
                self.followed.listed(objects, version);
                self.followed.publish(version);
                return Ok(version);
            }
        }
        Err(DecodeError::NoLastPage(MOST_PAGES).into())
    }

    async fn page(&self, token: &str) -> Result<List<F::Object>, CallError> {
        let mut query = format!("limit={PAGE}");
        if !token.is_empty() {
            query = format!(
                "{query}&continue={}",
                utf8_percent_encode(token, NON_ALPHANUMERIC)
            );
        }
        let mut body = self.get(&query).await?;
        read(&small_body(&mut body, ANSWER).await?)
    }

    async fn watch(&mut self, version: &mut u64) -> Result<(), End> {
        let query = format!(
            "watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={}",
            F::WATCH_SECONDS
        );
        let opened = Instant::now();
        let cut = Duration::from_secs(F::WATCH_SECONDS) + OVERTIME;
        let mut body = self.get(&query).await.map_err(End::of)?;
        let mut lines = Vec::new();
        let mut news = false;
        loop {
            let left = cut.saturating_sub(opened.elapsed());
            let Some(chunk) = next_chunk(&mut body, left).await.map_err(End::Failed)? else {
                if opened.elapsed() < SHORT && !news {
                    let why = format!("the watch of {} ended as soon as it began", F::WHAT);
                    return Err(End::Failed(CallError::Broken(why)));
                }
                return Ok(());
            };
            news = true;
            self.take(&mut lines, &chunk, version)?;
            self.backoff.reset();
        }
    }

    /// Takes what has come of a watch.
    fn take(&mut self, lines: &mut Vec<u8>, chunk: &Bytes, version: &mut u64) -> Result<(), End> {
        lines.extend_from_slice(chunk);
        let end = apply(&mut self.followed, lines, version);
        self.followed.publish(*version);
        end?;
        if lines.len() > LONGEST_EVENT {
            return Err(End::Failed(
                DecodeError::TooLarge(lines.len() as u64).into(),
            ));
        }
        Ok(())
    }

    async fn get(&self, query: &str) -> Result<Body, CallError> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("{}?{query}{}", self.collection, self.selection)
            .parse()
            .unwrap_or_default();
        request
            .headers_mut()
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // It says nothing of whether writes can be sent.
        let answer = self.api_server.counted(request, ANSWER).await;
        Ok(answer?.into_body())
    }

    /// Says once that they are followed.
    fn is_followed(&mut self) {
        self.backoff.reset();
        if self.told.replace(true) != Some(true) {
            self.followed.followed();
        }
    }

    /// Says once why they aren't, and waits. What was known stays, unless the cluster refuses to tell.
    async fn failed(&mut self, error: &CallError) {
        let refused = refused(error);
        if refused {
            self.followed.forget();
        }
        if self.told.replace(false) != Some(false) {
            self.followed.lost(error);
        }
        let wait = self.backoff.next(error.retry_after());
        sleep(if refused { REFUSED } else { wait }).await;
    }
}

/// Applies the events that are whole, up to the first that ends the watch.
fn apply<F: Followed>(followed: &mut F, lines: &mut Vec<u8>, version: &mut u64) -> Result<(), End> {
    let mut taken = 0;
    while let Some(length) = lines[taken..].iter().position(|byte| *byte == b'\n') {
        let line = &lines[taken..taken + length];
        taken += length + 1;
        if line.is_empty() {
            continue;
        }
        let Kind { kind } = read(line).map_err(End::Failed)?;
        if kind == "ERROR" {
            let Event::<Status> { object: status } = read(line).map_err(End::Failed)?;
            let retry_after = status.retry_after();
            return Err(End::of(CallError::Status {
                status,
                retry_after,
            }));
        }
        let Event::<F::Object> { object } = read(line).map_err(End::Failed)?;
        let reached = F::version(&object).parse().unwrap_or(0);
        if reached < *version {
            // The cluster went back, or this is no version.
            return Err(End::Expired);
        }
        *version = reached;
        if kind != "BOOKMARK" {
            followed.changed(object, kind == "DELETED");
        }
    }
    lines.drain(..taken);
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, CallError> {
    serde_json::from_slice(json)
        .map_err(|e| CallError::Broken(format!("it sent what can't be read: {e}")))
}

/// A page of a list.
#[derive(Deserialize)]
struct List<T> {
    metadata: ListMeta,
    #[serde(
        default = "Vec::new",
        deserialize_with = "or_none",
        bound(deserialize = "T: DeserializeOwned")
    )]
    items: Vec<T>,
}

/// A list without items may have `null` in their place.
fn or_none<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: String,
}

/// What an event is, which says what its object is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Deserialize)]
struct Event<T> {
    object: T,
}

impl End {
    fn of(error: CallError) -> Self {
        match error.code() {
            410 => Self::Expired,
            _ => Self::Failed(error),
        }
    }
}

/// Whether the account lacks the right, or the cluster the API: nothing that goes away soon.
pub(super) fn refused(error: &CallError) -> bool {
    matches!(error.code(), 403 | 404)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Remembers what it is told.
    #[derive(Default)]
    struct Told(Vec<(String, bool)>);

    impl Followed for Told {
        type Object = Value;
        const WHAT: &'static str = "things";

        fn version(object: &Value) -> &str {
            object["metadata"]["resourceVersion"].as_str().unwrap_or("")
        }

        fn listed(&mut self, _: Vec<Value>, _: u64) {}

        fn changed(&mut self, object: Value, deleted: bool) {
            self.0.push((Self::version(&object).to_owned(), deleted));
        }

        fn publish(&mut self, _: u64) {}

        fn forget(&mut self) {}

        fn followed(&self) {}

        fn lost(&self, _: &CallError) {}
    }

    fn line(kind: &str, version: &str) -> String {
        let object = json!({"metadata": {"resourceVersion": version}});
        format!("{}\n", json!({ "type": kind, "object": object }))
    }

    #[test]
    fn what_came_before_the_end_of_a_watch_counts() {
        let gone = json!({"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}});
        let mut lines = format!("{}{gone}\n", line("ADDED", "8")).into_bytes();
        let (mut told, mut version) = (Told::default(), 7);
        let end = apply(&mut told, &mut lines, &mut version);
        assert!(matches!(end, Err(End::Expired)));
        assert_eq!((told.0.len(), version), (1, 8));
    }

    #[test]
    fn events_in_pieces_are_read() {
        let (mut told, mut version, mut lines) = (Told::default(), 7, Vec::new());
        let all = [
            line("ADDED", "8"),
            line("BOOKMARK", "9"),
            line("DELETED", "10"),
        ];
        for byte in all.concat().bytes() {
            lines.push(byte);
            apply(&mut told, &mut lines, &mut version).unwrap();
        }
        let events = [("8".to_owned(), false), ("10".to_owned(), true)];
        assert_eq!((told.0, version, lines.len()), (events.to_vec(), 10, 0));
    }

    #[test]
    fn a_version_that_goes_back_has_everything_listed_anew() {
        let (mut told, mut version) = (Told::default(), 7);
        let mut lines = line("BOOKMARK", "6").into_bytes();
        let end = apply(&mut told, &mut lines, &mut version);
        assert!(matches!(end, Err(End::Expired)) && version == 7);
    }
}
