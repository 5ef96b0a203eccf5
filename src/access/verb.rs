//! What can be done to a Deployment.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// One thing that a caller may be allowed to do. None implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Verb {
    /// Read one Deployment's count.
    Get,
    /// See it in a list.
    List,
    /// See its events in a watch.
    Watch,
    /// Set its count.
    Scale,
    /// Set an image of its containers.
    Image,
    /// Restart its Pods.
    Restart,
    /// Pause its rollouts, or let them go on.
    Pause,
    /// Take it back to an earlier revision.
    Rollback,
}

/// A word that is no verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no verb; there are get, list, watch, scale, image, restart, pause and rollback")]
pub struct NotAVerb(String);

impl Verb {
    /// All verbs, in the order in which they are written.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Scale,
        Self::Image,
        Self::Restart,
        Self::Pause,
        Self::Rollback,
    ];

    /// The verb in lower case, as it stands in configurations and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Scale => "scale",
            Self::Image => "image",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = NotAVerb;

    fn from_str(text: &str) -> Result<Self, NotAVerb> {
        let verb = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        verb.ok_or_else(|| NotAVerb(text.to_owned()))
    }
}

impl JsonSchema for Verb {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Verb".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": Self::ALL.map(Self::as_str)})
    }
}

impl From<Verb> for &'static str {
    fn from(verb: Verb) -> Self {
        verb.as_str()
    }
}

impl TryFrom<String> for Verb {
    type Error = NotAVerb;

    fn try_from(text: String) -> Result<Self, NotAVerb> {
        text.parse()
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Verbs(u8);

impl Verbs {
    /// What any client of a known CA may do in mode `any`: get, list, watch and scale.
    pub const USUAL: Self = Self(0b1111);
    /// Every verb.
    pub const ALL: Self = Self(0b1111_1111);

    /// Whether the verb is one of them.
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & Self::bit(verb) != 0
    }

    /// Those of both sets.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that aren't in the other set.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// The verbs, in the order of [`Verb::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL
            .into_iter()
            .filter(move |verb| self.contains(*verb))
    }

    const fn bit(verb: Verb) -> u8 {
        1 << verb as u8
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        Self(verbs.into_iter().fold(0, |set, verb| set | Self::bit(verb)))
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Verbs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_read_as_it_is_written_and_nothing_else_is_one() {
        for verb in Verb::ALL {
            assert_eq!(verb.to_string().parse(), Ok(verb));
        }
        for bad in ["", "*", "Get", "GET", " get", "get ", "delete", "replicas"] {
            let error = bad.parse::<Verb>().unwrap_err().to_string();
            assert!(
                error.contains("get, list, watch, scale, image, restart, pause and rollback"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for chosen in 0..256 {
            let inside = |verb: Verb| chosen & (1 << verb as u8) != 0;
            let set: Verbs = Verb::ALL.into_iter().filter(|v| inside(*v)).collect();
            assert!(Verb::ALL.into_iter().all(|v| set.contains(v) == inside(v)));
            assert_eq!(set.iter().collect::<Verbs>(), set);
            assert_eq!(set.with(Verbs::ALL), Verbs::ALL);
            assert_eq!(set.without(set), Verbs::default());
        }
        let usual: Vec<_> = Verbs::USUAL.iter().map(Verb::as_str).collect();
        assert_eq!(usual, ["get", "list", "watch", "scale"]);
        assert_eq!(Verb::ALL.into_iter().collect::<Verbs>(), Verbs::ALL);
    }
}
