//! What the server tells of itself: log lines and metrics.

pub mod events;
pub mod log;
pub mod metrics;
pub(crate) mod request;
