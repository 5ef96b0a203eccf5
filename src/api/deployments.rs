//! `GET /deployments`: every Deployment and its count, one consistent snapshot.

use std::{io::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use tokio::{sync::Mutex, time::Instant};

use super::{
    Api, ApiError, Body, authorization, headers::describe, limits, preconditions,
    request::min_resource_version,
};
use crate::{
    access::{Caller, Verb},
    store::{ListBody, Snapshot, View},
};

/// How long a read waits for `X-Min-Resource-Version`.
pub(super) const WAIT_FOR_VERSION: Duration = Duration::from_secs(5);

/// The last list that was compressed: an unchanged one is compressed once.
#[derive(Debug, Default)]
pub(super) struct Compressed(Arc<Mutex<Option<Zipped>>>);

/// A whole list, compressed.
#[derive(Debug, Clone)]
struct Zipped {
    /// When its state was the newest.
    at: Instant,
    fingerprint: u64,
    resource_version: u64,
    bytes: Bytes,
}

/// A list of more than this is searched for what its caller may see on a thread on which nobody waits for a read.
const SEARCHED_AT_ONCE: usize = 2000;

pub(super) async fn list(
    api: &Api,
    caller: &Arc<Caller>,
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    let wanted = min_resource_version(&request.headers)?;
    caught_up(api, caller, wanted, |now| now.resource_version()).await?;
    let snapshot = api.status.store().snapshot();
    let pin = api.pins.pin(&api.metrics.memory, &snapshot);
    let pin = pin.ok_or(ApiError::ShortOfMemory)?;
    let seen = Seen::by(api, caller, snapshot).await?;
    let mut shown = (seen.fingerprint(), seen.snapshot().resource_version());
    let known = request.headers.contains_key(header::IF_NONE_MATCH)
        && preconditions::not_modified(&request.headers, &preconditions::list_tag(shown.0));
    let mut response = if known {
        not_modified()
    } else if accepts_gzip(&request.headers) {
        let (bytes, reserved) = match seen {
            // However many ask for it, it is compressed once, and then it is the newest.
            Seen::All(_) => {
                let zipped = api.compressed.newest(api).await?;
                shown = (zipped.fingerprint, zipped.resource_version);
                let reserved = api.reserve(zipped.bytes.len())?;
                (zipped.bytes, reserved)
            }
            Seen::Part(view) => {
                let list = view.list();
                let mut reserved = api.reserve(view.list_len())?;
                let bytes = aside(api, caller, move || gzip(list)).await?;
                reserved.shrink(bytes.len());
                (bytes, reserved)
            }
        };
        let mut response = Body::respond(StatusCode::OK, Body::reserved(bytes, reserved));
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        Body::respond(StatusCode::OK, Body::list(seen.list(), pin))
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let (fingerprint, version) = shown;
    let tag = preconditions::list_tag(fingerprint);
    describe(headers, tag, version, api.status.age());
    Ok(response)
}

/// Does what takes a while on a thread on which no request waits. Its turn ends with the work: who hangs up and asks again waits.
async fn aside<T: Send + 'static>(
    api: &Api,
    caller: &Caller,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let lists = &api.deployments.limiter.lists;
    let turn = lists.take(caller.allowance.id()).await?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    done.await.map_err(|_| ApiError::Panicked)
}

/// A snapshot as its caller may see it.
enum Seen {
    All(Arc<Snapshot>),
    Part(View),
}

impl Seen {
    async fn by(
        api: &Api,
        caller: &Arc<Caller>,
        snapshot: Arc<Snapshot>,
    ) -> Result<Self, ApiError> {
        let view = if let Some(reviewer) = &caller.rules.reviewer {
            let view = authorization::reviewed_view(reviewer, caller, Verb::List, &snapshot);
            Box::pin(view).await?
        } else if snapshot.len() <= SEARCHED_AT_ONCE
            || caller.permissions.sees_everything(Verb::List)
        {
            authorization::view(caller, Verb::List, &snapshot)?
        } else {
            let (by, snapshot) = (Arc::clone(caller), Arc::clone(&snapshot));
            let search = move || authorization::view(&by, Verb::List, &snapshot);
            aside(api, caller, search).await??
        };
        Ok(view.map_or(Self::All(snapshot), Self::Part))
    }

    fn snapshot(&self) -> &Arc<Snapshot> {
        match self {
            Self::All(snapshot) => snapshot,
            Self::Part(view) => view.snapshot(),
        }
    }

    fn fingerprint(&self) -> u64 {
        match self {
            Self::All(snapshot) => snapshot.fingerprint(),
            Self::Part(view) => view.fingerprint(),
        }
    }

    fn list(&self) -> ListBody {
        match self {
            Self::All(snapshot) => Arc::clone(snapshot).list(),
            Self::Part(view) => view.list(),
        }
    }
}

/// What is reserved for a request that waits: its task, its buffers and its connection's.
const WAITING: usize = 64 * 1024;

/// Waits until the store has reached the wanted version; it must be synced.
pub(super) async fn caught_up(
    api: &Api,
    caller: &Caller,
    wanted: Option<u64>,
    version: impl Fn(&Snapshot) -> u64,
) -> Result<(), ApiError> {
    if !api.status.store().present().synced() {
        return Err(ApiError::NotSynced);
    }
    let Some(wanted) = wanted else { return Ok(()) };
    let reached = |now: &Snapshot| version(now) >= wanted;
    if reached(&api.status.store().snapshot()) {
        return Ok(());
    }
    let _turn = Box::pin(limits::turn(api, caller)).await?;
    let _waiting = api.reserve(WAITING)?;
    let deadline = Instant::now() + WAIT_FOR_VERSION;
    if !api.status.wait_until(deadline, reached).await {
        return Err(ApiError::BehindVersion(wanted, WAIT_FOR_VERSION));
    }
    Ok(())
}

/// The answer to a caller who has it already.
pub(super) fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

impl Compressed {
    /// The list as it is, or was at some moment since it was asked for: whoever waits does so for two compressions at most, that which
    /// is under way and the next, however many wait and however fast it changes.
    async fn newest(&self, api: &Api) -> Result<Zipped, ApiError> {
        let asked = Instant::now();
        let mut last = Arc::clone(&self.0).lock_owned().await;
        let at = Instant::now();
        let snapshot = api.status.store().snapshot();
        let fingerprint = snapshot.fingerprint();
        let resource_version = snapshot.resource_version();
        match &*last {
            Some(last) if last.at > asked => return Ok(last.clone()),
            Some(last) if last.fingerprint == fingerprint => {
                return Ok(Zipped {
                    resource_version,
                    ..last.clone()
                });
            }
            _ => {}
        }
        let reserved = api.reserve(snapshot.list_len())?;
        // The work itself holds the lock: a caller that hangs up doesn't let the next one start it again beside it.
        let work = tokio::task::spawn_blocking(move || {
            let zipped = Zipped {
                at,
                fingerprint,
                resource_version,
                bytes: gzip(snapshot.list()),
            };
            *last = Some(zipped.clone());
            drop(reserved);
            zipped
        });
        work.await.map_err(|_| ApiError::Panicked)
    }
}

/// One gzip member: clients of several kinds stop after the first.
fn gzip(pieces: impl Iterator<Item = Bytes>) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in pieces {
        // Writing into a Vec can't fail.
        let _ = encoder.write_all(&piece);
    }
    encoder.finish().unwrap_or_default().into()
}

/// Whether gzip is acceptable (RFC 9110, 12.5.3): named, or meant by `*`, and not with a weight of 0.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    let mut by_star = false;
    for coding in codings {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.split(';').find_map(|p| {
            let (name, weight) = p.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("q")
                .then(|| weight.trim().parse().unwrap_or(0.0))
        });
        let acceptable = weight.unwrap_or(1.0f32) > 0.0;
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                return acceptable;
            }
            "*" => by_star = acceptable,
            _ => {}
        }
    }
    by_star
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_accept_it() {
        let accepts = |text: &str| {
            accepts_gzip(&HeaderMap::from_iter([(
                header::ACCEPT_ENCODING,
                text.parse().unwrap(),
            )]))
        };
        for yes in [
            "gzip",
            "br, gzip;q=0.5",
            "GZIP",
            "*",
            "x-gzip",
            "identity;q=0, *;q=0.1",
        ] {
            assert!(accepts(yes), "{yes}");
        }
        for no in [
            "",
            "br",
            "gzip;q=0",
            "gzip;Q=0",
            "gzip;q=0, *",
            "identity",
            "*;q=0",
        ] {
            assert!(!accepts(no), "{no}");
        }
    }
}
