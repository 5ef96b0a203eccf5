//! `GET` and `PUT /namespaces/{namespace}/deployments/{name}/replicas`: one count.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use serde::Serialize;
use tracing::{info, warn};

use super::{
    Api, ApiError, Body, Caller,
    deployments::{caught_up, not_modified},
    headers::{self, describe},
    path::valid_names,
    preconditions,
    request::{
        RequestId, Trace, dry_run, json_content, min_resource_version, prefers_representation,
        replica_count, whole_body,
    },
};
use crate::{
    kubernetes::{ScaleError, ScaleRequest, Scaled},
    store::{Record, Snapshot},
};

const UPDATED: &str = r#"{"message":"Replica count updated successfully."}"#;
const UPDATED_UNSEEN: &str =
    r#"{"message":"Replica count updated; this server's copy has not caught up yet."}"#;

pub(super) async fn get(
    api: &Api,
    names: (&str, &str),
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    valid_names(names)?;
    let (namespace, name) = names;
    let wanted = min_resource_version(&request.headers)?;
    // A synced store has no version only for a namespace that isn't managed: nothing to wait for.
    let version = |now: &Snapshot| match now.resource_version_in(namespace) {
        0 => u64::MAX,
        version => version,
    };
    caught_up(api, wanted, version).await?;
    let snapshot = api.status.store().present();
    let record = snapshot
        .get(namespace, name)
        .ok_or_else(|| no_such(names))?;
    let tag = preconditions::count_tag(record.uid(), record.replicas());
    let mut response = if preconditions::not_modified(&request.headers, &tag) {
        not_modified()
    } else {
        Body::json(StatusCode::OK, record.json())
    };
    describe(
        response.headers_mut(),
        tag,
        record.resource_version(),
        api.status.age(),
    );
    Ok(response)
}

fn no_such((namespace, name): (&str, &str)) -> ApiError {
    ApiError::NoSuchDeployment {
        namespace: namespace.into(),
        name: name.into(),
    }
}

pub(super) async fn put<B>(
    api: &Arc<Api>,
    caller: &Arc<Caller>,
    id: &RequestId,
    names: (&str, &str),
    request: &Parts,
    content: &mut B,
) -> Result<Response<Body>, ApiError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut wanted = None;
    let (replicas, dry_run) = match asked(api, caller, names, request, content, &mut wanted).await {
        Ok(asked) => asked,
        Err(error) => {
            log_refused(api, caller, id, names, request, wanted, &error);
            return Err(error);
        }
    };
    let trace = Trace::of(&request.headers);
    let scale = ScaleRequest {
        namespace: names.0.into(),
        name: names.1.into(),
        replicas,
        dry_run,
        traceparent: trace.traceparent(),
    };
    let write = Write {
        api: Arc::clone(api),
        caller: Arc::clone(caller),
        id: id.clone(),
        trace,
        scale,
        headers: request.headers.clone(),
    };
    // A task of its own: the write goes on, and is logged, when the caller hangs up.
    api.tasks
        .spawn(write.run())
        .await
        .unwrap_or(Err(ApiError::Panicked))
}

/// The count and whether it is a dry run, once nothing is wrong with the request; `wanted` has the count earlier.
async fn asked<B>(
    api: &Api,
    caller: &Caller,
    names: (&str, &str),
    request: &Parts,
    content: &mut B,
    wanted: &mut Option<i32>,
) -> Result<(i32, bool), ApiError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    json_content(&request.headers)?;
    let body = whole_body(request, content).await?;
    valid_names(names)?;
    let replicas = replica_count(&body)?;
    *wanted = Some(replicas);
    let dry_run = dry_run(request.uri.query())?;
    if caller.rules.writes.read_only {
        return Err(ApiError::ReadOnly);
    }
    if !api.status.store().present().synced() {
        return Err(ApiError::NotSynced);
    }
    Ok((replicas, dry_run))
}

/// The count that the store has, for the log.
fn known(api: &Api, (namespace, name): (&str, &str)) -> Option<i32> {
    let snapshot = api.status.store().snapshot();
    snapshot.get(namespace, name).map(|r| r.replicas())
}

/// Tells of a write that was refused before the cluster was asked. The names may be anything, so the message has none.
pub(super) fn log_refused(
    api: &Api,
    caller: &Caller,
    id: &RequestId,
    names: (&str, &str),
    request: &Parts,
    to: Option<i32>,
    told: &ApiError,
) {
    let trace = Trace::of(&request.headers);
    let [namespace, name] = [names.0, names.1].map(cut);
    let error = match told {
        ApiError::BadBody(_) => ApiError::BadBody(String::new()),
        other => other.clone(),
    };
    warn!(name: "scale.failed", subject = %caller.identity.subject, serial = %caller.identity.serial,
        issuer = %caller.identity.issuer, address = %caller.address, namespace = %namespace, name = %name,
        from = known(api, names), to, result = told.status().as_u16(), error = %error,
        request_id = id.as_str(), trace_id = %trace.trace_id, span_id = %trace.span_id, "a write was refused");
}

