//! The server as its users see it, on a simulated cluster and on a real one.
#![allow(clippy::unwrap_used, reason = "a test that can't go on says where")]
#![allow(unreachable_pub, reason = "nothing of a test binary is public")]

mod audit;
mod authorization;
mod batches;
mod cert_manager;
#[cfg(target_os = "linux")]
mod chart;
mod chart_configuration;
mod cli;
mod client;
mod credentials;
mod cross_site;
#[cfg(target_os = "linux")]
mod docs;
mod doctor;
mod floods;
mod h2spec;
mod histories;
mod history;
mod http;
mod image;
mod images;
mod informer;
mod leases;
mod lifecycle;
mod limits;
mod lists;
mod log_sidecar;
mod logs;
mod memory;
mod monitoring;
#[cfg(target_os = "linux")]
mod node;
mod openapi;
mod owners;
#[cfg(target_os = "linux")]
mod page;
mod pki;
mod policy;
mod release;
mod rollbacks;
mod rollouts;
mod sbom;
mod scenarios;
mod support;
mod tls;
mod upgrade;
mod watch;
mod words;
mod workflows;
mod writes;
