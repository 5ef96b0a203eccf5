//! `DELETE /namespaces/{namespace}/deployments/{name}/lease`: ends a lease now, and goes back or keeps its count.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{
        Api, ApiError, preconditions,
        replicas::Replicas,
        write::{Failure, Parameter, Write, log_write},
    },
    Count, Representation, Retries, counts, ended, judge, judge_brought_back, judge_kept,
    judge_return, leases, no_lease, there, told,
};
use crate::{
    access::{Caller, Verb},
    kubernetes::{Details, LeaseObjects, Settled, Unsettled, WriteError, WriteRequest, Written},
    leases::{End, Lease, Step, Stored, cancel},
};

/// The end of a lease.
pub(in crate::api) struct Cancellation {
    keep: Result<bool, ApiError>,
}

impl Cancellation {
    /// As its query has it.
    pub(in crate::api) fn of(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut keep = Ok(None);
        for (name, value) in pairs {
            if percent_decode_str(name).decode_utf8_lossy() != "keep" {
                continue;
            }
            keep = match (value, keep) {
                ("true" | "false", Ok(None)) => Ok(Some(value == "true")),
                _ => Err(ApiError::BadRequest(
                    "keep is given once, as true or false".into(),
                )),
            };
        }
        Self {
            keep: keep.map(Option::unwrap_or_default),
        }
    }

    /// One attempt; nothing if somebody else changed the lease meanwhile. The one `before` it is what an earlier attempt found.
    async fn attempt(
        write: &Write<Self>,
        leases: &LeaseObjects,
        before: &mut Option<Lease>,
    ) -> Result<Option<Written<Count>>, WriteError<ApiError>> {
        let (namespace, name) = write.request.names();
        let deployments = &write.api.deployments;
        let Some(stored) = leases.read(namespace, name).await? else {
            let returned = match before.take() {
                Some(lease) if !write.wish => Self::returned_by_others(write, lease).await?,
                _ => None,
            };
            return match returned {
                Some(returned) => Ok(Some(returned)),
                None => Err(no_lease(write).await),
            };
        };
        *before = Some(stored.lease.clone());
        let found = deployments.look((namespace, name)).await?;
        let details = there(found).ok_or(WriteError::NotFound)?;
        judge(write, &details).map_err(WriteError::Judged)?;
        let keep = write.wish;
        let step = cancel(&stored.lease, Some(&details.seen()), keep);
        let step = step.map_err(|refusal| WriteError::Judged(refusal.into()))?;
        let returns = !matches!(step, Step::End(_));
        let (caller, previous) = (
            write.caller().map_err(WriteError::Judged)?,
            stored.lease.previous,
        );
        let step = claimed_by(step, &caller);
        let rules = caller.rules.writes;
        let may = |now: &Details| judge_return(rules, now, previous);
        if returns {
            may(&details).map_err(|why| WriteError::Judged(ApiError::LeaseReturn(why)))?;
            let judged = judge_brought_back(write, &details, &stored.lease, details.replicas);
            judged.map_err(WriteError::Judged)?;
            let pods = details.replicas.abs_diff(previous).into();
            write.charge(&caller, pods).map_err(WriteError::Judged)?;
        }
        if step == Step::End(End::Kept) {
            judge_kept(write, &details).map_err(WriteError::Judged)?;
        }
        // Whatever the cluster refuses is told while the lease is untouched.
        let returned = if returns {
            let tried = deployments.try_return(&stored.lease, &details).await;
            match tried {
                Ok(count) => count,
                Err(WriteError::Conflict) => return Ok(None),
                Err(WriteError::Refused(why)) => {
                    return Err(WriteError::Judged(ApiError::LeaseReturn(why)));
                }
                Err(error) => return Err(error),
            }
        } else {
            details.replicas
        };
        let uid = stored.uid;
        let written = move |version, replicas, stored: Stored| Written {
            uid: details.uid,
            previous: Count {
                replicas: details.replicas,
                lease: Some(stored.lease),
            },
            now: Count {
                replicas,
                lease: None,
            },
            resource_version: version,
            seen: true,
        };
        let (version, replicas) = (details.resource_version, details.replicas);
        if write.request.dry_run {
            return Ok(Some(written(version, returned, stored)));
        }
        // What is to be written is decided on what is read then.
        let first = Some(step).filter(|step| *step != Step::Return);
        let lease = stored.lease.clone();
        // It is on record that this was asked for.
        let recorded = || std::future::ready(Ok(()));
        let settled = deployments.settle(leases, stored.clone(), first, may, recorded);
        let settled = settled.await;
        let settled = settled.map_err(|Unsettled { why, made }| {
            if made {
                WriteError::Unknown(why)
            } else {
                WriteError::Unavailable(format!("{why}; nothing was changed"), None)
            }
        })?;
        leases.seen_gone(uid).await;
        match settled {
            Settled::Ended(End::Gone, _) => Err(WriteError::NotFound),
            Settled::Ended(End::Overtaken, Some(there)) => {
                let metrics = &write.api.metrics.leases;
                ended::overtaken(deployments, &write.api.audit, metrics, &lease, &there);
                // That was no doing of this caller's.
                let count = Count {
                    replicas: there.replicas,
                    lease: None,
                };
                Ok(Some(Written {
                    uid: lease.uid,
                    previous: count.clone(),
                    now: count,
                    resource_version: there.version,
                    seen: deployments.has_seen(namespace, there.version).await,
                }))
            }
            Settled::Ended(_, there) => {
                let there = there.map(|there| (there.version, there.replicas));
                let (version, replicas) = there.unwrap_or((version, replicas));
                let mut written = written(version, replicas, stored);
                let seen = deployments.has_seen(namespace, version);
                written.seen = seen.await;
                Ok(Some(written))
            }
            // It was refused only once the lease had been claimed: there is no way back from that.
            Settled::Refused(why) => {
                ended::refused(deployments, &lease, &why);
                Err(WriteError::Judged(ApiError::LeaseLost(why)))
            }
            Settled::Unmanaged => Err(WriteError::NotFound),
            Settled::Changed | Settled::Waits(_) => Self::returned_by_others(write, lease).await,
        }
    }

