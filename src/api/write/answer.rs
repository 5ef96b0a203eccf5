//! The answer to a write that was made: what was written, and how far its rollout is for those who would wait for it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    super::{
        ApiError, Body,
        also_set_by::{self, also_set_by},
        headers,
        lease::Shown,
        request::prefers_representation,
        rollout::{self, Rollout, Since, State},
    },
    Parameter, Write,
};
use crate::{access::Verb, kubernetes::Written, leases::Lease};

/// The body for those who ask for the representation of what was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Represented<'a, T> {
    #[serde(flatten)]
    own: T,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_before: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<&'a Rollout>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

impl<P: Parameter> Write<P> {
    /// What the rollout has come to by the time that the caller would wait, if it would; an error tells why nothing is known.
    pub(super) async fn rollout(
        &self,
        written: &Written<P::State>,
    ) -> Option<Result<Rollout, ApiError>> {
        let patience = rollout::preferred_wait(&self.headers)?;
        if self.request.dry_run {
            return None;
        }
        let since = Since {
            version: written.resource_version,
            uid: Some(written.uid),
            count: self.parameter.count(written),
        };
        let deadline = Instant::now() + patience;
        let caller = &self.origin.caller;
        let waited = rollout::wait(&self.api, caller, self.request.names(), since, deadline).await;
        Some(waited.map(|(_, _, rollout)| rollout))
    }

    /// Who else sets the count that was written, in sentences.
    pub(in crate::api) fn warnings(&self, written: &Written<P::State>) -> Vec<String> {
        let Some(count) = self.parameter.count(written) else {
            return Vec::new();
        };
        let snapshot = self.api.status.store().snapshot();
        let record = snapshot.get(&self.request.namespace, &self.request.name);
        let all = record.map(|record| also_set_by(&self.api, &record));
        let all = all.unwrap_or_default();
        all.iter().map(|one| one.warning(count)).collect()
    }

    /// The lease that was there, and that it has renewed or ended, or would have: as far as this server knows, and with its holder and
    /// its reason for who may read it.
    pub(in crate::api) async fn lease_before(&self, written: &Written<P::State>) -> Option<Lease> {
        if self.repeated() {
            return None;
        }
        let known = self.judged().and_then(|judged| judged.lease);
        let lease = self.parameter.lease_before(known.as_ref(), written)?;
        let mut lease = lease.clone();
        if !self.may_get().await {
            lease.holder.clear();
            lease.reason = None;
        }
        Some(lease)
    }

    /// Whether its caller may read the Deployment.
    pub(in crate::api) async fn may_get(&self) -> bool {
        let caller = self.origin.session.caller();
        let (ids, names) = (|| &self.origin.ids, self.request.names());
        let asked = self.api.permit(&caller, ids, Verb::Get, names).await;
        asked.is_ok()
    }

    /// What the line of a write that was made begins with: whether it was one at all.
    pub(in crate::api) fn line_begins(&self) -> &'static str {
        if self.request.dry_run {
            "dry run: "
        } else {
            ""
        }
    }

    /// What its caller is told.
    pub(super) async fn answer(
        &self,
        written: &Written<P::State>,
        rollout: Option<&Result<Rollout, ApiError>>,
    ) -> Response<Body> {
        let going_on = match rollout {
            Some(Ok(rollout)) => rollout.status == State::Progressing,
            Some(Err(_)) => true,
            None => false,
        };
        let status = if written.seen && !going_on {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        let representation = prefers_representation(&self.headers);
        let warnings = self.warnings(written);
        let lease = match representation {
            true => self.lease_before(written).await,
            false => None,
        };
        let complete = |rollout: &Rollout| rollout.status == State::Complete;
        let told = rollout.filter(|rollout| !rollout.as_ref().is_ok_and(complete));
        let body = match (representation, told, written.seen) {
            (true, ..) => {
                let representation = Represented {
                    own: self.parameter.representation(&self.request, written),
                    dry_run: self.request.dry_run,
                    lease_before: lease.as_ref().map(|lease| Shown::of(lease, None)),
                    rollout: rollout.and_then(|rollout| rollout.as_ref().ok()),
                    warnings: &warnings,
                };
                // Structs of strings and numbers always have a JSON form.
                serde_json::to_vec(&representation)
                    .unwrap_or_default()
                    .into()
            }
            (false, Some(rollout), _) => {
                let rollout = match rollout {
                    Ok(rollout) => rollout.message().to_owned(),
                    Err(error) => format!("how its rollout goes isn't known: {error}"),
                };
                let message = format!("{}; {rollout}.", P::DONE);
                serde_json::json!({ "message": message }).to_string().into()
            }
            (false, None, true) => self.parameter.updated(written),
            (false, None, false) => Bytes::from_static(P::UPDATED_UNSEEN.as_bytes()),
        };
        let mut response = Body::json(status, body);
        let described = response.headers_mut();
        described.insert(&headers::RESOURCE_VERSION, written.resource_version.into());
        if self.request.dry_run {
            described.insert(&headers::DRY_RUN, HeaderValue::from_static("true"));
        } else {
            described.insert(header::ETAG, headers::text(self.parameter.tag(written)));
        }
        also_set_by::warn(described, &warnings);
        let wait = rollout.and(rollout::preferred_wait(&self.headers));
        let applied = representation.then(|| "return=representation".to_owned());
        let applied: Vec<_> = applied
            .into_iter()
            .chain(wait.map(rollout::applied))
            .collect();
        if !applied.is_empty() {
            described.insert("preference-applied", headers::text(applied.join(", ")));
        }
        response
    }
}
