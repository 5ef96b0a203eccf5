//! `GET /deployments?watch`: a snapshot, then what changes, as server-sent events.

mod sight;
mod stream;
mod wakes;

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body::Frame;

use super::{
    Api, ApiError, Body, authorization,
    deployments::caught_up,
    list_parameters::status_given,
    path::{Route, shown, valid_namespace},
    request,
};
use crate::{
    access::{Caller, Verb},
    generation::Session,
    limits::WatchPlace,
    store::{Shown, Snapshot},
};
use sight::Sight;
use stream::Following;
pub(super) use wakes::Wakes;

/// What is reserved for a watch: its task, its buffers and its connection's.
const RESERVED: usize = 16 * 1024;

/// Whether a request for a list asks to follow it, `?watch` or `?watch=true`, and of which namespace; `None` inside: of all.
pub(super) fn asked<'r>(route: &'r Route<'_>, request: &Parts) -> Option<Option<&'r str>> {
    let namespace = match route {
        Route::Deployments => None,
        Route::NamespaceDeployments { namespace } => Some(&**namespace),
        _ => return None,
    };
    let mut parameters = request.uri.query()?.split('&');
    let asks = |p: &str| p == "watch" || p.starts_with("watch=") && p != "watch=false";
    parameters.any(asks).then_some(namespace)
}

/// Refuses `watch`, however it is spelt, where there is one Deployment: who waits for events would take its answer for the first.
pub(super) fn refuse_of_one(route: &Route<'_>, request: &Parts) -> Result<(), ApiError> {
    let of_one = matches!(
        route,
        Route::Deployment { .. } | Route::Replicas { .. } | Route::Containers { .. }
    );
    let mut parameters = request.uri.query().unwrap_or_default().split('&');
    let asks = |p: &str| {
        let name = p.split('=').next().unwrap_or(p);
        name.eq_ignore_ascii_case("watch") && p != "watch=false"
    };
    if of_one && parameters.any(asks) {
        return Err(ApiError::BadRequest(
            "lists can be watched, one Deployment can't: leave out watch; to wait for another count, read .../replicas with its ETag in If-None-Match and Prefer: wait=SECONDS".into(),
        ));
    }
    Ok(())
}

