//! Ten thousand schedules, each of which ends with the cluster's state in the store and shows nothing on the way that never
//! was. More: `cargo run -p simulation -- --seeds FROM..TO`; one again: `--seed SEED`.

use std::time::Instant;

use simulation::{Schedule, Trace, run, search};

#[test]
fn ten_thousand_schedules_of_faults_end_with_the_clusters_state_and_show_none_that_never_was() {
    let start = Instant::now();
    let searched = search(0..10_000, 1, |done| {
        println!("{done} schedules after {} s", start.elapsed().as_secs());
    });
    if let Some(found) = searched.found.first() {
        panic!("{found}");
    }
    assert_eq!(searched.runs, 10_000);
}

#[test]
fn a_seed_is_the_same_run_to_the_last_byte() {
    for seed in 0..300 {
        let once = run(&Schedule::of(seed), Trace::Yes);
        let again = run(&Schedule::of(seed), Trace::Yes);
        assert!(once.trace.len() > 20, "seed {seed}: {:#?}", once.trace);
        for (first, second) in once.trace.iter().zip(&again.trace) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert_eq!(once, again, "seed {seed}");
    }
}

#[test]
fn a_trace_changes_nothing_of_a_run() {
    for seed in 0..100 {
        let with = run(&Schedule::of(seed), Trace::Yes);
        let without = run(&Schedule::of(seed), Trace::No);
        assert_eq!(with.wrong, without.wrong, "seed {seed}");
        assert_eq!(with.busiest, without.busiest, "seed {seed}");
    }
}
