//! headcount.
pub mod kubernetes;
pub mod name;
pub mod store;
pub mod telemetry;
