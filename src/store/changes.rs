//! What changed of late, for those who follow the store: a bounded ring of steps, each an `apply` or a `replace`.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};

use super::attributes::{LabelKeys, Packed};
use super::change::{Change, Shown};
use super::record::Deployment;

/// More changes than this aren't kept; who is further behind starts over from a snapshot.
const MOST: usize = 4096;
/// Nor are more bytes than this, about.
const MOST_BYTES: usize = 4 << 20;

/// The changes of one step as they are found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that all followers are told of …
    counts: Few,
    /// … and those of ready Pods alone, which must cost nobody else the others.
    ready: Few,
    /// The labels that were read before and now, if these aren't the same.
    read: Option<LabelKeys>,
}

/// Changes: none at all once they are more than are kept.
#[derive(Debug, Clone, Default)]
struct Few {
    changes: Vec<Change>,
    bytes: usize,
    too_many: bool,
}

impl Found {
    /// Of a list that reads the labels of `now`, after those of `before` had been read.
    pub(super) fn listed(before: &LabelKeys, now: &LabelKeys) -> Self {
        let both = || {
            before
                .iter()
                .filter(|key| now.find(key.as_bytes()).is_some())
        };
        Self {
            read: (before != now).then(|| both().collect()),
            ..Self::default()
        }
    }

    /// Whether these attributes may be seen by others than those: a label that wasn't read says nothing of what it was.
    pub(super) fn moved(&self, before: Packed<'_>, now: Packed<'_>) -> bool {
        match &self.read {
            None => before != now,
            Some(read) => read.iter().any(|key| before.label(key) != now.label(key)),
        }
    }

    pub(super) fn push(&mut self, change: Change) {
        match change.is_of_status() {
            true => self.ready.push(change),
            false => self.counts.push(change),
        }
    }

    /// Whether no further change will be kept.
    pub(super) fn is_lost(&self) -> bool {
        self.counts.too_many
    }
}

impl Few {
    fn push(&mut self, change: Change) {
        if self.too_many {
            return;
        }
        self.bytes += change.size();
        if self.changes.len() == MOST || self.bytes > MOST_BYTES {
            *self = Self {
                too_many: true,
                ..Self::default()
            };
        } else {
            // Most steps are of one change, and are kept.
            self.changes
                .reserve_exact(usize::from(self.changes.is_empty()));
            self.changes.push(change);
        }
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.too_many
    }

    /// These and those, in the order of their versions.
    fn and(&self, others: Self) -> Self {
        let mut all = self.clone();
        all.too_many |= others.too_many;
        all.bytes += others.bytes;
        all.changes.extend(others.changes);
        all.changes.sort_by_key(Change::version);
        all
    }
}

/// What one `apply` or `replace` changed, which followers see as one.
#[derive(Debug)]
pub struct Step {
    scope: usize,
    /// The scope's version before.
    from: u64,
    /// And after.
    to: u64,
    /// Every scope's version after, and rendered with dots between once somebody is told.
    versions: Box<[u64]>,
    rendered: OnceLock<String>,
    changes: Vec<Change>,
    /// About how many bytes these take.
    bytes: usize,
    /// It was found by listing: what happened between `from` and `to` isn't known, only what came of it.
    relist: bool,
}

impl Step {
    /// What changed, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Where the store was then: each scope's version, in their order, with dots between.
    fn versions(&self) -> &str {
        let dotted = || dotted(self.versions.iter().copied());
        self.rendered.get_or_init(dotted)
    }

    /// And before.
    fn versions_before(&self) -> String {
        let versions = self.versions.iter().copied().enumerate();
        dotted(versions.map(|(scope, version)| match scope == self.scope {
            true => self.from,
            false => version,
        }))
    }

    /// Writes what somebody is told of it who is shown this, of what `sees` says, as server-sent events whose ids end with `suffix`; how many.
    fn tell(
        &self,
        shown: Shown,
        sees: impl Fn(&Deployment) -> bool,
        suffix: &str,
        text: &mut BytesMut,
    ) -> u64 {
        let mut events = 0;
        for change in &self.changes {
            let Some(told) = change.told(shown, &sees) else {
                continue;
            };
            if events > 0 {
                // Whoever comes back in the middle of a step is told of all of it.
                put_id(text, &self.versions_before(), suffix);
            }
            text.extend_from_slice(&change.event(shown, told));
            events += 1;
        }
        if events > 0 {
            put_id(text, self.versions(), suffix);
        }
        events
    }
}

