//! PEM files (RFC 7468): what is wrong with one, for a person; and a private key, of which no copy is left behind.

use rustls::pki_types::{
    PrivateKeyDer,
    pem::{Error, PemObject as _},
};
use zeroize::Zeroizing;

/// The first private key in a file. What it was decoded in is overwritten, and so is the key when it is dropped.
///
/// # Errors
///
/// As the library has it, which reads every form that isn't the usual one.
pub(crate) fn private_key(text: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, Error> {
    match usual_key(text) {
        Some(key) => Ok(key),
        None => PrivateKeyDer::from_pem_slice(text).map(Zeroizing::new),
    }
}

/// The key in a file whose one section of a key starts and ends as usual, with nothing but base64 between.
fn usual_key(text: &[u8]) -> Option<Zeroizing<PrivateKeyDer<'static>>> {
    let text = str::from_utf8(text).ok()?;
    let mut lines = text.lines().map(str::trim_ascii_end);
    let label = lines.find_map(|line| {
        let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        label.ends_with("PRIVATE KEY").then_some(label)
    })?;
    // Reserved at once: a buffer that grows leaves copies behind.
    let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
    let end = lines.find(|line| {
        let is_end = line.starts_with("-----");
        if !is_end {
            base64.extend_from_slice(line.as_bytes());
        }
        is_end
    })?;
    let ended = end.strip_prefix("-----END ")?.strip_suffix("-----")?;
    let mut der = decoded(&base64).filter(|_| ended == label)?;
    let der = std::mem::take(&mut *der);
    Some(Zeroizing::new(match label {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(der.into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.into()),
        _ => return None,
    }))
}

/// What base64 stands for (RFC 4648), decoded without a branch or an index that depends on it.
fn decoded(base64: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (groups, rest) = base64.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let padding = base64.iter().rev().take_while(|b| **b == b'=').count();
    let mut der = Zeroizing::new(Vec::with_capacity(groups.len() * 3));
    let mut wrong = padding > 2;
    for (number, group) in groups.iter().enumerate() {
        let last = number + 1 == groups.len();
        let mut bits = 0_u32;
        for (place, byte) in group.iter().enumerate() {
            let padded = last && place >= 4 - padding.min(2);
            let digit = if padded { 0 } else { digit(*byte) };
            wrong |= digit < 0;
            bits = bits << 6 | (digit as u32 & 63);
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        let length = if last { 3 - padding.min(2) } else { 3 };
        // What the padding stands for is zero.
        wrong |= bytes[length..].iter().any(|byte| *byte != 0);
        der.extend_from_slice(&bytes[..length]);
    }
    (!wrong).then_some(der)
}

/// The value of a digit, negative where it is none.
fn digit(byte: u8) -> i32 {
    let byte = i32::from(byte);
    // All ones where the byte lies between both.
    let within = |first: u8, last: u8| {
        let (first, last) = (i32::from(first), i32::from(last));
        ((first - 1 - byte) & (byte - last - 1)) >> 31
    };
    -1 + (within(b'A', b'Z') & (byte - i32::from(b'A') + 1))
        + (within(b'a', b'z') & (byte - i32::from(b'a') + 27))
        + (within(b'0', b'9') & (byte - i32::from(b'0') + 53))
        + (within(b'+', b'+') & 63)
        + (within(b'/', b'/') & 64)
}

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
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_of_the_usual_form_is_read_as_the_library_reads_it(der in proptest::collection::vec(any::<u8>(), 1..200), width in 1_usize..90, kind in 0_usize..3, crlf: bool) {
            let label = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"][kind];
            let end = if crlf { "\r\n" } else { "\n" };
            let base64 = STANDARD.encode(&der);
            let lines: String = base64.as_bytes().chunks(width).map(|l| String::from_utf8_lossy(l).into_owned() + end).collect();
            let text = format!("before{end}-----BEGIN {label}-----{end}{lines}-----END {label}-----{end}after");
            let ours = usual_key(text.as_bytes()).unwrap();
            prop_assert_eq!(ours.secret_der(), &der[..]);
            prop_assert_eq!(&*ours, &PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap());
        }

        #[test]
        fn base64_is_decoded_as_the_library_decodes_it(text in "[A-Za-z0-9+/=\\-_ ]{0,12}") {
            prop_assert_eq!(decoded(text.as_bytes()).map(|d| d.to_vec()), STANDARD.decode(&text).ok());
        }
    }

    #[test]
    fn a_key_of_another_form_is_left_to_the_library() {
        for text in [
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nAA*A\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n",
        ] {
            assert!(usual_key(text.as_bytes()).is_none(), "{text}");
            assert!(private_key(text.as_bytes()).is_err(), "{text}");
        }
    }

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
