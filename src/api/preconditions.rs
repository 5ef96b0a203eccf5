//! Conditional requests (RFC 9110, section 13): 304 for what hasn't changed, 412 for what has.

use std::hash::{DefaultHasher, Hasher as _};

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

/// The strong tag of a detail: of that version, and of all else that is told beside it. A precondition of a write with such a tag is
/// one of that version.
pub(super) fn detail_tag(uid: Uuid, version: u64, body: &[u8]) -> String {
    let mut print = DefaultHasher::new();
    print.write(body);
    format!("\"{uid}-v{version}-{:016x}\"", print.finish())
}

/// The weak tag of a list, the same in every coding.
pub(super) fn list_tag(fingerprint: u64) -> String {
    format!("W/\"{fingerprint:016x}\"")
}

/// Whether the caller has the representation with this tag already (`If-None-Match`, weak comparison).
pub(super) fn not_modified(headers: &HeaderMap, tag: &str) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.strip_prefix("W/").unwrap_or(tag)
    }
    asterisk(headers, &header::IF_NONE_MATCH)
        || any(headers, &header::IF_NONE_MATCH, |given| {
            names(opaque(given), opaque(tag))
        })
}

/// Whether a given tag is this one, or a detail's of this version.
fn names(given: &str, tag: &str) -> bool {
    let version = tag.strip_suffix('"').unwrap_or(tag);
    let rest = given.strip_prefix(version);
    rest.is_some_and(|rest| rest == "\"" || rest.starts_with('-'))
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

/// Refuses an asterisk beside tags in a write's preconditions: it stands alone.
pub(super) fn valid(headers: &HeaderMap) -> Result<(), ApiError> {
    for (name, shown) in [
        (header::IF_MATCH, "If-Match"),
        (header::IF_NONE_MATCH, "If-None-Match"),
    ] {
        if any(headers, &name, |given| given == "*") && !asterisk(headers, &name) {
            return Err(ApiError::BadRequest(format!(
                "{shown} is either * alone or entity tags in their quotes with commas between them, as ETag gave them"
            )));
        }
    }
    Ok(())
}

/// Whether a header is the asterisk, which stands alone (RFC 9110, 13.1).
fn asterisk(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut all = headers.get_all(name).iter();
    let first = all.next().map(|value| value.as_bytes().trim_ascii());
    first == Some(b"*") && all.next().is_none()
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
        || asterisk(headers, &header::IF_MATCH)
        || any(headers, &header::IF_MATCH, |given| names(given, &tag));
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

    #[test]
    fn the_asterisk_of_a_precondition_stands_alone() {
        for good in [
            "*",
            " * ",
            "\"a\"",
            "W/\"a\"",
            "\"a\", \"b\" ,W/\"\"",
            "\"*\"",
            "x",
            "",
        ] {
            for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
                assert_eq!(valid(&headers(name, good)), Ok(()), "{good}");
            }
        }
        for bad in ["*, \"x\"", "\"x\", *", "*,*", "*,"] {
            for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
                let judged = valid(&headers(name, bad));
                assert!(matches!(judged, Err(ApiError::BadRequest(_))), "{bad}");
            }
            let given = headers(header::IF_NONE_MATCH, bad);
            assert!(!not_modified(&given, "\"y\""), "{bad}");
        }
        let mut twice = headers(header::IF_MATCH, "*");
        twice.append(header::IF_MATCH, "\"x\"".parse().unwrap());
        assert!(valid(&twice).is_err());
        assert_eq!(valid(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn the_tag_of_a_detail_is_of_all_that_it_tells_and_for_writes_of_its_version() {
        let uid = Uuid::nil();
        let [five, other] = [b"a", b"b"].map(|body| detail_tag(uid, 5, body));
        let held = |tag: &str, given: &str| {
            let changed = |tag: String| ApiError::DeploymentChanged { tag };
            let given = headers(header::IF_MATCH, given);
            unless_changed(&given, || tag.to_owned(), changed).is_ok()
        };
        assert!(five != other && !not_modified(&headers(header::IF_NONE_MATCH, &five), &other));
        assert!(not_modified(&headers(header::IF_NONE_MATCH, &five), &five));
        let now = version_tag(uid, 5);
        assert!(held(&now, &five) && held(&now, &other) && held(&now, &now));
        for stale in [
            detail_tag(uid, 55, b"a"),
            detail_tag(uid, 4, b"a"),
            version_tag(uid, 55),
            format!("W/{five}"),
            "\"".into(),
            String::new(),
        ] {
            assert!(!held(&now, &stale), "{stale}");
        }
    }
}