/// What a follower hasn't had.
#[derive(Debug)]
pub struct News {
    shown: Shown,
    /// The steps, in order.
    pub steps: Vec<Arc<Step>>,
    /// The position after them, to ask from the next time.
    pub next: u64,
    /// Every scope's version by then, with dots between; `None` if the store has gone on from there.
    pub versions: Option<String>,
    /// What those are told who see everything, rendered once for all of them, and how many events it is.
    whole: OnceLock<(Bytes, u64)>,
}

impl News {
    /// Its events, as server-sent events, for somebody who sees what `sees` says and whose ids end with `suffix`; and how many.
    pub fn events(&self, sees: impl Fn(&Deployment) -> bool, suffix: &str) -> (Bytes, u64) {
        let mut text = BytesMut::new();
        let steps = self.steps.iter();
        let events = steps.map(|step| step.tell(self.shown, &sees, suffix, &mut text));
        let events = events.sum();
        (text.freeze(), events)
    }

    /// The same for those who see everything, and whose ids end alike.
    pub fn all_events(&self, suffix: &str) -> &(Bytes, u64) {
        self.whole.get_or_init(|| self.events(|_| true, suffix))
    }
}

fn put_id(text: &mut BytesMut, versions: &str, suffix: &str) {
    for part in ["id: ", versions, suffix, "\n\n"] {
        text.extend_from_slice(part.as_bytes());
    }
}

fn dotted(versions: impl Iterator<Item = u64>) -> String {
    let mut text = String::new();
    for version in versions {
        let dot = if text.is_empty() { "" } else { "." };
        // Writing into a String can't fail.
        let _ = write!(text, "{dot}{version}");
    }
    text
}

/// The latest changes, twice: of ready Pods there are many, and none of them is to push out a change of a count, or to wake
/// anybody who isn't told of it.
#[derive(Debug)]
pub(super) struct Changes {
    /// By scope.
    versions: Vec<u64>,
    counts: Ring,
    status: Ring,
}

/// The latest steps, and from where on they are complete.
#[derive(Debug)]
struct Ring {
    shown: Shown,
    steps: VecDeque<Arc<Step>>,
    /// The position of the first of them; one more with every step.
    first: u64,
    changes: usize,
    bytes: usize,
    /// By scope: the steps since this version are all there.
    since: Vec<u64>,
    /// What those were given who asked last, and from which position: most ask for the same.
    last: Option<(u64, Arc<News>)>,
}

/// What a scope's way from one version to the next one is to a ring.
#[derive(Debug, Clone)]
enum Came {
    /// Nothing that is told.
    Quietly,
    With(Arc<Step>),
    /// More changes than are kept.
    WithTooMany,
}

impl Changes {
    pub(super) fn new(scopes: usize) -> Self {
        Self {
            versions: vec![0; scopes],
            counts: Ring::new(Shown::Count, scopes),
            status: Ring::new(Shown::Status, scopes),
        }
    }

    /// The scope came to `to`, by a relist or by events.
    pub(super) fn push(&mut self, scope: usize, to: u64, found: Found, relist: bool) {
        let from = std::mem::replace(&mut self.versions[scope], to);
        let rings = [&mut self.counts, &mut self.status];
        if from == 0 {
            rings.into_iter().for_each(|ring| ring.since[scope] = to);
            return;
        }
        if to < from {
            // A restored cluster: its versions up to the old ones have been others before.
            for ring in rings {
                ring.since[scope] = ring.since[scope].max(from + 1);
                ring.forget();
            }
        }
        let Found { counts, ready, .. } = found;
        let came = |few: Few| {
            if few.too_many {
                return Came::WithTooMany;
            }
            if few.changes.is_empty() && (!relist || to == from) {
                return Came::Quietly;
            }
            Came::With(Arc::new(Step {
                scope,
                from,
                to,
                versions: self.versions.as_slice().into(),
                rendered: OnceLock::new(),
                changes: few.changes,
                bytes: few.bytes,
                relist,
            }))
        };
        // Mostly they are the same.
        let of_both = (!ready.is_empty()).then(|| came(counts.and(ready)));
        let of_counts = came(counts);
        let of_both = of_both.unwrap_or_else(|| of_counts.clone());
        self.counts.push(scope, to, of_counts);
        self.status.push(scope, to, of_both);
    }

