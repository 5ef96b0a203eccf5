//! What tests stand on: certificates, a server in this process, a client, a cluster on a port.

mod client;
mod server;
mod sim;

pub(crate) use client::{Answer, Client};
pub(crate) use server::{Setup, TestServer, eventually};
pub(crate) use sim::{SimCluster, write_kubeconfig};
