//! `leases` in the configuration file: whether counts can be leased, for how long, and where that is kept.

use std::{path::Path, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{kubernetes::LeaseRules, leases::SHORTEST, limits::Time, name};

/// Where a Pod's own namespace is told.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Leases of counts: "10 replicas for two hours".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaseSettings {
    /// Whether counts can be leased.
    pub enabled: bool,
    /// The namespace of the Lease objects that keep them; without one that of this Pod, and outside a Pod there are no leases.
    #[serde(deserialize_with = "namespace")]
    #[schemars(with = "String", length(min = 1))]
    pub namespace: Option<String>,
    /// The longest that one may ask for: 10s to 24h.
    #[serde(with = "Time")]
    pub longest: Duration,
    /// How many there may be in all: 1 to 100000.
    #[serde(deserialize_with = "most")]
    #[schemars(range(min = 1, max = 100_000))]
    pub most: usize,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            namespace: None,
            longest: Duration::from_secs(24 * 60 * 60),
            most: 1000,
        }
    }
}

impl LeaseSettings {
    /// What leases are bounded by, if there are any here.
    pub fn rules(&self) -> Option<LeaseRules> {
        let own = || {
            let own = std::fs::read_to_string(Path::new(OWN_NAMESPACE)).ok()?;
            Some(own.trim().to_owned()).filter(|own| name::is_namespace(own))
        };
        let namespace = self.namespace.clone().or_else(own)?;
        self.enabled.then(|| LeaseRules {
            namespace,
            longest: u32::try_from(self.longest.as_secs())
                .unwrap_or(u32::MAX)
                .max(SHORTEST),
            most: self.most,
        })
    }
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let namespace = String::deserialize(deserializer)?;
    if name::is_namespace(&namespace) {
        Ok(Some(namespace))
    } else {
        Err(D::Error::custom(format!(
            "leases.namespace {namespace:?} is no name of a namespace"
        )))
    }
}

fn most<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let most = usize::deserialize(deserializer)?;
    if (1..=100_000).contains(&most) {
        Ok(most)
    } else {
        Err(D::Error::custom(format!(
            "leases.most is {most}; it must be 1 to 100000"
        )))
    }
}
