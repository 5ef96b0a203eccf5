//! The names of our own headers, and what every read says in headers.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) use crate::telemetry::request::REQUEST_ID;

/// Why a write is made.
pub(super) static REASON: HeaderName = HeaderName::from_static("x-reason");
/// The resourceVersion that an answer shows.
pub(super) static RESOURCE_VERSION: HeaderName = HeaderName::from_static("x-resource-version");
/// The resourceVersion that a read has to show at least.
pub(super) static MIN_RESOURCE_VERSION: HeaderName =
    HeaderName::from_static("x-min-resource-version");
/// Who else sets the count that a read shows.
pub(super) static ALSO_SET_BY: HeaderName = HeaderName::from_static("x-also-set-by");
/// Says that a write changed nothing, as asked.
pub(super) static DRY_RUN: HeaderName = HeaderName::from_static("x-dry-run");

/// The headers that every read has.
pub(super) fn describe(headers: &mut HeaderMap, tag: String, version: u64, age: Duration) {
    headers.insert(header::ETAG, text(tag));
    headers.insert(&RESOURCE_VERSION, number(version));
    headers.insert(header::AGE, number(age.as_secs()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

/// The value of a text that we made ourselves.
pub(super) fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn number(number: u64) -> HeaderValue {
    // The usual ages, which are worth no allocation.
    const SMALL: [&str; 4] = ["0", "1", "2", "3"];
    if let Some(small) = SMALL.get(number as usize) {
        return HeaderValue::from_static(small);
    }
    let mut digits = itoa::Buffer::new();
    HeaderValue::from_str(digits.format(number)).unwrap_or(HeaderValue::from_static("0"))
}
