//! Who a certificate says that its bearer is: one name, of the kind that the configuration prefers, and groups.
//!
//! Names are compared byte for byte and never guessed: what names nobody, or more than one, has no principal.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::policy::Glob;
use crate::telemetry::log::hides;
use rustls::pki_types::CertificateDer;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use x509_parser::{asn1_rs::Tag, parse_x509_certificate, prelude::GeneralName};

/// A longer name than this, in bytes, is none: a SPIFFE ID has at most 2048 (SPIFFE-ID, 2.3).
const LONGEST_NAME: usize = 2048;

/// Who a caller is, for policies, limits and logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The name, as it stands in the certificate.
    #[serde(rename = "principal")]
    pub name: String,
    /// Where in the certificate the name stands.
    pub kind: NameKind,
    /// The subject's organizations (O).
    pub groups: Vec<String>,
}

/// A place in a certificate that can hold its bearer's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NameKind {
    /// A URI of the subject alternative name, such as a SPIFFE ID.
    Uri,
    /// A DNS name of the subject alternative name.
    Dns,
    /// The subject's common name.
    CommonName,
}

/// What stands in the configuration's `identity`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IdentityRules {
    /// The kinds of names that are looked for, in this order: the first kind that a certificate has names its bearer.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub principal: Vec<NameKind>,
    /// Where groups come from.
    pub groups: GroupSource,
    /// What some CAs may vouch for; the others may vouch for anybody.
    #[serde(deserialize_with = "some")]
    #[schemars(length(min = 1))]
    pub authorities: Vec<AuthorityRule>,
}

/// What the CAs of one bundle may vouch for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorityRule {
    /// The bundle: one of those whose clients are let in.
    pub client_ca: PathBuf,
    /// Names, of which a principal's must match one.
    #[schemars(length(min = 1))]
    names: Vec<Glob>,
    /// Groups that count when these CAs name them; none unless they are given.
    #[serde(default)]
    groups: Vec<Glob>,
}

/// A list that isn't empty: one that was emptied by mistake would bind nobody.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AuthorityRule>, D::Error> {
    let rules = Vec::deserialize(deserializer)?;
    if rules.is_empty() {
        return Err(D::Error::custom(
            "authorities is an empty list; leave it out to let every CA vouch for anybody",
        ));
    }
    Ok(rules)
}

/// Where a principal's groups come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GroupSource {
    /// The subject's organizations (O).
    #[default]
    Organization,
    /// There are none.
    None,
}

impl Default for IdentityRules {
    fn default() -> Self {
        Self {
            principal: vec![NameKind::Uri, NameKind::Dns, NameKind::CommonName],
            groups: GroupSource::Organization,
            authorities: Vec::new(),
        }
    }
}

/// A client whose CA may not vouch for its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who}, and the CAs of {bundle:?} may vouch for {} only", names.join(", "))]
pub struct NotVouchedFor {
    who: String,
    bundle: PathBuf,
    names: Vec<String>,
}

/// Why a certificate names no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPrincipal {
    /// It isn't X.509, or its names aren't.
    #[error("its names can't be read: {0}")]
    Unreadable(String),
    /// It has none of the kinds of names that are looked for.
    #[error("it has no name of the kind {0}")]
    Missing(String),
    /// It has several of one kind.
    #[error("it has {count} names of the kind {kind}, and must have one")]
    Several {
        /// The kind.
        kind: NameKind,
        /// How many.
        count: usize,
    },
    /// The name is empty, too long, no text or has characters that no name has.
    #[error("its {kind} name {why}")]
    Unusable {
        /// The kind.
        kind: NameKind,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::CommonName => "commonName",
        })
    }
}

