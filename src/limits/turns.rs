//! Turns: so many at once, and a short line by caller, so that nobody who asks for much makes others wait.
//!
//! A caller has a quarter of the turns at most. Who finds none free waits in its caller's line; a turn that gets free goes to
//! the callers in rotation. A full line has no place for those who take up most of it.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{CallerId, Limit};

/// How many turns there are, and how many may wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Turns.
    pub at_once: usize,
    /// Those who wait, of all callers together.
    pub waiting: usize,
    /// How long.
    pub longest_wait: Duration,
}

/// Turns of one kind. Clones share them.
#[derive(Clone)]
pub struct Turns(Arc<Inner>);

struct Inner {
    limit: Limit,
    state: Mutex<State>,
}

/// A turn, until it is dropped.
#[must_use]
pub struct Turn {
    of: Arc<Inner>,
    caller: CallerId,
}

/// There was no turn in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there was no turn in time ({})", .limit.name())]
pub struct NoTurn {
    /// The limit that was reached.
    pub limit: Limit,
    /// It was the caller's own share that was used up, and not all of it by others.
    pub own: bool,
}

impl NoTurn {
    /// How soon to come back: turns are short.
    pub const COME_BACK: Duration = Duration::from_secs(1);
}

struct State {
    places: Places,
    held: usize,
    waiting: usize,
    callers: HashMap<CallerId, Of>,
    /// The callers with somebody in line; the next turn goes to the first of them that may have more.
    rotation: VecDeque<CallerId>,
    tickets: u64,
}

/// What one caller has.
#[derive(Default)]
struct Of {
    held: usize,
    line: VecDeque<Waiter>,
}

struct Waiter {
    ticket: u64,
    /// Told whether it has its turn, or has to leave.
    tell: oneshot::Sender<bool>,
}

/// A place in line, until it is told or dropped.
struct Place {
    of: Arc<Inner>,
    caller: CallerId,
    ticket: u64,
    told: oneshot::Receiver<bool>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turns").field(&self.0.limit).finish()
    }
}

impl Turns {
    /// Turns that `limit` names.
    pub fn new(limit: Limit, places: Places) -> Self {
        let state = State {
            places,
            held: 0,
            waiting: 0,
            callers: HashMap::new(),
            rotation: VecDeque::new(),
            tickets: 0,
        };
        Self(Arc::new(Inner {
            limit,
            state: Mutex::new(state),
        }))
    }

    /// From now on there are so many. Turns that are taken stay so.
    pub fn resize(&self, places: Places) {
        let mut state = self.0.state();
        state.places = places;
        state.pass_on();
    }

    /// A turn of a caller, waited for as long as there may be waited.
    ///
    /// # Errors
    ///
    /// There was none.
    pub async fn take(&self, caller: &CallerId) -> Result<Turn, NoTurn> {
        let turn = || Turn {
            of: Arc::clone(&self.0),
            caller: caller.clone(),
        };
        let refused = |own| NoTurn {
            limit: self.0.limit,
            own,
        };
        let (mut place, longest) = {
            let mut state = self.0.state();
            if state.take(caller) {
                return Ok(turn());
            }
            let (ticket, told) = state.line_up(caller).map_err(refused)?;
            let place = Place {
                of: Arc::clone(&self.0),
                caller: caller.clone(),
                ticket,
                told,
            };
            (place, Instant::now() + state.places.longest_wait)
        };
        match timeout_at(longest, &mut place.told).await {
            Ok(Ok(true)) => Ok(turn()),
            Ok(_) => Err(refused(true)),
            Err(_elapsed) => {
                let own = self.0.state().has_its_share(caller);
                Err(refused(own))
            }
        }
    }
}

impl Inner {
    /// A panic elsewhere leaves it whole, so poison is ignored.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.state().give_back(&self.caller);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.of.state();
        // Told nothing yet, or told of a turn that nobody has taken note of.
        if !state.leave(&self.caller, self.ticket) && self.told.try_recv() == Ok(true) {
            state.give_back(&self.caller);
        }
    }
}

