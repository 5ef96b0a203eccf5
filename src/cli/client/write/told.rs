//! What is said of a count that was set.

use serde::Deserialize as _;
use serde_json::Value;

use super::super::{lease::Lease, output::span};
use crate::numbers::replicas;

/// What became of a count that isn't leased, and of the lease that was there.
pub(super) fn words_of_count(done: &Value, dry_run: bool) -> String {
    let (before, now) = (&done["previousReplicaCount"], &done["replicaCount"]);
    match lease_before(done) {
        None => count_words(before, now),
        Some(ended) if before == now => {
            format!("keeps its {}; {}", replicas(now), ended.ended(now, dry_run))
        }
        Some(ended) => format!(
            "{}; {}",
            count_words(before, now),
            ended.ended(now, dry_run)
        ),
    }
}

/// The lease that a write has ended or renewed, as the server tells it.
fn lease_before(done: &Value) -> Option<Lease> {
    Lease::deserialize(&done["leaseBefore"]).ok()
}

pub(super) fn count_words(before: &Value, now: &Value) -> String {
    if before == now {
        return format!("has {} already", replicas(now));
    }
    format!("scaled from {before} to {now}")
}

/// Until when a count is leased, as far as the server says it.
pub(super) fn lease_words(lease: &Value, seconds: u32) -> String {
    match (lease["until"].as_str(), &lease["previousReplicaCount"]) {
        (Some(until), Value::Number(before)) => format!(" until {until}, and {before} again then"),
        (Some(until), _) => format!(" until {until}"),
        (None, _) => format!(" for {}", span(seconds.into())),
    }
}

/// That a lease renews the one that was there, which keeps its beginning and what it goes back to.
pub(super) fn renewal_words(done: &Value) -> String {
    lease_before(done).map_or_else(String::new, |there| format!(": this {}", there.renewed()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_count_is_told_with_the_lease_that_it_ends_and_what_is_back_is_not_said_to_be_lost() {
        for (then, before, now, words) in [
            (None, 3, 3, "has 3 replicas already"),
            (Some(3), 10, 3, "scaled from 10 to 3; bob's lease has ended"),
            (
                Some(3),
                10,
                5,
                "scaled from 10 to 5; bob's lease has ended: its 3 from before will not come back",
            ),
            (
                Some(3),
                10,
                10,
                "keeps its 10 replicas; bob's lease has ended: its 3 from before will not come back",
            ),
        ] {
            let mut done = json!({"previousReplicaCount": before, "replicaCount": now});
            if let Some(then) = then {
                done["leaseBefore"] = lease(before, then, "bob");
            }
            assert_eq!(words_of_count(&done, false), words);
        }
    }

    #[test]
    fn a_renewal_is_told_with_whose_lease_it_was_as_far_as_the_caller_may_know_that() {
        for (holder, words) in [
            (Some("bob"), ": this renews bob's lease"),
            (Some(""), ": this renews the lease that there was"),
            (None, ""),
        ] {
            let mut done = json!({"replicaCount": 8, "lease": lease(8, 1, "alice")});
            if let Some(holder) = holder {
                done["leaseBefore"] = lease(5, 1, holder);
            }
            assert_eq!(renewal_words(&done), words, "{done:#}");
        }
    }

    fn lease(count: i32, before: i32, holder: &str) -> Value {
        json!({"replicaCount": count, "previousReplicaCount": before, "holder": holder, "until": "u", "takenAt": "t"})
    }
}
