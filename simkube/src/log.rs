//! What was asked of the cluster: a log of requests for assertions, and counters.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use crate::faults::Call;
use crate::object::Object;

/// How many requests are remembered.
const REMEMBERED: usize = 10_000;

/// A request that reached the simulated API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeenRequest {
    /// Its method.
    pub method: Method,
    /// Its path, as sent (not decoded).
    pub path: String,
    /// Its query without the `?`, as sent; empty if there was none.
    pub query: String,
    /// Its headers, without `Authorization`.
    pub headers: HeaderMap,
}

impl SeenRequest {
    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it lists or watches Deployments: what an informer may do, and a read of one count never does.
    pub fn is_list_or_watch(&self) -> bool {
        self.method == Method::GET && self.path.ends_with("/deployments")
    }
}

/// An object that a fault kept from a client, or brought it late or unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The namespace of the object.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The version of the event, or of the list that lacks it.
    pub version: u64,
    /// Whether nothing tells the client of it.
    pub silent: bool,
}

/// How often each kind of request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All requests.
    pub requests: u64,
    /// Lists that began: first or only pages, probes not among them.
    pub lists: u64,
    /// Pages after the first.
    pub further_pages: u64,
    /// Lists with `limit=1` and no continue token.
    pub probes: u64,
    /// Watches that were asked for.
    pub watches: u64,
    /// Watches that are open now.
    pub open_watches: u64,
    /// Reads of one Deployment or of its scale.
    pub gets: u64,
    /// Writes of a scale.
    pub scales: u64,
    /// All other writes.
    pub writes: u64,
    /// SubjectAccessReviews.
    pub reviews: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    seen: Mutex<VecDeque<SeenRequest>>,
    losses: Mutex<VecDeque<Loss>>,
    requests: AtomicU64,
    lists: AtomicU64,
    further_pages: AtomicU64,
    probes: AtomicU64,
    watches: AtomicU64,
    pub(crate) open_watches: AtomicU64,
    gets: AtomicU64,
    scales: AtomicU64,
    writes: AtomicU64,
    reviews: AtomicU64,
}

impl Log {
    pub(crate) fn note(&self, call: Call, request: SeenRequest) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let counter = match call {
            Call::List { page: 1 } => &self.lists,
            Call::List { .. } => &self.further_pages,
            Call::Probe => &self.probes,
            Call::Watch => &self.watches,
            Call::Get | Call::ScaleGet => &self.gets,
            Call::Scale => &self.scales,
            Call::Write => &self.writes,
            Call::Review => &self.reviews,
            Call::EventWrite
            | Call::Autoscalers
            | Call::Leases
            | Call::LeaseWrite
            | Call::Other => return self.remember(request),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.remember(request);
    }

    fn remember(&self, mut request: SeenRequest) {
        request.headers.remove(AUTHORIZATION);
        let mut seen = crate::cluster::lock(&self.seen);
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(request);
    }

    pub(crate) fn seen(&self) -> Vec<SeenRequest> {
        crate::cluster::lock(&self.seen).iter().cloned().collect()
    }

    /// Takes note of an object that a client doesn't get to see at `version`.
    pub(crate) fn lose(&self, object: &Object, version: u64, silent: bool) {
        let mut losses = crate::cluster::lock(&self.losses);
        if losses.len() == REMEMBERED {
            losses.pop_front();
        }
        losses.push_back(Loss {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            version,
            silent,
        });
    }

    pub(crate) fn take_losses(&self) -> Vec<Loss> {
        crate::cluster::lock(&self.losses).drain(..).collect()
    }

    pub(crate) fn forget(&self) {
        crate::cluster::lock(&self.seen).clear();
    }

    pub(crate) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: get(&self.requests),
            lists: get(&self.lists),
            further_pages: get(&self.further_pages),
            probes: get(&self.probes),
            watches: get(&self.watches),
            open_watches: get(&self.open_watches),
            gets: get(&self.gets),
            scales: get(&self.scales),
            writes: get(&self.writes),
            reviews: get(&self.reviews),
        }
    }
}
