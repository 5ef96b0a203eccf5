//! Names and times, as certificates take them and as people read them.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::DnsName;

use crate::telemetry::log::hides;

/// Whether it fits into a common name or an organization: 1 to 64 characters (RFC 5280, appendix A.1), none a control character or one that hides or turns text.
#[must_use]
pub fn is_common_name(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(hides)
}

/// Whether it is a DNS name that a certificate can carry, with `*` as the whole first label at most (RFC 6125, 6.4.3).
#[must_use]
pub fn is_dns_name(text: &str) -> bool {
    let name = match text.strip_prefix("*.") {
        // A star over a top-level domain matches nowhere.
        Some(rest) if rest.contains('.') => rest,
        Some(_) => return false,
        None => text,
    };
    !name.ends_with('.') && DnsName::try_from(name).is_ok()
}

/// Whether it is a URI as far as a certificate needs: a scheme, a colon, and at least one visible ASCII character.
#[must_use]
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let first = scheme
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic());
    let scheme = scheme
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    first && scheme && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())
}

/// A time in UTC (RFC 3339).
#[must_use]
pub fn in_words(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "the end of time".to_owned(), |time| time.to_string())
}

/// A text from outside, so that it can't move a terminal's cursor, colour it, or turn its direction.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut all, c| {
        if hides(c) {
            // Writing into a String can't fail.
            let _ = write!(all, "{}", c.escape_unicode());
        } else {
            all.push(c);
        }
        all
    })
}

/// JSON that says the same without anything in its strings that [`printable`] would escape.
#[must_use]
pub fn json_escaped(json: &str) -> String {
    json.chars().fold(String::new(), |mut all, c| {
        if c != '\n' && hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a String can't fail.
                let _ = write!(all, "\\u{unit:04x}");
            }
        } else {
            all.push(c);
        }
        all
    })
}

/// Bytes in hexadecimal, without anything between them.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_judged_by_what_certificates_can_carry() {
        for good in [
            "a",
            "headcount.example.org",
            "*.example.org",
            "a_b.example.org",
            "xn--4ca.org",
        ] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.org",
            "a.*.org",
            "*a.example.org",
            "a b",
            "ä.org",
            "a.",
            ".a",
            "a..b",
            "a:1",
            "-a",
        ] {
            assert!(!is_dns_name(bad), "{bad}");
        }
        assert!(is_common_name(&"ä".repeat(64)) && !is_common_name(&"ä".repeat(65)));
        for bad in ["", "a\nb", "a\0", "a\u{202e}b", "a\u{61c}"] {
            assert!(!is_common_name(bad), "{bad:?}");
        }
        for good in ["spiffe://example.org/ci", "urn:a", "a+b-c.d:x"] {
            assert!(is_uri(good), "{good}");
        }
        for bad in ["", "alice", "://x", "1a:x", "a:", "a:b c", "a:ä", "a:\n"] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn times_are_in_utc() {
        let time = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(in_words(time), "2027-01-15T08:00:00Z");
    }

    proptest! {
        #[test]
        fn nothing_printable_moves_the_cursor(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(hides));
        }
    }
}
