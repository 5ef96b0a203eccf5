//! What is read from a request besides its path: query, preferences, body.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version, header, request::Parts};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::time::timeout;

use super::{Api, ApiError, headers, json, list_parameters::no_such_parameter, path::shown};
use crate::access::Caller;

/// What a body has at most that has a reason.
const USUAL_BODY: usize = 4 * 1024;
/// How long a body that nobody wants is read.
const DISCARDED: Duration = Duration::from_secs(1);

/// Refuses a body that isn't JSON in UTF-8 by its Content-Type, whose other parameters are fine, or that is in a coding.
pub(super) fn json_content(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/json")
    };
    let charset = |value: &HeaderValue| {
        let parameters = value.to_str().unwrap_or_default().split(';').skip(1);
        let mut charsets = parameters.filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let named = name.trim().eq_ignore_ascii_case("charset");
            named.then(|| value.trim().trim_matches('"').to_owned())
        });
        // Many say it without the hyphen that its name has.
        charsets.find(|charset| {
            !["utf-8", "utf8"]
                .iter()
                .any(|utf| charset.eq_ignore_ascii_case(utf))
        })
    };
    let coded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    match (types.next(), types.next()) {
        (Some(one), None) if essence(one) && !coded => match charset(one) {
            Some(charset) => Err(ApiError::UnsupportedCharset(shown(&charset))),
            None => Ok(()),
        },
        _ => Err(ApiError::UnsupportedMediaType),
    }
}

/// The whole body, of `most` bytes, within its bounds of time, and of memory: the few bytes that are usual always fit.
pub(super) async fn whole_body<B>(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    content: &mut B,
    most: usize,
) -> Result<Vec<u8>, ApiError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let within = caller.rules.limits.times.body;
    let too_large = ApiError::BodyTooLarge { most };
    let declared = request
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most as u64) {
        return Err(too_large);
    }
    let read = async {
        let mut whole = Vec::new();
        let mut reserved = None;
        while let Some(frame) = content.frame().await {
            let frame = frame.map_err(|_| {
                ApiError::BadRequest("the body didn't arrive whole: send it again".into())
            })?;
            whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if whole.len() > most {
                return Err(too_large);
            }
            if whole.len() > USUAL_BODY && reserved.is_none() {
                reserved = Some(api.reserve(most)?);
            }
        }
        Ok(whole)
    };
    timeout(within, read)
        .await
        .unwrap_or(Err(ApiError::BodyTooSlow { within }))
}

/// Reads and drops what is left of a body while its answer is on the way: a client that is still sending when a reset of
/// the stream (HTTP/2) or of the connection comes may lose the answer.
pub(super) fn discard<B>(mut content: B)
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
{
    let rest = async move { while let Some(Ok(_)) = content.frame().await {} };
    // It ends by itself, and its end is no news.
    tokio::spawn(timeout(DISCARDED, rest));
}

