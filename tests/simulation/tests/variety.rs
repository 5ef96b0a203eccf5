//! A simulation that never meets a fault proves nothing: what the schedules must bring about.

use simulation::{Schedule, Trace, run};

/// How many of the traces have a line with all of these words.
fn with(traces: &[Vec<String>], words: &[&str]) -> usize {
    let has = |line: &String| words.iter().all(|word| line.contains(word));
    traces.iter().filter(|t| t.iter().any(has)).count()
}

#[test]
fn the_schedules_bring_about_what_they_are_there_for() {
    let traces: Vec<_> = (0..1000)
        .map(|seed| run(&Schedule::of(seed), Trace::Yes).trace)
        .collect();
    let least = [
        // Several pages, several scopes, labels and a selector.
        (200, &["request: Page"][..]),
        (100, &["request: Watch of db"]),
        (100, &["labelSelector"]),
        (30, &["WantLabels"]),
        // What goes wrong on the way.
        (20, &["answer to Watch: 410"]),
        (10, &["answer to Page: 410"]),
        (8, &["answer to List: 429"]),
        (10, &["answer to List: 500"]),
        (20, &["answer to List: connection refused"]),
        (20, &["answer to Probe: connection refused"]),
        (10, &["answer to Watch: 504"]),
        (20, &["HalfOpen"]),
        (20, &["Stall("]),
        (20, &["StaleReplica"]),
        (10, &["Behind(List"]),
        (20, &["Restart("]),
        (10, &["lost: "]),
        (10, &["Few(Event, Replay"]),
        (10, &["Few(Event, Duplicate"]),
        (10, &["Few(Event, Reorder"]),
        (10, &["Few(Event, Drop"]),
        (5, &["cluster: from version", "back to"]),
        // And waits of both outcomes.
        (100, &["waited for version", "true"]),
        (20, &["waited for version", "false"]),
    ];
    let mut rare = Vec::new();
    for (expected, words) in least {
        let found = with(&traces, words);
        println!("{found} of 1000 schedules have {words:?}");
        if found < expected {
            rare.push(format!(
                "{words:?}: {found}, and {expected} at least were expected"
            ));
        }
    }
    assert!(rare.is_empty(), "{rare:#?}");
}
