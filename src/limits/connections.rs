//! Limits on connections and on what comes over them.

use std::time::Duration;

use serde::Deserialize;

use super::quantity;

/// How many connections there may be at once, and how many handshakes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Connections {
    /// All together.
    pub total: usize,
    /// From one address, before it is known who that is. A load balancer or NAT is one address.
    pub per_address: usize,
    /// Of one identity.
    pub per_identity: usize,
    /// Handshakes under way, of all addresses together.
    pub handshakes: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            total: 16_384,
            per_address: 4096,
            per_identity: 4096,
            handshakes: 1024,
        }
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Times {
    /// For the handshake.
    #[serde(deserialize_with = "quantity::time")]
    pub handshake: Duration,
    /// From the handshake, or a request's first byte, to its last header.
    #[serde(deserialize_with = "quantity::time")]
    pub headers: Duration,
    /// For a request's body.
    #[serde(deserialize_with = "quantity::time")]
    pub body: Duration,
    /// Between two requests.
    #[serde(deserialize_with = "quantity::time")]
    pub idle: Duration,
    /// Without taking anything of an answer.
    #[serde(deserialize_with = "quantity::time")]
    pub stalled: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            body: Duration::from_secs(20),
            idle: Duration::from_secs(75),
            stalled: Duration::from_secs(30),
        }
    }
}

/// How much a peer may send, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sizes {
    /// Of a URI; a longer one is 414.
    #[serde(deserialize_with = "quantity::bytes")]
    pub uri: usize,
    /// Of all headers together; larger ones are 431.
    #[serde(deserialize_with = "quantity::bytes")]
    pub headers: usize,
    /// Of a body; a larger one is 413.
    #[serde(deserialize_with = "quantity::bytes")]
    pub body: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            uri: 8 << 10,
            headers: 32 << 10,
            body: 64 << 10,
        }
    }
}

/// What one HTTP/2 connection may have at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Http2 {
    /// Requests at once (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113, 6.5.2).
    pub streams: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { streams: 256 }
    }
}
