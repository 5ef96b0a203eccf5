//! Answers that are the same for everybody for as long as the server runs: with a tag, and zipped once.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Body, deployments, headers, preconditions};

/// What is rendered once, and its tag.
pub(super) struct Rendered {
    bytes: Bytes,
    zipped: Bytes,
    tag: String,
}

impl Rendered {
    /// Compresses it, once.
    pub(super) fn of(bytes: Bytes) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Into memory: it can't fail.
        let zipped = encoder
            .write_all(&bytes)
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        let digest: String = digest.as_ref()[..16]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Self {
            bytes,
            zipped: zipped.into(),
            tag: format!("W/\"{digest}\""),
        }
    }

    /// The answer to a `GET`: 304 to whom has it.
    pub(super) fn answer(&self, content_type: &'static str, request: &HeaderMap) -> Response<Body> {
        let mut response = if preconditions::not_modified(request, &self.tag) {
            deployments::not_modified()
        } else if deployments::accepts_gzip(request) {
            let mut response = Body::json(StatusCode::OK, self.zipped.clone());
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            response
        } else {
            Body::json(StatusCode::OK, self.bytes.clone())
        };
        let modified = response.status() == StatusCode::OK;
        let of = response.headers_mut();
        if modified {
            of.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        of.insert(header::ETAG, headers::text(self.tag.clone()));
        of.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        of.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
