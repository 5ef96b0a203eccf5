use super::*;

const MARK: &str = "0123456789abcdef";
const OTHER: &str = "fedcba9876543210";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_764_300_000 + second).unwrap()
}

fn uid(of: u128) -> Uuid {
    Uuid::from_u128(of)
}

/// Ten for an hour where three were, taken at second 0.
fn lease(state: State) -> Lease {
    Lease {
        namespace: "web".into(),
        name: "shop".into(),
        uid: uid(1),
        mark: MARK.into(),
        replicas: 10,
        previous: 3,
        state,
        reason: Some("a sale".into()),
        holder: "alice".into(),
        ended_by: None,
        taken: at(0),
        renewed: at(0),
        seconds: 3600,
    }
}

fn seen(version: u64, replicas: i32, owners: &[&str]) -> Seen {
    let owners = owners.iter();
    Seen {
        uid: uid(1),
        version,
        replicas,
        owners: owners
            .map(|mark| (!mark.is_empty()).then(|| (*mark).to_owned()))
            .collect(),
    }
}

fn wanted(replicas: i32) -> Wanted {
    Wanted {
        namespace: "web".into(),
        name: "shop".into(),
        replicas,
        seconds: 600,
        reason: None,
        holder: "bob".into(),
        mark: OTHER.into(),
    }
}

const PENDING: State = State::Pending { version: 7 };

#[test]
fn an_object_says_all_of_a_lease_and_is_read_as_the_same() {
    for state in [PENDING, State::Held, State::Ending] {
        for lease in [
            lease(state),
            Lease {
                holder: String::new(),
                reason: None,
                ..lease(state)
            },
            Lease {
                ended_by: Some("bob".into()),
                ..lease(state)
            },
        ] {
            let mut object = lease.object();
            object["metadata"]["uid"] = uid(9).to_string().into();
            object["metadata"]["resourceVersion"] = "12".into();
            let stored = Stored::read(&object).unwrap();
            assert_eq!(stored.lease, lease);
            assert_eq!((stored.uid, stored.version), (uid(9), 12));
            assert_eq!(stored.replaced_by(&lease), object);
        }
    }
}

#[test]
fn an_object_that_says_anything_else_is_no_lease() {
    let mut whole = lease(PENDING).object();
    whole["metadata"]["uid"] = uid(9).to_string().into();
    whole["metadata"]["resourceVersion"] = "12".into();
    for (pointer, value) in [
        ("/metadata/name", "count-0"),
        ("/metadata/resourceVersion", "x"),
        ("/metadata/annotations/headcount~1namespace", "We b"),
        ("/metadata/annotations/headcount~1name", "another"),
        ("/metadata/annotations/headcount~1uid", "1"),
        ("/metadata/annotations/headcount~1mark", "0123456789ABCDEF"),
        ("/metadata/annotations/headcount~1replicas", "-1"),
        ("/metadata/annotations/headcount~1previous", ""),
        ("/metadata/annotations/headcount~1state", "over"),
        ("/metadata/annotations/headcount~1version", "-"),
        ("/spec/acquireTime", "yesterday"),
        ("/spec/renewTime", ""),
        ("/spec/leaseDurationSeconds", "60"),
    ] {
        let mut object = whole.clone();
        *object.pointer_mut(pointer).unwrap() = value.into();
        assert!(Stored::read(&object).is_err(), "{pointer}");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut object = whole.clone();
        let parent = object.pointer_mut(parent).unwrap();
        let parent = parent.as_object_mut().unwrap();
        parent.remove(&key.replace("~1", "/")).unwrap();
        assert!(Stored::read(&object).is_err(), "without {pointer}");
    }
}

#[test]
fn a_lease_goes_back_once_its_time_is_over_and_not_before() {
    let ours = seen(8, 10, &[MARK]);
    let held = lease(State::Held);
    assert_eq!(
        settle(&held, Some(&ours), at(3599)),
        Step::Wait(held.until())
    );
    let Step::Replace(claimed) = settle(&held, Some(&ours), at(3600)) else {
        panic!("it isn't claimed")
    };
    assert_eq!(claimed, lease(State::Ending));
    assert_eq!(settle(&claimed, Some(&ours), at(3600)), Step::Return);
    let mark = claimed.mark_of_return();
    let returned = seen(9, 3, &[&mark]);
    assert_eq!(
        settle(&claimed, Some(&returned), at(3601)),
        Step::End(End::Returned)
    );
}

