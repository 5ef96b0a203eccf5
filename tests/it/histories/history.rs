//! What callers did and were told, and when: the evidence that `checker.rs` judges.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// One Deployment as somebody was told it is: its version, its count, and the tag that stands for the count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) count: i32,
    /// Empty where none was told.
    pub(crate) tag: String,
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// The cluster itself: what it answers is the state at that time.
    Cluster,
    /// A headcount server, whose copy may be behind.
    Server(usize),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Read {
        /// The version of an earlier write of this Deployment that the answer must show.
        at_least: Option<u64>,
    },
    /// Every write of a history has a count of its own.
    Write {
        count: i32,
        /// The tag on whose condition it is.
        only_if: Option<String>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A read.
    Shown(State),
    /// A write that was acknowledged.
    Written {
        now: State,
        /// The count that it replaced, if that was told.
        previous: Option<i32>,
        /// Whether reads of the same server show it from then on.
        seen: bool,
    },
    /// It is said to have changed nothing.
    Refused(u16),
    /// It may have been carried out, then or later.
    Unknown,
}

/// One call of one caller on one Deployment.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) caller: usize,
    pub(crate) asked: Asked,
    pub(crate) deployment: usize,
    /// Since the history began; for an unknown outcome `returned` says when the caller gave up.
    pub(crate) invoked: Duration,
    pub(crate) returned: Duration,
    pub(crate) call: Call,
    pub(crate) outcome: Outcome,
}

/// All that happened to some Deployments.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// By Deployment: its count at the beginning.
    pub(crate) initial: Vec<i32>,
    pub(crate) operations: Vec<Operation>,
    /// By Deployment: states that the cluster is known to have had, whenever.
    pub(crate) truth: Vec<(usize, State)>,
}

impl History {
    /// How the last calls ended.
    pub(crate) fn last(&self, count: usize) -> &[Operation] {
        &self.operations[self.operations.len().saturating_sub(count)..]
    }
}

impl fmt::Display for History {
    /// A line for each operation, in the order in which they began, and what else is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut operations: Vec<_> = self.operations.iter().collect();
        operations.sort_by_key(|o| o.invoked);
        for o in operations {
            let (began, ended) = (o.invoked.as_secs_f64(), o.returned.as_secs_f64());
            writeln!(
                f,
                "{began:.4}–{ended:.4} caller {} {:?} Deployment {}: {:?} → {:?}",
                o.caller, o.asked, o.deployment, o.call, o.outcome
            )?;
        }
        for (deployment, state) in &self.truth {
            writeln!(f, "the cluster had Deployment {deployment}: {state:?}")?;
        }
        Ok(())
    }
}

/// Takes down operations as they end; clones write into the same history.
#[derive(Clone)]
pub(crate) struct Recorder {
    begun: Instant,
    history: Arc<Mutex<History>>,
}

/// A call under way.
pub(crate) struct Invocation {
    pub(crate) caller: usize,
    pub(crate) asked: Asked,
    pub(crate) deployment: usize,
    invoked: Duration,
    call: Call,
}

impl Recorder {
    pub(crate) fn new(initial: Vec<i32>) -> Self {
        let history = History {
            initial,
            ..History::default()
        };
        Self {
            begun: Instant::now(),
            history: Arc::new(Mutex::new(history)),
        }
    }

    pub(crate) fn invoke(
        &self,
        caller: usize,
        asked: Asked,
        deployment: usize,
        call: Call,
    ) -> Invocation {
        Invocation {
            caller,
            asked,
            deployment,
            invoked: self.begun.elapsed(),
            call,
        }
    }

    pub(crate) fn returned(&self, invocation: Invocation, outcome: Outcome) {
        let returned = self.begun.elapsed();
        let Invocation {
            caller,
            asked,
            deployment,
            invoked,
            call,
        } = invocation;
        self.history.lock().unwrap().operations.push(Operation {
            caller,
            asked,
            deployment,
            invoked,
            returned,
            call,
            outcome,
        });
    }

    pub(crate) fn learned(&self, deployment: usize, state: State) {
        self.history.lock().unwrap().truth.push((deployment, state));
    }

    pub(crate) fn history(&self) -> History {
        self.history.lock().unwrap().clone()
    }
}

/// How many operations ended how, for a line about a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) shown: usize,
    pub(crate) written: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, history: &History) {
        for operation in &history.operations {
            match operation.outcome {
                Outcome::Shown(_) => self.shown += 1,
                Outcome::Written { .. } => self.written += 1,
                Outcome::Refused(_) => self.refused += 1,
                Outcome::Unknown => self.unknown += 1,
            }
        }
    }
}
