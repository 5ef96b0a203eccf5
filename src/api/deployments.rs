//! `GET /deployments`: every Deployment and its count, one consistent snapshot.

use std::{io::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use tokio::{sync::Mutex, time::Instant};

use super::{
    Api, ApiError, Body, Caller, headers::describe, preconditions, request::min_resource_version,
};
use crate::store::{Snapshot, Store};

/// How long a read waits for `X-Min-Resource-Version`.
pub(super) const WAIT_FOR_VERSION: Duration = Duration::from_secs(5);

/// The last list that was compressed, with its fingerprint: an unchanged one is compressed once.
#[derive(Debug, Default)]
pub(super) struct Compressed(Arc<Mutex<Option<(u64, Bytes)>>>);

pub(super) async fn list(
    api: &Api,
    _caller: &Caller,
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    let wanted = min_resource_version(&request.headers)?;
    caught_up(api, wanted, |now| now.resource_version()).await?;
    let mut snapshot = api.status.store().snapshot();
    let known = request.headers.contains_key(header::IF_NONE_MATCH) && {
        let tag = preconditions::list_tag(snapshot.fingerprint());
        preconditions::not_modified(&request.headers, &tag)
    };
    let mut response = if known {
        not_modified()
    } else if accepts_gzip(&request.headers) {
        let bytes;
        (snapshot, bytes) = api.compressed.newest(api.status.store()).await?;
        let mut response = Body::json(StatusCode::OK, bytes);
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        Body::respond(StatusCode::OK, Arc::clone(&snapshot).list().into())
    };
    let tag = preconditions::list_tag(snapshot.fingerprint());
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    describe(headers, tag, snapshot.resource_version(), api.status.age());
    Ok(response)
}

/// Waits until the store has reached the wanted version; it must be synced.
pub(super) async fn caught_up(
    api: &Api,
    wanted: Option<u64>,
    version: impl Fn(&Snapshot) -> u64,
) -> Result<(), ApiError> {
    if !api.status.store().present().synced() {
        return Err(ApiError::NotSynced);
    }
    if let Some(wanted) = wanted
        && !api
            .status
            .wait_until(Instant::now() + WAIT_FOR_VERSION, |now| {
                version(now) >= wanted
            })
            .await
    {
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
    /// The newest state and its list, compressed once however many ask for it.
    async fn newest(&self, store: &Store) -> Result<(Arc<Snapshot>, Bytes), ApiError> {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        // What came while this waited is in it.
        let snapshot = store.snapshot();
        let fingerprint = snapshot.fingerprint();
        if let Some((of, bytes)) = &*last
            && *of == fingerprint
        {
            return Ok((snapshot, bytes.clone()));
        }
        let list = Arc::clone(&snapshot).list();
        // The work itself holds the lock: a caller that hangs up doesn't let the next one start it again beside it.
        let work = tokio::task::spawn_blocking(move || {
            let bytes = gzip(list);
            *last = Some((fingerprint, bytes.clone()));
            bytes
        });
        let bytes = work.await.map_err(|_| ApiError::Panicked)?;
        Ok((snapshot, bytes))
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
fn accepts_gzip(headers: &HeaderMap) -> bool {
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
