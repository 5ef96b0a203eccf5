//! The cipher suites and key-exchange groups of TLS 1.3, by the names that IANA lists them under.

use std::{borrow::Cow, fmt, str::FromStr};

use rustls::{
    SupportedCipherSuite,
    crypto::{
        SupportedKxGroup,
        aws_lc_rs::{
            cipher_suite::{
                TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
            },
            kx_group,
        },
    },
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// What a handshake may be encrypted with, the usual preference first; all of them are fit for use.
const SUITES: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", TLS13_AES_128_GCM_SHA256),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        TLS13_CHACHA20_POLY1305_SHA256,
    ),
];

/// How keys may be exchanged. The first four are the default; the others are for clients that are set up for them.
const GROUPS: [(&str, &dyn SupportedKxGroup); 7] = [
    ("x25519", kx_group::X25519),
    ("secp256r1", kx_group::SECP256R1),
    ("secp384r1", kx_group::SECP384R1),
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
    ("SecP256r1MLKEM768", kx_group::SECP256R1MLKEM768),
    ("MLKEM768", kx_group::MLKEM768),
    ("MLKEM1024", kx_group::MLKEM1024),
];
const USUAL: usize = 4;

/// A cipher suite of TLS 1.3.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct CipherSuite(&'static str, SupportedCipherSuite);

/// A key-exchange group of TLS 1.3.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Group(&'static str, &'static dyn SupportedKxGroup);

/// A name that isn't in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such {what}; choose among {known}")]
pub struct UnknownAlgorithm {
    what: &'static str,
    known: String,
}

impl CipherSuite {
    /// All there are, which is the default.
    #[must_use]
    pub fn all() -> Vec<Self> {
        SUITES.map(|(name, suite)| Self(name, suite)).to_vec()
    }

    /// What rustls takes.
    #[must_use]
    pub fn implementation(&self) -> SupportedCipherSuite {
        self.1
    }
}

impl Group {
    /// All there are.
    #[must_use]
    pub fn all() -> Vec<Self> {
        GROUPS.map(|(name, group)| Self(name, group)).to_vec()
    }

    /// Those that are used unless others are named.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        Self::all()[..USUAL].to_vec()
    }

    /// What rustls takes.
    #[must_use]
    pub fn implementation(&self) -> &'static dyn SupportedKxGroup {
        self.1
    }
}

/// The entry of a name; capitals and small letters are the same, as in the tools that print them.
fn find<T: Copy>(
    what: &'static str,
    table: &[(&'static str, T)],
    name: &str,
) -> Result<(&'static str, T), UnknownAlgorithm> {
    table
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .copied()
        .ok_or_else(|| {
            let known: Vec<_> = table.iter().map(|(known, _)| *known).collect();
            UnknownAlgorithm {
                what,
                known: known.join(", "),
            }
        })
}

/// Names of a table, or the same in other capitals.
fn schema<T>(table: &[(&str, T)]) -> Schema {
    let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    let any_case = |c: char| {
        let (small, capital) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
        match small == capital {
            true => c.to_string(),
            false => format!("[{small}{capital}]"),
        }
    };
    let patterns: Vec<String> = names
        .iter()
        .map(|name| name.chars().map(any_case).collect())
        .collect();
    let pattern = format!("^({})$", patterns.join("|"));
    json_schema!({"type": "string", "anyOf": [{"enum": names}, {"pattern": pattern}]})
}

impl JsonSchema for CipherSuite {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CipherSuite".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(&SUITES)
    }
}

impl JsonSchema for Group {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Group".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(&GROUPS)
    }
}

impl Serialize for CipherSuite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl FromStr for CipherSuite {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let (name, suite) = find("cipher suite of TLS 1.3", &SUITES, name)?;
        Ok(Self(name, suite))
    }
}

impl FromStr for Group {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let (name, group) = find("key-exchange group", &GROUPS, name)?;
        Ok(Self(name, group))
    }
}

impl TryFrom<String> for CipherSuite {
    type Error = UnknownAlgorithm;

    fn try_from(name: String) -> Result<Self, UnknownAlgorithm> {
        name.parse()
    }
}

impl TryFrom<String> for Group {
    type Error = UnknownAlgorithm;

    fn try_from(name: String) -> Result<Self, UnknownAlgorithm> {
        name.parse()
    }
}

impl PartialEq for CipherSuite {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for CipherSuite {}
impl Eq for Group {}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_name_whatever_its_letters() {
        for suite in CipherSuite::all() {
            let small = suite.to_string().to_lowercase();
            assert_eq!(small.parse(), Ok(suite));
        }
        for group in Group::all() {
            let capitals = group.to_string().to_uppercase();
            assert_eq!(capitals.parse(), Ok(group));
        }
    }

    #[test]
    fn an_unknown_name_is_told_what_there_is() {
        let suite = "TLS_RSA_WITH_RC4_128_SHA"
            .parse::<CipherSuite>()
            .unwrap_err();
        let told =
            "there is no such cipher suite of TLS 1.3; choose among TLS_AES_256_GCM_SHA384, ";
        assert!(suite.to_string().starts_with(told), "{suite}");
        let group = "x448".parse::<Group>().unwrap_err();
        assert!(group.to_string().ends_with(", MLKEM1024"), "{group}");
    }

    #[test]
    fn the_default_is_what_the_cryptography_library_takes_by_itself() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        for suite in provider
            .cipher_suites
            .iter()
            .filter(|suite| suite.tls13().is_some())
        {
            assert!(
                CipherSuite::all().iter().any(|ours| ours.1 == *suite),
                "{suite:?}"
            );
        }
        let usual: Vec<_> = Group::usual().iter().map(|group| group.1.name()).collect();
        assert_eq!(usual.len(), provider.kx_groups.len());
        for group in provider.kx_groups {
            assert!(usual.contains(&group.name()), "{group:?}");
        }
    }
}
