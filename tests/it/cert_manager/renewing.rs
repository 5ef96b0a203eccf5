//! What changes while the server runs: renewals, another authority, a client that is let in no more.

use std::fs;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::time::{sleep, timeout};

use super::{
    cluster::{CLIENT, CLIENT_CA, Cluster, SERVER},
    guide,
    load::{Load, PAUSE, PROTOCOLS},
    served::{RELOAD, Served},
};
use crate::support::{Client, Connection, program::headcount};

const SUCCESSOR: &str = "headcount-client-ca-2";

pub(super) async fn a_renewal_has_a_new_key_and_leaves_no_old_request(cluster: &Cluster) {
    for certificate in [CLIENT, SERVER] {
        let key = cluster.text(certificate, "tls.key").await;
        cluster.renew(certificate).await;
        assert_ne!(
            cluster.text(certificate, "tls.key").await,
            key,
            "{certificate}"
        );
    }
    cluster.has_as_many_requests_as_certificates().await;
}

pub(super) async fn the_servers_certificate_is_renewed_under_load_and_no_request_fails(
    cluster: &Cluster,
    served: &Served,
) {
    let client = served.client(cluster, CLIENT).await;
    let load = Load::start(&client);
    for _ in 0..3 {
        cluster.renew(SERVER).await;
        served.takes(cluster, &served.server).await;
        let issued = cluster.text(SERVER, "tls.crt").await;
        let issued = CertificateDer::from_pem_slice(issued.as_bytes()).unwrap();
        let connection = client.connect().await.unwrap();
        let chain = connection.get_ref().1.peer_certificates().unwrap();
        assert_eq!(chain[0], issued);
    }
    // A client's own renewal is nothing that the server is told of.
    cluster.renew(CLIENT).await;
    let renewed = served.client(cluster, CLIENT).await;
    assert_eq!(renewed.get("/deployments").await.status, 200);
    load.has_not_failed().await;
}

pub(super) async fn an_authoritys_renewal_keeps_its_key_and_whoever_was_let_in(
    cluster: &Cluster,
    served: &Served,
) {
    let before = served.client(cluster, CLIENT).await;
    let key = cluster.text(CLIENT_CA, "tls.key").await;
    cluster.renew(CLIENT_CA).await;
    assert_eq!(cluster.text(CLIENT_CA, "tls.key").await, key);
    // Signed by the renewed authority, judged by the bundle from before that.
    cluster.renew(CLIENT).await;
    let after = served.client(cluster, CLIENT).await;
    assert_eq!(after.get("/deployments").await.status, 200);

    cluster.trust(&[CLIENT_CA]).await.unwrap();
    served.takes(cluster, &served.bundle).await;
    for client in [before, after] {
        assert_eq!(client.get("/deployments").await.status, 200);
    }
}

pub(super) async fn the_clients_authority_is_replaced_with_overlap(
    cluster: &Cluster,
    served: &Served,
) {
    let old = served.client(cluster, CLIENT).await;
    let load = Load::start(&old);
    let open = opened(&old).await;

    // The steps of the guide.
    cluster.apply(&guide::block(SUCCESSOR)).await;
    cluster.ready(SUCCESSOR).await;
    cluster.trust(&[CLIENT_CA, SUCCESSOR]).await.unwrap();
    served.takes(cluster, &served.bundle).await;
    cluster
        .kubectl(&[
            "patch",
            "issuer",
            "headcount-clients",
            "--type=merge",
            &format!("--patch={{\"spec\":{{\"ca\":{{\"secretName\":\"{SUCCESSOR}\"}}}}}}"),
        ])
        .await;
    cluster.issues_with("headcount-clients", SUCCESSOR).await;
    cluster.renew(CLIENT).await;

    // Both are let in: nobody has had to hurry.
    let new = served.client(cluster, CLIENT).await;
    assert_eq!(new.get("/deployments").await.status, 200);
    assert_eq!(old.get("/deployments").await.status, 200);
    load.has_not_failed().await;

    let load = Load::start(&new);
    cluster.trust(&[SUCCESSOR]).await.unwrap();
    cluster.sync(&served.bundle).await;
    is_let_in_no_more(served, "UnknownIssuer", open).await;
    load.has_not_failed().await;
}

pub(super) async fn a_denied_client_is_let_in_no_more(cluster: &Cluster, served: &Served) {
    let client = served.client(cluster, CLIENT).await;
    let open = opened(&client).await;
    let certificate = cluster.folder.path().join("client.crt");
    fs::write(&certificate, cluster.text(CLIENT, "tls.crt").await).unwrap();
    let list = cluster.folder.path().join("deny-list.yaml");
    let mut deny = headcount(["pki", "deny", "--by", "key", "--deny-list"]);
    let denied = deny.arg(&list).arg(&certificate).output().unwrap();
    assert!(denied.status.success(), "{denied:?}");
    served.deny(&fs::read(&list).unwrap());
    is_let_in_no_more(served, "Denied", open).await;

    // The key was denied, not its holder.
    cluster.renew(CLIENT).await;
    let renewed = served.client(cluster, CLIENT).await;
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

fn request(client: &Client) -> Request<Full<Bytes>> {
    client.request(Method::GET, "/deployments", &[], "")
}

/// From now on it takes no longer than a reload may: a request on an open connection gets a 401, each connection ends, and new
/// ones are refused for this reason.
async fn is_let_in_no_more(served: &Served, reason: &str, open: Vec<Open>) {
    let refused = served.program.lines("tls.client.refused").len();
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
    let line = served.program.line("tls.client.refused", refused + 1).await;
    assert_eq!(line.text("reason"), reason);
}
