//! What is wrong with a PEM file (RFC 7468), for a person.

use rustls::pki_types::pem::Error;

/// A sentence's second half. What stands in the file is never repeated, since it may be a private key, but for a section's name.
pub(crate) fn fault(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => match section(end_marker) {
            Some(name) => {
                format!("the section BEGIN {name} has no line -----END {name}-----: it was cut off")
            }
            None => "a line -----BEGIN …----- holds more than that, or its section has no -----END …-----: each is a line of its own".into(),
        },
        Error::IllegalSectionStart { .. } => {
            "a line that starts a section must be -----BEGIN …----- and nothing more: it was cut off, or lines were joined".into()
        }
        Error::Base64Decode(_) => {
            "what stands between a BEGIN and its END isn't base64: characters were lost or changed".into()
        }
        Error::NoItemsFound => "it has no PEM section of the kind that is needed".into(),
        Error::SectionTooLarge => "a section is longer than 256 MB".into(),
        other => other.to_string(),
    }
}

/// A section's name; `None` where key material was taken for one, as when all lines were joined.
fn section(marker: &[u8]) -> Option<&str> {
    let plain = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ';
    (marker.len() <= 32 && marker.iter().all(plain))
        .then(|| str::from_utf8(marker).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};

    use super::*;

    fn said(text: &str) -> String {
        fault(&PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap_err())
    }

    #[test]
    fn each_kind_of_damage_is_told_in_words() {
        for (text, part) in [
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n",
                "no line -----END PRIVATE KEY-----",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE",
                "no line -----END PRIVATE KEY-----",
            ),
            (
                "-----BEGIN PRIVATE KEY\nAAAA\n-----END PRIVATE KEY-----\n",
                "and nothing more",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nA*AA\n-----END PRIVATE KEY-----\n",
                "base64",
            ),
            ("nothing", "no PEM section"),
        ] {
            let said = said(text);
            assert!(said.contains(part), "{text}: {said}");
            assert!(!said.contains('['), "{said}");
        }
    }

    #[test]
    fn a_key_whose_lines_were_joined_is_not_repeated() {
        for joined in [
            "-----BEGIN PRIVATE KEY-----SECRET-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY----- SECRET\n-----END PRIVATE KEY-----\n",
        ] {
            let said = said(joined);
            assert!(!said.contains("SECRET") && said.contains("line"), "{said}");
        }
    }
}
