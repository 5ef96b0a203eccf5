//! How much memory there is, how much of it is used, and what that leaves for requests: `limits.memory`.
//!
//! Before the kernel would end the process, requests are refused, the expensive ones first. The informer never is.

use std::{
    fs,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    cgroup::{self, Group},
    quantity,
};

/// How often it is looked at what is used …
const LOOK: Duration = Duration::from_millis(250);
/// … and how often when less than twice the margin is left, or half of what may be reserved.
const LOOK_CLOSELY: Duration = Duration::from_millis(25);
/// Shedding begins when less than an eighth of the budget is left, within these bounds: a flood takes so much between two looks.
const SMALLEST_MARGIN: u64 = 8 << 20;
const LARGEST_MARGIN: u64 = 128 << 20;

/// `limits.memory`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MemoryBudget {
    /// What the process may use, in bytes; `None`: what its control group allows.
    #[serde(with = "quantity::SomeBytes")]
    pub budget: Option<usize>,
}

/// How short memory is, and what is refused therefore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Nothing is, unless it needs more than there is.
    None = 0,
    /// What needs much, but for one at a time: lists, their compression, waits.
    Tight = 1,
    /// All requests but health, whoami and reads of one count.
    Short = 2,
    /// New connections too.
    Full = 3,
}

/// What is known of the process's memory, and what requests have reserved of it.
#[derive(Debug)]
pub struct Memory {
    /// Bytes that may be reserved in all; as good as endless without a budget.
    room: AtomicI64,
    pressure: AtomicU8,
    budget: Gauge,
    resident: Gauge,
    reserved: Gauge,
    /// Has whoever looks at what is used look at once; and whether that is to end.
    looking: OnceLock<SyncSender<()>>,
    ended: AtomicBool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            room: AtomicI64::new(i64::MAX),
            pressure: AtomicU8::new(Pressure::None as u8),
            budget: Gauge::default(),
            resident: Gauge::default(),
            reserved: Gauge::default(),
            looking: OnceLock::new(),
            ended: AtomicBool::new(false),
        }
    }
}

impl Memory {
    /// Has the registry show it.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "memory_budget",
            "What the process may use: limits.memory.budget or its control group's limit; 0 without either",
            Unit::Bytes,
            self.budget.clone(),
        );
        registry.register_with_unit(
            "memory_resident",
            "What the process has in memory",
            Unit::Bytes,
            self.resident.clone(),
        );
        registry.register_with_unit(
            "memory_reserved",
            "What requests under way may need at most",
            Unit::Bytes,
            self.reserved.clone(),
        );
    }

    /// Room for so many bytes until the reservation is dropped; `None` when there is none.
    ///
    /// While memory is no more than tight one reservation is always granted: what the allocator keeps of an earlier flood
    /// refuses nobody for ever.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let bytes = i64::try_from(bytes).ok()?;
        let before = self.reserved.inc_by(bytes);
        // Counted from here on, also where it is refused.
        let reservation = Reservation {
            memory: Arc::clone(self),
            bytes,
        };
        let room = self.room.load(Ordering::Relaxed);
        let reserved = before.saturating_add(bytes);
        let fits = reserved <= room;
        if before <= room / 2 && room / 2 < reserved {
            // Whatever takes so much may take more that nobody reserved.
            self.look_now();
        }
        (fits || before == 0 && self.pressure() < Pressure::Short).then_some(reservation)
    }

    /// How short memory was when it was last looked at.
    pub fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::Tight,
            2 => Pressure::Short,
            _ => Pressure::Full,
        }
    }

    /// What the process has in memory, and what it may have (`None`: nobody says), in bytes, for people.
    pub(crate) fn told(&self) -> (i64, Option<i64>) {
        let budget = self.budget.get();
        (self.resident.get(), (budget > 0).then_some(budget))
    }

    /// Takes in what was seen: the process's resident memory, the bounds on it, and what a relist may need. Returns when to
    /// look again.
    fn seen(&self, resident: u64, bounds: &[Bound], relist: u64) -> Duration {
        self.resident.set(resident as i64);
        let smallest = bounds.iter().map(|bound| bound.limit).min();
        self.budget.set(smallest.unwrap_or(0) as i64);
        let room = bounds.iter().map(|bound| bound.room(relist)).min();
        self.room.store(room.unwrap_or(i64::MAX), Ordering::Relaxed);
        let pressure = bounds.iter().map(Bound::pressure).max();
        let pressure = pressure.unwrap_or(Pressure::None);
        self.pressure.store(pressure as u8, Ordering::Relaxed);
        let near = bounds.iter().any(|bound| bound.left() < 2 * bound.margin())
            || room.is_some_and(|room| room / 2 < self.reserved.get());
        if near { LOOK_CLOSELY } else { LOOK }
    }

    fn look_now(&self) {
        if let Some(looking) = self.looking.get() {
            // Where it is to look already, that is enough.
            let _ = looking.try_send(());
        }
    }

    /// Looks at what is used until it is ended. `setting` is `limits.memory.budget`, `store` the size of the store, which a relist
    /// may need once more, in bytes.
    pub(crate) fn watch(&self, setting: impl Fn() -> Option<usize>, store: impl Fn() -> usize) {
        let groups = cgroup::own();
        let (look_now, told) = sync_channel(1);
        let _ = self.looking.set(look_now);
        while !self.ended.load(Ordering::Acquire) {
            let resident = resident().unwrap_or(0);
            let bounds = bounds(resident, setting(), &groups);
            let next = self.seen(resident, &bounds, store() as u64);
            let _ = told.recv_timeout(next);
        }
    }
}

