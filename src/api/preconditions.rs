//! Conditional requests (RFC 9110, section 13): 304 for what hasn't changed, 412 for what has.

use http::{HeaderMap, HeaderName, header};
use uuid::Uuid;

use super::ApiError;
use crate::store::Record;

/// The strong tag of one count: which object, and which count. A new status leaves it as it was.
pub(super) fn count_tag(uid: Uuid, replicas: i32) -> String {
    let mut tag = String::with_capacity(2 + 36 + 1 + 11);
    tag.push('"');
    tag.push_str(uid.hyphenated().encode_lower(&mut [0; 36]));
    tag.push('-');
    tag.push_str(itoa::Buffer::new().format(replicas));
    tag.push('"');
    tag
}

/// The strong tag of one version of a Deployment, its status included.
pub(super) fn version_tag(uid: Uuid, version: u64) -> String {
    format!("\"{uid}-v{version}\"")
}

/// The weak tag of a list, the same in every coding.
pub(super) fn list_tag(fingerprint: u64) -> String {
    format!("W/\"{fingerprint:016x}\"")
}

/// Whether the caller has the representation with this tag already (`If-None-Match`, weak comparison).
pub(super) fn not_modified(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    any(headers, &header::IF_NONE_MATCH, |given| {
        given == "*" || opaque(given) == opaque(tag)
    })
}

/// Judges a write of a count by `If-Match` and `If-None-Match`.
pub(super) fn judge(headers: &HeaderMap, record: &Record<'_>) -> Result<(), ApiError> {
    unless_changed(
        headers,
        || count_tag(record.uid(), record.replicas()),
        |tag| ApiError::PreconditionFailed {
            now: record.replicas(),
            tag,
        },
    )
}

/// Whether a request has any precondition.
pub(super) fn made(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH)
}

/// Judges a write by `If-Match` (strong comparison) and `If-None-Match`: this is where a 412 is decided.
pub(super) fn unless_changed(
    headers: &HeaderMap,
    tag: impl FnOnce() -> String,
    changed: impl FnOnce(String) -> ApiError,
) -> Result<(), ApiError> {
    if !made(headers) {
        return Ok(());
    }
    let tag = tag();
    let matches = !headers.contains_key(header::IF_MATCH)
        || any(headers, &header::IF_MATCH, |given| {
            given == "*" || given == tag
        });
    if matches && !not_modified(headers, &tag) {
        Ok(())
    } else {
        Err(changed(tag))
    }
}

/// Whether one of the tags in a header fits. Our own tags have no commas, so splitting at commas never cuts one.
fn any(headers: &HeaderMap, name: &HeaderName, fits: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|tag| fits(tag.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn if_none_match_compares_weakly_and_knows_lists_and_the_asterisk() {
        let tag = list_tag(255);
        assert_eq!(tag, "W/\"00000000000000ff\"");
        for given in [
            &tag[..],
            "\"00000000000000ff\"",
            "\"x\", W/\"00000000000000ff\"",
            "*",
        ] {
            assert!(
                not_modified(&headers(header::IF_NONE_MATCH, given), &tag),
                "{given}"
            );
        }
        for given in ["\"x\"", "00000000000000ff", ""] {
            assert!(
                !not_modified(&headers(header::IF_NONE_MATCH, given), &tag),
                "{given}"
            );
        }
        assert!(!not_modified(&HeaderMap::new(), &tag));
    }
}
