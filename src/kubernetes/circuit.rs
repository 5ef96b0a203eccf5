//! Whether the API server answers at all. While it doesn't the circuit is open: writes, and what is read on demand, fail at
//! once instead of each waiting for the same silence.
//!
//! The probe asks again every few seconds and is the only trial: no caller's request is spent on finding out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

use crate::telemetry::metrics::CallMetrics;

/// So many calls in a row without an answer open the circuit; a probe does so alone.
const UNANSWERED: u32 = 3;
/// How soon to come back when the next probe is under way already.
const SOON: Duration = Duration::from_secs(1);

/// Closed while the API server answers, open while it doesn't. An answer is whatever the API server itself said, refusals too.
#[derive(Debug)]
pub struct Circuit {
    state: Mutex<State>,
    /// What is counted of the calls that it learns from.
    calls: Arc<CallMetrics>,
}

#[derive(Debug)]
struct State {
    /// When the API server last answered.
    answered: Instant,
    /// How many calls have had no answer since.
    unanswered: u32,
    /// Why the circuit is open, and since when.
    open: Option<(Instant, String)>,
    /// When the next probe begins; `None` where nothing probes, and an open circuit would stay so.
    next_probe: Option<Instant>,
}

/// Why nothing was sent, and when it is worth coming back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) why: String,
    pub(super) retry_after: Duration,
}

impl Default for Circuit {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Circuit {
    /// A closed circuit, whose calls are counted there.
    pub(super) fn new(calls: Arc<CallMetrics>) -> Self {
        let state = State {
            answered: Instant::now(),
            unanswered: 0,
            open: None,
            next_probe: None,
        };
        Self {
            state: Mutex::new(state),
            calls,
        }
    }

    /// What is counted of calls to the API server.
    pub(super) fn calls(&self) -> &Arc<CallMetrics> {
        &self.calls
    }

    /// How long ago the API server last answered anything; since the start, where it never has.
    pub fn answer_age(&self) -> Duration {
        self.state().answered.elapsed()
    }

    /// Why the circuit is open; `None` while it is closed.
    pub fn open(&self) -> Option<String> {
        self.state().open.as_ref().map(|(_, why)| why.clone())
    }

    /// Whether something may be sent.
    pub(super) fn admit(&self) -> Result<(), Away> {
        let state = self.state();
        let Some((_, why)) = &state.open else {
            return Ok(());
        };
        let until = state.next_probe.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        });
        Err(Away {
            why: why.clone(),
            // Whole seconds go into the header: rounded up, so that nobody comes before the probe.
            retry_after: Duration::from_secs(until.as_millis().div_ceil(1000) as u64).max(SOON),
        })
    }

    /// The API server answered something.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.answered = Instant::now();
        state.unanswered = 0;
        let was = state.open.take();
        drop(state);
        if let Some((since, _)) = was {
            info!(name: "kubernetes.circuit.closed", seconds = since.elapsed().as_secs_f64(),
                "the Kubernetes API answers again: writes are sent");
        }
    }

    /// A call that was sent at `sent` got no answer.
    pub(super) fn unanswered(&self, sent: Instant, why: &str) {
        let mut state = self.state();
        // Others were answered meanwhile: then it was the call, a slow webhook for one, and not the API server.
        if state.answered > sent {
            return;
        }
        state.unanswered += 1;
        if state.unanswered >= UNANSWERED && state.next_probe.is_some() {
            open(state, why);
        }
    }

    /// The probe got no answer, however often it asked.
    pub(super) fn probe_unanswered(&self, why: &str) {
        open(self.state(), why);
    }

    /// The next probe begins in so much time.
    pub(super) fn probes_in(&self, wait: Duration) {
        self.state().next_probe = Some(Instant::now() + wait);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(mut state: MutexGuard<'_, State>, why: &str) {
    let since = state.open.as_ref().map(|(since, _)| *since);
    state.open = Some((since.unwrap_or_else(Instant::now), why.to_owned()));
    drop(state);
    if since.is_none() {
        warn!(name: "kubernetes.circuit.opened", error = why,
            "the Kubernetes API doesn't answer: writes are refused until it does");
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn probed() -> Circuit {
        let circuit = Circuit::default();
        circuit.probes_in(Duration::ZERO);
        circuit
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_closed_where_nothing_would_close_it() {
        let circuit = Circuit::default();
        for _ in 0..100 {
            circuit.unanswered(Instant::now(), "refused");
        }
        assert_eq!(circuit.admit(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn three_calls_in_a_row_without_an_answer_open_it_and_one_answer_closes_it() {
        let circuit = probed();
        for _ in 0..2 {
            circuit.unanswered(Instant::now(), "refused");
            assert_eq!(circuit.admit(), Ok(()));
        }
        circuit.unanswered(Instant::now(), "refused");
        assert_eq!(circuit.open().as_deref(), Some("refused"));
        circuit.answered();
        assert_eq!(circuit.admit(), Ok(()));
        circuit.unanswered(Instant::now(), "refused");
        assert_eq!(circuit.admit(), Ok(()), "counted from the start again");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_says_nothing_once_others_were_answered_meanwhile() {
        let circuit = probed();
        let sent = Instant::now();
        advance(MS).await;
        circuit.answered();
        for _ in 0..100 {
            circuit.unanswered(sent, "silence");
        }
        assert_eq!(circuit.open(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_without_an_answer_opens_it_alone() {
        let circuit = probed();
        circuit.probe_unanswered("silence");
        assert_eq!(circuit.open().as_deref(), Some("silence"));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_is_told_to_come_back_after_the_next_probe() {
        let circuit = probed();
        circuit.probe_unanswered("silence");
        for (wait, told) in [(0, 1), (1, 1), (1_001, 2), (3_000, 3), (60_100, 61)] {
            circuit.probes_in(wait * MS);
            let away = circuit.admit().unwrap_err();
            assert_eq!(away.retry_after, Duration::from_secs(told), "{wait} ms");
        }
        advance(Duration::from_secs(100)).await;
        assert_eq!(circuit.admit().unwrap_err().retry_after, SOON);
    }
}
