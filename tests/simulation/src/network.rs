//! Between the informer and the simulated API: takes note of all that passes, and cuts answers into other pieces.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use http::Request;
use http_body::{Body as _, Frame};
use simkube::{ApiServer, Body, BodyError};
use tokio::time::Instant;
use tower::{Service as _, service_fn};

use crate::{observer::Observer, schedule::Pieces};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A list from its beginning.
    List,
    /// A further page of one.
    Page,
    Watch,
    Probe,
}

/// What the network has seen.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    requests: Vec<(Instant, Asked)>,
    watches: Vec<OpenWatch>,
    next: u64,
    /// When a probe was last answered well.
    pub(crate) probed: Option<Instant>,
    /// By scope (its namespace, or none): when a watch last was alive.
    alive: Vec<(Option<String>, Instant)>,
}

/// A watch whose answer is being read.
#[derive(Debug)]
struct OpenWatch {
    id: u64,
    namespace: Option<String>,
    opened: Instant,
    /// What keeps it silent: slots, and since when nobody serves it any more.
    stalled_by: Vec<u8>,
    dead: Option<Instant>,
}

impl OpenWatch {
    fn is_silent(&self) -> bool {
        self.dead.is_some() || !self.stalled_by.is_empty()
    }
}

/// A watch that has been open for so long, or has brought something, works.
const PROVEN: Duration = Duration::from_secs(1);

impl Traffic {
    pub(crate) fn new(namespaces: &[String], now: Instant) -> Self {
        let mut alive: Vec<_> = namespaces.iter().cloned().map(|n| (Some(n), now)).collect();
        if alive.is_empty() {
            alive.push((None, now));
        }
        Self {
            alive,
            ..Self::default()
        }
    }

    /// The watches that are open bring nothing any more, until [`Traffic::resume`].
    pub(crate) fn stall(&mut self, slot: u8) {
        for watch in &mut self.watches {
            watch.stalled_by.push(slot);
        }
    }

    /// What was stalled goes on.
    pub(crate) fn resume(&mut self, slot: u8) {
        for watch in &mut self.watches {
            watch.stalled_by.retain(|by| *by != slot);
        }
    }

    /// Nobody serves the watches that are open any more.
    pub(crate) fn die(&mut self) {
        for watch in &mut self.watches {
            watch.dead.get_or_insert_with(Instant::now);
        }
    }

    /// For how long the informer has been following a watch that nobody serves.
    pub(crate) fn deceived(&self, now: Instant) -> Duration {
        let dead = self.watches.iter().filter_map(|w| w.dead);
        dead.map(|since| now - since).max().unwrap_or_default()
    }

    /// For how long the scope that fares worst has had no open watch at all.
    pub(crate) fn watchless(&mut self, now: Instant) -> Duration {
        for watch in &self.watches {
            if now - watch.opened >= PROVEN {
                mark(&mut self.alive, watch.namespace.as_ref(), now);
            }
        }
        let longest = self.alive.iter().map(|(_, at)| now - *at).max();
        longest.unwrap_or_default()
    }

    /// Since when every scope has had a watch that isn't silent; `None` if one has none.
    pub(crate) fn followed(&self) -> Option<Instant> {
        let since = |namespace: &Option<String>| {
            let mut live = self.watches.iter();
            live.find(|w| w.namespace == *namespace && !w.is_silent())
                .map(|w| w.opened)
        };
        let all: Option<Vec<_>> = self.alive.iter().map(|(n, _)| since(n)).collect();
        all?.into_iter().max()
    }

