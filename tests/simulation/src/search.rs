//! Runs many schedules, on several threads, until one goes wrong.

use std::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use crate::{
    run::{Trace, run},
    schedule::Schedule,
    shrink::shrink,
};

/// A schedule that went wrong.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its seed.
    pub seed: u64,
    /// What was wrong.
    pub wrong: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule = shrink(&Schedule::of(self.seed));
        let outcome = run(&schedule, Trace::Yes);
        writeln!(f, "seed {}: {}", self.seed, self.wrong)?;
        writeln!(
            f,
            "once more, with all that happened: cargo run -p simulation -- --seed {}",
            self.seed
        )?;
        writeln!(f, "\nthe least of it that goes wrong: {:?}", schedule.setup)?;
        for step in &schedule.steps {
            writeln!(f, "  {step}")?;
        }
        writeln!(f, "\nand what happens then:")?;
        for line in &outcome.trace {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// What came of a search.
#[derive(Debug, Clone, Default)]
pub struct Searched {
    /// The schedules that went wrong, by seed; at most as many as were asked for, and some that were under way.
    pub found: Vec<Found>,
    /// How many were run.
    pub runs: u64,
    /// The most lists and watches that one scope began within ten seconds.
    pub busiest: usize,
}

/// Runs the schedules of these seeds on as many threads as there are processors, and stops after `enough` that went wrong.
/// `progress` is told now and then how many have been run.
pub fn search(seeds: Range<u64>, enough: usize, progress: impl Fn(u64) + Sync) -> Searched {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (next, runs) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let (wrong, busiest) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let total = seeds.end.saturating_sub(seeds.start);
    let step = (total / 10).max(1);
    let work = || {
        let mut found = Vec::new();
        while wrong.load(Ordering::Relaxed) < enough {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = run(&Schedule::of(seed), Trace::No);
            busiest.fetch_max(outcome.busiest, Ordering::Relaxed);
            if let Some(why) = outcome.wrong {
                wrong.fetch_add(1, Ordering::Relaxed);
                found.push(Found { seed, wrong: why });
            }
            let done = runs.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(step) {
                progress(done);
            }
        }
        found
    };
    let mut found: Vec<Found> = thread::scope(|scope| {
        let working: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        working
            .into_iter()
            .flat_map(|w| {
                w.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    found.sort_by_key(|f| f.seed);
    Searched {
        found,
        runs: runs.into_inner(),
        busiest: busiest.into_inner(),
    }
}
