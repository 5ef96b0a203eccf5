//! The real program: what it starts with, what it refuses, what it tells a kubelet.

mod admin;
mod config;
mod demo;
mod health;
mod pages;
mod refusals;
mod secrets;
mod settings;

use std::{net::Ipv4Addr, path::Path};

use headcount::pki::{self, DemoFiles};
use tokio::net::TcpSocket;

/// The flags that name these files.
fn tls_flags(files: &DemoFiles) -> Vec<String> {
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    vec![
        flag("tls-cert", &files.server.certificate),
        flag("tls-key", &files.server.key),
        flag("client-ca", &files.ca),
    ]
}

/// A folder with certificates, and flags for everything that a server needs but a kubeconfig.
fn prepared() -> (tempfile::TempDir, DemoFiles, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let files = pki::write_demo(folder.path()).unwrap();
    let mut flags = vec![
        "serve".to_owned(),
        "--listen=127.0.0.1:0".into(),
        "--admin-listen=127.0.0.1:0".into(),
    ];
    flags.extend(tls_flags(&files));
    (folder, files, flags)
}

/// A port that nobody else gets and that refuses connections until it is listened at.
pub(crate) fn silent_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}
