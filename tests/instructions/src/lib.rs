//! The hot paths of the server without a network and without chance, for the instruction-count gate and the benchmarks.
//!
//! Owns made-up clusters of any size, an API server that replays prepared answers, and a caller's connection that replays
//! prepared requests: what is measured is headcount alone. Never measures time.

pub mod baseline;
pub mod callgrind;
pub mod cluster;
pub mod connection;
pub mod fixture;
pub mod paths;
pub mod served;
mod wire;
