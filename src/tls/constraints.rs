//! Name constraints (RFC 5280, 4.2.1.10) of the names that stand in subjects: DNS names and e-mail addresses.
//!
//! webpki holds alternative names to the constraints of a path's CAs. A common name that is a DNS name isn't one to it, but may be what
//! a client is known by here, whatever alternative names stand beside it: a CA that may vouch for some domains only must not get around
//! that by way of the subject. Nor does webpki look at a subject's emailAddress, which the RFC holds to constraints.

use x509_parser::{
    asn1_rs::Tag,
    extensions::{GeneralName, GeneralSubtree, NameConstraints},
    prelude::ParsedExtension,
};

use super::facts::Facts;

/// Whether every issuer may vouch for the DNS names among the leaf's common names, and for the e-mail addresses in all subjects below it.
pub(super) fn permit(path: &[Facts<'_>], root: &Facts<'_>) -> bool {
    path.iter().enumerate().all(|(position, certificate)| {
        // CAs that issued themselves, as in a change of keys, aren't held to constraints (RFC 5280, 6.1.3).
        if position > 0 && certificate.is_self_issued() {
            return true;
        }
        let subject = certificate.certificate.subject();
        path[position + 1..]
            .iter()
            .chain([root])
            .filter_map(constraints)
            .all(|constraints| {
                let mut dns_names = subject
                    .iter_common_name()
                    .filter(|_| position == 0)
                    .filter_map(|name| name.as_str().ok())
                    .filter(|name| is_dns_name(name));
                let mut addresses = subject.iter_email().map(|address| address.as_str().ok());
                dns_names.all(|name| permits(constraints, name))
                    && addresses.all(|address| permits_address(constraints, address))
            })
    })
}

fn constraints<'a>(issuer: &'a Facts<'a>) -> Option<&'a NameConstraints<'a>> {
    issuer
        .certificate
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::NameConstraints(constraints) => Some(constraints),
            _ => None,
        })
}

fn permits(constraints: &NameConstraints<'_>, name: &str) -> bool {
    let mut permitted = domains(constraints.permitted_subtrees.as_deref()).peekable();
    let inside = permitted.peek().is_none() || permitted.any(|domain| is_within(name, domain));
    inside
        && !domains(constraints.excluded_subtrees.as_deref()).any(|domain| is_within(name, domain))
}

/// Whether an e-mail address is permitted, `None` being one that isn't text. What can't be judged isn't.
fn permits_address(constraints: &NameConstraints<'_>, address: Option<&str>) -> bool {
    let holds = |subtree: Option<&str>| holds_address(subtree?, address?);
    let mut permitted = addresses(constraints.permitted_subtrees.as_deref()).peekable();
    let inside =
        permitted.peek().is_none() || permitted.any(|subtree| holds(subtree) == Some(true));
    inside
        && addresses(constraints.excluded_subtrees.as_deref())
            .all(|subtree| holds(subtree) == Some(false))
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

/// The subtrees of e-mail addresses; `None` for one that isn't text.
fn addresses<'a>(
    subtrees: Option<&'a [GeneralSubtree<'a>]>,
) -> impl Iterator<Item = Option<&'a str>> {
    subtrees
        .into_iter()
        .flatten()
        .filter_map(|subtree| match subtree.base {
            GeneralName::RFC822Name(base) => Some(Some(base)),
            GeneralName::Invalid(Tag(1), _) => Some(None),
            _ => None,
        })
}

/// Whether an address is in a subtree: a mailbox (`a@example.com`), the mailboxes of one host (`example.com`) or of all hosts below a
/// domain (`.example.com`). `None` when one of them is nothing of this kind. Hosts have no case, mailboxes do (RFC 5280, 7.5).
fn holds_address(subtree: &str, address: &str) -> Option<bool> {
    let (local, host) = mailbox(address)?;
    if subtree.contains('@') {
        let (its_local, its_host) = mailbox(subtree)?;
        return Some(local == its_local && host.eq_ignore_ascii_case(its_host));
    }
    if let Some(domain) = subtree.strip_prefix('.') {
        return is_domain(domain).then(|| is_within(host, subtree));
    }
    is_domain(subtree).then(|| host.eq_ignore_ascii_case(subtree))
}

/// A mailbox's local part and host. One in quotes is none: it could be written in many ways.
fn mailbox(address: &str) -> Option<(&str, &str)> {
    let (local, host) = address.split_once('@')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&b);
    (!local.is_empty() && local.bytes().all(plain) && is_domain(host)).then_some((local, host))
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

/// A domain with a dot in it: `alice` is somebody's name.
fn is_dns_name(name: &str) -> bool {
    name.contains('.') && is_domain(name)
}

/// Labels of letters, digits, hyphens and underscores with dots between them.
fn is_domain(name: &str) -> bool {
    name.split('.').all(|label| {
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

    #[test]
    fn an_address_is_of_a_mailbox_of_a_host_or_of_a_domains_hosts() {
        for (subtree, address, expected) in [
            ("a@example.com", "a@example.com", Some(true)),
            ("a@example.com", "a@EXAMPLE.com", Some(true)),
            ("a@example.com", "A@example.com", Some(false)),
            ("a@example.com", "a@x.example.com", Some(false)),
            ("example.com", "a@Example.com", Some(true)),
            ("example.com", "a@x.example.com", Some(false)),
            ("example.com", "a@badexample.com", Some(false)),
            (".example.com", "a@x.y.example.com", Some(true)),
            (".example.com", "a@example.com", Some(false)),
            (".example.com", "a@badexample.com", Some(false)),
            // What could be another way to write an excluded one is never outside.
            ("example.com", "a@example.com.", None),
            ("example.com", "a@b@example.org", None),
            ("a@example.com", "\"a\"@example.com", None),
            ("example.com", "a@exämple.org", None),
            ("example.com", "@example.org", None),
            ("example.com", "example.org", None),
            ("example.com", "a\0@example.org", None),
            ("example.com", "a@[127.0.0.1]", None),
            ("", "a@example.com", None),
            (".", "a@example.com", None),
            ("@example.com", "a@example.com", None),
        ] {
            let found = holds_address(subtree, address);
            assert_eq!(found, expected, "{address} in {subtree}");
        }
    }
}
