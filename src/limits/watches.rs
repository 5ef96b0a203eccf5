//! How many watches there may be at once: a stream of changes, or a read that waits for one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Limit, NoTurn, quantity};

/// How many watches there may be at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Watches {
    /// All together.
    #[serde(with = "quantity::Count")]
    pub total: usize,
    /// Of one caller.
    #[serde(with = "quantity::Count")]
    pub per_caller: usize,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            total: 10_000,
            per_caller: 5_000,
        }
    }
}

/// A count of watches that are open.
pub(crate) type Open = Arc<AtomicUsize>;

/// One watch, counted as long as it is open.
#[derive(Debug)]
pub(crate) struct Place([Open; 2]);

impl Place {
    /// One more, of all and of its caller's.
    pub(crate) fn take(limits: &Watches, total: &Open, own: &Open) -> Result<Self, NoTurn> {
        // Counted first, so that those who come at once don't all see the last place.
        let place = Self([Arc::clone(own), Arc::clone(total)]);
        let [owns, all] = [own, total].map(|open| open.fetch_add(1, Relaxed));
        let own = owns >= limits.per_caller;
        if own || all >= limits.total {
            return Err(NoTurn {
                limit: Limit::Watches,
                own,
            });
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for open in &self.0 {
            open.fetch_sub(1, Relaxed);
        }
    }
}
