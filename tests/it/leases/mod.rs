//! Leases of counts as their holders see them, on simulated clusters.

mod kills;
mod past;
