//! Addresses: free, taken by somebody else, or served by a headcount already.

use tokio::net::TcpListener;

use super::Patient;
use crate::support::{SimCluster, program::Serving};

#[tokio::test]
async fn an_address_that_somebody_else_has_fails() {
    let cluster = SimCluster::start().await;
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = taken.local_addr().unwrap();
    let serve = tokio::spawn(async move {
        // Whoever it is, it isn't this program: it says nothing, and closes.
        while let Ok((stream, _)) = taken.accept().await {
            drop(stream);
        }
    });
    let mut patient = Patient::of(cluster.kubeconfig());
    patient.flags = vec![
        format!("--listen={address}"),
        format!("--admin-listen={address}"),
    ];
    let found = patient.examined().await;
    for check in ["address.listen", "address.admin"] {
        found.finds(
            check,
            "failed",
            &format!("{address} is taken by another program"),
        );
    }
    serve.abort();
}

#[tokio::test]
async fn an_address_that_is_not_this_machines_or_not_allowed_fails() {
    let cluster = SimCluster::start().await;
    let mut patient = Patient::of(cluster.kubeconfig());
    // Reserved for documentation (RFC 5737).
    patient.flags = vec![
        "--listen=192.0.2.1:8443".into(),
        "--admin-listen=127.0.0.1:0".into(),
    ];
    let found = patient.examined().await;
    found.finds(
        "address.listen",
        "failed",
        "take an address of this machine",
    );
    found.finds("address.admin", "ok", "127.0.0.1:0 is free");
}

#[tokio::test]
async fn addresses_of_a_server_that_runs_already_are_well_and_it_is_not_disturbed() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let mut patient = Patient::of(cluster.kubeconfig());
    let files = patient.files.clone();
    patient.files = serving.files.clone();
    patient.flags = vec![
        format!("--listen={}", serving.address),
        format!("--admin-listen={}", serving.admin_address),
    ];
    let found = patient.examined().await;
    for check in ["address.listen", "address.admin"] {
        found.finds(check, "ok", "is served by a headcount that runs already");
    }
    // One with another certificate may be anybody's.
    patient.files = files;
    let found = patient.examined().await;
    found.finds("address.listen", "failed", "with another certificate");
    assert_eq!(serving.client.get("/health").await.status, 200);
    assert_eq!(serving.terminated().await.code, Some(0));
}
