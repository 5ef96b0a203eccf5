//! Limits on everything that a peer controls: `limits` in the configuration, each with a default that is safe.
//!
//! They are each server's own: with two servers behind one address a caller has twice as much.

mod bucket;
mod budget;
mod cgroup;
mod connections;
mod known;
mod limiter;
mod memory;
mod quantity;
mod rates;
mod reached;
mod runs;
mod share;
mod turns;
mod watches;

pub use bucket::Bucket;
pub use budget::{Budget, Charge, OverBudget};
pub(crate) use cgroup::group_limit;
pub use connections::{Connections, Http2, Sizes, Times};
pub(crate) use limiter::site;
pub use limiter::{Address, Allowance, CallerId, Limiter};
pub(crate) use memory::Looking;
pub use memory::{Memory, MemoryBudget, Pressure, Reservation};
pub(crate) use quantity::{Bytes, Time, written};
pub use rates::{CallerRates, Override, Rate, Rates};
pub use reached::{Limit, LimitMetrics, Who};
pub(crate) use runs::{InRuns, Runner, Runs, in_runs};
pub(crate) use share::{LARGE_HEAD, Share};
pub use turns::{NoTurn, Places, Turn, Turns};
pub use watches::Watches;
pub(crate) use watches::{Open as OpenWatches, Place as WatchPlace};

use std::{num::NonZeroUsize, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

/// `limits`, as it stands in the configuration file.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// How many connections there may be.
    pub connections: Connections,
    /// How long a peer may take for what it sends and reads.
    pub times: Times,
    /// How much it may send.
    pub sizes: Sizes,
    /// What one HTTP/2 connection may have at once.
    pub http2: Http2,
    /// How much memory there is.
    pub memory: MemoryBudget,
    /// How often a caller may ask.
    pub rates: Rates,
    /// How many requests may be under way.
    pub requests: Requests,
    /// Of watches: streams of changes, and reads that wait for one.
    pub watches: Watches,
    /// Writes on their way to Kubernetes at once, of all callers together; a caller has a quarter of them at most.
    pub writes_at_once: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Connections::default(),
            times: Times::default(),
            sizes: Sizes::default(),
            http2: Http2::default(),
            memory: MemoryBudget::default(),
            rates: Rates::default(),
            requests: Requests::default(),
            watches: Watches::default(),
            writes_at_once: NonZeroUsize::MIN.saturating_add(63),
        }
    }
}

/// Requests that wait for something: Kubernetes, a version, a body. What is read from the copy doesn't, and isn't counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Requests {
    /// Under way at once, of all callers together; a caller has a quarter of them at most.
    pub at_once: NonZeroUsize,
    /// In line for that.
    pub waiting: usize,
    /// How long one is in line.
    #[serde(with = "quantity::Time")]
    pub longest_wait: Duration,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            at_once: NonZeroUsize::MIN.saturating_add(1023),
            waiting: 1024,
            longest_wait: Duration::from_millis(250),
        }
    }
}