    /// The most requests of these kinds within any such time.
    pub(crate) fn most_within(&self, time: Duration, kinds: &[Asked]) -> usize {
        let at: Vec<Instant> = self
            .requests
            .iter()
            .filter(|(_, asked)| kinds.contains(asked))
            .map(|(at, _)| *at)
            .collect();
        let within = |(i, start): (usize, &Instant)| {
            at[i..].iter().take_while(|t| **t - *start < time).count()
        };
        at.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// The copies of some scopes, by position, were brought up to date: until it is told otherwise that is as good as a watch.
    pub(crate) fn refreshed(&mut self, which: impl Fn(usize) -> bool) {
        let now = Instant::now();
        for (_, (_, at)) in self.alive.iter_mut().enumerate().filter(|(i, _)| which(*i)) {
            *at = now;
        }
    }

    fn opened(&mut self, namespace: Option<String>) -> u64 {
        self.next += 1;
        self.watches.push(OpenWatch {
            id: self.next,
            namespace,
            opened: Instant::now(),
            stalled_by: Vec::new(),
            dead: None,
        });
        self.next
    }

    fn brought(&mut self, id: u64) {
        if let Some(watch) = self.watches.iter().find(|w| w.id == id) {
            mark(&mut self.alive, watch.namespace.as_ref(), Instant::now());
        }
    }

    fn closed(&mut self, id: u64) {
        let now = Instant::now();
        self.watchless(now);
        self.watches.retain(|w| w.id != id);
    }
}

fn mark(alive: &mut [(Option<String>, Instant)], namespace: Option<&String>, now: Instant) {
    for (of, at) in alive {
        if of.as_ref() == namespace {
            *at = now;
        }
    }
}

/// What all parts of a run look at.
pub(crate) type Shared = Arc<Mutex<Observer>>;

pub(crate) fn lock(observer: &Mutex<Observer>) -> MutexGuard<'_, Observer> {
    observer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client of the simulated API, through this network.
pub(crate) fn client(
    api: ApiServer,
    observer: &Shared,
    page: usize,
    pieces: Pieces,
    seed: u64,
) -> kube::Client {
    let observer = Arc::clone(observer);
    let mut rng = Rng::with_seed(seed);
    let service = service_fn(move |mut request: Request<kube::client::Body>| {
        let (asked, namespace) = shorten(&mut request, page);
        let (observer, mut api, rng) = (Arc::clone(&observer), api.clone(), rng.fork());
        {
            let mut observer = lock(&observer);
            observer.look();
            let now = Instant::now();
            observer.traffic.requests.push((now, asked));
            let query = request.uri().query().unwrap_or_default();
            observer.note(|| {
                let scope = namespace.as_deref().unwrap_or("all namespaces");
                format!("request: {asked:?} of {scope}: {query}")
            });
        }
        async move {
            let answer = api.call(request).await;
            let mut seen = lock(&observer);
            seen.note(|| match &answer {
                Ok(answer) => format!("answer to {asked:?}: {}", answer.status()),
                Err(error) => format!("answer to {asked:?}: {error}"),
            });
            let watched = |status: http::StatusCode| asked == Asked::Watch && status.is_success();
            let watch = match &answer {
                Ok(answer) if watched(answer.status()) => Some(seen.traffic.opened(namespace)),
                _ => None,
            };
            if asked == Asked::Probe && answer.as_ref().is_ok_and(|a| a.status().is_success()) {
                seen.traffic.probed = Some(Instant::now());
            }
            drop(seen);
            answer.map(|answer| {
                answer.map(|inner| Carried {
                    inner,
                    observer,
                    watch,
                    pieces,
                    rng,
                    held: BytesMut::new(),
                    end: None,
                })
            })
        }
    });
    kube::Client::new(service, "default")
}

/// What a request asks for, and of which namespace. Pages are made small: an API server may send fewer than it is asked for.
fn shorten(request: &mut Request<kube::client::Body>, page: usize) -> (Asked, Option<String>) {
    let uri = request.uri().clone();
    let query = uri.query().unwrap_or_default();
    let parts: Vec<&str> = query.split('&').collect();
    let namespace = uri
        .path()
        .strip_prefix("/apis/apps/v1/namespaces/")
        .and_then(|rest| rest.split('/').next())
        .map(str::to_owned);
    let asked = if parts.contains(&"watch=true") {
        Asked::Watch
    } else if parts.contains(&"limit=1") {
        Asked::Probe
    } else if parts.iter().any(|p| p.starts_with("continue=")) {
        Asked::Page
    } else {
        Asked::List
    };
    if matches!(asked, Asked::List | Asked::Page) {
        let shorter: Vec<String> = parts
            .iter()
            .map(|part| match part.strip_prefix("limit=") {
                Some(_) => format!("limit={page}"),
                None => (*part).to_owned(),
            })
            .collect();
        let shorter = format!("{}?{}", uri.path(), shorter.join("&"));
        if let Ok(uri) = shorter.parse() {
            *request.uri_mut() = uri;
        }
    }
    (asked, namespace)
}

/// The body of an answer on its way.
struct Carried {
    inner: Body,
    observer: Shared,
    /// The watch that it is.
    watch: Option<u64>,
    pieces: Pieces,
    rng: Rng,
    held: BytesMut,
    /// What `inner` ended with, once it has.
    end: Option<Result<(), BodyError>>,
}

impl Carried {
    /// Takes what there is; at the end, `end` is set.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none() && (self.held.is_empty() || self.pieces == Pieces::Merged) {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.held.extend(frame.into_data().unwrap_or_default());
                }
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Pending => return,
            }
        }
    }

    fn close(&mut self) {
        if let Some(watch) = self.watch.take() {
            lock(&self.observer).traffic.closed(watch);
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.close();
    }
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Whatever came before has been applied by now.
        lock(&self.observer).look();
        self.fill(cx);
        if self.held.is_empty() {
            return match self.end {
                None => Poll::Pending,
                Some(end) => {
                    self.close();
                    self.end = Some(Ok(()));
                    Poll::Ready(end.err().map(Err))
                }
            };
        }
        if let Some(watch) = self.watch {
            lock(&self.observer).traffic.brought(watch);
        }
        let length = self.held.len();
        let at = match self.pieces {
            Pieces::Cut => self.rng.usize(1..=length),
            _ => length,
        };
        let piece = self.held.split_to(at);
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }
}
