//! Limits on connections and on what comes over them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity;

/// The largest window that HTTP/2 knows (RFC 9113, 6.9.1).
const LARGEST_WINDOW: usize = (1 << 31) - 1;

/// How many connections there may be at once, and how many handshakes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Connections {
    /// All together.
    #[serde(with = "quantity::Count")]
    pub total: usize,
    /// From one address, before it is known who that is. A load balancer or NAT is one address; of IPv6 the first 64 bits count.
    #[serde(with = "quantity::Count")]
    pub per_address: usize,
    /// Of one identity.
    #[serde(with = "quantity::Count")]
    pub per_identity: usize,
    /// Handshakes under way, of all addresses together.
    #[serde(with = "quantity::Count")]
    pub handshakes: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            total: 16_384,
            per_address: 4096,
            per_identity: 4096,
            handshakes: 512,
        }
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Times {
    /// For the handshake.
    #[serde(with = "quantity::Time")]
    pub handshake: Duration,
    /// From the handshake, or a request's first byte, to its last header.
    #[serde(with = "quantity::Time")]
    pub headers: Duration,
    /// For a request's body.
    #[serde(with = "quantity::Time")]
    pub body: Duration,
    /// Between two requests.
    #[serde(with = "quantity::Time")]
    pub idle: Duration,
    /// Without taking anything of an answer.
    #[serde(with = "quantity::Time")]
    pub stalled: Duration,
    /// For taking an answer, however steadily.
    #[serde(with = "quantity::Time")]
    pub answer: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            body: Duration::from_secs(20),
            idle: Duration::from_secs(75),
            stalled: Duration::from_secs(30),
            answer: Duration::from_mins(5),
        }
    }
}

/// How much a peer may send, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sizes {
    /// Before the handshake is over; the connection is cut.
    #[serde(with = "quantity::Size")]
    pub handshake: usize,
    /// Of a URI; a longer one is 414.
    #[serde(with = "quantity::Size")]
    pub uri: usize,
    /// Of all headers together; larger ones are 431.
    #[serde(with = "quantity::Size")]
    pub headers: usize,
    /// Of a body; a larger one is 413.
    #[serde(with = "quantity::Size")]
    pub body: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            handshake: 32 << 10,
            uri: 8 << 10,
            headers: 32 << 10,
            body: 64 << 10,
        }
    }
}

/// What one HTTP/2 connection may have at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Http2 {
    /// Requests at once (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113, 6.5.2).
    #[serde(with = "quantity::Count")]
    pub streams: usize,
    /// Of one caller, on all of its connections together.
    #[serde(with = "quantity::Count")]
    pub streams_per_caller: usize,
    /// Requests that the peer resets before this server has looked at them.
    #[serde(with = "quantity::Count")]
    pub resets: usize,
    /// Requests that this server has to reset for the peer's mistakes, in the connection's whole life.
    #[serde(with = "quantity::Count")]
    pub mistakes: usize,
    /// Bytes that are neither requests nor bodies (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, …), since the last request.
    #[serde(with = "quantity::Size")]
    pub overhead: usize,
    /// Of a frame from the peer (SETTINGS_MAX_FRAME_SIZE).
    #[serde(with = "quantity::Bytes::<16_384, 16_777_215>")]
    pub frame: usize,
    /// Of a request's body that was sent and not read yet.
    #[serde(with = "quantity::Bytes::<1024, LARGEST_WINDOW>")]
    pub stream_window: usize,
    /// The same of all bodies of the connection.
    #[serde(with = "quantity::Bytes::<65_535, LARGEST_WINDOW>")]
    pub connection_window: usize,
    /// Of an answer that was made and not taken yet.
    #[serde(with = "quantity::Bytes::<16_384, LARGEST_WINDOW>")]
    pub send_buffer: usize,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            streams: 128,
            streams_per_caller: 1024,
            resets: 20,
            mistakes: 100,
            overhead: 64 << 10,
            frame: 16 << 10,
            stream_window: 64 << 10,
            connection_window: 256 << 10,
            send_buffer: 128 << 10,
        }
    }
}
