//! What a batch is answered with: what became of each, and what it was before.

use http::{HeaderValue, Response, StatusCode};
use serde::{Serialize, Serializer};

use super::{
    super::{ApiError, Body, error::seconds, headers, lease::Shown},
    run::Done,
    snapshot::Snapshot,
};
use crate::{kubernetes::Written, leases::Lease, limits::Reservation};

/// The longest sentence of one, in characters: those of admission webhooks may be of any length.
const LONGEST: usize = 512;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    results: Vec<Told>,
    succeeded: usize,
    failed: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot>,
}

/// What became of one Deployment.
#[derive(Serialize)]
struct Told {
    namespace: String,
    name: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// The lease that a write has renewed or ended.
pub(super) struct LeaseBefore(Lease);

impl Serialize for LeaseBefore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::of(&self.0, None).serialize(serializer)
    }
}

/// What became of one write.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    #[serde(rename_all = "camelCase")]
    Made {
        status: u16,
        replica_count: i32,
        previous_replica_count: i32,
        changed: bool,
        resource_version: String,
        /// Of a lease: when it ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        lease_before: Option<Box<LeaseBefore>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
        #[serde(skip)]
        version: u64,
    },
    #[serde(rename_all = "camelCase")]
    Failed {
        status: u16,
        error: String,
        /// Seconds, as in a `Retry-After`.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
}

impl Outcome {
    pub(super) fn made(
        written: &Written<i32>,
        warnings: Vec<String>,
        until: Option<String>,
        lease_before: Option<Lease>,
    ) -> Self {
        let status = if written.seen {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        Self::Made {
            status: status.as_u16(),
            replica_count: written.now,
            previous_replica_count: written.previous,
            changed: written.now != written.previous,
            resource_version: written.resource_version.to_string(),
            until,
            lease_before: lease_before.map(|lease| Box::new(LeaseBefore(lease))),
            warnings,
            version: written.resource_version,
        }
    }

    pub(super) fn failed(error: &ApiError) -> Self {
        let whole = error.to_string();
        let mut sentence: String = whole.chars().take(LONGEST).collect();
        if sentence.len() < whole.len() {
            sentence.push('…');
        }
        Self::Failed {
            status: error.status().as_u16(),
            error: sentence,
            retry_after: error.retry_after().as_ref().map(seconds),
        }
    }

    /// The version that was made, or left.
    fn version(&self) -> Option<u64> {
        match self {
            Self::Made { version, .. } => Some(*version),
            Self::Failed { .. } => None,
        }
    }
}

/// The answer to a batch, with its snapshot if that is to be told.
pub(super) fn answer(
    done: Vec<Done>,
    dry_run: bool,
    snapshot: bool,
    mut reserved: Reservation,
) -> Response<Body> {
    let (mut results, mut items) = (Vec::with_capacity(done.len()), Vec::new());
    for Done {
        names: (namespace, name),
        outcome,
        before,
    } in done
    {
        items.extend(before);
        results.push(Told {
            namespace,
            name,
            outcome,
        });
    }
    let newest = results.iter().filter_map(|one| one.outcome.version()).max();
    let made = results.iter().filter(|one| one.outcome.version().is_some());
    let succeeded = made.count();
    let answer = Answer {
        succeeded,
        failed: results.len() - succeeded,
        results,
        dry_run,
        snapshot: snapshot.then(|| Snapshot::of(items)),
    };
    // Structs of strings and numbers always have a JSON form.
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    reserved.shrink(text.len());
    let mut response = Body::respond(StatusCode::OK, Body::reserved(text.into(), reserved));
    let described = response.headers_mut();
    if dry_run {
        described.insert(&headers::DRY_RUN, HeaderValue::from_static("true"));
    }
    if let Some(newest) = newest {
        described.insert(&headers::RESOURCE_VERSION, newest.into());
    }
    response
}
