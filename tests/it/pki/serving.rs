//! What was issued is served with, and let in.

use std::net::{Ipv4Addr, TcpListener};

use super::*;
use crate::support::{Client, program::Program, write_kubeconfig};

#[tokio::test]
async fn a_server_with_an_issued_certificate_lets_issued_clients_in_and_nobody_elses() {
    for flags in [&[][..], &["--intermediate"]] {
        let (workshop, other) = (
            Workshop::with_authority(flags),
            Workshop::with_authority(&[]),
        );
        workshop.done(&["issue", "--server", "127.0.0.1", "--out", "server"]);
        workshop.done(&["issue", "--client", "alice"]);
        other.done(&["issue", "--client", "mallory"]);
        // The cluster never answers: this is about the certificates alone.
        let cluster = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let kubeconfig = workshop.path("kubeconfig");
        write_kubeconfig(
            &kubeconfig,
            &format!("http://{}", cluster.local_addr().unwrap()),
        );
        let flag = |name: &str, file: &str| format!("--{name}={}", workshop.path(file).display());
        let program = Program::start(headcount([
            "serve".to_owned(),
            "--listen=127.0.0.1:0".into(),
            "--admin-listen=127.0.0.1:0".into(),
            flag("kubeconfig", "kubeconfig"),
            flag("tls-cert", "server.crt"),
            flag("tls-key", "server.key"),
            flag("client-ca", "ca.crt"),
        ]));
        let listening = program.line("server.listening", 1).await;
        let address = listening.text("address").parse().unwrap();
        let client = |workshop: &Workshop, name: &str, ca: &Path| {
            let file = |ending: &str| workshop.path(&format!("{name}.{ending}"));
            Client::with_files(address, ca, &file("crt"), &file("key"))
        };
        let alice = client(&workshop, "alice", &workshop.path("ca.crt"));
        assert_eq!(alice.get("/health").await.status, 503);
        let mallory = client(&other, "mallory", &workshop.path("ca.crt"));
        let request = http::Request::get("/api/v1/health").header("host", "a");
        let refused = mallory
            .try_send(request.body(Default::default()).unwrap())
            .await;
        assert!(refused.is_err(), "{refused:?}");
        program.signal("TERM");
        assert_eq!(program.ended().await.code, Some(0));
    }
}