    fn ring(&self, shown: Shown) -> &Ring {
        match shown {
            Shown::Count => &self.counts,
            Shown::Status => &self.status,
        }
    }

    /// The position after the last step.
    pub(super) fn next(&self, shown: Shown) -> u64 {
        self.ring(shown).next()
    }

    pub(super) fn versions(&self) -> String {
        dotted(self.versions.iter().copied())
    }

    /// The steps from a position on, up to another one; `None` if the first of them are gone.
    pub(super) fn since(&mut self, shown: Shown, position: u64, until: u64) -> Option<Arc<News>> {
        let ring = match shown {
            Shown::Count => &mut self.counts,
            Shown::Status => &mut self.status,
        };
        ring.since(&self.versions, position, until)
    }

    /// What somebody hasn't had who knows each scope at one of `versions`; `None` where that can't be told: it is too old, of the
    /// future, of other scopes, or between two lists.
    pub(super) fn after(&self, shown: Shown, versions: &[u64]) -> Option<News> {
        self.ring(shown).after(&self.versions, versions)
    }
}

impl Ring {
    fn new(shown: Shown, scopes: usize) -> Self {
        Self {
            shown,
            steps: VecDeque::new(),
            first: 0,
            changes: 0,
            bytes: 0,
            since: vec![0; scopes],
            last: None,
        }
    }

    fn push(&mut self, scope: usize, to: u64, came: Came) {
        match came {
            Came::Quietly => {}
            // Of what came and went between two lists nobody here knows: those who saw it elsewhere start over.
            Came::WithTooMany => {
                self.forget();
                self.first += 1;
                self.since[scope] = to.max(self.since[scope]);
            }
            Came::With(step) => {
                self.changes += step.changes.len();
                self.bytes += step.bytes;
                self.steps.push_back(step);
                while self.changes > MOST || self.bytes > MOST_BYTES || self.steps.len() > MOST {
                    self.drop_first();
                }
            }
        }
    }

    fn forget(&mut self) {
        while !self.steps.is_empty() {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(step) = self.steps.pop_front() else {
            return;
        };
        self.first += 1;
        self.changes -= step.changes.len();
        self.bytes -= step.bytes;
        let since = &mut self.since[step.scope];
        *since = step.to.max(*since);
    }

    fn next(&self) -> u64 {
        self.first + self.steps.len() as u64
    }

    fn news(&self, present: &[u64], steps: Vec<Arc<Step>>, next: u64) -> News {
        News {
            shown: self.shown,
            steps,
            next,
            versions: (next == self.next()).then(|| dotted(present.iter().copied())),
            whole: OnceLock::new(),
        }
    }

    fn since(&mut self, present: &[u64], position: u64, until: u64) -> Option<Arc<News>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let next = until.clamp(position, self.next().max(position));
        if let Some((from, news)) = &self.last
            && (*from, news.next) == (position, next)
        {
            return Some(Arc::clone(news));
        }
        let many = usize::try_from(next - position).unwrap_or(usize::MAX);
        let steps = self.steps.iter().skip(skip).take(many).cloned();
        let news = Arc::new(self.news(present, steps.collect(), next));
        // Without a step there is nothing to render, and versions go on.
        if !news.steps.is_empty() {
            self.last = Some((position, Arc::clone(&news)));
        }
        Some(news)
    }

    fn after(&self, present: &[u64], versions: &[u64]) -> Option<News> {
        let mut scopes = self.since.iter().zip(present).zip(versions);
        let known = scopes.all(|((since, now), version)| (*since..=*now).contains(version));
        if versions.len() != present.len() || !known {
            return None;
        }
        let mut missed = Vec::new();
        for step in &self.steps {
            let version = versions[step.scope];
            if version > step.from.max(step.to) || version == step.to && step.from < step.to {
                continue;
            }
            if step.relist && version > step.from || step.from >= step.to {
                return None;
            }
            // Inside of a step of events, some come twice: each is of another object, so none goes back.
            missed.push(Arc::clone(step));
        }
        Some(self.news(present, missed, self.next()))
    }
}

#[cfg(test)]
mod tests;
