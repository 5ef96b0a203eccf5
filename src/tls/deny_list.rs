//! The deny list: certificates that are let in no more, for those whose CA publishes no revocation list.
//!
//! Owns the file's form and the verdict. Reads no file and keeps no state: text in, verdict out.
//!
//! ```yaml
//! apiVersion: headcount/v1alpha1
//! kind: DenyList
//! serials:                      # one certificate each
//!   - issuer: CN=headcount CA   # as the log and `headcount pki show` write it
//!     serial: 4f:3a:01          # hexadecimal, colons or not
//! spkiSha256:                   # every certificate of this key, whoever issued it
//!   - 9b0e…                     # 64 hexadecimal digits, colons or not
//! names:                        # every certificate with this common name, DNS name or URI, byte for byte
//!   - alice
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use aws_lc_rs::digest;
use serde::Deserialize;
use x509_parser::{
    asn1_rs::{Class, Tag},
    parse_x509_certificate,
    prelude::GeneralName,
    x509::AttributeTypeAndValue,
};

use super::facts::without_zeros;
use crate::yaml::given;

/// The version of a deny list's form.
pub const API_VERSION: &str = "headcount/v1alpha1";
/// The kind of a deny list's file.
pub const KIND: &str = "DenyList";

/// Certificates that are let in no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenyList {
    /// Serial numbers, big-endian and without leading zeros, with the issuers for which they are denied.
    serials: HashMap<Vec<u8>, HashSet<String>>,
    keys: HashSet<[u8; 32]>,
    names: HashSet<String>,
}

/// What of a certificate a deny list looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The issuer's distinguished name, as x509-parser writes it.
    pub issuer: String,
    /// The serial number, big-endian; leading zeros make no difference.
    pub serial: Vec<u8>,
    /// The SHA-256 hash of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// The subject's common names, and the DNS names and URIs of the subject alternative name.
    pub names: Vec<String>,
    /// Whether there is another such name that can't be read, and so can't be told from one that is listed.
    pub has_unreadable_name: bool,
}

/// Why a certificate is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Its issuer and serial number are listed.
    Serial,
    /// Its key is listed.
    Key,
    /// One of its names is listed.
    Name(String),
    /// Names are listed, and one of its own can't be read.
    UnreadableName,
}

/// A text that is no deny list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct DenyListError {
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl DenyList {
    /// Reads a deny list's YAML.
    ///
    /// # Errors
    /// Names the line of what isn't YAML, an unknown key, one with nothing behind it, a serial number or hash that isn't hexadecimal, and
    /// an empty name.
    pub fn parse(text: &str) -> Result<Self, DenyListError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            let (line, why) = crate::yaml::fault(&error, text);
            DenyListError { line, why }
        })?;
        let File {
            api_version,
            kind,
            serials,
            spki_sha256,
            names,
        } = file;
        for (key, found, expected) in [
            ("apiVersion", api_version, API_VERSION),
            ("kind", kind, KIND),
        ] {
            if found.as_deref() != Some(expected) {
                return Err(DenyListError {
                    line: None,
                    why: format!("its {key} must be {expected:?}"),
                });
            }
        }
        let mut list = Self::default();
        for SerialEntry { issuer, serial } in serials.unwrap_or_default() {
            let issuers = list.serials.entry(serial.0).or_default();
            issuers.insert(issuer.0);
        }
        list.keys
            .extend(spki_sha256.unwrap_or_default().into_iter().map(|key| key.0));
        list.names
            .extend(names.unwrap_or_default().into_iter().map(|name| name.0));
        Ok(list)
    }

    /// Why this certificate is denied; `None` when it isn't. The key is looked at first, then the serial number, then names:
    /// where any are listed, a certificate with one that can't be read is denied too.
    #[must_use]
    pub fn denies(&self, facts: &CertificateFacts) -> Option<Denial> {
        if self.keys.contains(&facts.spki_sha256) {
            return Some(Denial::Key);
        }
        let issuers = self.serials.get(without_zeros(&facts.serial));
        if issuers.is_some_and(|issuers| issuers.contains(&facts.issuer)) {
            return Some(Denial::Serial);
        }
        let name = facts.names.iter().find(|name| self.names.contains(*name));
        let unreadable = !self.names.is_empty() && facts.has_unreadable_name;
        name.cloned()
            .map(Denial::Name)
            .or(unreadable.then_some(Denial::UnreadableName))
    }

    /// The issuers under which serial numbers are listed, with how many of them.
    #[must_use]
    pub fn issuers(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for issuer in self.serials.values().flatten() {
            *counts.entry(issuer.as_str()).or_default() += 1;
        }
        counts
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let serials: usize = self.serials.values().map(HashSet::len).sum();
        serials + self.keys.len() + self.names.len()
    }

    /// Whether nobody is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl CertificateFacts {
    /// Reads them from a certificate in DER; `None` for what is no certificate.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let mut found: Vec<Option<String>> =
            certificate.subject().iter_common_name().map(text).collect();
        match certificate.subject_alternative_name() {
            Ok(alternative) => {
                for name in alternative.iter().flat_map(|san| &san.value.general_names) {
                    match name {
                        GeneralName::DNSName(name) | GeneralName::URI(name) => {
                            found.push(Some((*name).to_owned()));
                        }
                        GeneralName::Invalid(Tag(2 | 6), _) => found.push(None),
                        _ => {}
                    }
                }
            }
            Err(_) => found.push(None),
        }
        let has_unreadable_name = found.contains(&None);
        let key = digest::digest(&digest::SHA256, certificate.tbs_certificate.subject_pki.raw);
        Some(Self {
            issuer: certificate.issuer().to_string(),
            serial: without_zeros(certificate.raw_serial()).to_vec(),
            spki_sha256: key.as_ref().try_into().ok()?,
            names: found.into_iter().flatten().collect(),
            has_unreadable_name,
        })
    }
}