    /// What is there if somebody else, who may end leases too, was faster: that is what was asked for.
    async fn returned_by_others(
        write: &Write<Self>,
        lease: Lease,
    ) -> Result<Option<Written<Count>>, WriteError<ApiError>> {
        let deployments = &write.api.deployments;
        let there = there(deployments.look(write.request.names()).await?);
        let mark = Some(lease.mark_of_return());
        let Some(now) = there.filter(|now| now.uid == lease.uid && now.marks.contains(&mark))
        else {
            return Ok(None);
        };
        let version = now.resource_version;
        let seen = deployments.has_seen(&lease.namespace, version).await;
        Ok(Some(Written {
            uid: now.uid,
            previous: Count {
                replicas: lease.replicas,
                lease: Some(lease),
            },
            now: Count {
                replicas: now.replicas,
                lease: None,
            },
            resource_version: version,
            seen,
        }))
    }
}

/// What callers are told, if they ask for it.
#[derive(Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    representation: Representation<'a>,
}

impl Parameter for Cancellation {
    type Wish = bool;
    type State = Count;
    const VERB: Verb = Verb::Scale;
    const BODY_OPTIONAL: bool = true;
    const PARAMETERS: &'static [&'static str] = &["keep"];
    const NOUN: &'static str = "end of the lease";
    const REQUESTED: &'static str = "lease.requested";
    const APPLIED: &'static str = "lease.cancelled";
    const FAILED: &'static str = "lease.failed";
    const EVENT: &'static str = "LeaseCancelledByHeadcount";
    const DONE: &'static str = "Lease ended";
    const UPDATED: &'static str =
        r#"{"message":"Lease ended; the replica count is as it was before."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Lease ended; this server's copy has not caught up yet."}"#;

    fn valid(&self) -> Result<(), ApiError> {
        self.keep.clone().map(drop)
    }

    fn wish(&self, body: &[u8]) -> Result<bool, ApiError> {
        if !body.trim_ascii().is_empty() {
            return Err(ApiError::BadRequest(
                "the end of a lease has no body: leave it out".into(),
            ));
        }
        self.keep.clone()
    }

    /// The lease alone knows.
    fn value(_: &bool) -> Value {
        Value::Null
    }

    fn further(keep: &bool) -> Option<(&'static str, Value)> {
        Some(("keep", (*keep).into()))
    }

    fn known(&self, api: &Api, names: (&str, &str)) -> Value {
        Replicas.known(api, names)
    }

    fn values(&self, written: &Written<Count>) -> (Value, Value) {
        counts(written)
    }

    fn changed(&self, written: &Written<Count>) -> bool {
        written.previous != written.now
    }

    fn told(&self, written: &Written<Count>) -> String {
        told(written)
    }

    fn shown(&self, keep: &bool) -> String {
        let shown = if *keep {
            "its count without a lease"
        } else {
            "the count before its lease"
        };
        shown.to_owned()
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<Count>, WriteError<ApiError>> {
        let leases = leases(&write.api).map_err(WriteError::Judged)?;
        let mut before = None;
        let retries = Retries::begin();
        loop {
            if let Some(written) = Self::attempt(write, leases, &mut before).await? {
                return Ok(written);
            }
            retries.again().await?;
        }
    }

    fn tag(&self, written: &Written<Count>) -> String {
        preconditions::count_tag(written.uid, written.now.replicas)
    }

    fn pods(&self, written: &Written<Count>) -> u64 {
        let (before, now) = (written.previous.replicas, written.now.replicas);
        before.abs_diff(now).into()
    }

    fn updated(&self, written: &Written<Count>) -> Bytes {
        if returned(written) {
            return Bytes::from_static(Self::UPDATED.as_bytes());
        }
        Bytes::from_static(br#"{"message":"Lease ended; the replica count was left as it is."}"#)
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Count>,
    ) -> impl Serialize + 'a {
        let mut representation = Representation::of(request.names(), written);
        representation.reverted = Some(returned(written));
        Ended { representation }
    }

    fn count(&self, written: &Written<Count>) -> Option<i32> {
        Some(written.now.replicas)
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<Count>, result: &'static str) {
        let (namespace, name) = write.request.names();
        let (from, to) = (written.previous.replicas, written.now.replicas);
        let dry = write.line_begins();
        log_write!(info, "lease.cancelled", write.origin, (namespace, name),
            { from, to, result, resource_version = written.resource_version },
            "{dry}the lease of Deployment {namespace}/{name} was ended: from {from} to {to} replicas");
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let wish = failure.wish.map(|wish| self.shown(wish));
        log_write!(warn, "lease.failed", failure.origin, (namespace, name),
            { to = wish, result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}

/// The claim of a lease that is to go back says who ended it: another server may be the one that brings the count back.
fn claimed_by(step: Step, caller: &Caller) -> Step {
    match step {
        Step::Replace(next) => Step::Replace(Lease {
            ended_by: Some(caller.name().into()),
            ..next
        }),
        other => other,
    }
}

/// Whether the count is what it was before the lease.
fn returned(written: &Written<Count>) -> bool {
    let lease = written.previous.lease.as_ref();
    lease.is_some_and(|lease| lease.previous == written.now.replicas)
}
