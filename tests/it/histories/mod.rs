//! Histories of concurrent callers, judged in the manner of Jepsen: while everything goes wrong no update is lost, none is
//! invented, and nobody reads less than was promised.
//!
//! `anomalies.rs` shows that the checker finds what it looks for; `simulated.rs` breaks a simulated cluster, `kills.rs` the real
//! one and the server itself.

mod anomalies;
mod callers;
mod checker;
mod history;
mod kills;
mod simulated;
