//! The local copy of every Deployment: an ordered map of records and its immutable snapshots.
//!
//! Owns the records, their order and their rendered JSON. Never does I/O, never waits, never reads a clock; only the
//! informer writes to it.

mod attributes;
mod change;
mod changes;
mod history;
mod list;
mod record;
mod segment;
mod snapshot;
mod tree;
mod view;

#[cfg(test)]
mod tests;

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;

pub use attributes::{Annotation, AnnotationBounds, Attributes, GitOps, LabelKeys, Marks};
pub use change::{Change, Shown, Told};
use changes::{Changes, Found};
pub use changes::{News, Step};
pub use history::{CountChange, CountSetter, History};
pub use list::ListBody;
pub use record::{Deployment, Event, Key, Transition};
pub use segment::Record;
pub use snapshot::Snapshot;
use tree::Tree;
pub use view::{View, Visible};

/// The store: one current [`Snapshot`], replaced whole with every change.
///
/// Several *scopes* share it when a server manages several namespaces: each has a watch and a resourceVersion of its own.
#[derive(Debug)]
pub struct Store {
    current: ArcSwap<Snapshot>,
    writing: Mutex<()>,
    /// Taken by those who write, after `writing`, and for a moment by those who follow.
    changes: Mutex<Changes>,
    history: Mutex<History>,
}

/// Which of the store's scopes a change belongs to: its position in the list of namespaces given to [`Store::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope(usize);

impl Store {
    /// An empty store, not synced, for these namespaces; none means all of the cluster's.
    pub fn new(namespaces: &[String]) -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::empty(namespaces)),
            writing: Mutex::new(()),
            changes: Mutex::new(Changes::new(namespaces.len().max(1))),
            history: Mutex::default(),
        }
    }

    /// The scopes of this store and the namespace of each (`None`: all namespaces).
    pub fn scopes(&self) -> Vec<(Scope, Option<String>)> {
        self.snapshot()
            .scope_namespaces()
            .enumerate()
            .map(|(i, n)| (Scope(i), n.map(str::to_owned)))
            .collect()
    }

    /// The present state, which no later change alters.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The present state for a short look: without counting a reference, which all threads would count at the same place.
    pub fn present(&self) -> impl Deref<Target = Arc<Snapshot>> {
        self.current.load()
    }

    /// The present state, and the position in the changes and the versions from where on one who is shown this follows it.
    pub fn follow(&self, shown: Shown) -> (Arc<Snapshot>, u64, String) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.changes();
        (self.snapshot(), changes.next(shown), changes.versions())
    }

    /// How many steps of changes there have been to those who are shown this, which tells whether there are new ones.
    pub fn position(&self, shown: Shown) -> u64 {
        self.changes().next(shown)
    }

    /// What changed from this position on, up to another one; `None` if that isn't known any more.
    pub fn since(&self, shown: Shown, position: u64, until: u64) -> Option<Arc<News>> {
        self.changes().since(shown, position, until)
    }

    /// What changed since each scope was at this version; `None` if that isn't known.
    pub fn after(&self, shown: Shown, versions: &[u64]) -> Option<News> {
        self.changes().after(shown, versions)
    }

    /// The latest changes of counts.
    pub fn history(&self) -> History {
        self.remembered().clone()
    }

    /// Remembers changes of counts, the earliest first.
    pub fn remember(&self, changes: impl IntoIterator<Item = CountChange>) {
        let mut history = self.remembered();
        changes.into_iter().for_each(|change| history.push(change));
    }

    /// A scope's changes are seen from `at` on.
    pub fn remembers_from(&self, at: Timestamp) {
        self.remembered().begins(at);
    }

    fn remembered(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies watch events of one scope, each object at most once, and moves the scope to `version`.
    ///
    /// An event that is not newer than what is known of its object changes nothing: no resourceVersion goes back.
    pub fn apply(&self, scope: Scope, events: Vec<Event>, version: u64) -> Vec<Transition> {
        self.apply_after(scope, events, version, |_| {})
    }

    /// The same, after something was done with what it changes: whoever sees the new state sees that, too.
    pub fn apply_after(
        &self,
        scope: Scope,
        events: Vec<Event>,
        version: u64,
        before: impl FnOnce(&[Transition]),
    ) -> Vec<Transition> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.current.load();
        let mut changes = Vec::with_capacity(events.len());
        let mut transitions = Vec::with_capacity(events.len());
        let mut news = Found::default();
        for event in events {
            let known = now.tree().get(event.key());
            if let Some(transition) = Transition::of(known, &event) {
                let version = event.deployment().resource_version;
                Change::of(known, &transition, version, &mut news);
                transitions.push(transition);
                changes.push(event);
            }
        }
        let tree = if changes.is_empty() {
            now.tree().clone()
        } else {
            now.tree().apply(changes)
        };
        let version = version.max(now.version_of(scope.0));
        before(&transitions);
        self.current
            .store(Arc::new(now.next(tree, scope.0, version)));
        self.changes().push(scope.0, version, news, false);
        transitions
    }

    /// A list of this scope in the making, whose Deployments have the labels of these keys.
    pub fn draft(&self, scope: Scope, labels: Arc<LabelKeys>) -> Draft {
        let now = self.snapshot();
        // With several scopes the others go on changing the store meanwhile: theirs is not taken along.
        let base = match now.namespace_of(scope.0) {
            None => now.tree().clone(),
            Some(_) => Tree::default(),
        };
        Draft {
            scope,
            labels,
            seen: base.masks(),
            tree: base.clone(),
            base,
            len: 0,
        }
    }

    /// Puts a complete list in the place of all that its scope held: the one call after which versions may be lower.
    pub fn replace(&self, draft: Draft, version: u64) -> Vec<Transition> {
        self.replace_after(draft, version, |_| {})
    }

    /// The same, after something was done with what it changes.
    pub fn replace_after(
        &self,
        draft: Draft,
        version: u64,
        before: impl FnOnce(&[Transition]),
    ) -> Vec<Transition> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.current.load();
        let scope = draft.scope.0;
        let labels = Arc::clone(&draft.labels);
        let listed = draft.swept();
        // A first sync adds everything: its transitions would say no more than the count does.
        let first = now.version_of(scope) == 0;
        let namespace = now.namespace_of(scope);
        let mut news = Found::listed(now.labels_of(scope), &labels);
        let transitions = match namespace {
            _ if first => Vec::new(),
            None => differences(now.records(), listed.records(), version, &mut news),
            Some(namespace) => {
                let known = now.namespace(namespace);
                differences(known, listed.records(), version, &mut news)
            }
        };
        let tree = match namespace {
            None => listed,
            Some(namespace) => {
                let gone = now
                    .namespace(namespace)
                    .filter(|r| listed.get(r.key()).is_none());
                let gone = gone.map(|r| Event::Delete(r.to_deployment()));
                let there = listed.records().map(|r| Event::Upsert(r.to_deployment()));
                now.tree().apply(there.chain(gone).collect())
            }
        };
        before(&transitions);
        let mut next = now.next(tree, scope, version);
        next.keeps_labels(scope, labels);
        self.current.store(Arc::new(next));
        self.changes().push(scope, version, news, true);
        transitions
    }
}

