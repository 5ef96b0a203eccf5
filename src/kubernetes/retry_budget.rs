//! How much of what is sent to the API server may be sent again, so that its overload isn't multiplied by whoever waits for it.
//!
//! A bucket of tokens: each write puts a fifth of one in; sending it again, and reading what became of it, takes a whole one out.
//! Conflicts take none: they are answers of an API server that works, and each waits for a newer version of its Deployment. The
//! informer's lists and watches take none: there is one at a time of a scope, after a growing pause.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What one write allows of repetitions.
const SHARE: f64 = 0.2;
/// What there is without any writes, so that a quiet server can repeat too …
const RESERVE: f64 = 10.0;
/// … and how long one token of it takes to come back.
const REFILL: Duration = Duration::from_secs(1);
/// The most that many writes save up.
const MOST: f64 = 100.0;

/// The repetitions that are left. At most a fifth of the writes, and besides 10, and one a second.
#[derive(Debug)]
pub(super) struct RetryBudget(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self(Mutex::new(Bucket {
            tokens: RESERVE,
            at: Instant::now(),
        }))
    }
}

impl RetryBudget {
    /// A write begins.
    pub(super) fn deposit(&self) {
        self.change(|tokens| ((tokens + SHARE).min(MOST), ()));
    }

    /// Whether something may be sent again; then that is paid for.
    pub(super) fn withdraw(&self) -> bool {
        self.change(|tokens| match tokens >= 1.0 {
            true => (tokens - 1.0, true),
            false => (tokens, false),
        })
    }

    fn change<T>(&self, by: impl FnOnce(f64) -> (f64, T)) -> T {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        std::iter::repeat_with(|| budget.withdraw())
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
            granted += usize::from(budget.withdraw());
        }
        assert!((209..=210).contains(&granted), "{granted}");
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(left(&budget), 100);
    }
}
