//! How far a rollout has come, and waiting for its end (`Prefer: wait`, RFC 7240).

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{Api, ApiError, deployments::WAITING, request::preference, watch};
use crate::{
    access::Caller,
    kubernetes::{Details, ReadError},
    numbers::replicas,
    store::Snapshot,
};

/// The longest wait that is granted, in seconds.
const LONGEST: u64 = 300;
/// How long a change is left alone before it is looked at: a rollout makes many.
const GATHER: Duration = Duration::from_millis(200);
/// How long nothing is heard before it is looked at all the same.
const QUIET: Duration = Duration::from_secs(5);

/// What has become of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// All Pods are of the newest template, ready and available, and there are as many as are wanted.
    Complete,
    /// It goes on.
    Progressing,
    /// It is held: the Deployment is paused.
    Paused,
    /// Its controller has given up waiting (`ProgressDeadlineExceeded`).
    Stalled,
    /// Somebody else has changed the count, or replaced the Deployment, since the write.
    Superseded,
}

/// A rollout in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rollout {
    pub(super) status: State,
    /// In words.
    message: String,
    #[serde(flatten)]
    pub(super) pods: Pods,
}

/// A Deployment's Pods, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Pods {
    desired: i32,
    current: i32,
    updated: i32,
    ready: i32,
    available: i32,
}

impl Rollout {
    /// As it stands in what was read: what `kubectl rollout status` looks at, and readiness.
    pub(super) fn of(now: &Details) -> Self {
        let status = &now.status;
        let desired = now.replicas;
        let seen = status.observed_generation >= now.generation;
        // Numbers of an older generation say nothing of this one.
        let state = if seen
            && status.updated_replicas == desired
            && status.replicas == desired
            && status.ready_replicas >= desired
            && status.available_replicas >= desired
        {
            State::Complete
        } else if now.paused {
            State::Paused
        } else if seen && gave_up(now) {
            State::Stalled
        } else {
            State::Progressing
        };
        let mut rollout = Self {
            status: state,
            message: String::new(),
            pods: Pods {
                desired,
                current: status.replicas,
                updated: status.updated_replicas,
                ready: status.ready_replicas,
                available: status.available_replicas,
            },
        };
        rollout.message = rollout.words(seen);
        rollout
    }

    /// As it stands for whoever has set the count: Kubernetes scales a paused Deployment too, by Pods of the templates that run.
    fn of_count(now: &Details) -> Self {
        let mut rollout = Self::of(now);
        if rollout.status != State::Paused {
            return rollout;
        }
        let Pods {
            desired,
            current,
            ready,
            available,
            ..
        } = rollout.pods;
        let seen = now.status.observed_generation >= now.generation;
        if seen && current == desired && ready >= desired && available >= desired {
            rollout.status = State::Complete;
            let all = all(desired);
            rollout.message = format!(
                "{all} available; the Deployment is paused, so not all are of its newest template"
            );
        } else {
            rollout.status = State::Progressing;
            rollout.message = match (seen, current > desired) {
                (false, _) => rollout.words(false),
                (true, true) => {
                    format!("{} too many", replicas(current - desired))
                }
                (true, false) => format!("{available} of {desired} replicas are available"),
            };
        }
        rollout
    }

    fn words(&self, seen: bool) -> String {
        let Pods {
            desired,
            current,
            updated,
            ready,
            available,
        } = &self.pods;
        match self.status {
            State::Complete => format!("{} updated and available", all(*desired)),
            State::Paused => "the rollout is paused".into(),
            State::Stalled => format!(
                "the rollout has made no progress within its deadline: {updated} of {desired} replicas are updated, {available} available; look at its Pods"
            ),
            State::Superseded => format!("somebody else has changed the count to {desired} since"),
            State::Progressing if !seen => "the rollout hasn't begun yet".into(),
            State::Progressing if updated < desired => {
                format!("{updated} of {desired} replicas are updated")
            }
            State::Progressing if current > updated => {
                format!("{} of an older template", replicas(current - updated))
            }
            State::Progressing if ready < desired => {
                format!("{ready} of {desired} replicas are ready")
            }
            State::Progressing => format!("{available} of {desired} replicas are available"),
        }
    }

    fn superseded(mut self) -> Self {
        self.status = State::Superseded;
        self.message = self.words(true);
        self
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether waiting longer is of no use.
    fn ended(&self) -> bool {
        self.status != State::Progressing
    }
}

fn gave_up(now: &Details) -> bool {
    let mut conditions = now.status.conditions.iter();
    conditions.any(|c| c.kind == "Progressing" && c.reason == "ProgressDeadlineExceeded")
}

/// For how long the caller would wait: the first `wait` of `Prefer`, at most five minutes; one that is no number of seconds is ignored
/// (RFC 7240, 2).
pub(super) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = preference(headers, "wait")?.parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

/// The `wait` of `Preference-Applied`: for how long it was at most, which may be less than the caller would.
pub(super) fn applied(wait: Duration) -> String {
    format!("wait={}", wait.as_secs())
}

/// What a write left, to which its rollout is held.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Since {
    /// The version that it made; no older state is looked at.
    pub(super) version: u64,
    /// The Deployment that was written.
    pub(super) uid: Option<Uuid>,
    /// The count that was set.
    pub(super) count: Option<i32>,
}

