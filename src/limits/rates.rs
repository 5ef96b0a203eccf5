//! `limits.rates`: how often a caller may ask, and how many Pods it may change in a minute.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use governor::Quota;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::quantity;
use crate::{
    access::{Principal, Subject},
    yaml::given,
};

/// What stands in `limits.rates`; `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rates {
    /// Of reads, by one caller.
    #[serde(with = "quantity::UnlessUnlimited::<Rate>")]
    pub reads: Option<Rate>,
    /// Of writes, by one caller.
    #[serde(with = "quantity::UnlessUnlimited::<Rate>")]
    pub writes: Option<Rate>,
    /// Pods that one caller's writes may change within a minute.
    #[serde(with = "quantity::UnlessUnlimited::<NonZeroU64>")]
    pub pods_per_minute: Option<NonZeroU64>,
    /// Of handshakes, from one address.
    #[serde(with = "quantity::UnlessUnlimited::<Rate>")]
    pub handshakes_per_address: Option<Rate>,
    /// For some callers other rates: the first that is about a caller counts.
    pub overrides: Vec<Override>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            reads: None,
            writes: Some(Rate {
                thousandths: NonZeroU32::MIN.saturating_add(49_999),
                burst: NonZeroU32::MIN.saturating_add(499),
            }),
            pods_per_minute: None,
            handshakes_per_address: None,
            overrides: Vec::new(),
        }
    }
}

/// Rates for some callers. What it doesn't give is as for all.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// Principals by name, or by group (`group:NAME`); `*` stands for something or nothing.
    #[serde(deserialize_with = "some")]
    #[schemars(length(min = 1))]
    subjects: Vec<Subject>,
    /// Of reads.
    #[serde(default, deserialize_with = "other")]
    #[schemars(with = "quantity::UnlessUnlimited::<Rate>")]
    reads: Option<Option<Rate>>,
    /// Of writes.
    #[serde(default, deserialize_with = "other")]
    #[schemars(with = "quantity::UnlessUnlimited::<Rate>")]
    writes: Option<Option<Rate>>,
    /// Pods that writes may change within a minute.
    #[serde(default, deserialize_with = "other")]
    #[schemars(with = "quantity::UnlessUnlimited::<NonZeroU64>")]
    pods_per_minute: Option<Option<NonZeroU64>>,
}

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Subject>, D::Error> {
    let subjects = Vec::deserialize(deserializer)?;
    if subjects.is_empty() {
        return Err(D::Error::custom(
            "subjects is an empty list: an override is about somebody, or * for all",
        ));
    }
    Ok(subjects)
}

fn other<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    quantity::UnlessUnlimited::deserialize(deserializer).map(Some)
}

/// So many a second on average, and so many at once after a pause.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Given", into = "Given")]
pub struct Rate {
    /// Thousandths of a second's number: exact, and an equal rate is the same one.
    thousandths: NonZeroU32,
    burst: NonZeroU32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    /// So many a second on average.
    #[schemars(range(min = 0.001, max = 1_000_000))]
    per_second: f64,
    /// So many at once after a pause; without it as many as a second has.
    #[serde(default, deserialize_with = "given")]
    burst: Option<NonZeroU32>,
}

impl From<Rate> for Given {
    fn from(rate: Rate) -> Self {
        Self {
            per_second: rate.per_second(),
            burst: Some(rate.burst),
        }
    }
}

impl TryFrom<Given> for Rate {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, &'static str> {
        let thousandths = (given.per_second * 1000.0).round();
        if !(1.0..=1e9).contains(&thousandths) {
            return Err("perSecond is from 0.001 to 1000000");
        }
        // Within its range, and whole.
        let thousandths = NonZeroU32::new(thousandths as u32).ok_or("perSecond is more than 0")?;
        let a_second = thousandths.get().div_ceil(1000);
        Ok(Self {
            thousandths,
            burst: given
                .burst
                .or(NonZeroU32::new(a_second))
                .unwrap_or(NonZeroU32::MIN),
        })
    }
}

impl Rate {
    /// The same for the algorithm that counts it.
    pub(super) fn quota(self) -> Quota {
        let period = Duration::from_nanos(1_000_000_000_000 / u64::from(self.thousandths.get()));
        // A period of nothing can't be: there are a million a second at most.
        Quota::with_period(period)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(self.burst)
    }

    fn per_second(self) -> f64 {
        f64::from(self.thousandths.get()) / 1000.0
    }

