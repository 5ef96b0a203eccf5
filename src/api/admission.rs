//! Whether a request is let in: its sizes, its caller's certificates, the permission that its path needs, the memory for it.

use http::{header, request::Parts};

use super::{
    Api, ApiError, authorization, cross_site,
    path::{self, Route},
    watch,
};
use crate::{
    access::{Caller, Verb},
    limits::{Pressure, Sizes},
    telemetry::request::{Ids, OfRequest},
    tls::Refusal,
};

/// More headers are 431: hyper takes no more over HTTP/1.1, and each costs far more memory than its bytes.
const MOST_HEADERS: usize = 100;

/// What is judged before anything else: sizes and the Host. Bytes of URI and headers.
pub(super) fn acceptable(request: &Parts, sizes: &Sizes) -> Result<usize, ApiError> {
    let uri = request.uri.path_and_query().map_or(0, |p| p.as_str().len());
    if uri > sizes.uri {
        return Err(ApiError::UriTooLong { most: sizes.uri });
    }
    if request.headers.len() > MOST_HEADERS {
        return Err(ApiError::TooManyHeaders { most: MOST_HEADERS });
    }
    // As they stand on the wire in HTTP/1.1: name, colon, space, value, line end.
    let headers: usize = request
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if headers > sizes.headers {
        return Err(ApiError::HeadersTooLarge {
            most: sizes.headers,
        });
    }
    let hosts = request.headers.get_all(header::HOST).iter().count();
    match (hosts, request.uri.authority()) {
        (1, _) | (0, Some(_)) => Ok(uri + headers),
        (0, None) => Err(ApiError::BadRequest(
            "the request has no Host header; send exactly one".into(),
        )),
        _ => Err(ApiError::BadRequest(
            "the request has more than one Host header; send exactly one".into(),
        )),
    }
}

/// Whether the certificates that opened a connection still count: otherwise the answer to every request on it.
pub(super) fn standing(caller: &Caller) -> Result<(), ApiError> {
    match &caller.refused {
        None => Ok(()),
        Some(refusal) if refusal.reason == "Expired" => Err(ApiError::CertificateExpired),
        Some(Refusal { reason, .. }) => Err(ApiError::CertificateRefused { reason }),
    }
}

impl Api {
    /// Whether there is memory for requests to this path.
    pub(super) fn affordable(&self, route: &Route<'_>, writes: bool) -> Result<(), ApiError> {
        let needs_none = match route {
            Route::Page | Route::PageFile { .. } | Route::Health | Route::WhoAmI => true,
            Route::Replicas { .. } => !writes,
            _ => false,
        };
        if needs_none || self.metrics.memory.pressure() < Pressure::Short {
            return Ok(());
        }
        Err(ApiError::ShortOfMemory)
    }

    /// Whether the caller is let in still, and has the permission that a path needs with this method: health and whoami need none.
    pub(super) async fn admit(
        &self,
        caller: &Caller,
        asked: &OfRequest<'_>,
        route: &Route<'_>,
        request: &Parts,
    ) -> Result<(), ApiError> {
        standing(caller)?;
        if path::writes(&request.method) {
            cross_site::judge(request)?;
        }
        let Some(verb) = route.verb(&request.method) else {
            return Ok(());
        };
        let verb = watch::asked(route, request).map_or(verb, |_| Verb::Watch);
        match route.names() {
            Some(names) => self.permit(caller, || asked.ids(), verb, names).await,
            // What the caller may see of them is found out with the list.
            None => authorization::authorize_list(caller, verb),
        }
    }

    /// Whether the caller has a permission for one Deployment.
    pub(super) async fn permit<'i>(
        &self,
        caller: &Caller,
        ids: impl FnOnce() -> &'i Ids,
        verb: Verb,
        names: (&str, &str),
    ) -> Result<(), ApiError> {
        authorization::authorize(self, caller, verb, names)?;
        match &caller.rules.reviewer {
            None => Ok(()),
            // Boxed: who doesn't ask doesn't carry it around.
            Some(reviewer) => {
                let review = authorization::review(reviewer, caller, verb, names);
                ids().scope(Box::pin(review)).await
            }
        }
    }
}