impl IdentityRules {
    /// What is wrong with these rules, for a person.
    ///
    /// # Errors
    ///
    /// An empty list, which would leave nobody a name, and a kind that stands in it twice.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.principal.is_empty() {
            return Err(
                "it names no kind, so that nobody would have a name: give uri, dns or commonName",
            );
        }
        if self.authorities.iter().any(|rule| rule.names.is_empty()) {
            return Err(
                "names of an authority is empty, so that it could vouch for nobody: leave its bundle out of clientCa",
            );
        }
        let twice = |at: usize| self.principal[..at].contains(&self.principal[at]);
        if (0..self.principal.len()).any(twice) {
            return Err("it names a kind twice");
        }
        Ok(())
    }

    /// The principal of a certificate in DER.
    ///
    /// # Errors
    ///
    /// When the first kind of names that the certificate has names nobody, or more than one.
    pub fn principal(&self, certificate: &CertificateDer<'_>) -> Result<Principal, NoPrincipal> {
        let names = Names::read(certificate)?;
        let (kind, found) = self
            .principal
            .iter()
            .map(|kind| (*kind, names.of(*kind)))
            .find(|(_, found)| !found.is_empty())
            .ok_or_else(|| NoPrincipal::Missing(self.kinds()))?;
        let [name] = found else {
            let count = found.len();
            return Err(NoPrincipal::Several { kind, count });
        };
        let name = usable(kind, name.as_deref())
            .map_err(|why| NoPrincipal::Unusable { kind, why })?
            .to_owned();
        let groups = match self.groups {
            GroupSource::Organization => names.organizations,
            GroupSource::None => Vec::new(),
        };
        Ok(Principal { name, kind, groups })
    }

    /// What the CA on whose word a client was let in makes of its principal; `is_of` tells whether that CA is one of a bundle's.
    ///
    /// # Errors
    ///
    /// The CA is bound to names, and this isn't one of them, or is none.
    pub fn vouched_for(
        &self,
        mut principal: Result<Principal, NoPrincipal>,
        is_of: impl Fn(&Path) -> bool,
    ) -> Result<Result<Principal, NoPrincipal>, NotVouchedFor> {
        let bound = self
            .authorities
            .iter()
            .filter(|rule| is_of(&rule.client_ca));
        for AuthorityRule {
            client_ca,
            names,
            groups,
        } in bound
        {
            let matches = |globs: &[Glob], text: &str| globs.iter().any(|glob| glob.matches(text));
            let who = match &mut principal {
                Ok(principal) if matches(names, &principal.name) => {
                    principal.groups.retain(|group| matches(groups, group));
                    continue;
                }
                Ok(principal) => format!("the certificate names {:?}", principal.name),
                Err(why) => format!("the certificate names nobody, since {why}"),
            };
            return Err(NotVouchedFor {
                who,
                bundle: client_ca.clone(),
                names: names.iter().map(Glob::to_string).collect(),
            });
        }
        Ok(principal)
    }

    fn kinds(&self) -> String {
        let kinds: Vec<String> = self.principal.iter().map(NameKind::to_string).collect();
        kinds.join(" or ")
    }
}

/// A name that may stand for somebody.
fn usable(kind: NameKind, name: Option<&str>) -> Result<&str, &'static str> {
    let name = name.ok_or("isn't text")?;
    if name.trim().is_empty() {
        return Err("is empty");
    }
    if name.len() > LONGEST_NAME {
        return Err("is longer than 2048 bytes");
    }
    // Else it would look like another one.
    if name.chars().any(hides) {
        return Err("has control characters in it, or others that hide or turn text");
    }
    // Else whoever may choose a common name could take a URI's place.
    if kind != NameKind::Uri && name.contains("://") {
        return Err("looks like a URI, which only a URI may");
    }
    if kind != NameKind::CommonName && !name.is_ascii() {
        return Err("has characters outside ASCII (RFC 5280, 4.2.1.6)");
    }
    Ok(name)
}

/// All names of a certificate; `None` for one that isn't text.
struct Names {
    uris: Vec<Option<String>>,
    dns: Vec<Option<String>>,
    common_names: Vec<Option<String>>,
    organizations: Vec<String>,
}

impl Names {
    fn read(der: &[u8]) -> Result<Self, NoPrincipal> {
        let unreadable = |why: String| NoPrincipal::Unreadable(why);
        let (rest, certificate) =
            parse_x509_certificate(der).map_err(|e| unreadable(e.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("something follows the certificate".into()));
        }
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().ok().map(str::to_owned)
        };
        let subject = certificate.subject();
        let mut names = Self {
            uris: Vec::new(),
            dns: Vec::new(),
            common_names: subject.iter_common_name().map(text).collect(),
            // A group that no rule can name, that would be two lines in a log or looks like another one, is none.
            organizations: subject
                .iter_organization()
                .filter_map(text)
                .filter(|group| !group.is_empty() && !group.chars().any(hides))
                .collect(),
        };
        let alternative = certificate
            .subject_alternative_name()
            .map_err(|e| unreadable(e.to_string()))?;
        for name in alternative.iter().flat_map(|san| &san.value.general_names) {
            match name {
                GeneralName::URI(uri) => names.uris.push(Some((*uri).to_owned())),
                GeneralName::DNSName(dns) => names.dns.push(Some((*dns).to_owned())),
                GeneralName::Invalid(Tag(6), _) => names.uris.push(None),
                GeneralName::Invalid(Tag(2), _) => names.dns.push(None),
                _ => {}
            }
        }
        Ok(names)
    }

    fn of(&self, kind: NameKind) -> &[Option<String>] {
        match kind {
            NameKind::Uri => &self.uris,
            NameKind::Dns => &self.dns,
            NameKind::CommonName => &self.common_names,
        }
    }
}

#[cfg(test)]
mod tests;
