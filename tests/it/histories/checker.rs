//! Judges a history: each Deployment is a register whose states the versions order, and every write has a count of its own, so
//! that each state tells whose it is. What can't be so by any order of the operations is an anomaly.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use super::history::{Asked, Call, History, Operation, Outcome, State};

/// What must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Anomaly {
    /// One version was told with two counts.
    TwoStates { version: u64, counts: (i32, i32) },
    /// A count was told that nobody had asked for by then, or whose write is said to have changed nothing.
    Invented { count: i32 },
    /// A count was there again after another had replaced it: a write took effect twice, or another was undone.
    CameBack { count: i32, version: u64 },
    /// A write replaced another count than it says, or than its condition allows.
    LostUpdate { count: i32, replaced: i32 },
    /// The cluster is at an older version than one that was told before.
    Lost { version: u64, now: u64 },
    /// A write that began after another had ended, or after a state was told, got an older version.
    Reordered { count: i32, version: u64 },
    /// A read is older than a write that this server had answered, or than the version asked for.
    StaleRead { version: u64, after: u64 },
    /// A read is older than an earlier one of the same server.
    WentBack { version: u64, after: u64 },
    /// One tag stands for two counts, or one count has two tags.
    TwoTags { tag: String },
    /// A Deployment that exists isn't there for a read.
    Vanished,
}

/// All anomalies, those of one Deployment after those of another.
pub(crate) fn check(history: &History) -> Vec<Anomaly> {
    (0..history.initial.len())
        .flat_map(|deployment| {
            let register = Register::of(history, deployment);
            let mut found = register.states();
            found.extend(register.conditions());
            found.extend(register.authors());
            found.extend(register.order());
            found.extend(register.tags());
            found
        })
        .collect()
}

/// What is known of one Deployment.
struct Register<'a> {
    initial: i32,
    operations: Vec<&'a Operation>,
    /// By version: each state that was told, and when at the latest it was there.
    told: Vec<(&'a State, Duration)>,
}

fn state(operation: &Operation) -> Option<&State> {
    match &operation.outcome {
        Outcome::Shown(state) | Outcome::Written { now: state, .. } => Some(state),
        Outcome::Refused(_) | Outcome::Unknown => None,
    }
}

impl<'a> Register<'a> {
    fn of(history: &'a History, deployment: usize) -> Self {
        let all = history.operations.iter();
        let operations: Vec<_> = all.filter(|o| o.deployment == deployment).collect();
        let told = operations
            .iter()
            .filter_map(|o| Some((state(o)?, o.returned)));
        let truth = history.truth.iter().filter(|(d, _)| *d == deployment);
        // Of those it isn't known when they were there.
        let truth = truth.map(|(_, state)| (state, Duration::MAX));
        let mut told: Vec<_> = told.chain(truth).collect();
        told.sort_by_key(|(state, _)| state.version);
        Self {
            initial: history.initial[deployment],
            operations,
            told,
        }
    }

    /// Versions order the states, and none comes back.
    fn states(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        let mut ended = HashSet::new();
        for pair in self.told.windows(2) {
            let [(before, _), (after, _)] = pair else {
                continue;
            };
            if before.count == after.count {
                continue;
            }
            if before.version == after.version {
                found.push(Anomaly::TwoStates {
                    version: before.version,
                    counts: (before.count, after.count),
                });
                continue;
            }
            ended.insert(before.count);
            if ended.contains(&after.count) {
                found.push(Anomaly::CameBack {
                    count: after.count,
                    version: after.version,
                });
            }
        }
        found
    }

    /// What was replaced is what stood right before the first state with the new count.
    fn conditions(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        let tags = self.counts_by_tag();
        // Who replaced this count, by that count: nobody else can have.
        let mut replaced_by: HashMap<i32, i32> = HashMap::new();
        for operation in &self.operations {
            let (Call::Write { count, only_if }, Outcome::Written { previous, .. }) =
                (&operation.call, &operation.outcome)
            else {
                continue;
            };
            let condition = only_if.as_ref().and_then(|tag| tags.get(tag.as_str()));
            let first = self.told.iter().position(|(s, _)| s.count == *count);
            let stood = first
                .and_then(|first| first.checked_sub(1))
                .map(|i| self.told[i].0.count);
            for expected in previous.iter().chain(condition) {
                let twice = replaced_by
                    .insert(*expected, *count)
                    .is_some_and(|other| other != *count);
                // A state that nobody was told of may have stood between.
                let contradicted = stood.is_some_and(|stood| {
                    let known = *expected == self.initial || self.is_told(*expected);
                    stood != *expected && (known || !self.may_be(*expected))
                });
                if twice || contradicted {
                    found.push(Anomaly::LostUpdate {
                        count: *count,
                        replaced: stood.unwrap_or(*expected),
                    });
                    break;
                }
            }
        }
        found
    }

    fn is_told(&self, count: i32) -> bool {
        self.told.iter().any(|(state, _)| state.count == count)
    }

    /// Whether some write may have made this count.
    fn may_be(&self, count: i32) -> bool {
        count == self.initial
            || self.operations.iter().any(|o| {
                matches!(o.call, Call::Write { count: c, .. } if c == count)
                    && !matches!(o.outcome, Outcome::Refused(_))
            })
    }

