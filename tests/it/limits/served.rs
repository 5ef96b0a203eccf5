//! Limits of a whole server: before authentication, in metrics, and when they change.

use std::time::Duration;

use super::limits;
use crate::support::{Setup, SimCluster, eventually, program::admin};

/// Whether the metrics say that a limit was reached so often.
async fn reached(server: &crate::support::TestServer, limit: &str, times: u64) -> bool {
    let line = format!("headcount_limits_reached_total{{limit=\"{limit}\"}} {times}\n");
    let (_, metrics) = admin(server.admin_address, "GET", "/metrics").await;
    metrics.contains(&line)
}

#[tokio::test]
async fn an_address_with_too_many_handshakes_is_closed_before_the_next_one() {
    let sim = SimCluster::start().await;
    let mut setup = Setup::new(sim.kubeconfig());
    setup.limits = limits("rates: {handshakesPerAddress: {perSecond: 0.01, burst: 3}}");
    let server = setup.start().await;
    let mut open = server.client.open().await.unwrap();
    for _ in 0..2 {
        server.client.get("/whoami").await;
    }
    let request = || server.client.request(http::Method::GET, "/whoami", &[], "");
    for times in 1..3 {
        assert!(server.client.try_send(request()).await.is_err());
        assert!(reached(&server, "AddressHandshakes", times).await);
    }
    // What is open goes on.
    assert_eq!(open.send(request()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_caller_over_its_rate_is_counted_and_another_is_served() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let mut setup = Setup::new(sim.kubeconfig());
    setup.limits = limits(
        "rates: {overrides: [{subjects: [ci-pipeline], reads: {perSecond: 0.01, burst: 2}}]}",
    );
    let server = setup.healthy().await;
    let (files, address) = (&server.files, server.address);
    let pair = &files.client2;
    let pipeline =
        crate::support::Client::with_files(address, &files.ca, &pair.certificate, &pair.key);
    // Each on a connection of its own.
    for status in [200, 200, 429, 429] {
        assert_eq!(pipeline.get("/health").await.status, status);
    }
    assert!(reached(&server, "ReadRate", 2).await);
    assert_eq!(server.client.count("web", "shop").await, Ok(3));
    eventually(Duration::from_secs(5), "the count", async || {
        reached(&server, "ReadRate", 2).await
    })
    .await;
}
