//! Name constraints of DNS names (RFC 5280, 4.2.1.10), where a client's name stands in its subject.
//!
//! webpki holds alternative names to the constraints of a path's CAs. A common name that is a DNS name isn't one to it, but may be what
//! a client is known by here, whatever alternative names stand beside it: a CA that may vouch for some domains only must not get around
//! that by way of the subject.

use x509_parser::{
    extensions::{GeneralName, GeneralSubtree},
    prelude::ParsedExtension,
};

use super::facts::Facts;

/// Whether every issuer may vouch for the DNS names among the leaf's common names.
pub(super) fn permit<'a>(
    mut issuers: impl Iterator<Item = &'a Facts<'a>>,
    leaf: &Facts<'_>,
) -> bool {
    let names: Vec<_> = leaf
        .certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .filter(|name| is_dns_name(name))
        .collect();
    names.is_empty() || issuers.all(|issuer| names.iter().all(|name| permits(issuer, name)))
}

fn permits(issuer: &Facts<'_>, name: &str) -> bool {
    let constraints = issuer
        .certificate
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::NameConstraints(constraints) => Some(constraints),
            _ => None,
        });
    let Some(constraints) = constraints else {
        return true;
    };
    let mut permitted = domains(constraints.permitted_subtrees.as_deref()).peekable();
    let inside = permitted.peek().is_none() || permitted.any(|domain| is_within(name, domain));
    inside
        && !domains(constraints.excluded_subtrees.as_deref()).any(|domain| is_within(name, domain))
}

fn domains<'a>(subtrees: Option<&'a [GeneralSubtree<'a>]>) -> impl Iterator<Item = &'a str> {
    subtrees
        .into_iter()
        .flatten()
        .filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(domain) => Some(domain),
            _ => None,
        })
}

/// Whether a name is a domain's, or of one below it; a domain that begins with a dot is all those below it.
fn is_within(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    match name.strip_suffix(&domain) {
        Some("") => true,
        Some(labels) => domain.is_empty() || domain.starts_with('.') || labels.ends_with('.'),
        None => false,
    }
}

/// Labels of letters, digits, hyphens and underscores with dots between them, at least one: `alice` is somebody's name.
fn is_dns_name(name: &str) -> bool {
    let mut labels = name.split('.');
    name.contains('.')
        && labels.all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_holds_itself_and_what_is_below_it_whatever_its_letters() {
        for (name, domain) in [
            ("example.com", "example.com"),
            ("a.example.com", "example.com"),
            ("A.b.Example.com", "example.COM"),
            ("a.example.com", ".example.com"),
            ("example.com", ""),
        ] {
            assert!(is_within(name, domain), "{name} in {domain}");
        }
        for (name, domain) in [
            ("badexample.com", "example.com"),
            ("example.com", ".example.com"),
            ("example.com", "a.example.com"),
            ("example.com.evil.org", "example.com"),
        ] {
            assert!(!is_within(name, domain), "{name} in {domain}");
        }
    }

    #[test]
    fn a_name_without_a_dot_is_a_persons() {
        assert!(is_dns_name("a.b") && is_dns_name("_x-1.example.org"));
        for name in [
            "alice",
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "Alice M. Smith",
            "ä.example.org",
            "*.example.org",
        ] {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
