//! What became of one Deployment, and what is told of it.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::changes::Found;
use super::record::{Deployment, Transition};
use super::segment::Record;

/// What became of one Deployment.
#[derive(Debug, Clone)]
pub struct Change {
    /// As it is, or as it was when it is gone.
    pub deployment: Arc<Deployment>,
    how: How,
    /// The resourceVersion of the change; that of the list where only a list told of it.
    version: u64,
    /// By [`Shown`] and [`Told`], what was rendered once for all who are told of it.
    rendered: [[OnceLock<Bytes>; 3]; 2],
}

/// What followers are shown of Deployments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shown {
    /// Their counts.
    #[default]
    Count,
    /// And how many of their Pods are ready.
    Status,
}

#[derive(Debug, Clone)]
enum How {
    Added,
    /// Nothing but its count is another, and how many of its Pods are ready.
    Counted,
    /// Nothing but how many of its Pods are ready is another.
    Ready,
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
        if into.is_lost() {
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
                    None if known.is_some_and(|k| k.ready() != to.ready) => How::Ready,
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

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether it is one to those alone who are shown the status, too.
    pub(super) fn is_of_status(&self) -> bool {
        matches!(self.how, How::Ready)
    }

    /// What somebody is told of it who is shown this, of what `sees` says.
    pub fn told(&self, shown: Shown, sees: impl Fn(&Deployment) -> bool) -> Option<Told> {
        let seen = sees(&self.deployment);
        let told = match &self.how {
            How::Added => Told::Added,
            How::Counted => Told::Changed,
            How::Ready if shown == Shown::Count => return None,
            How::Ready => Told::Changed,
            How::Deleted => Told::Deleted,
            How::Moved { from } => {
                return match (sees(from), seen) {
                    (false, false) => None,
                    (false, true) => Some(Told::Added),
                    (true, false) => Some(Told::Deleted),
                    (true, true) => {
                        let (before, now) = (from, &self.deployment);
                        let ready = shown == Shown::Status && before.ready != now.ready;
                        (before.replicas != now.replicas || ready).then_some(Told::Changed)
                    }
                };
            }
        };
        seen.then_some(told)
    }

    /// The fields `event` and `data` of a server-sent event, each line with its end; the id and the empty line are the caller's.
    pub fn event(&self, shown: Shown, told: Told) -> Bytes {
        let (name, d) = match told {
            Told::Added => ("added", &*self.deployment),
            Told::Changed => ("changed", &*self.deployment),
            Told::Deleted => ("deleted", self.moved_from().unwrap_or(&self.deployment)),
        };
        let render = || {
            let mut text = String::with_capacity(160);
            // Names are of a-z, 0-9, '-' and '.': nothing in them is escaped. Writing into a String can't fail.
            let _ = write!(
                text,
                r#"event: {name}
data: {{"namespace":"{}","name":"{}","replicaCount":{}"#,
                d.namespace, d.name, d.replicas
            );
            if shown == Shown::Status {
                let _ = write!(text, r#","readyReplicas":{}"#, d.ready);
            }
            let _ = writeln!(text, r#","resourceVersion":"{}"}}"#, self.version);
            text.into()
        };
        self.rendered[shown as usize][told as usize]
            .get_or_init(render)
            .clone()
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let before = self.moved_from().map_or(0, Deployment::size);
        size_of::<Self>() + 160 + before + self.deployment.size()
    }
}
