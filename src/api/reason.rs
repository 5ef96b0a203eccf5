//! Why a write is made, in its caller's words (`X-Reason`): for the log, the audit trail and Events.

use http::HeaderMap;

use super::{ApiError, headers};
use crate::telemetry::log::hides;

/// The longest reason, in characters.
pub(crate) const LONGEST: usize = 256;

/// The reason that a request gives: one line of text.
pub(super) fn reason(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut given = headers.get_all(&headers::REASON).iter();
    let Some(reason) = given.next() else {
        return Ok(None);
    };
    let text = std::str::from_utf8(reason.as_bytes()).map(str::trim);
    match text {
        Ok(text) if given.next().is_none() && is_reason(text) => Ok(Some(text.to_owned())),
        _ => Err(ApiError::BadRequest(format!(
            "X-Reason is given once, as 1 to {LONGEST} characters of UTF-8 without control characters and those that hide or reorder text"
        ))),
    }
}

/// Whether a reason can be this text: one line, as it is shown.
pub(crate) fn is_reason(text: &str) -> bool {
    (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(hides)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_reason_is_one_line_of_text() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-reason", HeaderValue::from_bytes(value).unwrap());
            }
            reason(&headers)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(
            of(&["incident 4711: größer ".as_bytes()]),
            Ok(Some("incident 4711: größer".into()))
        );
        assert!(of(&["ü".repeat(256).as_bytes()]).is_ok());
        let bad: [&[&[u8]]; 8] = [
            &[b""],
            &[b"  "],
            &[b"a", b"b"],
            &[b"a\tb"],
            &[b"\xff"],
            &["a\u{202e}b".as_bytes()],
            &["a\u{61c}b".as_bytes()],
            &[&[b'a'; 257]],
        ];
        for values in bad {
            assert!(of(values).is_err(), "{values:?}");
        }
    }
}