/// No valid name is longer.
fn cut(name: &str) -> String {
    name.chars().take(253).collect()
}

/// A write that is judged, sent, waited for and logged.
struct Write {
    api: Arc<Api>,
    caller: Arc<Caller>,
    id: RequestId,
    trace: Trace,
    scale: ScaleRequest,
    headers: HeaderMap,
}

impl Write {
    async fn run(self) -> Result<Response<Body>, ApiError> {
        let Self {
            api,
            scale,
            headers,
            ..
        } = &self;
        let max_replicas = self.caller.rules.writes.max_replicas;
        let judge = |record: Record<'_>| {
            if record.deleting() {
                return Err(ApiError::BeingDeleted);
            }
            preconditions::judge(headers, &record)?;
            if scale.replicas > max_replicas {
                return Err(ApiError::AboveBound {
                    count: scale.replicas,
                    bound: max_replicas,
                });
            }
            Ok(())
        };
        match api.scaler.scale(scale, judge).await {
            Ok(scaled) => {
                self.log_applied(&scaled);
                Ok(self.answer(&scaled))
            }
            Err(error) => Err(self.log_failed(error)),
        }
    }

    fn answer(&self, scaled: &Scaled) -> Response<Body> {
        let status = if scaled.seen {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        let representation = prefers_representation(&self.headers);
        let body = match (representation, scaled.seen) {
            (true, _) => Bytes::from(self.representation(scaled)),
            (false, true) => Bytes::from_static(UPDATED.as_bytes()),
            (false, false) => Bytes::from_static(UPDATED_UNSEEN.as_bytes()),
        };
        let mut response = Body::json(status, body);
        let described = response.headers_mut();
        described.insert(&headers::RESOURCE_VERSION, scaled.resource_version.into());
        if self.scale.dry_run {
            described.insert(&headers::DRY_RUN, HeaderValue::from_static("true"));
        } else {
            let tag = preconditions::count_tag(scaled.uid, scaled.replicas);
            described.insert(header::ETAG, headers::text(tag));
        }
        if representation {
            described.insert(
                "preference-applied",
                HeaderValue::from_static("return=representation"),
            );
        }
        response
    }

    fn representation(&self, scaled: &Scaled) -> Vec<u8> {
        let representation = Representation {
            namespace: &self.scale.namespace,
            name: &self.scale.name,
            replica_count: scaled.replicas,
            previous_replica_count: scaled.previous,
            changed: scaled.replicas != scaled.previous,
            resource_version: scaled.resource_version.to_string(),
        };
        // A struct of strings and numbers always has a JSON form.
        serde_json::to_vec(&representation).unwrap_or_default()
    }

    fn log_applied(&self, scaled: &Scaled) {
        let Self {
            caller,
            id,
            trace,
            scale,
            ..
        } = self;
        let result = match (scale.dry_run, scaled.seen) {
            (true, _) => "dry run",
            (false, true) => "updated",
            (false, false) => "updated, not seen yet",
        };
        info!(name: "scale.applied", subject = %caller.identity.subject, serial = %caller.identity.serial, issuer = %caller.identity.issuer, address = %caller.address,
            namespace = %scale.namespace, name = %scale.name, from = scaled.previous, to = scaled.replicas, result,
            resource_version = scaled.resource_version, request_id = id.as_str(), trace_id = %trace.trace_id, span_id = %trace.span_id,
            "Deployment {}/{} set from {} to {} replicas", scale.namespace, scale.name, scaled.previous, scaled.replicas);
    }

    fn log_failed(&self, error: ScaleError<ApiError>) -> ApiError {
        let Self {
            api,
            caller,
            id,
            trace,
            scale,
            ..
        } = self;
        // What the caller isn't told of the cluster's words stays here.
        let words = error.to_string();
        let from = known(api, (&scale.namespace, &scale.name));
        let told = ApiError::of_scale(error, &scale.namespace, &scale.name);
        let detail = if told.status().is_server_error() {
            words
        } else {
            told.to_string()
        };
        warn!(name: "scale.failed", subject = %caller.identity.subject, serial = %caller.identity.serial, issuer = %caller.identity.issuer, address = %caller.address,
            namespace = %scale.namespace, name = %scale.name, from, to = scale.replicas, result = told.status().as_u16(), error = %detail,
            request_id = id.as_str(), trace_id = %trace.trace_id, span_id = %trace.span_id,
            "Deployment {}/{} not set to {} replicas", scale.namespace, scale.name, scale.replicas);
        told
    }
}

/// What was written, for those who ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    replica_count: i32,
    previous_replica_count: i32,
    changed: bool,
    resource_version: String,
}
