//! What Kubernetes accepts as the name of a namespace, a Deployment and a container (RFC 1123, as its apimachinery validates them).

/// Whether it is an RFC 1123 label of 1 to 63 characters: a namespace.
pub fn is_namespace(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Whether it is an RFC 1123 label of 1 to 63 characters: a container.
pub fn is_container(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Whether it is an RFC 1123 subdomain of 1 to 253 characters: a Deployment's name.
pub fn is_deployment(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let alphanumeric =
        |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| alphanumeric(Some(b)) || *b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_judged_as_kubernetes_judges_them() {
        for good in ["a", "web", "a-b", "0", "1a", &"a".repeat(63)] {
            assert!(is_namespace(good) && is_deployment(good), "{good}");
        }
        for bad in [
            "", "-a", "a-", "A", "a_b", "a/b", "..", ".", "a..b", ".a", "a.", "ä", "a b", "a\0",
            "a\n",
        ] {
            assert!(!is_namespace(bad) && !is_deployment(bad), "{bad:?}");
        }
        assert!(!is_namespace("a.b") && is_deployment("a.b"));
        assert!(is_container("web-1") && !is_container("a.b") && !is_container(&"a".repeat(64)));
        assert!(!is_namespace(&"a".repeat(64)) && is_deployment(&"a".repeat(64)));
        assert!(is_deployment(&"a".repeat(253)) && !is_deployment(&"a".repeat(254)));
    }

    proptest! {
        #[test]
        fn every_accepted_name_needs_no_escaping_anywhere(text in ".*") {
            if is_deployment(&text) {
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)));
                prop_assert_eq!(serde_json::to_string(&text).unwrap(), format!("\"{text}\""));
            }
        }
    }
}
