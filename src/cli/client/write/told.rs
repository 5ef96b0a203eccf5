//! What is said of a count that was set.

use serde_json::Value;

use super::super::{lease::Lease, output::span};
use crate::numbers::replicas;

/// What became of a count that isn't leased, and of the lease that was there.
pub(super) fn words_of_count(done: &Value, there: Option<&Lease>, dry_run: bool) -> String {
    let (before, now) = (&done["previousReplicaCount"], &done["replicaCount"]);
    // A lease whose count isn't there any more was over; one that changed nothing stays with that same count.
    let ended = there.filter(|lease| {
        let stays = before == now && lease.previous_replica_count == now.as_i64();
        lease.replica_count == before.as_i64() && !stays
    });
    match ended {
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

/// That a lease renews the one that was there, which keeps its beginning and what it goes back to; the answer alone tells it of one
/// that was taken meanwhile, though not whose that was.
pub(super) fn renewal_words(there: Option<&Lease>, done: &Value) -> String {
    let lease = &done["lease"];
    let taken = lease["takenAt"].as_str();
    let same = |there: &&Lease| taken.is_some() && taken == there.taken_at.as_deref();
    if let Some(there) = there.filter(same) {
        return format!(": this {}", there.renewed());
    }
    let (now, then) = (
        &done["previousReplicaCount"],
        &lease["previousReplicaCount"],
    );
    match now.is_number() && then.is_number() && now != then {
        true => ": this renews the lease that there was".into(),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_has_ended_only_where_the_count_is_somebody_elses_and_what_is_back_is_not_said_to_be_lost()
     {
        let lease = |count: i32, before: i32| {
            Lease::deserialize(json!({
                "replicaCount": count, "previousReplicaCount": before, "holder": "bob", "until": "u", "takenAt": "t",
            }))
            .unwrap()
        };
        for (leased, before, now, words) in [
            ((3, 3), 3, 3, "has 3 replicas already"),
            ((10, 3), 10, 3, "scaled from 10 to 3; bob's lease has ended"),
            (
                (10, 3),
                10,
                5,
                "scaled from 10 to 5; bob's lease has ended: its 3 from before will not come back",
            ),
            (
                (10, 3),
                10,
                10,
                "keeps its 10 replicas; bob's lease has ended: its 3 from before will not come back",
            ),
            ((10, 3), 9, 5, "scaled from 9 to 5"),
        ] {
            let done = json!({"previousReplicaCount": before, "replicaCount": now});
            let there = lease(leased.0, leased.1);
            assert_eq!(words_of_count(&done, Some(&there), false), words);
        }
    }

    #[test]
    fn a_renewal_is_told_with_whose_lease_it_was_and_also_where_the_answer_alone_knows_of_it() {
        let there = Lease::deserialize(json!({
            "replicaCount": 5, "previousReplicaCount": 1, "holder": "bob", "until": "u", "takenAt": "t",
        }))
        .unwrap();
        let done = |before: i32, taken: &str, then: i32| {
            json!({
                "replicaCount": 8, "previousReplicaCount": before,
                "lease": {"until": "u", "takenAt": taken, "previousReplicaCount": then},
            })
        };
        for (there, done, words) in [
            (Some(&there), done(5, "t", 1), ": this renews bob's lease"),
            // Taken between the look and the write.
            (
                None,
                done(5, "t", 1),
                ": this renews the lease that there was",
            ),
            (
                Some(&there),
                done(6, "s", 2),
                ": this renews the lease that there was",
            ),
            (None, done(5, "t", 5), ""),
            (Some(&there), done(4, "s", 4), ""),
            (None, json!({"replicaCount": 8}), ""),
        ] {
            assert_eq!(renewal_words(there, &done), words, "{done:#}");
        }
    }
}