/// Whether the client sends this body only when it is told to, and hasn't been: asking for it happens by reading it.
///
/// A body without a length may have been read in part.
pub(super) fn awaited(request: &Parts) -> bool {
    request.version == Version::HTTP_11
        && request.headers.contains_key(header::EXPECT)
        && request.headers.contains_key(header::CONTENT_LENGTH)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReplicaCount {
    #[serde(deserialize_with = "json::count")]
    replica_count: i32,
}

/// The count in a body that is exactly one JSON object with it.
pub(super) fn replica_count(body: &[u8]) -> Result<i32, ApiError> {
    let read: ReplicaCount = json::one_object(body).map_err(ApiError::BadBody)?;
    Ok(read.replica_count)
}

/// Whether `?dryRun=true` is asked for. A write refuses parameters that it doesn't know: a misspelt dry run would be a real one.
/// `others`: those that the call takes besides, and reads itself.
pub(super) fn dry_run(query: Option<&str>, others: &[&str]) -> Result<bool, ApiError> {
    let mut dry_run = None;
    for (name, value) in query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').unwrap_or((p, "")))
    {
        let [name, value] = [name, value].map(|t| percent_decode_str(t).decode_utf8_lossy());
        match (&*name, &*value) {
            ("dryRun", "true" | "false") if dry_run.is_none() => dry_run = Some(value == "true"),
            ("dryRun", _) => {
                return Err(ApiError::BadRequest(
                    "dryRun is given once, as true or false".into(),
                ));
            }
            _ if others.contains(&&*name) => {}
            _ => {
                let others: String = others.iter().map(|name| format!(" and {name}")).collect();
                let takes = format!("this call takes dryRun{others}");
                return Err(no_such_parameter(&name, &takes));
            }
        }
    }
    Ok(dry_run.unwrap_or(false))
}

/// Whether the caller asked for the representation of what was written (`Prefer`, RFC 7240).
pub(super) fn prefers_representation(headers: &HeaderMap) -> bool {
    preference(headers, "return").is_some_and(|value| value == "representation")
}

/// The value of a preference: the first of several equal ones counts; parameters behind a semicolon are none of ours.
pub(super) fn preference(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    let mut values = preferences.filter_map(|p| {
        let (name, value) = p.split(';').next()?.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case(wanted);
        is_it.then(|| value.trim().trim_matches('"').to_owned())
    });
    values.next()
}

/// The version that the store must have reached before a read is answered (`X-Min-Resource-Version`).
pub(super) fn min_resource_version(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(given) = headers.get(&headers::MIN_RESOURCE_VERSION) else {
        return Ok(None);
    };
    let all = headers.get_all(&headers::MIN_RESOURCE_VERSION).iter();
    let version = given
        .to_str()
        .ok()
        .filter(|_| all.count() == 1)
        .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|t| t.parse().ok());
    version.map(Some).ok_or_else(|| {
        ApiError::BadRequest(
            "X-Min-Resource-Version is one whole number, as X-Resource-Version gave it".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_is_exactly_one_object_with_one_whole_number() {
        for (body, count) in [
            ("{\"replicaCount\":0}", 0),
            (" {\"replicaCount\" : 2147483647}\n", i32::MAX),
            ("{\"replica\\u0043ount\":7}", 7),
        ] {
            assert_eq!(replica_count(body.as_bytes()), Ok(count), "{body}");
        }
        for body in [
            "",
            "{}",
            "null",
            "5",
            "[5]",
            "\"5\"",
            "{\"replicaCount\":null}",
            "{\"replicaCount\":\"3\"}",
            "{\"replicaCount\":1.0}",
            "{\"replicaCount\":1e3}",
            "{\"replicaCount\":-1}",
            "{\"replicaCount\":-0}",
            "{\"replicaCount\":2147483648}",
            "{\"replicaCount\":03}",
            "{\"replicaCount\":1,\"replicaCount\":1}",
            "{\"replicaCount\":1,\"x\":2}",
            "{\"ReplicaCount\":1}",
            "{\"replicaCount\":1} x",
            "{\"replicaCount\":1}{\"replicaCount\":1}",
            "{\"replicaCount\":1,}",
            "{\"replicaCount\":true}",
            "{\"replicaCount\":[1]}",
            "\u{feff}{\"replicaCount\":1}",
            "{'replicaCount':1}",
            "{\"replicaCount\":+1}",
            "{\"replicaCount\":1",
            "{\"a\":{\"a\":{}}}",
        ] {
            assert!(
                matches!(replica_count(body.as_bytes()), Err(ApiError::BadBody(_))),
                "{body}"
            );
        }
        assert!(replica_count(b"{\"replicaCount\":1,\"\xff\":1}").is_err());
        assert!(replica_count("[".repeat(60_000).as_bytes()).is_err());
    }

    #[test]
    fn a_long_key_is_not_said_back_whole() {
        let body = format!("{{\"{}\":1}}", "k".repeat(60_000));
        let told = replica_count(body.as_bytes()).unwrap_err().to_string();
        assert!(told.len() < 350 && told.contains("kkk"), "{told}");
    }

    proptest! {
        #[test]
        fn a_body_is_accepted_only_with_a_count_in_range(
            number in prop_oneof![any::<i64>(), any::<i32>().prop_map(i64::from), -2i64..3]
        ) {
            let read = replica_count(format!("{{\"replicaCount\":{number}}}").as_bytes());
            match i32::try_from(number) {
                Ok(count) if count >= 0 => prop_assert_eq!(read, Ok(count)),
                _ => prop_assert!(read.is_err()),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = replica_count(&bytes);
        }
    }

    #[test]
    fn a_body_is_taken_in_utf_8_alone() {
        let judged = |given: &'static str| {
            let value = HeaderValue::from_static(given);
            json_content(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;CHARSET=\"UTF-8\"",
            "application/json; profile=x; charset=Utf-8;",
            "application/json; charset=utf8",
        ] {
            assert_eq!(judged(good), Ok(()), "{good}");
        }
        for bad in ["latin1", "\"utf-16\"", "", "utf-8; charset=latin1"] {
            let given: &'static str = format!("application/json; charset={bad}").leak();
            let refused = judged(given);
            assert!(
                matches!(refused, Err(ApiError::UnsupportedCharset(_))),
                "{bad}"
            );
        }
        assert_eq!(
            judged("text/plain; charset=utf-8"),
            Err(ApiError::UnsupportedMediaType)
        );
    }

    #[test]
    fn a_version_is_asked_for_once() {
        let asked = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_static(value);
                headers.append(&headers::MIN_RESOURCE_VERSION, value);
            }
            min_resource_version(&headers)
        };
        assert_eq!((asked(&[]), asked(&["7"])), (Ok(None), Ok(Some(7))));
        assert!(asked(&["7", "8"]).is_err() && asked(&["7", "7"]).is_err());
    }

    #[test]
    fn a_misspelt_dry_run_is_not_a_write() {
        assert_eq!(dry_run(None, &[]), Ok(false));
        for yes in ["dryRun=true", "dry%52un=true", "dryRun=%74rue"] {
            assert_eq!(dry_run(Some(yes), &[]), Ok(true), "{yes}");
        }
        for bad in [
            "dryrun=true",
            "dryRun",
            "dryRun=1",
            "dryRun=true&dryRun=true",
            "x=1",
        ] {
            assert!(dry_run(Some(bad), &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_representation_is_sent_to_those_who_prefer_it() {
        let prefers = |text: &str| {
            prefers_representation(&HeaderMap::from_iter([(
                "prefer".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        for yes in [
            "return=representation",
            "wait=5, return=representation",
            "Return = \"representation\"; x=1",
        ] {
            assert!(prefers(yes), "{yes}");
        }
        for no in [
            "return=minimal",
            "return=minimal, return=representation",
            "representation",
            "",
        ] {
            assert!(!prefers(no), "{no}");
        }
    }
}
