//! A read of one count that waits until it is another: `If-None-Match` with `Prefer: wait=SECONDS`.

use std::{sync::Arc, time::Duration};

use http::{Response, header, request::Parts};
use tokio::time::{Instant, timeout_at};

use super::{
    Api, ApiError, Body, deployments::caught_up, headers, path::valid_names, preconditions,
    replicas, request, rollout, standing, watch,
};
use crate::{
    access::{Caller, Verb},
    generation::Session,
    store::Snapshot,
    telemetry::request::OfRequest,
};

/// What is reserved for a request that waits: its task, its buffers and its connection's.
const RESERVED: usize = 16 * 1024;

/// Reads one count, once it isn't the one that the caller has, if it would wait for that.
pub(super) async fn get(
    api: &Arc<Api>,
    session: &Session,
    caller: &Arc<Caller>,
    asked: &OfRequest<'_>,
    names: (&str, &str),
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    let conditional = request.headers.contains_key(header::IF_NONE_MATCH);
    let wait = conditional.then(|| rollout::preferred_wait(&request.headers));
    match wait.flatten() {
        None => replicas::get(api, caller, names, request).await,
        Some(wait) => {
            let poll = poll(api, session, caller, asked, names, request, wait);
            Box::pin(poll).await
        }
    }
}

async fn poll(
    api: &Arc<Api>,
    session: &Session,
    caller: &Arc<Caller>,
    asked: &OfRequest<'_>,
    names: (&str, &str),
    request: &Parts,
    wait: Duration,
) -> Result<Response<Body>, ApiError> {
    valid_names(names)?;
    let wanted = request::min_resource_version(&request.headers)?;
    caught_up(api, caller, wanted, replicas::version_in(names.0)).await?;
    let same = |now: &Snapshot| {
        now.get(names.0, names.1).is_some_and(|record| {
            let tag = preconditions::count_tag(record.uid(), record.replicas());
            preconditions::not_modified(&request.headers, &tag)
        })
    };
    let mut now = Arc::clone(caller);
    if same(&api.status.store().present()) {
        let _place = watch::place(api, caller)?;
        let _reserved = api.reserve(RESERVED)?;
        let mut woken = api.wakes.subscribe(api, session);
        let expiry = Instant::now() + caller.identity.time_left();
        let deadline = expiry.min(Instant::now() + wait);
        loop {
            // Before the look at the store, so that nothing falls between the two.
            woken.borrow_and_update();
            now = session.caller();
            let decided = api.closing.is_cancelled() || !Arc::ptr_eq(&now, caller);
            if decided || !same(&api.status.store().present()) {
                break;
            }
            if !matches!(timeout_at(deadline, woken.changed()).await, Ok(Ok(()))) {
                now = session.caller();
                break;
            }
        }
        // Access may have ended meanwhile.
        standing(&now)?;
        api.permit(&now, || asked.ids(), Verb::Get, names).await?;
    }
    let mut response = replicas::get(api, &now, names, request).await?;
    let applied = headers::text(rollout::applied(wait));
    response.headers_mut().insert("preference-applied", applied);
    Ok(response)
}
