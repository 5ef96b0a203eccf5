//! One write that is asked for, and whether its caller may make it: as a request of its own, or as one of a batch.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};

use super::{
    super::{
        Api, ApiError, audit,
        limits::Charged,
        path::valid_names,
        preconditions,
        request::{json_content, whole_body},
        standing,
    },
    Failure, Origin, Parameter, Write,
};
use crate::{
    access::Caller,
    audit::Refused,
    kubernetes::{WriteRequest, field_manager},
};

/// One write, judged as far as what was asked for goes.
pub(in crate::api) struct Asked<P: Parameter> {
    pub(in crate::api) api: Arc<Api>,
    pub(in crate::api) origin: Origin,
    /// Namespace and name, which are valid.
    pub(in crate::api) names: (String, String),
    pub(in crate::api) parameter: P,
    pub(in crate::api) wish: P::Wish,
    /// Preconditions and preferences.
    pub(in crate::api) headers: HeaderMap,
    pub(in crate::api) dry_run: bool,
    /// What tells it from others of its author, if it is to be told.
    pub(in crate::api) mark: Option<String>,
    pub(in crate::api) charged: Charged,
}

impl<P: Parameter> Asked<P> {
    /// Judges whether its caller may make it here; a refusal is told of.
    ///
    /// What was asked for took its time to come, and so may have a reload: what holds now decides.
    pub(in crate::api) async fn judged(self) -> Result<Write<P>, ApiError> {
        let (api, origin) = (&self.api, &self.origin);
        let names = (&*self.names.0, &*self.names.1);
        let caller = origin.session.caller();
        let admitted = match standing(&caller) {
            Ok(()) => api.permit(&caller, || &origin.ids, P::VERB, names).await,
            dismissed => dismissed,
        };
        if let Err(error) = admitted.and_then(|()| writable(api, &caller)) {
            let wish = Some(&self.wish);
            return Err(refused(api, origin, &self.parameter, names, wish, error));
        }
        let request = WriteRequest {
            dry_run: self.dry_run,
            conditional: preconditions::made(&self.headers),
            caller: caller.allowance.id().clone(),
            field_manager: field_manager(caller.name()),
            mark: self.mark,
            namespace: self.names.0,
            name: self.names.1,
        };
        Ok(Write {
            api: self.api,
            origin: self.origin,
            request,
            parameter: self.parameter,
            wish: self.wish,
            headers: self.headers,
            charged: self.charged,
            rule: Mutex::default(),
            judged: Mutex::default(),
            repeated: AtomicBool::default(),
        })
    }
}

/// What is asked for: media type, body, reason, names and the body's content are judged in this order.
pub(super) async fn wish<P, B>(
    api: &Api,
    origin: &Origin,
    parameter: &P,
    names: (&str, &str),
    request: &Parts,
    content: &mut B,
) -> Result<P::Wish, ApiError>
where
    P: Parameter,
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let untyped = P::BODY_OPTIONAL && !request.headers.contains_key(header::CONTENT_TYPE);
    if !untyped {
        json_content(&request.headers)?;
    }
    let most = origin.caller.rules.limits.sizes.body;
    let body = whole_body(api, &origin.caller, request, content, most).await?;
    if untyped && !body.is_empty() {
        return Err(ApiError::UnsupportedMediaType);
    }
    origin.reason.clone()?;
    preconditions::valid(&request.headers)?;
    valid_names(names)?;
    parameter.valid()?;
    parameter.wish(&body)
}

/// Whether this server takes writes now.
pub(in crate::api) fn writable(api: &Api, caller: &Caller) -> Result<(), ApiError> {
    if caller.rules.writes.read_only {
        return Err(ApiError::ReadOnly);
    }
    if !api.status.store().present().synced() {
        return Err(ApiError::NotSynced);
    }
    Ok(())
}

/// Tells of a write that was refused before it was looked at what the cluster has.
pub(in crate::api) fn refused<P: Parameter>(
    api: &Api,
    origin: &Origin,
    parameter: &P,
    names: (&str, &str),
    wish: Option<&P::Wish>,
    error: ApiError,
) -> ApiError {
    let [namespace, name] = [names.0, names.1].map(cut);
    let failure = Failure {
        api,
        origin,
        names: (&namespace, &name),
        wish,
        result: error.status().as_u16(),
        error: &error.logged(),
        message: "a write was refused",
    };
    // One of many, of which the limit's own line tells.
    if !matches!(error, ApiError::TooOften { .. } | ApiError::NoTurn(_)) {
        parameter.log_failed(&failure);
    }
    api.audit.refused(Refused::Request, || {
        audit::failed(parameter, &failure, None)
    });
    error
}

/// No valid name is longer.
fn cut(name: &str) -> String {
    name.chars().take(253).collect()
}