/// Opens a watch of all Deployments, or of one namespace's.
pub(super) async fn open(
    api: &Arc<Api>,
    session: &Arc<Session>,
    caller: Arc<Caller>,
    namespace: Option<&str>,
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    let shown = judge_query(request.uri.query().unwrap_or_default())?;
    if let Some(namespace) = namespace {
        authorization::authorize_namespace(&caller, Verb::Watch, namespace)?;
        valid_namespace(namespace)?;
    }
    let resume = last_event_id(&request.headers)?;
    let wanted = request::min_resource_version(&request.headers)?;
    let version = |now: &Snapshot| match namespace {
        Some(namespace) => now.resource_version_in(namespace),
        None => now.resource_version(),
    };
    caught_up(api, &caller, None, version).await?;
    // Who may see nothing has nobody wait, and isn't told what is managed.
    Sight::of(api, &caller, (namespace, shown), &BTreeSet::new()).await?;
    if let Some(namespace) = namespace
        && version(&api.status.store().snapshot()) == 0
    {
        return Err(ApiError::NoSuchNamespace(namespace.into()));
    }
    caught_up(api, &caller, wanted, version).await?;
    let place = place(api, &caller)?;
    let reserved = api.reserve(RESERVED)?;
    let sight = Sight::of(api, &caller, (namespace, shown), &BTreeSet::new()).await?;
    let wakes = match shown {
        Shown::Count => &api.wakes,
        Shown::Status => &api.status_wakes,
    };
    let wakes = wakes.subscribe(api, session);
    let following = Following::begin(
        Arc::clone(api),
        Arc::clone(session),
        caller,
        sight,
        resume,
        wakes,
        (place, reserved),
    )?;
    let mut response = Response::new(Body::watch(Watch::new(following)));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let set = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, set("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, set("no-store"));
    Ok(response)
}

/// A place among the watches that there may be.
pub(super) fn place(api: &Api, caller: &Caller) -> Result<WatchPlace, ApiError> {
    let limits = &caller.rules.limits.watches;
    let total = &api.deployments.limiter.watches;
    Ok(WatchPlace::take(limits, total, caller.allowance.watches())?)
}

fn judge_query(query: &str) -> Result<Shown, ApiError> {
    let mut form = Shown::Count;
    for parameter in query.split('&').filter(|p| !p.is_empty()) {
        match parameter {
            "watch" | "watch=" | "watch=true" => {}
            "status=true" => form = Shown::Status,
            "status=false" => {}
            _ if parameter == "status" || parameter.starts_with("status=") => {
                return Err(ApiError::BadRequest(status_given()));
            }
            _ if parameter.starts_with("watch=") => {
                return Err(ApiError::BadRequest(
                    "watch is given without a value, or as true or false".into(),
                ));
            }
            other => {
                return Err(ApiError::BadRequest(format!(
                    "a watch takes no query parameter {} beside status: it shows all that its caller may watch; leave it out",
                    shown(other.split('=').next().unwrap_or(other))
                )));
            }
        }
    }
    Ok(form)
}

/// Where a client was: each scope's version, and which sight it had.
#[derive(Debug, PartialEq, Eq)]
struct LastSeen {
    versions: Vec<u64>,
    sight: Option<u32>,
}

/// `Last-Event-ID`: versions with dots between and, where not all is seen, a dash and eight hexadecimal digits.
fn last_event_id(headers: &HeaderMap) -> Result<Option<LastSeen>, ApiError> {
    let mut given = headers.get_all("last-event-id").iter();
    let Some(id) = given.next() else {
        return Ok(None);
    };
    let read = |id: &HeaderValue| {
        let (versions, sight) = match id.to_str().ok()?.split_once('-') {
            None => (id.to_str().ok()?, None),
            Some((versions, sight)) => {
                let digits = sight.len() == 8 && sight.bytes().all(|b| b.is_ascii_hexdigit());
                let sight = digits.then(|| u32::from_str_radix(sight, 16).ok())??;
                (versions, Some(sight))
            }
        };
        let version = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok())?
        };
        let versions = versions.split('.').map(version).collect::<Option<_>>()?;
        Some(LastSeen { versions, sight })
    };
    match (id.is_empty(), read(id), given.next()) {
        // A client that has no id yet.
        (true, _, None) => Ok(None),
        (_, Some(seen), None) => Ok(Some(seen)),
        _ => Err(ApiError::BadRequest(
            "Last-Event-ID is one id as an event of a watch had it; leave it out to begin with a snapshot".into(),
        )),
    }
}

type Events = Pin<Box<dyn futures_util::Stream<Item = Bytes> + Send>>;

/// The body of a watch's answer.
pub(super) struct Watch(Option<Events>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}

impl Watch {
    fn new(following: Following) -> Self {
        let events = futures_util::stream::unfold(following, Following::next);
        Self(Some(Box::pin(events)))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn poll_frame<E>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let Some(events) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let next = ready!(events.as_mut().poll_next(context));
        if next.is_none() {
            self.0 = None;
        }
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_as_an_event_had_it() {
        let read = |id: &'static str| {
            let id = HeaderValue::from_static(id);
            last_event_id(&HeaderMap::from_iter([(
                "last-event-id".parse().unwrap(),
                id,
            )]))
        };
        let seen = |versions: &[u64], sight| {
            let versions = versions.to_vec();
            Ok(Some(LastSeen { versions, sight }))
        };
        assert_eq!(read("17"), seen(&[17], None));
        assert_eq!(read("17.4-0000002a"), seen(&[17, 4], Some(42)));
        assert_eq!(read(""), Ok(None));
        for bad in [
            "x",
            "-1",
            "1.",
            ".1",
            "1-",
            "1-2a",
            "1-0000002g",
            "1 ",
            "+1",
            "99999999999999999999999",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
