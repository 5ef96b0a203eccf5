//! The checker itself: a history without fault passes, and each kind of anomaly is found in one made by hand.

use std::time::Duration;

use super::{
    checker::{Anomaly, check},
    history::{Asked, Call, History, Operation, Outcome, State},
};

const ONE: Asked = Asked::Server(0);
const OTHER: Asked = Asked::Server(1);

/// One Deployment, at 1 in the beginning; each operation begins after the one before has ended.
struct Made(History);

impl Made {
    fn new() -> Self {
        Self(History {
            initial: vec![1],
            ..History::default()
        })
    }

    fn add(mut self, asked: Asked, call: Call, outcome: Outcome) -> Self {
        let at = Duration::from_secs(self.0.operations.len() as u64 * 2);
        self.0.operations.push(Operation {
            caller: 0,
            asked,
            deployment: 0,
            invoked: at,
            returned: at + Duration::from_secs(1),
            call,
            outcome,
        });
        self
    }

    fn reads(self, asked: Asked, version: u64, count: i32) -> Self {
        self.add(
            asked,
            Call::Read { at_least: None },
            Outcome::Shown(told(version, count)),
        )
    }

    fn writes(self, asked: Asked, version: u64, (previous, count): (i32, i32)) -> Self {
        let outcome = Outcome::Written {
            now: told(version, count),
            previous: Some(previous),
            seen: true,
        };
        self.add(asked, write(count), outcome)
    }

    /// Begins with the operation before, and takes longer.
    fn at_once(mut self) -> Self {
        let count = self.0.operations.len();
        let before = self.0.operations[count - 2].invoked;
        self.0.operations[count - 1].invoked = before;
        self
    }

    fn found(&self) -> Vec<Anomaly> {
        check(&self.0)
    }
}

fn told(version: u64, count: i32) -> State {
    State {
        version,
        count,
        tag: format!("tag-{count}"),
    }
}

fn write(count: i32) -> Call {
    Call::Write {
        count,
        only_if: None,
    }
}

#[test]
fn a_history_without_fault_passes() {
    let made = Made::new()
        .reads(ONE, 10, 1)
        .writes(ONE, 11, (1, 100))
        .reads(ONE, 11, 100)
        // The other server's copy may be behind.
        .reads(OTHER, 10, 1)
        .add(ONE, write(101), Outcome::Unknown)
        .add(ONE, write(102), Outcome::Refused(409))
        // A status moves the version and leaves the count.
        .reads(ONE, 12, 100)
        .reads(ONE, 15, 101)
        .writes(OTHER, 16, (101, 103))
        .writes(ONE, 17, (103, 104))
        .at_once()
        .reads(Asked::Cluster, 17, 104);
    assert_eq!(made.found(), []);
}

#[test]
fn a_state_that_nobody_was_told_of_may_stand_between() {
    let made = Made::new()
        .reads(ONE, 10, 1)
        .add(ONE, write(100), Outcome::Unknown)
        .writes(ONE, 12, (100, 101));
    assert_eq!(made.found(), []);
}

#[test]
fn one_version_with_two_counts_is_found() {
    let made = Made::new()
        .writes(ONE, 11, (1, 100))
        .add(ONE, write(101), Outcome::Unknown)
        .reads(OTHER, 11, 101);
    let counts = (100, 101);
    assert_eq!(
        made.found(),
        [Anomaly::TwoStates {
            version: 11,
            counts
        }]
    );
}

#[test]
fn a_refused_write_that_took_effect_is_found() {
    let made = Made::new()
        .add(ONE, write(100), Outcome::Refused(503))
        .reads(ONE, 11, 100);
    assert_eq!(made.found(), [Anomaly::Invented { count: 100 }]);
}

#[test]
fn a_count_that_nobody_wrote_and_one_before_its_time_are_found() {
    let nobodys = Made::new().reads(ONE, 11, 7);
    assert_eq!(nobodys.found(), [Anomaly::Invented { count: 7 }]);
    let early = Made::new()
        .reads(ONE, 11, 100)
        .add(ONE, write(100), Outcome::Unknown);
    assert_eq!(early.found(), [Anomaly::Invented { count: 100 }]);
    let replaced = Made::new().writes(ONE, 11, (7, 100));
    assert_eq!(replaced.found(), [Anomaly::Invented { count: 7 }]);
}

#[test]
fn a_write_that_takes_effect_twice_is_found() {
    let made = Made::new()
        .add(ONE, write(100), Outcome::Unknown)
        .reads(ONE, 11, 100)
        .writes(ONE, 12, (100, 101))
        .reads(ONE, 13, 100);
    let (count, version) = (100, 13);
    assert_eq!(made.found(), [Anomaly::CameBack { count, version }]);
}

