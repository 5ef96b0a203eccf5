//! What changed of late, for those who follow the store: a bounded ring of steps, each an `apply` or a `replace`.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};

use super::attributes::{LabelKeys, Packed};
use super::record::{Deployment, Transition};
use super::segment::Record;

/// More changes than this aren't kept; who is further behind starts over from a snapshot.
const MOST: usize = 4096;
/// Nor are more bytes than this, about.
const MOST_BYTES: usize = 4 << 20;

/// What became of one Deployment.
#[derive(Debug)]
pub struct Change {
    /// As it is, or as it was when it is gone.
    pub deployment: Arc<Deployment>,
    how: How,
    /// The resourceVersion of the change; that of the list where only a list told of it.
    version: u64,
    /// By [`Told`], what was rendered once for all who are told of it.
    rendered: [OnceLock<Bytes>; 3],
}

#[derive(Debug)]
enum How {
    Added,
    /// Nothing but its count is another.
    Counted,
    /// What decides who sees it is another, and so may its count be.
    Moved {
        /// As it was.
        from: Box<Deployment>,
    },
    Deleted,
}

/// What a follower is told of a change, which depends on what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It came into sight.
    Added,
    /// What is told of it isn't what was told before.
    Changed,
    /// It went out of sight.
    Deleted,
}

impl Change {
    fn new(deployment: &Arc<Deployment>, how: How, version: u64) -> Self {
        Self {
            deployment: Arc::clone(deployment),
            how,
            version,
            rendered: Default::default(),
        }
    }

    /// What a transition of what was `known` is to followers; deletions have `version`.
    pub(super) fn of(
        known: Option<Record<'_>>,
        transition: &Transition,
        version: u64,
        into: &mut Found,
    ) {
        if into.too_many {
            return;
        }
        match transition {
            Transition::Added(now) => {
                let version = now.resource_version;
                // One of the same name with another uid is gone.
                if let Some(other) = known {
                    let other = Arc::new(other.to_deployment());
                    into.push(Self::new(&other, How::Deleted, version));
                }
                into.push(Self::new(now, How::Added, version));
            }
            Transition::Changed { from, to } => {
                let moved = known.filter(|k| into.moved(k.attributes(), to.attributes.packed()));
                let how = match moved {
                    Some(before) => How::Moved {
                        from: Box::new(before.to_deployment()),
                    },
                    None if *from != to.replicas => How::Counted,
                    None => return,
                };
                into.push(Self::new(to, how, to.resource_version));
            }
            Transition::Deleted(last) => into.push(Self::new(last, How::Deleted, version)),
        }
    }

    /// As it was before, where that decides who saw it.
    pub fn moved_from(&self) -> Option<&Deployment> {
        match &self.how {
            How::Moved { from } => Some(from),
            _ => None,
        }
    }

    /// What somebody is told of it who sees what `sees` says.
    pub fn told(&self, sees: impl Fn(&Deployment) -> bool) -> Option<Told> {
        let seen = sees(&self.deployment);
        let told = match &self.how {
            How::Added => Told::Added,
            How::Counted => Told::Changed,
            How::Deleted => Told::Deleted,
            How::Moved { from } => {
                return match (sees(from), seen) {
                    (false, false) => None,
                    (false, true) => Some(Told::Added),
                    (true, false) => Some(Told::Deleted),
                    (true, true) => {
                        (from.replicas != self.deployment.replicas).then_some(Told::Changed)
                    }
                };
            }
        };
        seen.then_some(told)
    }

    /// The fields `event` and `data` of a server-sent event, each line with its end; the id and the empty line are the caller's.
    pub fn event(&self, told: Told) -> Bytes {
        let (name, d) = match told {
            Told::Added => ("added", &*self.deployment),
            Told::Changed => ("changed", &*self.deployment),
            Told::Deleted => ("deleted", self.moved_from().unwrap_or(&self.deployment)),
        };
        let render = || {
            let mut text = String::with_capacity(160);
            // Names are of a-z, 0-9, '-' and '.': nothing in them is escaped. Writing into a String can't fail.
            let _ = writeln!(
                text,
                r#"event: {name}
data: {{"namespace":"{}","name":"{}","replicaCount":{},"resourceVersion":"{}"}}"#,
                d.namespace, d.name, d.replicas, self.version
            );
            text.into()
        };
        self.rendered[told as usize].get_or_init(render).clone()
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        let before = self.moved_from().map_or(0, Deployment::size);
        size_of::<Self>() + 160 + before + self.deployment.size()
    }
}

/// The changes of one step as they are found: none at all once they are more than are kept.
#[derive(Debug, Default)]
pub(super) struct Found {
    changes: Vec<Change>,
    bytes: usize,
    too_many: bool,
    /// The labels that were read before and now, if these aren't the same.
    read: Option<LabelKeys>,
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
    fn moved(&self, before: Packed<'_>, now: Packed<'_>) -> bool {
        match &self.read {
            None => before != now,
            Some(read) => read.iter().any(|key| before.label(key) != now.label(key)),
        }
    }

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