    /// How many may come at once after a pause.
    pub(super) fn burst(self) -> NonZeroU32 {
        self.burst
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate({self})")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = self.per_second();
        write!(f, "{per_second} a second, {} at once", self.burst)
    }
}

/// The rates that hold for one caller; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CallerRates {
    /// Of its reads.
    pub reads: Option<Rate>,
    /// Of its writes.
    pub writes: Option<Rate>,
    /// Pods that its writes may change within a minute.
    pub pods_per_minute: Option<NonZeroU64>,
}

impl Rates {
    /// Those of a caller, who may have no principal.
    pub fn of(&self, principal: Option<&Principal>) -> CallerRates {
        let about = |other: &&Override| {
            let is = |p: &Principal| other.subjects.iter().any(|s| s.matches(&p.name, &p.groups));
            principal.is_some_and(is)
        };
        let other = self.overrides.iter().find(about);
        CallerRates {
            reads: other.and_then(|o| o.reads).unwrap_or(self.reads),
            writes: other.and_then(|o| o.writes).unwrap_or(self.writes),
            pods_per_minute: other
                .and_then(|o| o.pods_per_minute)
                .unwrap_or(self.pods_per_minute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::NameKind;

    fn rates(yaml: &str) -> Rates {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn rate(per_second: f64, burst: u32) -> Option<Rate> {
        let burst = NonZeroU32::new(burst);
        Rate::try_from(Given { per_second, burst }).ok()
    }

    fn principal(name: &str, groups: &[&str]) -> Principal {
        Principal {
            name: name.into(),
            kind: NameKind::CommonName,
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        }
    }

    #[test]
    fn reads_are_unlimited_and_writes_are_not_unless_the_configuration_says_otherwise() {
        let default = CallerRates {
            writes: rate(50.0, 500),
            ..CallerRates::default()
        };
        assert_eq!(Rates::default().of(None), default);
        assert_eq!(rates("{}").of(None), default);
        assert_eq!(rates("writes: unlimited").of(None), CallerRates::default());
        let other = rates(
            "reads: {perSecond: 0.1}\nwrites: {perSecond: 2.5, burst: 7}\npodsPerMinute: 100\n",
        );
        assert_eq!(
            other.of(None),
            CallerRates {
                reads: rate(0.1, 1),
                writes: rate(2.5, 7),
                pods_per_minute: NonZeroU64::new(100),
            }
        );
        assert_eq!(rate(2.5, 7).unwrap().to_string(), "2.5 a second, 7 at once");
    }

    #[test]
    fn the_first_override_about_a_caller_counts_and_what_it_leaves_out_is_as_for_all() {
        let rates = rates(concat!(
            "writes: {perSecond: 1}\n",
            "podsPerMinute: 5\n",
            "overrides:\n",
            "  - {subjects: ['ci-*', 'group:oncall'], writes: unlimited}\n",
            "  - {subjects: ['*'], reads: {perSecond: 3}, podsPerMinute: unlimited}\n",
        ));
        let of = |name: &str, groups: &[&str]| rates.of(Some(&principal(name, groups)));
        let first = CallerRates {
            reads: None,
            writes: None,
            pods_per_minute: NonZeroU64::new(5),
        };
        assert_eq!(of("ci-7", &[]), first);
        assert_eq!(of("bob", &["dev", "oncall"]), first);
        let second = CallerRates {
            reads: rate(3.0, 3),
            writes: rate(1.0, 1),
            pods_per_minute: None,
        };
        assert_eq!(of("bob", &["dev"]), second);
        // Whoever has no name isn't meant by *, as in rules.
        assert_eq!(rates.of(None).writes, rate(1.0, 1));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for bad in [
            "reads: 5",
            "reads: none",
            "reads:",
            "reads: {perSecond: 0}",
            "reads: {perSecond: -1}",
            "reads: {perSecond: .nan}",
            "reads: {perSecond: 1000001}",
            "reads: {perSecond: 1, burst: 0}",
            "reads: {burst: 1}",
            "reads: {perSecond: 1, perMinute: 1}",
            "podsPerMinute: 0",
            "podsPerMinute: -1",
            "overrides: [{subjects: []}]",
            "overrides: [{subjects: ['']}]",
            "overrides: [{reads: unlimited}]",
            "overrides: [{subjects: ['*'], handshakesPerAddress: unlimited}]",
        ] {
            assert!(serde_saphyr::from_str::<Rates>(bad).is_err(), "{bad}");
        }
    }
}
