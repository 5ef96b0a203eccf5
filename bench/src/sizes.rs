//! How much is measured: the whole, or quickly.

use std::time::Duration;

/// The extent of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Rounds of everything.
    pub(crate) rounds: usize,
    /// How long one load is measured.
    pub(crate) load: Duration,
    /// Deployments in the real cluster while counts are read, changed and written.
    pub(crate) busy: u32,
    /// And where lists and syncs are measured, in the order in which the cluster grows.
    pub(crate) lists: &'static [u32],
    /// And in the simulated one.
    pub(crate) simulated: &'static [u32],
    /// Changes and writes a round.
    pub(crate) changes: u32,
    /// Connections that idle.
    pub(crate) idle: u32,
    /// Events that are applied, and how many a second.
    pub(crate) events: u32,
    pub(crate) events_per_second: u32,
    /// Who watches at once.
    pub(crate) watchers: usize,
}

impl Sizes {
    /// Everything that there is an aim for.
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        load: Duration::from_secs(3),
        busy: 20_000,
        lists: &[10_000, 100_000],
        simulated: &[100_000, 1_000_000],
        changes: 200,
        idle: 1000,
        events: 5000,
        events_per_second: 1000,
        watchers: 5000,
    };

    /// In under three minutes.
    pub(crate) const QUICK: Self = Self {
        rounds: 2,
        load: Duration::from_secs(1),
        busy: 10_000,
        lists: &[10_000],
        simulated: &[100_000],
        changes: 100,
        idle: 300,
        events: 2000,
        events_per_second: 1000,
        watchers: 1000,
    };
}
