//! `POST /namespaces/{namespace}/deployments/{name}/rollback`: the Pod template of an earlier revision, as `kubectl rollout undo` does it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    Api, ApiError, authorization,
    json::one_object,
    preconditions,
    write::{Failure, Parameter, Write, log_write},
};
use crate::{
    access::{Decision, Verb},
    image_reference::ImageReference,
    kubernetes::{Details, Revision, WriteError, WriteRequest, Written},
};

/// The revision as a parameter that is set.
pub(super) struct Rollback;

/// To which: the newest before the one that runs, unless it is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    revision: Option<u64>,
}

impl Parameter for Rollback {
    type Wish = Option<u64>;
    type State = Option<u64>;
    const VERB: Verb = Verb::Rollback;
    const BODY_OPTIONAL: bool = true;
    const NOUN: &'static str = "revision";
    const REQUESTED: &'static str = "rollback.requested";
    const APPLIED: &'static str = "rollback.applied";
    const FAILED: &'static str = "rollback.failed";
    const EVENT: &'static str = "RolledBackByHeadcount";
    const DONE: &'static str = "Rolled back";
    const UPDATED: &'static str = r#"{"message":"Rolled back."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Rolled back; this server's copy has not caught up yet."}"#;

    fn wish(&self, body: &[u8]) -> Result<Option<u64>, ApiError> {
        if body.is_empty() {
            return Ok(None);
        }
        let wanted: Wanted = one_object(body)
            .map_err(|why| ApiError::BadOptionalBody(format!("{{\"revision\": N}}{why}")))?;
        Ok(wanted.revision)
    }

    fn value(wish: &Option<u64>) -> Value {
        (*wish).into()
    }

    fn known(&self, api: &Api, (namespace, name): (&str, &str)) -> Value {
        let known = api.deployments.last_details(namespace, name);
        known.and_then(|now| now.revision()).into()
    }

    fn values(&self, written: &Written<Option<u64>>) -> (Value, Value) {
        (written.previous.into(), written.now.into())
    }

    fn told(&self, written: &Written<Option<u64>>) -> String {
        let number = |revision: Option<u64>| revision.map_or("?".into(), |n| n.to_string());
        let (from, to) = (number(written.previous), number(written.now));
        format!("revision {from} → {to}")
    }

    fn shown(&self, wish: &Option<u64>) -> String {
        match wish {
            Some(revision) => format!("revision {revision}"),
            None => "its previous revision".into(),
        }
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<Option<u64>>, WriteError<ApiError>> {
        let (deployments, names) = (&write.api.deployments, write.request.names());
        let stored = deployments.stored_version(names);
        let stored = stored.ok_or(WriteError::NotFound)?;
        let before = details(write, stored).await?;
        // Whoever may not learns nothing of its revisions.
        write
            .caller()
            .and_then(|caller| {
                authorization::permit(&caller, Verb::Rollback, names, &before.labels).map(drop)
            })
            .map_err(WriteError::Judged)?;
        let before = match write.wish {
            Some(_) => before,
            None => once_numbered(write, before).await?,
        };
        let kept = deployments.revisions(&write.request, &before).await?;
        let to = choose(&kept, before.revision(), write.wish).map_err(WriteError::Judged)?;
        let judge = |now: &Details| write.judge(now, true, |decision| judge_images(decision, to));
        let written = deployments.roll_back(&write.request, to, judge).await?;
        let from = written.previous.revision();
        // Nothing but the template is patched. A version says nothing of a dry run, which makes none.
        let changed = written.previous.generation != written.now.generation;
        Ok(Written {
            uid: written.uid,
            previous: from,
            now: if changed { Some(to.number) } else { from },
            resource_version: written.resource_version,
            seen: written.seen,
        })
    }

    fn tag(&self, written: &Written<Option<u64>>) -> String {
        preconditions::version_tag(written.uid, written.resource_version)
    }

    fn pods(&self, written: &Written<Option<u64>>) -> u64 {
        if written.previous == written.now {
            0
        } else {
            u64::MAX
        }
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Option<u64>>,
    ) -> impl Serialize + 'a {
        Representation {
            namespace: &request.namespace,
            name: &request.name,
            revision: written.now,
            previous_revision: written.previous,
            changed: written.previous != written.now,
            resource_version: written.resource_version.to_string(),
        }
    }

