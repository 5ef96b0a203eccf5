//! What tests stand on: certificates, a server in this process, a client, a cluster on a port.

mod balancer;
mod callers;
mod client;
#[cfg(target_os = "linux")]
mod clock;
pub(crate) mod documented;
mod inprocess;
mod kubelet_volume;
pub(crate) mod lines;
mod output;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod secured;
mod server;
mod shape;
mod sim;
mod sse;
mod world;

pub(crate) use balancer::Balancer;
pub(crate) use callers::Callers;
pub(crate) use client::{Answer, Client, Connection, Failure, met_a_goodbye};
#[cfg(target_os = "linux")]
pub(crate) use clock::Clock;
pub(crate) use inprocess::{InProcess, Sent};
pub(crate) use kubelet_volume::{KubeletVolume, Ownership};
pub(crate) use output::keep_secrets_in;
pub(crate) use proxy::Proxy;
pub(crate) use secured::SecuredCluster;
pub(crate) use server::{Setup, TestServer, eventually};
pub(crate) use shape::Shape;
pub(crate) use sim::{SimCluster, write_kubeconfig};
pub(crate) use sse::Events;
pub(crate) use world::World;

/// Says aloud that something wasn't tried here, and why.
pub(crate) fn skipped(why: &str) {
    // A closed stderr changes nothing about that.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIPPED: {why}\n"));
}