/// Waits until a Deployment's rollout has ended one way or another, or time is up: what was read last.
pub(super) async fn wait(
    api: &Api,
    caller: &Caller,
    names: (&str, &str),
    since: Since,
    deadline: Instant,
) -> Result<(Arc<Details>, Duration, Rollout), ApiError> {
    let _place = watch::place(api, caller)?;
    let _waiting = api.reserve(WAITING)?;
    let mut wanted = since.version;
    loop {
        let stored = api.deployments.stored_version(names);
        let at_least = stored.unwrap_or(0).max(wanted);
        let by = caller.allowance.id();
        let read = api.deployments.details(names.0, names.1, at_least, by);
        let read: Result<_, ReadError> = read.await;
        let (found, age) = read.map_err(|error| ApiError::of_read(error, names))?;
        let other = since.uid.is_some_and(|uid| uid != found.uid)
            || since.count.is_some_and(|count| count != found.replicas);
        let mut rollout = match since.count {
            Some(_) => Rollout::of_count(&found),
            None => Rollout::of(&found),
        };
        if other {
            rollout = rollout.superseded();
        }
        // A shutdown answers with what is known: those who are cut off learn nothing.
        if rollout.ended() || Instant::now() >= deadline || api.closing.is_cancelled() {
            return Ok((found, age, rollout));
        }
        wanted = found.resource_version;
        let quiet = deadline.min(Instant::now() + QUIET);
        let changed = |now: &Snapshot| {
            let record = now.get(names.0, names.1);
            record.map(|record| record.resource_version()) != Some(wanted)
        };
        let gather = async {
            api.status.wait_patiently(quiet, changed).await;
            sleep_until(deadline.min(Instant::now() + GATHER)).await;
        };
        tokio::select! {
            () = gather => {}
            () = api.closing.cancelled() => {}
        }
    }
}

/// `all 3 replicas are`, as messages begin.
fn all(desired: i32) -> String {
    match desired {
        1 => "its 1 replica is".to_owned(),
        desired => format!("all {desired} replicas are"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    /// A paused Deployment of three Pods, none of its newest template, as its controller saw it at a generation.
    fn paused(observed_generation: i64, (current, available): (i32, i32)) -> Details {
        let status = json!({
            "observedGeneration": observed_generation, "replicas": current, "readyReplicas": available, "availableReplicas": available,
        });
        let object = json!({
            "metadata": {"uid": Uuid::nil(), "resourceVersion": "7", "generation": 4},
            "spec": {"replicas": 3, "paused": true, "template": {"spec": {"containers": [{"name": "app"}]}}},
            "status": status,
        });
        Details::of_json(object).unwrap()
    }

    #[test]
    fn a_count_of_a_paused_deployment_is_complete_once_its_pods_are_there_and_its_rollout_stays_held()
     {
        for (observed, pods, status) in [
            (4, (3, 3), State::Complete),
            (3, (3, 3), State::Progressing),
            (4, (1, 1), State::Progressing),
            (4, (3, 2), State::Progressing),
            (4, (5, 5), State::Progressing),
        ] {
            let now = paused(observed, pods);
            let told = Rollout::of_count(&now);
            assert_eq!(told.status, status, "{observed} {pods:?}: {}", told.message);
            assert_eq!(Rollout::of(&now).status, State::Paused);
        }
        let told = Rollout::of_count(&paused(4, (5, 5)));
        assert_eq!(told.message, "2 replicas too many");
    }

    #[test]
    fn a_wait_is_whole_seconds_and_bounded_and_anything_else_is_none() {
        let wait = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            preferred_wait(&HeaderMap::from_iter([("prefer".parse().unwrap(), value)]))
        };
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait("wait=5"), seconds(5));
        assert_eq!(wait("return=representation, Wait = \"7\"; x=1"), seconds(7));
        assert_eq!(wait("wait=9, wait=1"), seconds(9));
        assert_eq!(wait("wait=100000"), seconds(LONGEST));
        for none in [
            "",
            "wait",
            "wait=",
            "wait=0",
            "wait=-1",
            "wait=1.5",
            "wait=5s",
            "return=wait",
        ] {
            assert_eq!(wait(none), None, "{none}");
        }
    }
}
