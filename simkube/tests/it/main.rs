//! What the simulated API does, one module a concern.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod controller;
mod disorder;
mod events;
mod faults;
mod kube_client;
mod leases;
mod listing;
mod port;
mod protobuf;
mod reviewing;
mod revisions;
mod scaling;
mod support;
mod watching;
mod writing;
