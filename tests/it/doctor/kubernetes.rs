//! The way to the cluster, and the clock.

use std::{fs, time::Duration};

use simkube::{Cluster, Fault, On, Options, Rule};
use tokio::{net::TcpListener, time::Instant};

use super::{Diagnosis, Patient};
use crate::{
    cli::silent_port,
    support::{Clock, Proxy, SecuredCluster, SimCluster, write_kubeconfig},
};

/// What isn't checked where the API server doesn't answer.
const SKIPPED: [&str; 4] = [
    "kubernetes.latency",
    "clock",
    "permissions.needed",
    "permissions.beyond",
];

#[tokio::test]
async fn a_kubeconfig_that_is_missing_or_has_no_such_context_fails() {
    let cluster = SimCluster::start().await;
    let mut patient = Patient::of(cluster.kubeconfig()).flag("--context=elsewhere");
    let found = patient.examined().await;
    found.finds("kubernetes.credentials", "failed", "elsewhere");
    patient.kubeconfig = "/nonexistent".into();
    let found = patient.examined().await;
    found.finds("kubernetes.credentials", "failed", "/nonexistent");
    assert_eq!(found.names("skipped").len(), 7);
}

#[tokio::test]
async fn a_name_without_an_address_and_a_port_without_a_server_fail() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    let mut patient = patient;
    patient.kubeconfig = patient.folder.path().join("elsewhere");
    write_kubeconfig(&patient.kubeconfig, "https://kubernetes.invalid:6443");
    let found = patient.examined().await;
    found.finds("kubernetes.dns", "failed", "kubernetes.invalid");
    let port = silent_port();
    let address = port.local_addr().unwrap();
    write_kubeconfig(&patient.kubeconfig, &format!("http://{address}"));
    let found = patient.examined().await;
    found.finds("kubernetes.dns", "ok", "127.0.0.1");
    found.finds(
        "kubernetes.tcp",
        "failed",
        &format!("failed to connect to {address}"),
    );
    found.finds("kubernetes.api", "failed", "failed to connect");
    assert_eq!(found.names("skipped"), SKIPPED);
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_within_seconds() {
    let cluster = SimCluster::start().await;
    cluster
        .cluster
        .faults()
        .add(Rule::new(On::Any, Fault::Hang));
    let start = Instant::now();
    let found = Patient::of(cluster.kubeconfig()).examined().await;
    found.finds("kubernetes.tcp", "ok", "connected");
    found.finds("kubernetes.api", "failed", "didn't answer within 5 s");
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn credentials_that_the_cluster_refuses_and_a_ca_that_it_has_not_fail() {
    let secured = SecuredCluster::start(Cluster::new(Options::default()), Some("right")).await;
    let patient = Patient::of(&secured.kubeconfig());
    let found = patient.examined().await;
    found.finds("kubernetes.api", "ok", "Kubernetes v1.36.3");
    secured.demand_token("another");
    let found = patient.examined().await;
    found.finds(
        "kubernetes.api",
        "failed",
        "give credentials that this cluster knows",
    );
    secured.demand_token("right");
    secured.replace_authority();
    let found = patient.examined().await;
    found.finds("kubernetes.api", "failed", "certificate-authority");
}

#[tokio::test]
async fn an_old_version_and_a_slow_server_warn() {
    let cluster = SimCluster::start().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::start(address).await;
    let old = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    let body = r#"{"gitVersion":"v1.29.4"}"#;
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut patient = Patient::of(cluster.kubeconfig());
    patient.kubeconfig = patient.folder.path().join("old");
    write_kubeconfig(&patient.kubeconfig, &format!("http://{}", proxy.address));
    let found = patient.examined().await;
    found.finds("kubernetes.api", "warning", "update the cluster: 1.31");
    found.finds("kubernetes.latency", "warning", "a call takes 6");
    found.finds("clock", "skipped", "have no Date");
    // What it answers is no review.
    found.finds("permissions.needed", "failed", "what can't be read");
    old.abort();
}

#[tokio::test]
async fn a_clock_that_differs_warns_and_one_by_which_certificates_are_not_valid_fails() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    let clock = Clock::new();
    let at = async |seconds| {
        clock.jump(seconds);
        let mut command = patient.command();
        clock.give(&mut command);
        Diagnosis::of(command).await
    };
    at(0).await.finds("clock", "ok", "clock");
    at(60)
        .await
        .finds("clock", "warning", "s ahead of the API server's");
    at(-60)
        .await
        .finds("clock", "warning", "s behind the API server's");
    at(1000).await.finds("clock", "failed", "synchronize both");
    // The demo's certificates began five minutes ago.
    let found = at(-1000).await;
    found.finds("clock", "failed", "is valid, and by this one not yet");
    found.finds("certificates.server", "failed", "isn't valid before");
}

#[tokio::test]
async fn a_credential_plugin_that_hangs_is_waited_for_no_longer_than_10_s() {
    let cluster = SimCluster::start().await;
    let mut patient = Patient::of(cluster.kubeconfig());
    let kubeconfig = fs::read_to_string(&patient.kubeconfig).unwrap();
    let hanging = r#""user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"sleep","args":["18"],"interactiveMode":"Never"}}"#;
    patient.kubeconfig = patient.folder.path().join("hanging");
    fs::write(
        &patient.kubeconfig,
        kubeconfig.replace(r#""user":{}"#, hanging),
    )
    .unwrap();
    let start = Instant::now();
    let mut command = patient.command();
    command.env("PATH", "/usr/bin:/bin");
    let found = Diagnosis::of(command).await;
    found.finds("kubernetes.credentials", "failed", "credential plugin");
    assert!(
        start.elapsed() < Duration::from_secs(16),
        "{:?}",
        start.elapsed()
    );
}
