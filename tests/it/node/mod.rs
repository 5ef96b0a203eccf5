//! A node for headcount's Pods: what a kubelet, a container runtime and kube-proxy do for them, in a network of the test's own.
//!
//! What isn't done here: limits of processor and memory, seccomp's profile, network policies, a PID namespace, DNS (its answers are
//! in `/etc/hosts`), and containers beside the program's own.

mod environment;
mod image;
mod kubelet;
mod network;
mod probes;
mod rendered_pod;
mod services;
mod volumes;

pub(crate) use kubelet::Kubelet;
pub(crate) use network::{Network, in_a_network, in_a_quiet_network};
pub(crate) use rendered_pod::RenderedPod;
pub(crate) use services::Services;
