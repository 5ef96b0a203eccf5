//! headcount.
pub mod kubernetes;
pub mod api;
pub mod name;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
