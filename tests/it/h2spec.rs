//! HTTP/2 by the cases of h2spec (RFC 9113 and RFC 7541), as a client with a certificate.

use std::{fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use headcount::pki::Pair;
use tokio::{process::Command, time::timeout};

use crate::support::{Setup, SimCluster};

/// How many cases there are: one that isn't run is missed.
const CASES: usize = 146;
/// Building takes most of it, once.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn every_case_of_h2spec_passes() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let server = Setup::new(cluster.kubeconfig()).healthy().await;
    let path = "/api/v1/namespaces/web/deployments/shop/replicas";
    let report = report(server.address, path, &server.files.client).await;
    let report = report.unwrap();
    assert_eq!(not_passed(&report), Vec::<&str>::new());
    assert_eq!(report.lines().count(), CASES);
}

#[tokio::test]
async fn a_server_that_speaks_no_http2_passes_no_case() {
    let cluster = SimCluster::start().await;
    let server = Setup::new(cluster.kubeconfig()).start().await;
    let report = report(server.admin_address, "/livez", &server.files.client).await;
    assert_eq!(report, None);
}

#[test]
fn a_case_that_fails_or_is_skipped_is_told() {
    let report = "passed\ta/1\tone\t\nfailed\ta/2\ttwo\twhy\nskipped\ta/3\tthree\t\n";
    let lines = ["failed\ta/2\ttwo\twhy", "skipped\ta/3\tthree\t"];
    assert_eq!(not_passed(report), lines);
}

fn not_passed(report: &str) -> Vec<&str> {
    report
        .lines()
        .filter(|line| !line.starts_with("passed\t"))
        .collect()
}

/// The outcome of each case, a line each; `None` when it can't be found out.
async fn report(address: SocketAddr, path: &str, client: &Pair) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let (program, report) = (folder.path().join("h2spec"), folder.path().join("report"));
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/h2spec"))
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .kill_on_drop(true)
        .status();
    let built = timeout(PATIENCE, built).await.unwrap();
    let built = built.expect("Go is needed to build h2spec: https://go.dev/dl");
    assert!(built.success(), "go build");
    let run = Command::new(program)
        .arg(address.to_string())
        .arg(path)
        .args([&client.certificate, &client.key, &report])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    timeout(PATIENCE, run).await.unwrap().unwrap();
    fs::read_to_string(report).ok()
}
