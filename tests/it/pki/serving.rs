//! What was issued is served with, and let in until it is revoked or denied.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::*;
use crate::support::{Client, program::Program, write_kubeconfig};

/// A server with the folder's `server` certificate, these flags more, and a cluster that never answers.
async fn serving(workshop: &Workshop, more: &[String]) -> (Program, SocketAddr, TcpListener) {
    let cluster = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let kubeconfig = workshop.path("kubeconfig");
    write_kubeconfig(
        &kubeconfig,
        &format!("http://{}", cluster.local_addr().unwrap()),
    );
    let flags = [
        "serve".to_owned(),
        "--listen=127.0.0.1:0".into(),
        "--admin-listen=127.0.0.1:0".into(),
        flag(workshop, "kubeconfig", "kubeconfig"),
        flag(workshop, "tls-cert", "server.crt"),
        flag(workshop, "tls-key", "server.key"),
        flag(workshop, "client-ca", "ca.crt"),
    ];
    let program = Program::start(headcount(flags.iter().chain(more)));
    let listening = program.line("server.listening", 1).await;
    let address = listening.text("address").parse().unwrap();
    (program, address, cluster)
}

fn flag(workshop: &Workshop, name: &str, file: &str) -> String {
    format!("--{name}={}", workshop.path(file).display())
}

/// Whether the server, whose CA is the first folder's, answers this client of the second one.
async fn is_let_in(address: SocketAddr, server: &Workshop, of: &Workshop, name: &str) -> bool {
    let file = |ending: &str| of.path(&format!("{name}.{ending}"));
    let client = Client::with_files(address, &server.path("ca.crt"), &file("crt"), &file("key"));
    let request = http::Request::get("/api/v1/health").header("host", "a");
    let answer = client.try_send(request.body(Default::default()).unwrap());
    answer.await.is_ok_and(|answer| answer.status == 503)
}

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
        let (program, address, _cluster) = serving(&workshop, &[]).await;
        assert!(is_let_in(address, &workshop, &workshop, "alice").await);
        assert!(!is_let_in(address, &workshop, &other, "mallory").await);
        program.signal("TERM");
        assert_eq!(program.ended().await.code, Some(0));
    }
}

#[tokio::test]
async fn a_server_refuses_who_was_revoked_or_denied_and_nobody_else() {
    for flags in [&[][..], &["--intermediate"]] {
        let workshop = Workshop::with_authority(flags);
        workshop.done(&["issue", "--server", "127.0.0.1", "--out", "server"]);
        for name in ["alice", "bob", "carol"] {
            workshop.done(&["issue", "--client", name]);
        }
        workshop.done(&["revoke", "headcount-pki/alice.crt"]);
        workshop.done(&["deny", "headcount-pki/bob.crt"]);
        let mut more = vec![
            flag(&workshop, "client-crl", "ca.crl"),
            flag(&workshop, "deny-list", "deny-list.yaml"),
        ];
        if !flags.is_empty() {
            more.push(flag(&workshop, "client-crl", "intermediate.crl"));
        }
        let (program, address, _cluster) = serving(&workshop, &more).await;
        for (name, reason) in [("alice", "Revoked"), ("bob", "Denied")] {
            assert!(!is_let_in(address, &workshop, &workshop, name).await);
            let refused = program.line("tls.client.refused", 1 + usize::from(name == "bob"));
            assert_eq!(refused.await.text("reason"), reason);
        }
        assert!(is_let_in(address, &workshop, &workshop, "carol").await);
    }
}