    fn log_applied(
        &self,
        write: &Write<Self>,
        written: &Written<Option<u64>>,
        result: &'static str,
    ) {
        let (namespace, name) = write.request.names();
        let (from, to) = (written.previous, written.now);
        let dry = write.line_begins();
        log_write!(info, "rollback.applied", write.origin, (namespace, name),
            { from, to, result, resource_version = written.resource_version },
            "{dry}Deployment {namespace}/{name} rolled back");
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let known = failure.api.deployments.last_details(namespace, name);
        let from = known.and_then(|now| now.revision());
        log_write!(warn, "rollback.failed", failure.origin, (namespace, name),
            { from, to = failure.wish.copied().flatten(), result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}

/// How long a Deployment's controller is waited for.
const CONTROLLER: Duration = Duration::from_secs(3);
/// How long until the store is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// The Deployment at that version or a newer one.
async fn details(
    write: &Write<Rollback>,
    at_least: u64,
) -> Result<Arc<Details>, WriteError<ApiError>> {
    let ((namespace, name), by) = (write.request.names(), &write.request.caller);
    let read = write.api.deployments.details(namespace, name, at_least, by);
    Ok(read.await?.0)
}

/// The Deployment once its controller has seen what runs: until then its number is that of the revision before, and the one
/// before that would be one too far.
async fn once_numbered(
    write: &Write<Rollback>,
    mut found: Arc<Details>,
) -> Result<Arc<Details>, WriteError<ApiError>> {
    let deployments = &write.api.deployments;
    let numbered = async {
        while found.revision().is_some() && found.status.observed_generation < found.generation {
            // The controller's word is a new version, of which the store is told.
            match deployments.stored_version(write.request.names()) {
                None => return Err(WriteError::NotFound),
                Some(stored) if stored > found.resource_version => {
                    found = details(write, stored).await?;
                }
                Some(_) => sleep(PAUSE).await,
            }
        }
        Ok(found)
    };
    let unknown = WriteError::Judged(ApiError::RevisionUnknown);
    timeout(CONTROLLER, numbered).await.unwrap_or(Err(unknown))
}

/// What was written, for those who ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    revision: Option<u64>,
    previous_revision: Option<u64>,
    changed: bool,
    resource_version: String,
}

/// The revision that is meant, of those that are kept, oldest first.
fn choose(kept: &[Revision], now: Option<u64>, wanted: Option<u64>) -> Result<&Revision, ApiError> {
    let meant = |revision: &&Revision| match wanted {
        Some(number) => revision.number == number,
        // One without a number hasn't been seen by its controller, to which the newest that is kept is the previous one.
        None => now.is_none_or(|now| revision.number < now),
    };
    let found = kept.iter().rev().find(meant);
    found.ok_or_else(|| {
        let numbers: Vec<_> = kept.iter().map(|one| one.number.to_string()).collect();
        ApiError::NoSuchRevision {
            kept: match &*numbers.join(", ") {
                "" => "none".into(),
                numbers => numbers.to_owned(),
            },
            now: now.map_or("one without a number".into(), |now| now.to_string()),
        }
    })
}

/// Whether the images of a revision may be set by whoever goes back to it.
fn judge_images(decision: &Decision<'_>, to: &Revision) -> Result<(), ApiError> {
    let Some(rules) = decision.images() else {
        return Ok(());
    };
    for image in to.images() {
        let image = ImageReference::parse(image).map_err(|why| {
            ApiError::Refused(
                "revision",
                format!("its image {image:?} is no reference, since {why}"),
            )
        })?;
        rules.judge(image.repository(), image.tag(), image.digest())?;
    }
    Ok(())
}
