//! Two servers behind one address are replaced one after the other, as a Deployment does it, and no caller notices.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{Balancer, Callers, Client, SimCluster, eventually, program::Serving};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let balancer = Balancer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let start = async || {
        let serving = Serving::with(&files, cluster.kubeconfig(), &["--drain-delay=1s"]).await;
        balancer.add(serving.address, serving.admin_address);
        serving
    };
    let mut servers = vec![start().await, start().await];
    let both = async || balancer.ready() == 2;
    eventually(Duration::from_secs(20), "both are ready", both).await;

    let client = Client::with_files(
        balancer.address,
        &files.ca,
        &files.client.certificate,
        &files.client.key,
    );
    let callers = Callers::start(&client, "web", "shop");
    sleep(Duration::from_millis(500)).await;
    for _ in 0..2 {
        // As a Deployment with maxSurge 1 and maxUnavailable 0 does it: first the new one, then the old one goes.
        servers.push(start().await);
        let ready = async || balancer.ready() == 3;
        eventually(Duration::from_secs(20), "the new one is ready", ready).await;
        let before = callers.answered();
        let since = Instant::now();
        let ended = servers.remove(0).terminated().await;
        assert_eq!(ended.code, Some(0), "{:#?}", ended.stderr);
        assert!(since.elapsed() < Duration::from_secs(5));
        assert!(callers.answered() > before);
        assert_eq!(balancer.ready(), 2);
    }
    sleep(Duration::from_millis(500)).await;
    let connections = callers.have_not_failed().await;
    assert!(
        (14..).contains(&connections),
        "everybody had to move twice: {connections}"
    );
}
