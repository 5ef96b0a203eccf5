//! What the cluster has answered and what it is being asked, each question once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::kubernetes::AccessReviewError;

/// How old an answer may be, from the moment it was asked for.
pub(super) const MAX_AGE: Duration = Duration::from_secs(10);
/// How many answers are kept; the oldest go first.
pub(super) const MOST: usize = 10_000;
/// How many of them are one user's.
pub(super) const MOST_OF_ONE: usize = MOST / 4;
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
    shares: HashMap<String, Weak<Share>>,
    next: u64,
    paused_until: Option<Instant>,
}

struct Known {
    allowed: bool,
    asked: Instant,
    /// Given back when this is forgotten.
    _place: OwnedSemaphorePermit,
    _of: Arc<Share>,
}

/// What one user may take of what all share, so that nobody who asks about much leaves others nothing. It lives as long as
/// something of it is taken.
pub(super) struct Share {
    /// For answers.
    places: Arc<Semaphore>,
}

impl Answers {
    /// The answer to a question, while it is young enough.
    pub(super) fn known(&self, key: &Key, now: Instant) -> Option<bool> {
        let known = self.known.get(key)?;
        (now < known.asked + MAX_AGE).then_some(known.allowed)
    }

    /// The share of a user.
    pub(super) fn share(&mut self, user: &str) -> Arc<Share> {
        if let Some(share) = self.shares.get(user).and_then(Weak::upgrade) {
            return share;
        }
        self.shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share {
            places: Arc::new(Semaphore::new(MOST_OF_ONE)),
        });
        self.shares.insert(user.to_owned(), Arc::downgrade(&share));
        share
    }

    /// Keeps an answer to what was asked at `asked`, if the user's share has a place for it.
    pub(super) fn remember(
        &mut self,
        key: Key,
        share: &Arc<Share>,
        allowed: bool,
        asked: Instant,
        now: Instant,
    ) {
        self.forget(|_, asked| asked + MAX_AGE <= now);
        let Ok(place) = Arc::clone(&share.places).try_acquire_owned() else {
            return;
        };
        let known = Known {
            allowed,
            asked,
            _place: place,
            _of: Arc::clone(share),
        };
        self.known.insert(key, known);
        self.order.push_back((asked, key));
        self.forget(|count, _| count > MOST);
    }

    /// Forgets the oldest answers while `goes` holds for how many there are and when the oldest was asked for.
    fn forget(&mut self, goes: impl Fn(usize, Instant) -> bool) {
        while let Some(&(asked, key)) = self.order.front()
            && goes(self.order.len(), asked)
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

    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        self.shares.len()
    }
}

#[cfg(test)]
mod tests;
