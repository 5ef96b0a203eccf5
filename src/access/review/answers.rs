//! What the cluster has answered and what it is being asked, each question once.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::time::Instant;

use crate::kubernetes::AccessReviewError;

/// How old an answer may be, from the moment it was asked for.
pub(super) const MAX_AGE: Duration = Duration::from_secs(10);
/// How many answers are kept; the oldest go first.
pub(super) const MOST: usize = 10_000;
/// How long the API server is left alone at most, whatever it asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A digest of the question, so that entries are small however long names and groups are.
pub(super) type Key = [u8; 32];
pub(super) type Outcome = Result<bool, AccessReviewError>;
/// A question under way. All who ask it drive it; when the last of them leaves, it ends.
pub(super) type Asking = Shared<BoxFuture<'static, Outcome>>;

#[derive(Default)]
pub(super) struct Answers {
    known: HashMap<Key, Known>,
    /// The same in the order in which they came.
    order: VecDeque<(Instant, Key)>,
    asking: HashMap<Key, (u64, WeakShared<BoxFuture<'static, Outcome>>)>,
    next: u64,
    paused_until: Option<Instant>,
}

struct Known {
    allowed: bool,
    asked: Instant,
}

impl Answers {
    /// The answer to a question, while it is young enough.
    pub(super) fn known(&self, key: &Key, now: Instant) -> Option<bool> {
        let known = self.known.get(key)?;
        (now < known.asked + MAX_AGE).then_some(known.allowed)
    }

    /// Keeps an answer to what was asked at `asked`.
    pub(super) fn remember(&mut self, key: Key, allowed: bool, asked: Instant, now: Instant) {
        self.known.insert(key, Known { allowed, asked });
        self.order.push_back((asked, key));
        while let Some(&(asked, key)) = self.order.front()
            && (self.order.len() > MOST || asked + MAX_AGE <= now)
        {
            self.order.pop_front();
            // A question that was asked again has a place further behind.
            if self.known.get(&key).is_some_and(|k| k.asked == asked) {
                self.known.remove(&key);
            }
        }
    }

    /// The same question, if somebody is asking it.
    pub(super) fn under_way(&self, key: &Key) -> Option<Asking> {
        self.asking.get(key)?.1.upgrade()
    }

    /// Begins a question; `ask` gets the ticket with which it is to [`end`](Self::end).
    pub(super) fn begin<F>(&mut self, key: Key, ask: impl FnOnce(u64) -> F) -> Asking
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.next += 1;
        let asking = ask(self.next).boxed().shared();
        if let Some(weak) = asking.downgrade() {
            self.asking.insert(key, (self.next, weak));
        }
        asking
    }

    /// A question has ended, or all who asked it left. Somebody may have begun it anew since then.
    pub(super) fn end(&mut self, key: &Key, ticket: u64) {
        if self.asking.get(key).is_some_and(|(t, _)| *t == ticket) {
            self.asking.remove(key);
        }
    }

    /// Leaves the API server alone for a while.
    pub(super) fn pause(&mut self, wanted: Duration, now: Instant) {
        self.paused_until = self.paused_until.max(Some(now + wanted.min(LONGEST_PAUSE)));
    }

    /// How long the API server is still to be left alone.
    pub(super) fn paused(&self, now: Instant) -> Option<Duration> {
        self.paused_until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.known.len(), self.order.len(), self.asking.len())
    }
}

#[cfg(test)]
mod tests;
