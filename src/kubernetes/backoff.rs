//! How long to wait before the API server is asked again.

use std::time::Duration;

/// Waits between attempts double from the first to the last of these.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// No `Retry-After` is obeyed for longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Waits that double, with jitter, so that many servers don't come back at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait is the first again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now, at least as long as the API server asked for.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let wait = LONGEST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(self.failures.min(16)));
        self.failures += 1;
        let jitter = 0.5 + fastrand::f64() / 2.0;
        // Whole milliseconds, as the log tells them.
        let wait = Duration::from_millis((wait.as_millis() as f64 * jitter) as u64);
        match retry_after.map(|r| r.min(LONGEST_RETRY_AFTER)) {
            // Never earlier than asked for, and not all at the same time.
            Some(asked) => wait.max(asked + Duration::from_millis(fastrand::u64(..200))),
            None => wait,
        }
    }
}
