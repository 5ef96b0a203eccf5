//! What changes while the server runs: renewals, another authority, a client that is let in no more.

use std::{fs, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::time::{sleep, timeout};

use super::{
    issued::{CLIENT, CLIENT_CA, Issued, RELOAD, SERVER, SUCCESSOR},
    load::{Load, PAUSE, PROTOCOLS},
};
use crate::support::{Client, Connection, eventually, program::headcount};

pub(super) async fn a_renewal_has_a_new_key_and_leaves_no_old_request(issued: &Issued) {
    for certificate in [CLIENT, SERVER] {
        let key = issued.text(certificate, "tls.key").await;
        issued.renew(certificate).await;
        assert_ne!(
            issued.text(certificate, "tls.key").await,
            key,
            "{certificate}"
        );
    }
    issued.has_as_many_requests_as_certificates().await;
}

pub(super) async fn the_servers_certificate_is_renewed_under_load_and_no_request_fails(
    issued: &Issued,
) {
    let client = issued.client().await;
    let load = Load::start(&client);
    for _ in 0..3 {
        issued.renew_and_reload(SERVER).await;
        let issued = issued.text(SERVER, "tls.crt").await;
        let issued = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
        // The reload that was seen may have been that of the renewal before.
        let served = async || {
            let connection = client.connect().await.unwrap();
            let chain = connection.get_ref().1.peer_certificates().unwrap();
            chain[0] == issued
        };
        eventually(Duration::from_secs(20), "the renewed certificate", served).await;
    }
    // A client's own renewal is nothing that the server is told of.
    issued.renew(CLIENT).await;
    let renewed = issued.client().await;
    assert_eq!(renewed.get("/deployments").await.status, 200);
    load.has_not_failed().await;
}

pub(super) async fn an_authoritys_renewal_keeps_its_key_and_whoever_was_let_in(issued: &Issued) {
    let before = issued.client().await;
    let key = issued.text(CLIENT_CA, "tls.key").await;
    issued.renew_and_reload(CLIENT_CA).await;
    assert_eq!(issued.text(CLIENT_CA, "tls.key").await, key);
    // Signed by the renewed authority.
    issued.renew(CLIENT).await;
    let after = issued.client().await;
    for client in [before, after] {
        assert_eq!(client.get("/deployments").await.status, 200);
    }
}

pub(super) async fn the_clients_authority_is_replaced_with_overlap(issued: &Issued) {
    let old = issued.client().await;
    let load = Load::start(&old);
    issued
        .clients_authorities("{generations: [1, 2], signing: 1}")
        .await;
    issued
        .clients_authorities("{generations: [1, 2], signing: 2}")
        .await;
    issued.issues_with("headcount-clients", SUCCESSOR).await;
    issued.renew(CLIENT).await;

    // Both are let in: nobody has had to hurry.
    let new = issued.client().await;
    assert_eq!(new.get("/deployments").await.status, 200);
    assert_eq!(old.get("/deployments").await.status, 200);
    load.has_not_failed().await;

    let load = Load::start(&new);
    issued
        .clients_authorities("{generations: [2], signing: 2}")
        .await;
    let refused = issued.pod().lines("tls.client.refused").len();
    let request = request(&old);
    assert!(old.try_send(request).await.is_err());
    let line = issued.line("tls.client.refused", refused + 1).await;
    assert_eq!(line.text("reason"), "UnknownIssuer");
    load.has_not_failed().await;
}

pub(super) async fn a_denied_client_is_let_in_no_more(issued: &Issued) {
    let client = issued.client().await;
    let open = opened(&client).await;
    let certificate = issued.file("client.crt", &issued.text(CLIENT, "tls.crt").await);
    let list = issued.file("deny-list.yaml", "");
    fs::remove_file(&list).unwrap();
    let mut deny = headcount(["pki", "deny", "--by", "key", "--deny-list"]);
    let denied = deny.arg(&list).arg(&certificate).output().unwrap();
    assert!(denied.status.success(), "{denied:?}");
    issued.deny(&fs::read_to_string(&list).unwrap()).await;
    is_let_in_no_more(issued, "Denied", open).await;

    // The key was denied, not its holder.
    issued.renew(CLIENT).await;
    let renewed = issued.client().await;
    assert_eq!(renewed.get("/deployments").await.status, 200);
}

/// Two connections of one protocol over which a client has been answered.
struct Open {
    client: Client,
    asking: Connection,
    idle: Connection,
}

async fn opened(client: &Client) -> Vec<Open> {
    let answered = async |client: &Client| {
        let mut connection = client.open().await.unwrap();
        let answer = connection.send(request(client)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        connection
    };
    let mut open = Vec::new();
    for protocol in PROTOCOLS {
        let client = client.alpn(&[protocol]);
        let (asking, idle) = (answered(&client).await, answered(&client).await);
        open.push(Open {
            client,
            asking,
            idle,
        });
    }
    open
}

pub(super) fn request(client: &Client) -> Request<Full<Bytes>> {
    client.request(Method::GET, "/deployments", &[], "")
}

/// From now on it takes no longer than a reload may: a request on an open connection gets a 401, each connection ends, and new
/// ones are refused for this reason.
async fn is_let_in_no_more(issued: &Issued, reason: &str, open: Vec<Open>) {
    let refused = issued.pod().lines("tls.client.refused").len();
    let ends = open.into_iter().map(|mut open| async move {
        let told = loop {
            let answer = open.asking.send(request(&open.client)).await.unwrap();
            if answer.status != StatusCode::OK {
                break answer;
            }
            sleep(PAUSE).await;
        };
        assert_eq!(told.status, StatusCode::UNAUTHORIZED, "{told:?}");
        told.error();
        // What becomes of them is an end, in order or not.
        let _ = open.asking.ended.await.unwrap();
        let _ = open.idle.ended.await.unwrap();
        assert!(open.client.try_send(request(&open.client)).await.is_err());
    });
    let ended = timeout(RELOAD, join_all(ends)).await;
    ended.expect("within the time that a reload takes");
    let line = issued.line("tls.client.refused", refused + 1).await;
    assert_eq!(line.text("reason"), reason);
}
