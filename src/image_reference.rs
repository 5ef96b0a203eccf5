//! References to images, by the grammar of the distribution project's `reference` package, which container runtimes share:
//! `[host[:port]/]path[:tag][@digest]`.
//!
//! What a reference means is written out: `nginx` is `docker.io/library/nginx`. Nothing is looked up.

use std::net::Ipv6Addr;

/// The longest repository, made whole; newer versions of the package count the path alone.
const LONGEST_REPOSITORY: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;
/// Where a reference without a host leads.
const DEFAULT_HOST: &str = "docker.io";
/// The older name of the same place.
const LEGACY_HOST: &str = "index.docker.io";
/// The folder there of paths without one.
const DEFAULT_FOLDER: &str = "library";

/// A reference to an image that a container runtime would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// As it was written, which is how Kubernetes gets it.
    text: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no reference to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing before the tag and the digest.
    #[error("it has no repository")]
    Empty,
    /// The repository, its host left out or not.
    #[error("its repository is longer than {LONGEST_REPOSITORY} characters")]
    TooLong,
    /// What stands before the first slash.
    #[error(
        "its host must be a DNS name, an IPv4 address or an IPv6 address in brackets, and a port behind it a number"
    )]
    Host,
    /// What stands between host and tag.
    #[error(
        "each part of its path must be a-z and 0-9, with single '.', one or two '_' or any number of '-' in between"
    )]
    Path,
    /// What stands behind the colon.
    #[error(
        "its tag must be 1 to {LONGEST_TAG} letters, digits, '_', '.' and '-', and start with none of the last two"
    )]
    Tag,
    /// What stands behind the at sign.
    #[error(
        "its digest must be sha256: and 64, or sha512: and 128 hexadecimal digits in lower case"
    )]
    Digest,
    /// 64 hexadecimal digits alone, which runtimes take for the id of an image.
    #[error("64 hexadecimal digits alone are the id of an image and not a repository")]
    Id,
}