/// Ends the looking at a memory when it is dropped.
#[derive(Debug)]
pub(crate) struct Looking(pub(crate) Arc<Memory>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.look_now();
    }
}

/// Something that bounds the process's memory, and what is used of it.
#[derive(Debug, Clone, Copy)]
struct Bound {
    limit: u64,
    used: u64,
}

/// The setting stands in place of the control groups.
fn bounds(resident: u64, setting: Option<usize>, groups: &[Group]) -> Vec<Bound> {
    if let Some(limit) = setting {
        return vec![Bound {
            limit: limit as u64,
            used: resident,
        }];
    }
    let known = groups.iter().filter_map(Group::memory);
    known.map(|(limit, used)| Bound { limit, used }).collect()
}

impl Bound {
    fn margin(&self) -> i64 {
        (self.limit / 8).clamp(SMALLEST_MARGIN, LARGEST_MARGIN) as i64
    }

    fn left(&self) -> i64 {
        self.limit as i64 - self.used as i64
    }

    /// What requests may reserve; the informer may list everything again at any time.
    fn room(&self, relist: u64) -> i64 {
        self.left() - self.margin() - relist as i64
    }

    fn pressure(&self) -> Pressure {
        let (left, margin) = (self.left(), self.margin());
        match left {
            left if left <= margin / 2 => Pressure::Full,
            left if left <= margin / 4 * 3 => Pressure::Short,
            left if left <= margin => Pressure::Tight,
            _ => Pressure::None,
        }
    }
}

/// What this process has in memory, in bytes, where the system tells.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Bytes that are counted as used until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<Memory>,
    bytes: i64,
}

impl Reservation {
    /// A part of it, to be dropped on its own.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).min(self.bytes);
        self.bytes -= bytes;
        Self {
            memory: Arc::clone(&self.memory),
            bytes,
        }
    }

    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let kept = self.split(bytes);
        drop(std::mem::replace(self, kept));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.reserved.dec_by(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn with(limit: u64, used: u64, relist: u64) -> Arc<Memory> {
        let memory = Arc::new(Memory::default());
        let bound = Bound {
            limit: limit * MIB,
            used: used * MIB,
        };
        memory.seen(used * MIB, &[bound], relist * MIB);
        memory
    }

    #[test]
    fn without_a_budget_everything_fits() {
        let memory = Arc::new(Memory::default());
        memory.seen(MIB, &[], MIB);
        let all: Vec<_> = (0..100).map(|_| memory.reserve(1 << 40).unwrap()).collect();
        assert_eq!(memory.pressure(), Pressure::None);
        drop(all);
        assert_eq!(memory.reserved.get(), 0);
    }

    #[test]
    fn no_more_is_reserved_than_the_margin_and_a_relist_leave() {
        // 256 − 100 − a margin of 32 − 24 for a relist = 100 MiB.
        let memory = with(256, 100, 24);
        let held: Vec<_> = (0..10).map(|_| memory.reserve(10 << 20).unwrap()).collect();
        assert!(memory.reserve(1).is_none());
        assert_eq!(memory.reserved.get(), 100 << 20, "a refused one is no part");
        drop(held);
        assert!(memory.reserve(100 << 20).is_some());
    }

    #[test]
    fn the_expensive_is_refused_first_and_new_connections_last() {
        let pressure = |used| with(256, used, 0).pressure();
        assert_eq!(pressure(223), Pressure::None);
        assert_eq!(pressure(224), Pressure::Tight);
        assert_eq!(pressure(232), Pressure::Short);
        assert_eq!(pressure(240), Pressure::Full);
        assert_eq!(pressure(300), Pressure::Full);
    }

    #[test]
    fn when_it_is_tight_one_at_a_time_is_served_and_when_it_is_short_none() {
        let memory = with(256, 225, 0);
        let one = memory.reserve(MIB as usize).unwrap();
        assert!(memory.reserve(1).is_none());
        drop(one);
        assert!(memory.reserve(MIB as usize).is_some());
        assert!(with(256, 233, 0).reserve(1).is_none());
    }

    #[test]
    fn the_tightest_of_several_bounds_counts() {
        let memory = Arc::new(Memory::default());
        let bound = |limit, used| Bound {
            limit: limit * MIB,
            used: used * MIB,
        };
        // A neighbour in the group around may leave less than the own limit does.
        let next = memory.seen(50 * MIB, &[bound(256, 50), bound(1024, 1000)], 0);
        assert_eq!(memory.pressure(), Pressure::Full);
        assert_eq!(memory.told(), (50 << 20, Some(256 << 20)));
        assert_eq!(next, LOOK_CLOSELY);
        assert_eq!(memory.seen(50 * MIB, &[bound(256, 50)], 0), LOOK);
    }

    #[test]
    fn parts_of_a_reservation_are_given_back_on_their_own() {
        let memory = with(256, 100, 0);
        let mut whole = memory.reserve(1000).unwrap();
        let part = whole.split(300);
        assert_eq!(memory.reserved.get(), 1000);
        drop(part);
        whole.shrink(200);
        assert_eq!(memory.reserved.get(), 200);
        whole.shrink(500);
        assert_eq!(memory.reserved.get(), 200);
        drop(whole);
        assert_eq!(memory.reserved.get(), 0);
    }

    #[test]
    fn this_process_is_in_memory() {
        if cfg!(target_os = "linux") {
            assert!(resident().unwrap() > MIB);
        }
    }
}
