//! What a rate is counted in.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    RateLimiter,
    clock::{Clock, Reference as _},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use super::Rate;

/// The runtime's time: the one that everything else here goes by.
#[derive(Debug, Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// A token bucket (GCRA, without a lock): full at first, and as a rate says from then on.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    clock: Since,
    limiter: RateLimiter<NotKeyed, InMemoryState, Since, NoOpMiddleware<Nanos>>,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let clock = Since(Instant::now());
        Self {
            rate,
            limiter: RateLimiter::direct_with_clock(rate.quota(), clock.clone()),
            clock,
        }
    }

    /// Its rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// It is empty; how long until there is one.
    pub fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| {
            let earliest = until.earliest_possible();
            earliest.duration_since(self.clock.now()).into()
        })
    }

    /// Whether it is as full as a new one.
    pub(super) fn is_full(&mut self) -> bool {
        let burst: NonZeroU32 = self.rate.burst();
        let full = matches!(self.limiter.check_n(burst), Ok(Ok(())));
        if full {
            // There is no other way to ask than to take all.
            *self = Self::new(self.rate);
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn rate(per_second: f64, burst: u32) -> Rate {
        serde_saphyr::from_str(&format!("{{perSecond: {per_second}, burst: {burst}}}")).unwrap()
    }

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    /// Tokens in exact fractions: `tokens * period` nanoseconds, filled by the passing of time.
    struct Model {
        period: u128,
        most: u128,
        filled: u128,
    }

    impl Model {
        fn pass(&mut self, time: Duration) {
            self.filled = (self.filled + time.as_nanos()).min(self.most);
        }

        fn take(&mut self) -> Result<(), Duration> {
            match self.filled.checked_sub(self.period) {
                Some(left) => {
                    self.filled = left;
                    Ok(())
                }
                None => Err(Duration::from_nanos((self.period - self.filled) as u64)),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_bucket_is_the_plain_one_that_time_fills(
            thousandths in 1u32..5_000_000,
            burst in 1u32..20,
            pauses in prop::collection::vec((0u64..3, 0u64..1000), 1..80),
        ) {
            let rate = rate(f64::from(thousandths) / 1000.0, burst);
            let period = 1_000_000_000_000 / u128::from(thousandths);
            paused().block_on(async {
                let bucket = Bucket::new(rate);
                let most = period * u128::from(burst);
                let mut model = Model { period, most, filled: most };
                for (periods, part) in pauses {
                    // Tokio's time goes in milliseconds when it sleeps, and exactly when it is advanced.
                    let nanos = period as u64 * periods + (period as u64 * part) / 1000;
                    let pause = Duration::from_nanos(nanos);
                    advance(pause).await;
                    model.pass(pause);
                    prop_assert_eq!(bucket.take(), model.take());
                }
                // Whoever waits as told gets one, and a moment earlier there is none.
                while bucket.take().is_ok() {}
                let wait = bucket.take().unwrap_err();
                advance(wait - Duration::from_nanos(1)).await;
                prop_assert_eq!(bucket.take(), Err(Duration::from_nanos(1)));
                advance(Duration::from_nanos(1)).await;
                prop_assert_eq!(bucket.take(), Ok(()));
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_as_good_as_new_once_all_has_flowed_back() {
        let mut bucket = Bucket::new(rate(2.0, 4));
        for _ in 0..3 {
            bucket.take().unwrap();
        }
        advance(Duration::from_millis(1499)).await;
        assert!(!bucket.is_full());
        advance(Duration::from_millis(1)).await;
        assert!(bucket.is_full());
        assert!(bucket.is_full(), "asking takes nothing");
    }
}