#[test]
fn two_winners_on_one_condition_are_found() {
    let on = |tag: &str, count, version| {
        let now = told(version, count);
        let call = Call::Write {
            count,
            only_if: Some(tag.into()),
        };
        let outcome = Outcome::Written {
            now,
            previous: None,
            seen: true,
        };
        (call, outcome)
    };
    let (first, won) = on("tag-1", 100, 11);
    let (second, won_too) = on("tag-1", 101, 12);
    let made = Made::new()
        .reads(ONE, 10, 1)
        .add(ONE, first, won)
        .add(OTHER, second, won_too);
    let (count, replaced) = (101, 100);
    assert_eq!(made.found(), [Anomaly::LostUpdate { count, replaced }]);
}

#[test]
fn a_write_that_replaced_another_count_than_it_says_is_found() {
    let made = Made::new()
        .reads(ONE, 10, 1)
        .writes(ONE, 11, (1, 100))
        .writes(OTHER, 12, (1, 101));
    let (count, replaced) = (101, 100);
    assert_eq!(made.found(), [Anomaly::LostUpdate { count, replaced }]);
}

#[test]
fn what_the_cluster_is_known_to_have_had_contradicts_what_was_told() {
    let mut made = Made::new()
        .reads(ONE, 10, 1)
        .add(ONE, write(100), Outcome::Unknown)
        .writes(ONE, 12, (1, 101));
    made.0.truth.push((0, told(11, 100)));
    let (count, replaced) = (101, 100);
    assert_eq!(made.found(), [Anomaly::LostUpdate { count, replaced }]);
}

#[test]
fn an_acknowledged_write_that_the_cluster_has_not_is_found() {
    let made = Made::new()
        .reads(ONE, 10, 1)
        .writes(ONE, 11, (1, 100))
        .reads(Asked::Cluster, 10, 1);
    let (version, now) = (11, 10);
    assert_eq!(made.found(), [Anomaly::Lost { version, now }]);
}

#[test]
fn a_later_write_with_an_older_version_is_found() {
    let made = Made::new()
        .writes(ONE, 12, (101, 100))
        .writes(OTHER, 11, (1, 101));
    let (count, version) = (101, 11);
    // What it made was replaced before anybody had asked for it.
    let expected = [
        Anomaly::Invented { count: 101 },
        Anomaly::Reordered { count, version },
    ];
    assert_eq!(made.found(), expected);
}

#[test]
fn a_stale_read_of_ones_own_write_is_found() {
    let made = Made::new().writes(ONE, 11, (1, 100)).reads(ONE, 10, 1);
    let (version, after) = (10, 11);
    assert_eq!(made.found(), [Anomaly::StaleRead { version, after }]);
    let elsewhere = Made::new().writes(ONE, 11, (1, 100)).reads(OTHER, 10, 1);
    assert_eq!(elsewhere.found(), [], "another server hasn't promised it");
    let at_least = Some(11);
    let asked_for = Made::new().writes(ONE, 11, (1, 100)).add(
        OTHER,
        Call::Read { at_least },
        Outcome::Shown(told(10, 1)),
    );
    assert_eq!(asked_for.found(), [Anomaly::StaleRead { version, after }]);
}

#[test]
fn reads_that_go_back_are_found() {
    let made = Made::new()
        .add(ONE, write(100), Outcome::Unknown)
        .reads(ONE, 11, 100)
        .reads(ONE, 10, 1);
    let (version, after) = (10, 11);
    assert_eq!(made.found(), [Anomaly::WentBack { version, after }]);
    let at_once = Made::new()
        .add(ONE, write(100), Outcome::Unknown)
        .reads(ONE, 11, 100)
        .reads(ONE, 10, 1)
        .at_once();
    assert_eq!(at_once.found(), [], "of two at once either may be first");
}

#[test]
fn a_tag_of_two_counts_is_found() {
    let mut made = Made::new().reads(ONE, 10, 1).writes(ONE, 11, (1, 100));
    if let Outcome::Written { now, .. } = &mut made.0.operations[1].outcome {
        now.tag = "tag-1".into();
    }
    let tag = "tag-1".to_owned();
    assert_eq!(made.found(), [Anomaly::TwoTags { tag }]);
}

#[test]
fn a_deployment_that_vanishes_is_found() {
    let read = Call::Read { at_least: None };
    let made = Made::new().add(ONE, read, Outcome::Refused(404));
    assert_eq!(made.found(), [Anomaly::Vanished]);
}