/// A list in the making: pages are added to it aside from the store, which sees it only when it is complete.
///
/// It starts as what the store holds and shares every segment in which the list finds nothing new.
#[derive(Debug)]
pub struct Draft {
    scope: Scope,
    labels: Arc<LabelKeys>,
    base: Tree,
    /// Which of the base's records the list has had so far; the others are gone.
    seen: Vec<Vec<u128>>,
    tree: Tree,
    len: usize,
}

impl Draft {
    /// Adds the Deployments of one page, in any order.
    pub fn add(&mut self, page: Vec<Deployment>) {
        self.len += page.len();
        let mut news = Vec::with_capacity(page.len());
        for deployment in page {
            match self.base.find(deployment.key()) {
                Some(((branch, segment, position), record)) => {
                    self.seen[branch][segment] |= 1 << position;
                    if !record.is(&deployment) {
                        news.push(Event::Upsert(deployment));
                    }
                }
                None => news.push(Event::Upsert(deployment)),
            }
        }
        self.tree = self.tree.apply(news);
    }

    /// How many Deployments have been added.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none have.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The list alone, without what it didn't have.
    fn swept(self) -> Tree {
        let gone = self.base.unset(&self.seen);
        self.tree
            .apply(gone.map(|r| Event::Delete(r.to_deployment())).collect())
    }
}

/// What changed between two ordered runs of records; `news` is told what followers are, deletions with `version`.
fn differences<'a>(
    old: impl Iterator<Item = Record<'a>>,
    new: impl Iterator<Item = Record<'a>>,
    version: u64,
    news: &mut Found,
) -> Vec<Transition> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let mut found = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.key().cmp(&b.key()),
        };
        let before = if order.is_le() { old.next() } else { None };
        let transition = match if order.is_ge() { new.next() } else { None } {
            Some(after) if before.is_some_and(|b| b.same_as(&after)) => None,
            Some(after) => Transition::between(before, &after.to_deployment()),
            None => before.map(|b| Transition::Deleted(b.to_deployment().into())),
        };
        if let Some(transition) = transition {
            Change::of(before, &transition, version, news);
            found.push(transition);
        }
    }
}