impl ImageReference {
    /// Reads a reference, which must be the whole text.
    ///
    /// # Errors
    ///
    /// Which part of it is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let last = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[last..].split_once(':') {
            Some((name, tag)) => (&named[..last + name.len()], Some(tag)),
            None => (named, None),
        };
        if name.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && is_hexadecimal(text) {
            return Err(ReferenceError::Id);
        }
        let repository = repository(name)?;
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag);
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(ReferenceError::Digest);
        }
        Ok(Self {
            text: text.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and path, made whole: `nginx` is `docker.io/library/nginx`. Hosts are in lower case, since DNS is blind to it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag as it was written. Without tag and digest a runtime takes `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, `sha256:…` or `sha512:…`, which goes before a tag.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

/// The repository of a name, made whole.
fn repository(name: &str) -> Result<String, ReferenceError> {
    // What could be a folder as well is one: a host has a dot, a colon, an upper-case letter, or is localhost.
    let is_host = |first: &str| {
        first == "localhost"
            || first
                .bytes()
                .any(|b| b == b'.' || b == b':' || b.is_ascii_uppercase())
    };
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (Some(host), path),
        _ => (None, name),
    };
    if host.is_some_and(|host| !is_authority(host)) {
        return Err(ReferenceError::Host);
    }
    if !path.split('/').all(is_component) {
        return Err(ReferenceError::Path);
    }
    let host = host.unwrap_or(DEFAULT_HOST).to_ascii_lowercase();
    let repository = match &*host {
        DEFAULT_HOST | LEGACY_HOST if !path.contains('/') => {
            format!("{DEFAULT_HOST}/{DEFAULT_FOLDER}/{path}")
        }
        LEGACY_HOST => format!("{DEFAULT_HOST}/{path}"),
        _ => format!("{host}/{path}"),
    };
    if repository.len() > LONGEST_REPOSITORY {
        return Err(ReferenceError::TooLong);
    }
    Ok(repository)
}

/// A host and perhaps a port.
fn is_authority(text: &str) -> bool {
    let (host_is_one, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) => (is_ipv6(address), port),
        Some(None) => return false,
        None => {
            let at = text.find(':').unwrap_or(text.len());
            (text[..at].split('.').all(is_host_label), &text[at..])
        }
    };
    host_is_one && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_ipv6(text: &str) -> bool {
    // Neither a zone nor an IPv4 address in it.
    let plain = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    plain && text.parse::<Ipv6Addr>().is_ok()
}

fn is_host_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Letters and digits in lower case, with separators in between: one dot, one or two underscores, any number of dashes.
fn is_component(text: &str) -> bool {
    let letter = |b: char| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.starts_with(letter)
        && text.ends_with(letter)
        && text.split(letter).all(|separator| match separator {
            "" | "." | "_" | "__" => true,
            dashes => dashes.bytes().all(|b| b == b'-'),
        })
}

/// Whether an image can have it as its tag (OCI distribution specification).
pub(crate) fn is_tag(text: &str) -> bool {
    text.len() <= LONGEST_TAG
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_digest(text: &str) -> bool {
    match text.split_once(':') {
        Some(("sha256", digits)) => digits.len() == 64 && is_hexadecimal(digits),
        Some(("sha512", digits)) => digits.len() == 128 && is_hexadecimal(digits),
        _ => false,
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (String, Option<String>, Option<String>) {
        let reference = ImageReference::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.as_str(), text);
        let owned = |part: Option<&str>| part.map(str::to_owned);
        (
            reference.repository().to_owned(),
            owned(reference.tag()),
            owned(reference.digest()),
        )
    }

    #[test]
    fn a_repository_is_made_whole() {
        for (text, repository) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/example/shop", "docker.io/example/shop"),
            ("example/shop", "docker.io/example/shop"),
            ("localhost/shop", "localhost/shop"),
            ("localhost:5000/shop:1", "localhost:5000/shop"),
            ("registry.example.com/a/b/c", "registry.example.com/a/b/c"),
            ("Registry.Example.com:5000/a", "registry.example.com:5000/a"),
            ("REGISTRY/a", "registry/a"),
            ("[2001:db8::1]:5000/a", "[2001:db8::1]:5000/a"),
            ("[2001:db8::1]/a", "[2001:db8::1]/a"),
            ("192.0.2.1:5000/a:b", "192.0.2.1:5000/a"),
            ("a__b/c---d.e_f", "docker.io/a__b/c---d.e_f"),
        ] {
            assert_eq!(parsed(text).0, repository, "{text}");
        }
    }

    #[test]
    fn tag_and_digest_are_read_apart() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let long = format!("sha512:{}", "f".repeat(128));
        let both = format!("example.org:443/shop:1.2-rc.3@{digest}");
        let (repository, tag, found) = parsed(&both);
        assert_eq!(repository, "example.org:443/shop");
        assert_eq!((tag.as_deref(), found), (Some("1.2-rc.3"), Some(digest)));
        assert_eq!(parsed(&format!("shop@{long}")).2, Some(long));
        assert_eq!(parsed("shop:_A.b-").1.as_deref(), Some("_A.b-"));
        assert_eq!(
            parsed(&format!("shop:{}", "t".repeat(128)))
                .1
                .unwrap()
                .len(),
            128
        );
        // A number behind a name alone is a tag and no port.
        assert_eq!(parsed("example.org:443").1.as_deref(), Some("443"));
    }

    #[test]
    fn an_id_with_a_tag_is_a_repository_of_a_strange_name() {
        let digits = "a".repeat(64);
        assert_eq!(parsed(&format!("{digits}:1")).1.as_deref(), Some("1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let digits = "a".repeat(64);
        for (text, why) in [
            ("", ReferenceError::Empty),
            (":1", ReferenceError::Empty),
            ("@sha256:", ReferenceError::Empty),
            (&digits, ReferenceError::Id),
            ("Shop", ReferenceError::Path),
            ("shop/", ReferenceError::Path),
            ("/shop", ReferenceError::Path),
            ("a//b", ReferenceError::Path),
            ("a..b", ReferenceError::Path),
            ("a___b", ReferenceError::Path),
            ("a._b", ReferenceError::Path),
            ("-a", ReferenceError::Path),
            ("a-", ReferenceError::Path),
            ("shop tag", ReferenceError::Path),
            ("shop\n", ReferenceError::Path),
            ("shöp", ReferenceError::Path),
            ("https://example.org/shop", ReferenceError::Host),
            ("example.org:/shop", ReferenceError::Host),
            ("example.org:65536/shop", ReferenceError::Host),
            ("example.org:+1/shop", ReferenceError::Host),
            ("example..org/shop", ReferenceError::Host),
            ("-example.org/shop", ReferenceError::Host),
            ("[::1/shop", ReferenceError::Host),
            ("[::1]x/shop", ReferenceError::Host),
            ("[::1]:/shop", ReferenceError::Host),
            ("[example.org]:1/shop", ReferenceError::Host),
            ("[::ffff:192.0.2.1]/shop", ReferenceError::Host),
            ("::1/shop", ReferenceError::Host),
            ("shop:", ReferenceError::Tag),
            ("shop:.1", ReferenceError::Tag),
            ("shop:a:b", ReferenceError::Tag),
            ("shop:1 ", ReferenceError::Tag),
            (&format!("shop:{}", "t".repeat(129)), ReferenceError::Tag),
            ("shop@", ReferenceError::Digest),
            ("shop@sha256:ab", ReferenceError::Digest),
            (&format!("shop@sha512:{digits}"), ReferenceError::Digest),
            (&format!("shop@md5:{digits}"), ReferenceError::Digest),
            (
                &format!("shop@sha256:{}", digits.to_uppercase()),
                ReferenceError::Digest,
            ),
            (
                &format!("shop@sha256:{digits}@sha256:{digits}"),
                ReferenceError::Digest,
            ),
            (
                &format!("example.org/{}", "a".repeat(244)),
                ReferenceError::TooLong,
            ),
            (&"a".repeat(239), ReferenceError::TooLong),
        ] {
            assert_eq!(ImageReference::parse(text), Err(why), "{text:?}");
        }
        assert!(ImageReference::parse(&format!("example.org/{}", "a".repeat(243))).is_ok());
        assert!(ImageReference::parse(&format!("example.org/{digits}")).is_ok());
        assert!(ImageReference::parse(&digits[1..]).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = ImageReference::parse(&text);
        }

        #[test]
        fn what_is_accepted_forges_nothing(text in "[-a-zA-Z0-9._:/@\\[\\] \n]{1,40}") {
            if let Ok(reference) = ImageReference::parse(&text) {
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(serde_json::to_string(reference.as_str()).unwrap(), format!("\"{}\"", text));
            }
        }

        /// The parts of the grammar, put together, are found again.
        #[test]
        fn every_reference_of_the_grammar_is_accepted(
            host in prop::option::of("([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\\.){1,3}[a-z]{2,5}(:[1-9][0-9]{0,3})?"),
            path in "[a-z0-9]{1,9}((\\.|_|__|-{1,3})[a-z0-9]{1,9}){0,2}(/[a-z0-9]{1,9}((\\.|_|__|-{1,3})[a-z0-9]{1,9}){0,2}){0,3}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
            digest in prop::option::of("sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"),
        ) {
            // Without a host the first of several parts may look like one.
            let first = path.split('/').next().unwrap();
            prop_assume!(host.is_some() || !path.contains('/') || !(first.contains('.') || first == "localhost"));
            let mut text = host.as_ref().map_or(path.clone(), |host| format!("{host}/{path}"));
            let name = text.clone();
            if let Some(tag) = &tag { text = format!("{text}:{tag}"); }
            if let Some(digest) = &digest { text = format!("{text}@{digest}"); }
            let reference = ImageReference::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
            prop_assert_eq!((reference.tag(), reference.digest()), (tag.as_deref(), digest.as_deref()));
            prop_assert!(reference.repository().ends_with(&path));
            // Written whole it is the same repository.
            let whole = ImageReference::parse(reference.repository()).unwrap();
            prop_assert_eq!(whole.repository(), reference.repository());
            prop_assert!(host.is_none() || reference.repository() == name || name.starts_with("docker.io/"));
        }
    }
}
