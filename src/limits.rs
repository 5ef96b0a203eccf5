//! Limits on everything that a peer controls: `limits` in the configuration, each with a default that is safe.
//!
//! They are each server's own: with two servers behind one address a caller has twice as much.

mod cgroup;
mod connections;
mod memory;
mod quantity;
mod reached;

pub use connections::{Connections, Http2, Sizes, Times};
pub use memory::{Memory, MemoryBudget, Pressure, Reservation};
pub use reached::{Limit, LimitMetrics, Who};

use serde::Deserialize;

/// `limits`, as it stands in the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
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
}
