//! How many Pods a caller's writes may change within a minute: a window that slides by seconds, from which what didn't
//! happen is given back.

use std::{
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Sixty whole seconds, and the one that has begun: no minute, wherever it begins, has more than the budget.
const SLOTS: usize = 61;

/// The Pods that may be changed, and those that were.
#[derive(Debug)]
pub struct Budget {
    per_minute: NonZeroU64,
    begun: Instant,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// By second, modulo their number.
    slots: [u64; SLOTS],
    /// The second that the newest slot is of.
    newest: u64,
    sum: u64,
}

/// Pods that were charged, until it is known what became of the write. Dropped, they stay charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    second: u64,
    pods: u64,
}

/// Why a change isn't within the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverBudget {
    /// It is now, and not after this time, if nothing else is changed.
    For(Duration),
    /// It alone is more than the budget.
    Ever,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn new(per_minute: NonZeroU64) -> Self {
        Self {
            per_minute,
            begun: Instant::now(),
            window: Mutex::new(Window {
                slots: [0; SLOTS],
                newest: 0,
                sum: 0,
            }),
        }
    }

    /// How many Pods there may be within a minute.
    pub fn per_minute(&self) -> u64 {
        self.per_minute.get()
    }

    /// Charges a change of so many Pods, in place of an `earlier` attempt at it.
    ///
    /// # Errors
    ///
    /// It isn't within the budget; then nothing is charged, and what was is given back.
    pub fn charge(&self, pods: u64, earlier: Option<Charge>) -> Result<Charge, OverBudget> {
        let (mut window, passed) = self.now();
        if let Some(earlier) = earlier {
            window.give_back(earlier.second, earlier.pods);
        }
        window.fits(pods, self.per_minute.get(), passed)?;
        let second = window.newest;
        window.slots[slot(second)] += pods;
        window.sum += pods;
        Ok(Charge { second, pods })
    }

    /// Whether a change of so many Pods is within the budget now; nothing is charged.
    ///
    /// # Errors
    ///
    /// It isn't.
    pub fn fits(&self, pods: u64) -> Result<(), OverBudget> {
        let (window, passed) = self.now();
        window.fits(pods, self.per_minute.get(), passed)
    }

    /// The change turned out to be of so many Pods, none if it didn't happen.
    pub fn settle(&self, charge: Charge, pods: u64) {
        let (mut window, _) = self.now();
        window.give_back(charge.second, charge.pods.saturating_sub(pods));
    }

    /// Whether nothing of it is used.
    pub(super) fn is_unused(&self) -> bool {
        self.now().0.sum == 0
    }

    fn now(&self) -> (MutexGuard<'_, Window>, Duration) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = self.begun.elapsed();
        window.slide(passed.as_secs());
        (window, passed)
    }
}

fn slot(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

impl Window {
    fn slide(&mut self, second: u64) {
        let steps = second.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 0..steps {
            let expired = std::mem::take(&mut self.slots[slot(second - step)]);
            self.sum -= expired;
        }
        self.newest = self.newest.max(second);
    }

    fn fits(&self, pods: u64, most: u64, passed: Duration) -> Result<(), OverBudget> {
        let Some(room) = most.checked_sub(pods) else {
            return Err(OverBudget::Ever);
        };
        let mut left = self.sum;
        if left <= room {
            return Ok(());
        }
        // The slot behind the newest one is the oldest.
        for steps in 1..=SLOTS as u64 {
            left -= self.slots[slot(self.newest + steps)];
            if left <= room {
                let free = Duration::from_secs(self.newest + steps);
                return Err(OverBudget::For(free.saturating_sub(passed)));
            }
        }
        Err(OverBudget::Ever)
    }

    fn give_back(&mut self, second: u64, pods: u64) {
        // What has slid out of the window is free already.
        if second + SLOTS as u64 > self.newest {
            let charged = &mut self.slots[slot(second)];
            let pods = pods.min(*charged);
            *charged -= pods;
            self.sum -= pods;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn budget(pods: u64) -> Budget {
        Budget::new(NonZeroU64::new(pods).unwrap())
    }

    /// Every charge with its time; what is older than sixty whole seconds doesn't count.
    #[derive(Default)]
    struct Ledger(Vec<(u64, u64)>);

    impl Ledger {
        fn used(&self, at: u64) -> u64 {
            let recent = self.0.iter().filter(|(second, _)| second + 60 >= at / 1000);
            recent.map(|(_, pods)| pods).sum()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_budget_is_what_a_ledger_of_all_changes_says(
            most in 1u64..200,
            steps in prop::collection::vec((0u64..20_000, 0u64..120, 0u8..4), 1..120),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (budget, mut ledger) = (budget(most), Ledger::default());
                let (mut at, mut happened) = (0, Vec::<(u64, u64)>::new());
                for (pause, pods, outcome) in steps {
                    advance(Duration::from_millis(pause)).await;
                    at += pause;
                    let fits = ledger.used(at) + pods <= most;
                    prop_assert_eq!(budget.fits(pods).is_ok(), fits);
                    match budget.charge(pods, None) {
                        Ok(charge) => {
                            prop_assert!(fits);
                            // Refused, done in part, or as it was asked for.
                            let done = match outcome { 0 => 0, 1 => pods / 2, _ => pods };
                            budget.settle(charge, done);
                            ledger.0.push((at / 1000, done));
                            happened.push((at, done));
                        }
                        Err(OverBudget::Ever) => prop_assert!(pods > most),
                        Err(OverBudget::For(wait)) => {
                            prop_assert!(!fits && pods <= most);
                            let wait = wait.as_millis() as u64;
                            prop_assert!(ledger.used(at + wait) + pods <= most, "it fits after the wait");
                            prop_assert!(ledger.used(at + wait - 1) + pods > most, "and not before");
                        }
                    }
                }
                for (begin, _) in &happened {
                    let minute = happened.iter().filter(|(at, _)| (*begin..begin + 60_000).contains(at));
                    prop_assert!(minute.map(|(_, pods)| pods).sum::<u64>() <= most);
                }
                advance(Duration::from_secs(61)).await;
                prop_assert!(budget.is_unused());
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_attempt_is_charged_in_place_of_the_one_before() {
        let budget = budget(10);
        let first = budget.charge(8, None).unwrap();
        advance(Duration::from_secs(3)).await;
        let second = budget.charge(9, Some(first)).unwrap();
        assert_eq!(budget.fits(1), Ok(()));
        assert!(budget.fits(2).is_err());
        assert_eq!(budget.charge(11, Some(second)), Err(OverBudget::Ever));
        assert!(budget.is_unused());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_after_its_minute_frees_nothing_twice() {
        let budget = budget(10);
        let old = budget.charge(10, None).unwrap();
        advance(Duration::from_secs(61)).await;
        let new = budget.charge(10, None).unwrap();
        budget.settle(old, 0);
        assert!(budget.fits(1).is_err());
        budget.settle(new, 0);
        budget.settle(new, 0);
        assert!(budget.is_unused());
    }
}