/// A name in any of the encodings of a DirectoryString (RFC 5280, 4.1.2.4); `None` for what can't be read. T.61 has many characters
/// outside ASCII that nobody agrees on.
fn text(name: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = name.attr_value();
    if value.class() != Class::Universal || value.header.is_constructed() {
        return None;
    }
    match value.tag() {
        Tag::BmpString => {
            let (units, []) = value.data.as_chunks() else {
                return None;
            };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let (units, []) = value.data.as_chunks() else {
                return None;
            };
            let units = units.iter().map(|unit| u32::from_be_bytes(*unit));
            units.map(char::from_u32).collect()
        }
        Tag::T61String if value.data.is_ascii() => {
            str::from_utf8(value.data).ok().map(str::to_owned)
        }
        _ => name.as_str().ok().map(str::to_owned),
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial => write!(f, "its serial number is on the deny list"),
            Self::Key => write!(f, "its key is on the deny list"),
            Self::Name(name) => write!(f, "its name {name:?} is on the deny list"),
            Self::UnreadableName => write!(
                f,
                "one of its names can't be read, and might be one on the deny list; let the CA write it as UTF8String"
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default, deserialize_with = "given")]
    serials: Option<Vec<SerialEntry>>,
    #[serde(default, deserialize_with = "given")]
    spki_sha256: Option<Vec<KeyHash>>,
    #[serde(default, deserialize_with = "given")]
    names: Option<Vec<Name>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SerialEntry {
    issuer: Name,
    serial: Serial,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Serial(Vec<u8>);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct KeyHash([u8; 32]);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Serial {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // An odd number of digits is how a serial number looks whose first zero was left out.
        let bytes = hexadecimal(&text, true)
            .ok_or_else(|| format!("the serial {text:?} isn't a hexadecimal number"))?;
        if bytes.len() > 21 {
            return Err(format!("the serial {text:?} is longer than 20 bytes"));
        }
        Ok(Self(without_zeros(&bytes).to_vec()))
    }
}

impl TryFrom<String> for KeyHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        hexadecimal(&text, false)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| {
                format!("the spkiSha256 {text:?} isn't a SHA-256 hash of 64 hexadecimal digits")
            })
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a name is empty, which denies nobody".into());
        }
        Ok(Self(text))
    }
}

/// Hexadecimal digits of either case, with colons between bytes or without.
fn hexadecimal(text: &str, odd: bool) -> Option<Vec<u8>> {
    let mut digits: String = if text.contains(':') {
        text.split(':')
            .all(|byte| byte.len() == 2)
            .then(|| text.replace(':', ""))?
    } else {
        text.to_owned()
    };
    if odd && digits.len() % 2 == 1 {
        digits.insert(0, '0');
    }
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if digits.is_empty() || digits.len() % 2 == 1 || !hexadecimal {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests;
