//! headcount.
pub mod store;