    /// Writes what somebody is told of it who sees what `sees` says, as server-sent events whose ids end with `suffix`; how many.
    fn tell(&self, sees: impl Fn(&Deployment) -> bool, suffix: &str, text: &mut BytesMut) -> u64 {
        let mut events = 0;
        for change in &self.changes {
            let Some(told) = change.told(&sees) else {
                continue;
            };
            if events > 0 {
                // Whoever comes back in the middle of a step is told of all of it.
                put_id(text, &self.versions_before(), suffix);
            }
            text.extend_from_slice(&change.event(told));
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
        let events = steps.map(|step| step.tell(&sees, suffix, &mut text)).sum();
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

/// The latest steps, and from where on they are complete.
#[derive(Debug)]
pub(super) struct Changes {
    steps: VecDeque<Arc<Step>>,
    /// The position of the first of them; one more with every step.
    first: u64,
    changes: usize,
    bytes: usize,
    scopes: Vec<Followed>,
    /// What those were given who asked last, and from which position: most ask for the same.
    last: Option<(u64, Arc<News>)>,
}

#[derive(Debug, Clone, Default)]
struct Followed {
    version: u64,
    /// The steps since this version are all there.
    since: u64,
}

impl Changes {
    pub(super) fn new(scopes: usize) -> Self {
        Self {
            steps: VecDeque::new(),
            first: 0,
            changes: 0,
            bytes: 0,
            scopes: vec![Followed::default(); scopes],
            last: None,
        }
    }

    /// The scope came to `to`, by a relist or by events.
    pub(super) fn push(&mut self, scope: usize, to: u64, found: Found, relist: bool) {
        let from = std::mem::replace(&mut self.scopes[scope].version, to);
        if from == 0 {
            self.scopes[scope].since = to;
            return;
        }
        if to < from {
            // A restored cluster: its versions up to the old ones have been others before.
            self.scopes[scope].since = self.scopes[scope].since.max(from + 1);
            self.forget();
        }
        // Of what came and went between two lists nobody here knows: those who saw it elsewhere start over.
        if found.too_many {
            self.forget();
            self.first += 1;
            self.scopes[scope].since = to.max(self.scopes[scope].since);
            return;
        }
        let Found { changes, bytes, .. } = found;
        if changes.is_empty() && (!relist || to == from) {
            return;
        }
        self.changes += changes.len();
        self.bytes += bytes;
        let versions = self.scopes.iter().map(|scope| scope.version).collect();
        self.steps.push_back(Arc::new(Step {
            scope,
            from,
            to,
            versions,
            rendered: OnceLock::new(),
            changes,
            relist,
        }));
        while self.changes > MOST || self.bytes > MOST_BYTES || self.steps.len() > MOST {
            self.drop_first();
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
        self.bytes -= step.changes.iter().map(Change::size).sum::<usize>();
        let since = &mut self.scopes[step.scope].since;
        *since = step.to.max(*since);
    }

    /// The position after the last step.
    pub(super) fn next(&self) -> u64 {
        self.first + self.steps.len() as u64
    }

    pub(super) fn versions(&self) -> String {
        dotted(self.scopes.iter().map(|scope| scope.version))
    }

    fn news(&self, steps: Vec<Arc<Step>>, next: u64) -> News {
        News {
            steps,
            next,
            versions: (next == self.next()).then(|| self.versions()),
            whole: OnceLock::new(),
        }
    }

    /// The steps from a position on, up to another one; `None` if the first of them are gone.
    pub(super) fn since(&mut self, position: u64, until: u64) -> Option<Arc<News>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let next = until.clamp(position, self.next().max(position));
        if let Some((from, news)) = &self.last
            && (*from, news.next) == (position, next)
        {
            return Some(Arc::clone(news));
        }
        let many = usize::try_from(next - position).unwrap_or(usize::MAX);
        let steps = self.steps.iter().skip(skip).take(many).cloned();
        let news = Arc::new(self.news(steps.collect(), next));
        // Without a step there is nothing to render, and versions go on.
        if !news.steps.is_empty() {
            self.last = Some((position, Arc::clone(&news)));
        }
        Some(news)
    }

    /// What somebody hasn't had who knows each scope at one of `versions`; `None` where that can't be told: it is too old, of the
    /// future, of other scopes, or between two lists.
    pub(super) fn after(&self, versions: &[u64]) -> Option<News> {
        let known =
            |(scope, version): (&Followed, &u64)| (scope.since..=scope.version).contains(version);
        if versions.len() != self.scopes.len() || !self.scopes.iter().zip(versions).all(known) {
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
        Some(self.news(missed, self.next()))
    }
}

#[cfg(test)]
mod tests;
