//! What changed of late, for those who follow the store: a bounded ring of steps, each an `apply` or a `replace`.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::record::{Deployment, Event};
use super::segment::Record;

/// More changes than this aren't kept; who is further behind starts over from a snapshot.
const MOST: usize = 4096;
/// Nor are more bytes than this, about.
const MOST_BYTES: usize = 4 << 20;

/// One Deployment before and after.
#[derive(Debug)]
pub struct Change {
    /// As it was; `None`: it wasn't there.
    pub before: Option<Deployment>,
    /// As it is; `None`: it is gone.
    pub after: Option<Deployment>,
    /// The resourceVersion of the change; that of the list where only a list told of it.
    pub version: u64,
    /// By [`Told`], what was rendered once for all who are told of it.
    rendered: [OnceLock<Bytes>; 3],
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
    fn new(before: Option<Deployment>, after: Option<Deployment>, version: u64) -> Self {
        Self {
            before,
            after,
            version,
            rendered: Default::default(),
        }
    }

    /// Of one object: one of the same name with another uid is gone, and another has come.
    pub(super) fn between(
        before: Option<Record<'_>>,
        after: Option<&Deployment>,
        version: u64,
        into: &mut Found,
    ) {
        if into.too_many {
            return;
        }
        let before = before.map(|before| before.to_deployment());
        let after = after.cloned();
        match (&before, &after) {
            (Some(b), Some(a)) if b.uid != a.uid => {
                into.push(Self::new(before, None, version));
                into.push(Self::new(None, after, version));
            }
            // Neither what is shown of it nor who may see it is another.
            (Some(b), Some(a)) if b.replicas == a.replicas && b.attributes == a.attributes => {}
            _ => into.push(Self::new(before, after, version)),
        }
    }

    /// What a news of one object that is newer than `known` changes.
    pub(super) fn of(known: Option<Record<'_>>, event: &Event, into: &mut Found) {
        let deployment = event.deployment();
        let after = matches!(event, Event::Upsert(_)).then_some(deployment);
        Self::between(known, after, deployment.resource_version, into);
    }

    /// What somebody is told of it who sees what `sees` says.
    pub fn told(&self, sees: impl Fn(&Deployment) -> bool) -> Option<Told> {
        let saw = self.before.as_ref().is_some_and(&sees);
        match (saw, self.after.as_ref().is_some_and(&sees)) {
            (false, false) => None,
            (false, true) => Some(Told::Added),
            (true, false) => Some(Told::Deleted),
            (true, true) => {
                let count = |side: &Option<Deployment>| side.as_ref().map(|d| d.replicas);
                (count(&self.before) != count(&self.after)).then_some(Told::Changed)
            }
        }
    }

    /// The fields `event` and `data` of a server-sent event, each line with its end; the id and the empty line are the caller's.
    pub fn event(&self, told: Told) -> Bytes {
        let (name, shown) = match told {
            Told::Added => ("added", &self.after),
            Told::Changed => ("changed", &self.after),
            Told::Deleted => ("deleted", &self.before),
        };
        let render = || {
            let Some(d) = shown.as_ref() else {
                return Bytes::new();
            };
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
        let side = |side: &Option<Deployment>| side.as_ref().map_or(0, Deployment::size);
        size_of::<Self>() + 160 + side(&self.before) + side(&self.after)
    }
}

/// The changes of one step as they are found: none at all once they are more than are kept.
#[derive(Debug, Default)]
pub(super) struct Found {
    changes: Vec<Change>,
    bytes: usize,
    too_many: bool,
}

impl Found {
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
    /// Every scope's version after, with dots between.
    versions: Box<str>,
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
    pub fn versions(&self) -> &str {
        &self.versions
    }
}

/// What a follower hasn't had.
#[derive(Debug)]
pub struct News {
    /// The steps, in order.
    pub steps: Vec<Arc<Step>>,
    /// The position after them, to ask from the next time.
    pub next: u64,
    /// Every scope's version by then, with dots between.
    pub versions: String,
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
        if changes.is_empty() && !relist {
            return;
        }
        self.changes += changes.len();
        self.bytes += bytes;
        let versions = self.versions().into();
        self.steps.push_back(Arc::new(Step {
            scope,
            from,
            to,
            versions,
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
        let mut text = String::new();
        for (i, scope) in self.scopes.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            let _ = write!(text, "{dot}{}", scope.version);
        }
        text
    }

    fn news(&self, steps: Vec<Arc<Step>>) -> News {
        News {
            steps,
            next: self.next(),
            versions: self.versions(),
        }
    }

    /// The steps from a position on; `None` if the first of them are gone.
    pub(super) fn since(&self, position: u64) -> Option<News> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.news(self.steps.iter().skip(skip).cloned().collect()))
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
        Some(self.news(missed))
    }
}

#[cfg(test)]
mod tests;
