//! How much of what is sent to the API server may be sent again, so that its overload isn't multiplied by whoever waits for it.
//!
//! A bucket of tokens: each write puts a fifth of one in; sending it again, and reading what became of it, takes a whole one out.
//! Conflicts take none: they are answers of an API server that works, and each waits for a newer version of its Deployment. The
//! informer's lists and watches take none: there is one at a time of a scope, after a growing pause.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry::metrics::{CallMetrics, Retry};

/// What one write allows of repetitions.
const SHARE: f64 = 0.2;
/// What there is without any writes, so that a quiet server can repeat too …
const RESERVE: f64 = 10.0;
/// … and how long one token of it takes to come back.
const REFILL: Duration = Duration::from_secs(1);
/// The most that many writes save up.
const MOST: f64 = 100.0;

/// The repetitions that are left. At most a fifth of the writes, and besides 10, and one a second.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    bucket: Mutex<Bucket>,
    calls: Arc<CallMetrics>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            tokens: RESERVE,
            at: Instant::now(),
        }
    }
}

impl RetryBudget {
    /// A full one, which counts there what it grants and withholds.
    pub(super) fn new(calls: &Arc<CallMetrics>) -> Self {
        Self {
            bucket: Mutex::default(),
            calls: Arc::clone(calls),
        }
    }

    /// A write begins.
    pub(super) fn deposit(&self) {
        self.change(|tokens| ((tokens + SHARE).min(MOST), ()));
    }

    /// Whether something may be sent again; then that is paid for.
    pub(super) fn withdraw(&self, why: Retry) -> bool {
        let granted = self.change(|tokens| match tokens >= 1.0 {
            true => (tokens - 1.0, true),
            false => (tokens, false),
        });
        match granted {
            true => self.calls.retried(why),
            false => self.calls.withheld(),
        }
        granted
    }

    /// Something is sent again that takes no token.
    pub(super) fn free(&self, why: Retry) {
        self.calls.retried(why);
    }

    fn change<T>(&self, by: impl FnOnce(f64) -> (f64, T)) -> T {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let back = now.duration_since(bucket.at).as_secs_f64() / REFILL.as_secs_f64();
        bucket.at = now;
        if bucket.tokens < RESERVE {
            bucket.tokens = (bucket.tokens + back).min(RESERVE);
        }
        let (tokens, outcome) = by(bucket.tokens);
        bucket.tokens = tokens;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn left(budget: &RetryBudget) -> usize {
        std::iter::repeat_with(|| budget.withdraw(Retry::Throttled))
            .take_while(|granted| *granted)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_server_has_its_reserve_and_it_comes_back_in_time() {
        let budget = RetryBudget::default();
        assert_eq!(left(&budget), 10);
        advance(Duration::from_millis(3_500)).await;
        assert_eq!(left(&budget), 3);
        advance(Duration::from_secs(3_600)).await;
        assert_eq!(left(&budget), 10, "no more than the reserve");
    }

    #[tokio::test(start_paused = true)]
    async fn many_writes_allow_a_fifth_of_repetitions_and_save_up_no_more_than_a_hundred() {
        let budget = RetryBudget::default();
        let mut granted = 0;
        for _ in 0..1_000 {
            budget.deposit();
            granted += usize::from(budget.withdraw(Retry::Throttled));
        }
        assert!((209..=210).contains(&granted), "{granted}");
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(left(&budget), 100);
    }
}
