//! Requests that another site's page makes a browser send, which has its user's certificate and adds it by itself.
//!
//! A browser says where a request comes from, in `Sec-Fetch-Site` (W3C Fetch Metadata) and, for every write, in `Origin`
//! (Fetch standard, 3.2); pages can't forge either. Other programs send neither, and nobody makes them send anything.

use http::{HeaderMap, HeaderValue, header, request::Parts};

use super::ApiError;

/// Keeps other sites' pages from taking an answer in, as an image or a script.
pub(super) static RESOURCE_POLICY: (&str, HeaderValue) = (
    "cross-origin-resource-policy",
    HeaderValue::from_static("same-origin"),
);
/// So much of an origin is told, in characters.
const LONGEST_SHOWN: usize = 100;
const FETCH_SITE: &str = "sec-fetch-site";

/// Whether a browser sent it.
pub(super) fn is_browsers(headers: &HeaderMap) -> bool {
    headers.contains_key(FETCH_SITE)
}

/// Refuses a write that doesn't come from this server's own pages, if it comes from any.
pub(super) fn judge(request: &Parts) -> Result<(), ApiError> {
    let headers = &request.headers;
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let own_site = sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own_origin = origins.all(|origin| is_own(origin, request));
    if own_site && own_origin {
        return Ok(());
    }
    let origin = headers.get(header::ORIGIN);
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let origin = origin.unwrap_or("which, it doesn't say");
    Err(ApiError::CrossSite {
        origin: origin.chars().take(LONGEST_SHOWN).collect(),
    })
}

/// Whether an origin is `https://` and the authority that the request was sent to.
fn is_own(origin: &HeaderValue, request: &Parts) -> bool {
    let host = request.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let own = request.uri.authority().map(|own| own.as_str()).or(host);
    let theirs = origin.to_str().ok();
    let theirs = theirs.and_then(|theirs| theirs.strip_prefix("https://"));
    match (own, theirs) {
        (Some(own), Some(theirs)) => without_default_port(own).eq_ignore_ascii_case(theirs),
        _ => false,
    }
}

/// Browsers leave it out of an origin.
fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;

    /// Whether a write to this URI with these headers is let through.
    fn passes(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(Method::PUT).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(&request.body(()).unwrap().into_parts().0).is_ok()
    }

    #[test]
    fn a_program_that_is_no_browser_says_nothing_and_passes() {
        assert!(passes("/x", &[("host", "headcount.example")]));
        assert!(passes("https://headcount.example/x", &[]));
    }

    #[test]
    fn a_page_of_this_server_passes_whatever_way_the_request_was_sent() {
        for (uri, host, origin) in [
            ("/x", "headcount.example", "https://headcount.example"),
            (
                "/x",
                "headcount.example:8443",
                "https://headcount.example:8443",
            ),
            ("/x", "headcount.example:443", "https://headcount.example"),
            ("/x", "Headcount.Example", "https://headcount.example"),
            ("/x", "[::1]:8443", "https://[::1]:8443"),
            (
                "https://headcount.example/x",
                "headcount.example",
                "https://headcount.example",
            ),
        ] {
            let from = [("host", host), ("origin", origin)];
            assert!(passes(uri, &from), "{host} {origin}");
            let said = [
                ("host", host),
                ("origin", origin),
                ("sec-fetch-site", "same-origin"),
            ];
            assert!(passes(uri, &said), "{host} {origin}");
        }
        assert!(passes(
            "https://headcount.example:8443/x",
            &[("origin", "https://headcount.example:8443")]
        ));
    }

    #[test]
    fn a_page_of_any_other_site_is_refused() {
        let host = ("host", "headcount.example:8443");
        for origin in [
            "https://evil.example",
            "https://headcount.example",
            "https://headcount.example:8444",
            "http://headcount.example:8443",
            "https://headcount.example:8443.evil.example",
            "https://evil.example/headcount.example:8443",
            "https://sub.headcount.example:8443",
            "https://headcount.example:8443/",
            "null",
            "",
            "é",
        ] {
            assert!(!passes("/x", &[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "Same-Origin", "unheard-of"] {
            assert!(!passes("/x", &[host, ("sec-fetch-site", site)]), "{site}");
        }
    }

    #[test]
    fn what_is_said_twice_must_be_right_twice() {
        let own = "https://headcount.example";
        let host = ("host", "headcount.example");
        let two = [host, ("origin", own), ("origin", "https://evil.example")];
        assert!(!passes("/x", &two));
        let two = [
            host,
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert!(!passes("/x", &two));
        // An own origin doesn't outweigh what the browser says of the site.
        let both = [host, ("origin", own), ("sec-fetch-site", "cross-site")];
        assert!(!passes("/x", &both));
        // Nor the other way round.
        let both = [host, ("origin", "null"), ("sec-fetch-site", "same-origin")];
        assert!(!passes("/x", &both));
    }

    #[test]
    fn an_origin_of_a_request_without_a_host_is_nobodys() {
        assert!(!passes("/x", &[("origin", "https://headcount.example")]));
    }
}
