//! `PATCH /namespaces/{namespace}/deployments/{name}/replicas`: a step, so many replicas more or fewer.
//!
//! Made twice it is another step, so it needs a precondition or a key that tells a repetition from another one.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Api, ApiError,
    idempotency::{self, Beginning, Mark},
    json::one_object,
    replicas::{self, Replicas},
    write::{Failure, Parameter, Write, log_write},
};
use crate::{
    access::Verb,
    kubernetes::{Details, WriteError, WriteRequest, Written},
    leases::Lease,
    store::Record,
};

/// A step as a parameter that is set: the change of the count.
pub(super) struct Step {
    key: Result<Option<String>, ApiError>,
    conditional: bool,
}

impl Step {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            key: idempotency::key(headers),
            conditional: headers.contains_key(header::IF_MATCH),
        }
    }

    /// What it makes of the count that is there.
    fn count(now: i32, delta: i32) -> Result<i32, ApiError> {
        let count = now.checked_add(delta).filter(|count| *count >= 0);
        count.ok_or(ApiError::StepTooLarge { now, delta })
    }

    /// Whether the step was made already is seen in what is read before each attempt.
    async fn with_key(
        write: &Write<Self>,
        mark: &Mark,
    ) -> Result<Written<i32>, WriteError<ApiError>> {
        let delta = write.wish;
        let mut request = write.request.clone();
        request.mark = Some(mark.text());
        // Whether an unanswered one was made is seen by its mark, not by the count.
        request.conditional = true;
        let sent = AtomicBool::new(false);
        let made = |found: &Details| {
            let setter = found.last_set_by.as_ref();
            let made = setter.is_some_and(|owner| owner.mark == request.mark);
            if made && !sent.load(Ordering::Relaxed) {
                write.was_made_before();
            }
            Ok(made.then(|| Written {
                uid: found.uid,
                previous: found.replicas.saturating_sub(delta),
                now: found.replicas,
                resource_version: found.resource_version,
                seen: true,
            }))
        };
        let count = |now| {
            sent.store(true, Ordering::Relaxed);
            Self::count(now, delta)
        };
        replicas::set_as_read(write, &request, made, count).await
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    delta: i32,
}

impl Parameter for Step {
    type Wish = i32;
    type State = i32;
    const VERB: Verb = Verb::Scale;
    const OVERTAKES: bool = true;
    const NOUN: &'static str = "count";
    const REQUESTED: &'static str = Replicas::REQUESTED;
    const APPLIED: &'static str = Replicas::APPLIED;
    const FAILED: &'static str = Replicas::FAILED;
    const EVENT: &'static str = Replicas::EVENT;
    const DONE: &'static str = Replicas::DONE;
    const UPDATED: &'static str = Replicas::UPDATED;
    const UPDATED_UNSEEN: &'static str = Replicas::UPDATED_UNSEEN;

    fn valid(&self) -> Result<(), ApiError> {
        match &self.key {
            Err(error) => Err(error.clone()),
            Ok(None) if !self.conditional => Err(ApiError::BadRequest(
                "a step needs If-Match with the count's ETag, or an Idempotency-Key: made twice it would be another step".into(),
            )),
            Ok(_) => Ok(()),
        }
    }

    fn wish(&self, body: &[u8]) -> Result<i32, ApiError> {
        let wanted: Wanted = one_object(body).map_err(ApiError::BadStepBody)?;
        Ok(wanted.delta)
    }

    fn value(wish: &i32) -> Value {
        format!("{wish:+}").into()
    }

    fn known(&self, api: &Api, names: (&str, &str)) -> Value {
        Replicas.known(api, names)
    }

    fn values(&self, written: &Written<i32>) -> (Value, Value) {
        Replicas.values(written)
    }

    fn shown(&self, wish: &i32) -> String {
        format!("{wish:+} replicas")
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<i32>, WriteError<ApiError>> {
        let delta = write.wish;
        let Ok(Some(key)) = &self.key else {
            let judge = |record: Record<'_>| {
                let count = Self::count(record.replicas(), delta)?;
                replicas::judge(write, &record, count)?;
                Ok(count)
            };
            return write.api.deployments.scale(&write.request, judge).await;
        };
        let caller = write.origin.caller.identity_key();
        let mark = Mark::of(&caller, write.request.names(), key);
        if write.request.dry_run {
            return Self::with_key(write, &mark).await;
        }
        let begun = write.api.steps.begin(&caller, &mark, delta);
        match begun.map_err(WriteError::Judged)? {
            Beginning::Made(written) => {
                write.was_made_before();
                Ok(written)
            }
            Beginning::New(begun) => {
                let written = Self::with_key(write, &mark).await?;
                begun.made(delta, &written);
                Ok(written)
            }
        }
    }

    fn tag(&self, written: &Written<i32>) -> String {
        Replicas.tag(written)
    }

    fn pods(&self, written: &Written<i32>) -> u64 {
        Replicas.pods(written)
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<i32>,
    ) -> impl Serialize + 'a {
        Replicas.representation(request, written)
    }

    fn count(&self, written: &Written<i32>) -> Option<i32> {
        Replicas.count(written)
    }

    fn lease_before<'a>(
        &self,
        known: Option<&'a Lease>,
        written: &'a Written<i32>,
    ) -> Option<&'a Lease> {
        Replicas.lease_before(known, written)
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<i32>, result: &'static str) {
        replicas::log_applied(write, written, result);
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let snapshot = failure.api.status.store().snapshot();
        let from = snapshot.get(namespace, name).map(|r| r.replicas());
        let to = failure.wish.map(|delta| format!("{delta:+}"));
        log_write!(warn, "scale.failed", failure.origin, (namespace, name),
            { from, to, result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}