#[test]
fn a_count_that_somebody_else_has_set_is_left_alone_even_if_it_is_the_same() {
    for owners in [&[""][..], &[OTHER], &[MARK, ""], &[MARK, OTHER], &[]] {
        for state in [State::Held, State::Ending] {
            let step = settle(&lease(state), Some(&seen(8, 10, owners)), at(9000));
            assert_eq!(step, Step::End(End::Overtaken), "{owners:?}");
        }
    }
}

#[test]
fn another_deployment_by_the_name_is_none_of_the_leases() {
    let another = Seen {
        uid: uid(2),
        ..seen(8, 10, &[MARK])
    };
    for state in [PENDING, State::Held, State::Ending] {
        for there in [None, Some(&another)] {
            assert_eq!(settle(&lease(state), there, at(9000)), Step::End(End::Gone));
        }
    }
}

#[test]
fn a_pending_one_whose_count_is_there_is_held_and_ends_in_time() {
    let ours = seen(8, 10, &[MARK]);
    let pending = lease(PENDING);
    assert_eq!(settle(&pending, Some(&ours), at(29)), Step::Wait(at(30)));
    let held = Step::Replace(lease(State::Held));
    assert_eq!(settle(&pending, Some(&ours), at(30)), held);
    let short = Lease {
        seconds: 10,
        ..pending
    };
    assert_eq!(short.due(), at(10));
    assert!(
        matches!(settle(&short, Some(&ours), at(10)), Step::Replace(l) if l.state == State::Ending)
    );
}

#[test]
fn a_pending_one_that_never_took_hold_is_fenced_unless_its_write_is_refused_anyway() {
    let pending = lease(PENDING);
    let at_its_version = seen(7, 3, &[""]);
    assert_eq!(
        settle(&pending, Some(&at_its_version), at(29)),
        Step::Wait(at(30))
    );
    assert_eq!(settle(&pending, Some(&at_its_version), at(30)), Step::Fence);
    let moved_on = seen(8, 3, &[""]);
    assert_eq!(
        settle(&pending, Some(&moved_on), at(30)),
        Step::End(End::NeverTaken)
    );
}

#[test]
fn the_count_of_a_held_one_is_put_right() {
    let ours = seen(8, 12, &[MARK, MARK]);
    let Step::Replace(right) = settle(&lease(State::Held), Some(&ours), at(60)) else {
        panic!("it isn't put right")
    };
    assert_eq!((right.replicas, right.previous), (12, 3));
}

#[test]
fn a_new_lease_goes_back_to_what_is_there() {
    for existing in [None, Some(lease(State::Held)), Some(lease(State::Ending))] {
        let there = seen(8, 5, &[""]);
        let Take::New(taken) = take(existing.as_ref(), &there, wanted(20), at(60)) else {
            panic!("{existing:?}")
        };
        assert!(taken.writes);
        let new = &taken.lease;
        assert_eq!(
            (new.mark.as_str(), new.previous, new.replicas),
            (OTHER, 5, 20)
        );
        assert_eq!(new.state, State::Pending { version: 8 });
        assert_eq!(taken.held().state, State::Held);
        assert_eq!(new.until(), at(660));
    }
}

#[test]
fn a_renewal_keeps_what_the_first_goes_back_to() {
    let ours = seen(8, 10, &[MARK]);
    for (count, writes, state) in [
        (10, false, State::Held),
        (20, true, State::Pending { version: 8 }),
    ] {
        let held = lease(State::Held);
        let Take::Renewal(taken) = take(Some(&held), &ours, wanted(count), at(60)) else {
            panic!("{count} is no renewal")
        };
        let renewed = &taken.lease;
        assert_eq!((taken.writes, renewed.state), (writes, state));
        assert_eq!((renewed.mark.as_str(), renewed.previous), (MARK, 3));
        assert_eq!((renewed.taken, renewed.until()), (at(0), at(660)));
        assert_eq!(renewed.holder, "bob");
    }
}

#[test]
fn nothing_is_promised_once_a_lease_is_ending() {
    let ours = seen(8, 10, &[MARK]);
    let ending = lease(State::Ending);
    assert_eq!(take(Some(&ending), &ours, wanted(10), at(60)), Take::Wait);
    assert_eq!(
        extend(&ending, Some(&ours), 60, at(60)),
        Err(Refusal::Ending)
    );
    assert_eq!(cancel(&ending, Some(&ours), true), Err(Refusal::Ending));
    assert_eq!(cancel(&ending, Some(&ours), false), Ok(Step::Return));
}