    /// Every state is that of a write that had begun, and that isn't said to have changed nothing.
    fn authors(&self) -> Vec<Anomaly> {
        let mut begun: HashMap<i32, Duration> = HashMap::from([(self.initial, Duration::ZERO)]);
        for operation in &self.operations {
            if let Call::Write { count, .. } = operation.call
                && !matches!(operation.outcome, Outcome::Refused(_))
            {
                begun.insert(count, operation.invoked);
            }
        }
        let mut invented: Vec<i32> = self
            .told
            .iter()
            .filter(|(state, at)| begun.get(&state.count).is_none_or(|begun| begun > at))
            .map(|(state, _)| state.count)
            .collect();
        // Writes tell what they replaced, too.
        invented.extend(self.operations.iter().filter_map(|o| match o.outcome {
            Outcome::Written {
                previous: Some(previous),
                ..
            } if begun.get(&previous).is_none_or(|at| *at > o.returned) => Some(previous),
            _ => None,
        }));
        invented.sort_unstable();
        invented.dedup();
        let invented = invented
            .into_iter()
            .map(|count| Anomaly::Invented { count });
        let vanished = self.operations.iter().filter_map(|o| {
            let read = matches!(o.call, Call::Read { .. });
            (read && o.outcome == Outcome::Refused(404)).then_some(Anomaly::Vanished)
        });
        invented.chain(vanished).collect()
    }

    /// What ended before something else began isn't newer than it, as far as that is promised.
    fn order(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        let is_write = |o: &Operation| matches!(o.call, Call::Write { .. });
        let everything: Fence = self.fence(|_| true);
        let written: BTreeMap<Asked, Fence> = self
            .fences(|o| is_write(o) && !matches!(o.outcome, Outcome::Written { seen: false, .. }));
        let read: BTreeMap<Asked, Fence> = self.fences(|o| !is_write(o));
        for operation in &self.operations {
            let Some(State { version, count, .. }) = state(operation) else {
                continue;
            };
            let (version, began) = (*version, operation.invoked);
            let newer = |fence: Option<&Fence>| {
                fence
                    .and_then(|fence| fence.newest_before(began))
                    .filter(|newest| *newest > version)
            };
            let mine = &operation.asked;
            match (&operation.call, mine) {
                (Call::Write { .. }, _) => {
                    if newer(Some(&everything)).is_some() {
                        found.push(Anomaly::Reordered {
                            count: *count,
                            version,
                        });
                    }
                }
                (Call::Read { .. }, Asked::Cluster) => {
                    if let Some(newest) = newer(Some(&everything)) {
                        found.push(Anomaly::Lost {
                            version: newest,
                            now: version,
                        });
                    }
                }
                (Call::Read { at_least }, Asked::Server(_)) => {
                    let promised = newer(written.get(mine)).max(at_least.filter(|v| *v > version));
                    if let Some(after) = promised {
                        found.push(Anomaly::StaleRead { version, after });
                    } else if let Some(after) = newer(read.get(mine)) {
                        found.push(Anomaly::WentBack { version, after });
                    }
                }
            }
        }
        found
    }

    fn fence(&self, counts: impl Fn(&Operation) -> bool) -> Fence {
        let told = self.operations.iter().filter(|o| counts(o));
        Fence::of(told.filter_map(|o| Some((o.returned, state(o)?.version))))
    }

    fn fences(&self, counts: impl Fn(&Operation) -> bool) -> BTreeMap<Asked, Fence> {
        let everybody: BTreeSet<Asked> = self.operations.iter().map(|o| o.asked).collect();
        everybody
            .into_iter()
            .map(|asked| (asked, self.fence(|o| o.asked == asked && counts(o))))
            .collect()
    }

    fn counts_by_tag(&self) -> HashMap<&'a str, i32> {
        let tagged = self.told.iter().filter(|(state, _)| !state.tag.is_empty());
        tagged
            .map(|(state, _)| (state.tag.as_str(), state.count))
            .collect()
    }

    /// A tag stands for a count.
    fn tags(&self) -> Vec<Anomaly> {
        let mut by_tag: HashMap<&str, i32> = HashMap::new();
        let mut by_count: HashMap<i32, &str> = HashMap::new();
        let mut found = Vec::new();
        for (State { tag, count, .. }, _) in &self.told {
            if tag.is_empty() {
                continue;
            }
            let other_count = by_tag.insert(tag, *count).is_some_and(|c| c != *count);
            let other_tag = by_count.insert(*count, tag).is_some_and(|t| t != tag);
            if other_count || other_tag {
                found.push(Anomaly::TwoTags { tag: tag.clone() });
            }
        }
        found
    }
}

/// The newest version that had been told by a time.
struct Fence(Vec<(Duration, u64)>);

impl Fence {
    fn of(told: impl Iterator<Item = (Duration, u64)>) -> Self {
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        let mut newest = 0;
        for (_, version) in &mut told {
            newest = newest.max(*version);
            *version = newest;
        }
        Self(told)
    }

    fn newest_before(&self, time: Duration) -> Option<u64> {
        let ended = self.0.partition_point(|(returned, _)| *returned < time);
        Some(self.0[ended.checked_sub(1)?].1)
    }
}
