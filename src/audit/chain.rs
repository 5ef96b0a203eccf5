//! The chain: every record has the hash of the one before it, and its own.
//!
//! A record is one line of JSON. Its hash is the SHA-256 of the line up to the field that has it, which is the last:
//! `printf '%s' "${line%,\"hash\":*}" | sha256sum`.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

/// No record's line is longer, in bytes.
pub(super) const LONGEST_LINE: usize = 256 << 10;
/// What stands between a record's content and its hash.
const HASH: &str = ",\"hash\":\"";
/// What follows on the hash.
const END: &str = "\"}";
/// Characters of a hash.
const DIGITS: usize = 64;

/// How far a chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which chain: 16 hexadecimal digits, chosen when it was begun.
    pub chain: String,
    /// The number of its last record, from 1; 0 before the first.
    pub count: u64,
    /// That record's hash in hexadecimal; zeros before the first.
    pub hash: String,
}

impl Head {
    /// That of a chain without records.
    pub(super) fn new() -> Self {
        Self {
            chain: format!("{:016x}", fastrand::u64(..)),
            count: 0,
            hash: "0".repeat(DIGITS),
        }
    }

    /// Adds the record with these fields, in JSON without braces, to `lines`.
    pub(super) fn add(&mut self, fields: &str, lines: &mut String) {
        let start = lines.len();
        self.count += 1;
        // Writing into a String can't fail.
        let _ = write!(
            lines,
            "{{\"chain\":\"{}\",\"record\":{},\"previous\":\"{}\",{fields}",
            self.chain, self.count, self.hash
        );
        self.hash = sha256(&lines.as_bytes()[start..]);
        let _ = writeln!(lines, "{HASH}{}{END}", self.hash);
    }
}

/// A SHA-256 hash in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest(&SHA256, bytes).as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What of a record says where its place is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    pub(super) chain: String,
    pub(super) record: u64,
    pub(super) previous: String,
    #[serde(default)]
    pub(super) timestamp: String,
    #[serde(default)]
    pub(super) event: String,
    /// How many bytes before it are what is left of a record that couldn't be written whole.
    pub(super) torn_bytes: Option<u64>,
    /// Their hash.
    #[serde(default)]
    pub(super) torn_sha256: String,
    #[serde(skip)]
    pub(super) hash: String,
    /// Whether the hash is that of the content.
    #[serde(skip)]
    pub(super) sound: bool,
}

impl Link {
    /// Reads a line without its end; `None` if it is no record.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let hash = text.strip_suffix(END)?;
        let (content, hash) = hash.split_at_checked(hash.len().checked_sub(DIGITS)?)?;
        let content = content.strip_suffix(HASH)?;
        let link: Self = serde_json::from_str(text).ok()?;
        Some(Self {
            sound: hash == sha256(content.as_bytes()),
            hash: hash.to_owned(),
            ..link
        })
    }

    /// How far the chain has come with it.
    pub(super) fn head(&self) -> Head {
        Head {
            chain: self.chain.clone(),
            count: self.record,
            hash: self.hash.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_the_hash_of_the_one_before_it_and_its_own() {
        let mut head = Head::new();
        let mut lines = String::new();
        head.add("\"event\":\"a\"", &mut lines);
        let first = head.clone();
        head.add("\"event\":\"b\"", &mut lines);
        let links: Vec<_> = lines
            .lines()
            .map(|line| Link::read(line.as_bytes()).unwrap())
            .collect();
        assert!(links.iter().all(|link| link.sound));
        assert_eq!(links[0].previous, "0".repeat(64));
        assert_eq!(links[1].previous, links[0].hash);
        assert_eq!((links[0].head(), links[1].head()), (first, head));
        // As the documentation says that anybody can check it.
        let line = lines.lines().next().unwrap();
        let (content, _) = line.rsplit_once(",\"hash\":").unwrap();
        assert_eq!(links[0].hash, sha256(content.as_bytes()));
    }

    #[test]
    fn what_is_no_record_is_none_and_a_changed_one_is_unsound() {
        let (mut head, mut lines) = (Head::new(), String::new());
        head.add("\"event\":\"a\"", &mut lines);
        let line = lines.trim_end();
        for other in ["", "{}", "\"}", &line[1..], &line[..line.len() - 1]] {
            assert_eq!(Link::read(other.as_bytes()), None, "{other}");
        }
        let changed = line.replace("\"a\"", "\"b\"");
        assert!(!Link::read(changed.as_bytes()).unwrap().sound);
        let loud = line.replace(&head.hash, &head.hash.to_uppercase());
        assert!(Link::read(loud.as_bytes()).is_none_or(|link| !link.sound));
    }
}
