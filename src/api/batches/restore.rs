//! `POST /batches/restore`: brings back the counts of a snapshot, each only if it is still the batch's own.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    super::{
        Api, ApiError, authorization,
        idempotency::Mark,
        path::shown,
        replicas::{self, Replicas},
        write::{Failure, Parameter, Write},
    },
    run::{Item, SetsCount},
    snapshot::Before,
};
use crate::{
    access::{Caller, Verb},
    kubernetes::{Details, WriteError, WriteRequest, Written},
    leases::Lease,
};

/// A count that is set to what it was, as long as it is what a batch has made of it.
pub(super) struct Restore {
    /// The Deployment that the batch changed.
    uid: Uuid,
    /// What the batch set.
    set_to: i32,
    /// The mark of its write.
    mark: String,
    /// Until when the count was leased that is brought back, if it was.
    leased_until: Option<String>,
}

/// One of a snapshot, as one of a batch. Its own mark follows from the snapshot: whoever restores it again is recognised.
pub(super) fn item(before: Before) -> Item<Restore> {
    let names = (before.namespace, before.name);
    let key = format!("restore {}", before.mark);
    Item {
        mark: Mark::of(&before.uid.to_string(), (&names.0, &names.1), &key).text(),
        names,
        parameter: Restore {
            uid: before.uid,
            set_to: before.set_to,
            mark: before.mark,
            leased_until: before.leased_until,
        },
        wish: before.replica_count,
    }
}

impl Restore {
    /// What is found of a restoration that isn't to be made: there is nothing to do any more, or others have changed it.
    fn found(
        &self,
        write: &Write<Self>,
        found: &Details,
    ) -> Result<Option<Written<i32>>, ApiError> {
        let caller = write.caller()?;
        let names = write.request.names();
        let decision = authorization::permit(&caller, Verb::Scale, names, &found.labels)?;
        write.decided(&decision);
        if found.uid != self.uid {
            return Err(ApiError::ReplacedSince);
        }
        let has = |mark: &Option<String>| mark.is_some() && found.sole_mark == *mark;
        let ours = has(&Some(self.mark.clone())) && found.replicas == self.set_to;
        if ours && found.replicas != write.wish {
            return Ok(None);
        }
        // What was is there again, by an earlier restoration or by anybody else.
        if has(&write.request.mark) || found.replicas == write.wish {
            return Ok(Some(Written {
                uid: found.uid,
                previous: found.replicas,
                now: found.replicas,
                resource_version: found.resource_version,
                seen: true,
            }));
        }
        Err(self.changed(&caller, names, found))
    }

    fn changed(&self, caller: &Caller, names: (&str, &str), found: &Details) -> ApiError {
        let how = if found.replicas == self.set_to {
            format!("set again since, to the same {} replicas", self.set_to)
        } else {
            format!(
                "changed since, from {} to {} replicas",
                self.set_to, found.replicas
            )
        };
        let by = found.last_set_by.as_ref().filter(|_| {
            // Whoever may not read it isn't told whose count it is.
            authorization::permit(caller, Verb::Get, names, &found.labels).is_ok()
        });
        let by = by.map(|owner| shown(owner.name()).to_string());
        ApiError::ChangedSince { how, by }
    }
}

impl SetsCount for Restore {
    fn asked(wish: &i32) -> i32 {
        *wish
    }

    fn counted(state: &i32) -> i32 {
        *state
    }

    fn leased_until(&self) -> Option<&str> {
        self.leased_until.as_deref()
    }
}

impl Parameter for Restore {
    type Wish = i32;
    type State = i32;
    const VERB: Verb = Verb::Scale;
    const OVERTAKES: bool = true;
    const NOUN: &'static str = "count";
    const REQUESTED: &'static str = Replicas::REQUESTED;
    const APPLIED: &'static str = Replicas::APPLIED;
    const FAILED: &'static str = Replicas::FAILED;
    const EVENT: &'static str = "RestoredByHeadcount";
    const DONE: &'static str = Replicas::DONE;
    const UPDATED: &'static str = Replicas::UPDATED;
    const UPDATED_UNSEEN: &'static str = Replicas::UPDATED_UNSEEN;

    fn wish(&self, body: &[u8]) -> Result<i32, ApiError> {
        Replicas.wish(body)
    }

    fn value(wish: &i32) -> Value {
        Replicas::value(wish)
    }

    fn known(&self, api: &Api, names: (&str, &str)) -> Value {
        Replicas.known(api, names)
    }

    fn values(&self, written: &Written<i32>) -> (Value, Value) {
        Replicas.values(written)
    }

    fn shown(&self, wish: &i32) -> String {
        Replicas.shown(wish)
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<i32>, WriteError<ApiError>> {
        let mut request = write.request.clone();
        // Whether an unanswered one was made is seen by its mark, not by the count.
        request.conditional = true;
        let found = |details: &Details| self.found(write, details);
        let mut made = replicas::set_as_read(write, &request, found, |_| Ok(write.wish)).await;
        if let Err(WriteError::Judged(ApiError::ChangedSince { by, .. })) = &mut made
            && by.is_some()
            && !write.may_get().await
        {
            // By the cluster's rules, of which the server's own know nothing.
            *by = None;
        }
        made
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
        // What was there already was left alone.
        let known = known.filter(|_| written.previous != written.now);
        Replicas.lease_before(known, written)
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<i32>, result: &'static str) {
        replicas::log_applied(write, written, result);
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        replicas::log_failed(failure);
    }
}