#[test]
fn one_that_is_half_taken_is_left_alone_for_a_moment_and_fenced_then() {
    let there = seen(7, 3, &[""]);
    let pending = lease(PENDING);
    assert_eq!(take(Some(&pending), &there, wanted(20), at(0)), Take::Wait);
    assert_eq!(take(Some(&pending), &there, wanted(20), at(1)), Take::Fence);
    let fenced = seen(8, 3, &["", ""]);
    assert!(matches!(
        take(Some(&pending), &fenced, wanted(20), at(1)),
        Take::New(_)
    ));
    assert_eq!(
        cancel(&pending, Some(&there), false),
        Err(Refusal::BeingTaken)
    );
    // A renewal that is half made, and whose count is the one that is wanted: its own may still arrive.
    let ours = seen(7, 10, &[MARK]);
    let Take::Renewal(taken) = take(Some(&pending), &ours, wanted(10), at(1)) else {
        panic!("it is no renewal")
    };
    assert!(taken.writes);
}

#[test]
fn a_lease_of_the_count_that_is_there_writes_nothing_whoever_has_set_that() {
    let there = seen(8, 3, &[""]);
    let Take::New(taken) = take(None, &there, wanted(3), at(0)) else {
        panic!("it isn't a new one")
    };
    assert_eq!((taken.writes, taken.lease.state), (false, State::Held));
    let same = taken.lease;
    for owners in [&[][..], &[""], &[MARK], &["", "another"]] {
        let there = seen(9, 3, owners);
        assert!(same.holds(&there));
        let settled = |now| settle(&same, Some(&there), now);
        assert_eq!(settled(at(60)), Step::Wait(same.until()));
        assert_eq!(settled(same.until()), Step::End(End::Returned));
        let cancelled = |keep| cancel(&same, Some(&there), keep);
        assert_eq!(cancelled(false), Ok(Step::End(End::Returned)));
        assert_eq!(cancelled(true), Ok(Step::End(End::Kept)));
    }
    let Take::Renewal(raised) = take(Some(&same), &there, wanted(10), at(1)) else {
        panic!("it is no renewal")
    };
    assert_eq!((raised.writes, raised.lease.previous), (true, 3));
    // Whoever sets another count has it changed.
    assert!(!same.holds(&seen(9, 4, &[""])));
}

#[test]
fn an_extension_counts_from_now_on_and_may_be_shorter() {
    let ours = seen(8, 10, &[MARK]);
    for seconds in [60, 86_400] {
        let extended = extend(&lease(State::Held), Some(&ours), seconds, at(1800)).unwrap();
        assert_eq!(extended.until(), at(1800 + i64::from(seconds)));
        assert_eq!(extended.taken, at(0));
    }
    for (there, refusal) in [
        (None, Refusal::Overtaken),
        (Some(&seen(9, 10, &[MARK, ""])), Refusal::Overtaken),
    ] {
        let refused = extend(&lease(State::Held), there, 60, at(1800));
        assert_eq!(refused, Err(refusal));
    }
    let at_its_version = seen(7, 10, &[MARK]);
    assert_eq!(
        extend(&lease(PENDING), Some(&at_its_version), 60, at(2)),
        Err(Refusal::BeingTaken)
    );
}

#[test]
fn a_cancelled_one_is_claimed_before_anything_is_written_or_ends_with_its_count() {
    let ours = seen(8, 10, &[MARK]);
    let held = lease(State::Held);
    assert_eq!(
        cancel(&held, Some(&ours), false),
        Ok(Step::Replace(lease(State::Ending)))
    );
    assert_eq!(cancel(&held, Some(&ours), true), Ok(Step::End(End::Kept)));
    for keep in [false, true] {
        let overtaken = cancel(&held, Some(&seen(9, 4, &[""])), keep);
        assert_eq!(overtaken, Ok(Step::End(End::Overtaken)));
    }
}

#[test]
fn the_mark_of_a_return_is_another_and_the_same_for_all() {
    let held = lease(State::Held);
    assert_ne!(held.mark_of_return(), held.mark);
    assert_eq!(held.mark_of_return(), lease(State::Ending).mark_of_return());
    assert_eq!(held.mark_of_return().len(), 16);
}