impl State {
    fn share(&self) -> usize {
        (self.places.at_once / 4).max(1)
    }

    fn has_its_share(&self, caller: &CallerId) -> bool {
        let of = self.callers.get(caller);
        of.is_some_and(|of| of.held >= self.share())
    }

    /// Takes a turn that is free and that the caller may have. Nobody who may have one is in line then.
    fn take(&mut self, caller: &CallerId) -> bool {
        if self.held >= self.places.at_once || self.has_its_share(caller) {
            return false;
        }
        self.held += 1;
        self.callers.entry(caller.clone()).or_default().held += 1;
        true
    }

    /// Takes a place at the end of the caller's line, if need be that of whoever has the longest.
    fn line_up(&mut self, caller: &CallerId) -> Result<(u64, oneshot::Receiver<bool>), bool> {
        if self.waiting >= self.places.waiting && !self.shorten_the_longest(caller) {
            return Err(self.has_its_share(caller) || self.line(caller) > 0);
        }
        self.tickets += 1;
        self.waiting += 1;
        let (tell, told) = oneshot::channel();
        let of = self.callers.entry(caller.clone()).or_default();
        if of.line.is_empty() {
            self.rotation.push_back(caller.clone());
        }
        let ticket = self.tickets;
        of.line.push_back(Waiter { ticket, tell });
        Ok((ticket, told))
    }

    fn line(&self, caller: &CallerId) -> usize {
        self.callers.get(caller).map_or(0, |of| of.line.len())
    }

    /// Sends away the last of the longest line, if it is longer than the caller's with one more.
    fn shorten_the_longest(&mut self, caller: &CallerId) -> bool {
        let longest = self.rotation.iter().max_by_key(|c| self.line(c)).cloned();
        let Some(longest) = longest.filter(|l| self.line(l) > self.line(caller) + 1) else {
            return false;
        };
        let last = self
            .callers
            .get_mut(&longest)
            .and_then(|of| of.line.pop_back());
        if let Some(last) = last {
            self.waiting -= 1;
            let _ = last.tell.send(false);
        }
        true
    }

    fn give_back(&mut self, caller: &CallerId) {
        self.held -= 1;
        if let Some(of) = self.callers.get_mut(caller) {
            of.held -= 1;
        }
        self.forget(caller);
        self.pass_on();
    }

    /// Gives free turns to those in line, a caller after the other.
    fn pass_on(&mut self) {
        let mut passed = 0;
        while self.held < self.places.at_once && passed < self.rotation.len() {
            let Some(caller) = self.rotation.pop_front() else {
                return;
            };
            if self.has_its_share(&caller) {
                self.rotation.push_back(caller);
                passed += 1;
                continue;
            }
            passed = 0;
            let Some(of) = self.callers.get_mut(&caller) else {
                continue;
            };
            if let Some(first) = of.line.pop_front() {
                self.waiting -= 1;
                // Whoever has just left takes none.
                if first.tell.send(true).is_ok() {
                    self.held += 1;
                    of.held += 1;
                }
            }
            if of.line.is_empty() {
                self.forget(&caller);
            } else {
                self.rotation.push_back(caller);
            }
        }
    }

    /// Leaves the line; whether it was in it.
    fn leave(&mut self, caller: &CallerId, ticket: u64) -> bool {
        let Some(of) = self.callers.get_mut(caller) else {
            return false;
        };
        let Ok(at) = of.line.binary_search_by_key(&ticket, |w| w.ticket) else {
            return false;
        };
        of.line.remove(at);
        self.waiting -= 1;
        if of.line.is_empty() {
            self.rotation.retain(|c| c != caller);
            self.forget(caller);
        }
        true
    }

    /// Of whoever has nothing nothing is kept.
    fn forget(&mut self, caller: &CallerId) {
        let of = self.callers.get(caller);
        if of.is_some_and(|of| of.held == 0 && of.line.is_empty()) {
            self.callers.remove(caller);
        }
    }
}

#[cfg(test)]
mod tests;
