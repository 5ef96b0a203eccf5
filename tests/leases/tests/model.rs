//! The protocol in every order of what can happen to it, up to a bound; and whether each part of it is needed.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use leases::{Defect, LEASED, NEVER, Operation, Scene};
use stateright::{Checker, HasDiscoveries, Model};

use Operation::{Cancel, Extend, Keep, Take};

fn leased_by(callers: &[Operation]) -> Scene {
    Scene {
        callers: callers.to_vec(),
        reverters: 1,
        ..Scene::default()
    }
}

/// Checks a scene whole, and says how much that was.
fn holds(name: &str, scene: Scene) {
    let checker = scene.checker().spawn_dfs().join();
    eprintln!("{name}: {} states", checker.unique_state_count());
    for property in NEVER {
        if let Some(path) = checker.discovery(property) {
            let wrong = path.last_state().told.wrong;
            let steps = path.into_actions();
            let steps: Vec<_> = steps.into_iter().map(|step| format!("{step:?}")).collect();
            panic!(
                "{name}: not always: {property} ({wrong:?})\n{}",
                steps.join("\n")
            );
        }
    }
    checker.assert_properties();
}

#[test]
fn a_lease_ends_once_whoever_dies_and_whatever_arrives_late() {
    let scene = Scene {
        losses: 2,
        touches: 1,
        ..leased_by(&[Take(LEASED)])
    };
    holds("one lease", scene);
}

#[test]
fn two_that_end_leases_at_once_end_each_once() {
    let scene = Scene {
        reverters: 2,
        losses: 1,
        ..leased_by(&[Take(LEASED)])
    };
    holds("two that end leases", scene);
}

#[test]
fn nobody_elses_change_is_overwritten() {
    let scene = Scene {
        changes: 2,
        ..leased_by(&[Take(LEASED)])
    };
    holds("others' changes", scene);
}

#[test]
fn two_who_lease_at_once_leave_one_count_to_go_back_to() {
    holds("two leases at once", leased_by(&[Take(LEASED), Take(5)]));
}

#[test]
fn an_extension_and_an_end_are_never_both_told() {
    let scene = Scene {
        losses: 1,
        ..leased_by(&[Take(LEASED), Extend])
    };
    holds("an extension", scene);
}

#[test]
fn a_cancelled_lease_ends_once_and_a_kept_one_stays() {
    holds("a cancellation", leased_by(&[Take(LEASED), Cancel]));
    holds("an end that keeps", leased_by(&[Take(LEASED), Keep]));
}

#[test]
fn another_deployment_by_the_same_name_is_left_alone() {
    let scene = Scene {
        recreations: 1,
        losses: 1,
        ..leased_by(&[Take(LEASED)])
    };
    holds("a Deployment created anew", scene);
}

#[test]
fn whatever_part_of_the_protocol_is_left_out_is_missed() {
    use Defect::*;
    let lossy = Scene {
        losses: 1,
        ..leased_by(&[Take(LEASED)])
    };
    let watched = Scene {
        changes: 1,
        ..leased_by(&[Take(LEASED)])
    };
    let cases = [
        (CountFirst, lossy.clone()),
        (NoFence, lossy.clone()),
        (NoClaim, leased_by(&[Take(LEASED), Extend])),
        (ReturnUnconditional, watched.clone()),
        (DeleteFirst, lossy),
        (DeleteUnconditional, leased_by(&[Take(LEASED), Take(5)])),
        (RenewalForgets, leased_by(&[Take(LEASED), Take(5)])),
        (ByCountAlone, watched),
        (ExtendUnconditional, leased_by(&[Take(LEASED), Extend])),
    ];
    let mut missed = Vec::new();
    for (defect, scene) in cases {
        let scene = Scene {
            defect: Some(defect),
            ..scene
        };
        let any = HasDiscoveries::AnyOf(NEVER.into());
        let checker = scene
            .checker()
            .finish_when(any)
            .target_state_count(4_000_000)
            .spawn_bfs()
            .join();
        let found = NEVER.iter().find(|p| checker.discovery(p).is_some());
        eprintln!(
            "{defect:?}: {found:?} after {} states",
            checker.unique_state_count()
        );
        if found.is_none() {
            missed.push(defect);
        }
    }
    assert_eq!(missed, []);
}
