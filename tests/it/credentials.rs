//! What this server shows the cluster, and what it knows the cluster by, changes under it: both are read again, without a restart.

use std::{fs, time::Duration};

use simkube::{Cluster, NewDeployment, Options};
use tokio::time::{Instant, sleep};

use crate::support::{SecuredCluster, Setup, TestServer, eventually};

const TOLD: Duration = Duration::from_secs(10);
const HEALED: Duration = Duration::from_secs(30);

async fn served(token: Option<&str>) -> (SecuredCluster, TestServer) {
    let cluster = Cluster::new(Options::default());
    cluster
        .create(NewDeployment::new("web", "shop").replicas(3))
        .unwrap();
    let secured = SecuredCluster::start(cluster, token).await;
    let server = Setup::new(&secured.kubeconfig()).healthy().await;
    (secured, server)
}

async fn health(server: &TestServer) -> u16 {
    server.client.get("/health").await.status.as_u16()
}

/// A change of the cluster shows, and so does one of a caller's.
async fn works(secured: &SecuredCluster, server: &TestServer) {
    secured.cluster.scale("web", "shop", 8).unwrap();
    eventually(HEALED, "a change", async || {
        server.client.count("web", "shop").await == Ok(8)
    })
    .await;
    let written = server.client.scale("web", "shop", 9, &[]).await;
    assert_eq!(written.status, 200, "{}", written.text());
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_again_before_anybody_notices() {
    let (secured, server) = served(Some("one")).await;
    fs::write(secured.kubeconfig().with_file_name("token"), "two").unwrap();
    secured.demand_token("two");
    let written = server.client.scale("web", "shop", 5, &[]).await;
    assert_eq!(written.status, 200, "{}", written.text());
    // Longer than from one probe to the next.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(4) {
        assert_eq!(health(&server).await, 200);
        sleep(Duration::from_millis(50)).await;
    }
    works(&secured, &server).await;
}

#[tokio::test]
async fn a_token_that_comes_late_is_told_by_health_and_read_once_it_is_there() {
    let (secured, server) = served(Some("one")).await;
    secured.demand_token("two");
    eventually(TOLD, "health says so", async || {
        health(&server).await == 503
    })
    .await;
    let written = server.client.scale("web", "shop", 5, &[]).await;
    assert_eq!(written.status, 502, "{}", written.text());
    assert_eq!(server.client.count("web", "shop").await, Ok(3));
    // Half written: what was read before stays, until there is something whole.
    let kubeconfig = fs::read(secured.kubeconfig()).unwrap();
    fs::write(secured.kubeconfig(), &kubeconfig[..kubeconfig.len() / 2]).unwrap();
    fs::write(secured.kubeconfig().with_file_name("token"), "two").unwrap();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(health(&server).await, 503);
    fs::write(secured.kubeconfig(), kubeconfig).unwrap();
    server.becomes_healthy(HEALED).await;
    works(&secured, &server).await;
}

#[tokio::test]
async fn authorities_and_certificates_that_were_replaced_are_read_again() {
    let (secured, server) = served(None).await;
    let files = secured.replace_authority();
    eventually(TOLD, "health says so", async || {
        health(&server).await == 503
    })
    .await;
    let health = server.client.get("/health").await;
    let why = health.json()["error"].to_string();
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(server.client.count("web", "shop").await, Ok(3));
    secured.give(&files, None);
    server.becomes_healthy(HEALED).await;
    works(&secured, &server).await;
}
