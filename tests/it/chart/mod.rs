//! The chart as its users have it: Helm's own programs, a real control plane with cert-manager's controllers, and the program run as the
//! Pods say.

mod account;
mod cluster;
mod first_request;
mod installing;
mod offered;
mod running;
mod world;

pub(crate) use cluster::HEADCOUNT;
pub(crate) use world::{World, in_a_world};
