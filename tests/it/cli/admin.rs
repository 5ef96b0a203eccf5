//! What a kubelet and a Prometheus see.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::silent_port;
use crate::support::{Client, SimCluster, eventually, program::Serving, write_kubeconfig};

#[tokio::test]
async fn the_program_waits_for_a_cluster_that_is_not_there_yet() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let port = silent_port();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    write_kubeconfig(
        &kubeconfig,
        &format!("http://{}", port.local_addr().unwrap()),
    );
    let serving = Serving::start(&kubeconfig, &[]).await;
    serving.program.line("informer.connection.lost", 1).await;
    assert_eq!(
        serving.admin("GET", "/livez").await,
        (200, "ok\n".to_owned())
    );
    let (status, why) = serving.admin("GET", "/readyz").await;
    assert!(
        status == 503 && why.starts_with("not ready: the first list"),
        "{status} {why}"
    );
    let metrics = serving.metrics().await;
    assert!(
        metrics.contains("\nheadcount_informer_synced 0\n"),
        "{metrics}"
    );
    // No false 404 and no short list.
    for path in [
        "/deployments",
        "/namespaces/web/deployments/shop/replicas",
        "/health",
    ] {
        let answer = serving.client.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(!answer.text().contains("shop"));
    }
    assert_eq!(
        serving.client.scale("web", "shop", 4, &[]).await.status,
        503
    );

    let listener = port.listen(64).unwrap();
    let served = cluster.cluster.clone();
    let cluster_serving =
        tokio::spawn(async move { served.serve(listener, std::future::pending()).await });
    serving.becomes_ready().await;
    assert_eq!(serving.client.count("web", "shop").await, Ok(3));
    assert!(
        serving
            .metrics()
            .await
            .contains("\nheadcount_informer_synced 1\n")
    );
    // A cluster that goes away again takes no readiness.
    cluster_serving.abort();
    let unhealthy = async || serving.client.get("/health").await.status == 503;
    eventually(
        Duration::from_secs(10),
        "health tells of the loss",
        unhealthy,
    )
    .await;
    assert_eq!(serving.admin("GET", "/readyz").await.0, 200);
    assert_eq!(serving.client.count("web", "shop").await, Ok(3));
}

#[tokio::test]
async fn there_are_three_paths_and_two_methods() {
    let cluster = SimCluster::start().await;
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(serving.admin("GET", path).await.0, 200, "{path}");
        assert_eq!(
            serving.admin("HEAD", path).await,
            (200, String::new()),
            "{path}"
        );
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(serving.admin(method, path).await.0, 405, "{method} {path}");
        }
    }
    for path in [
        "/",
        "/livez/",
        "/healthz",
        "/api/v1/deployments",
        "/api/v1/health",
        "/debug/pprof",
        "/metrics/x",
        "//livez",
    ] {
        assert_eq!(serving.admin("GET", path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn connections_that_are_kept_open_do_not_keep_a_kubelet_out() {
    let cluster = SimCluster::start().await;
    let serving = Serving::start(cluster.kubeconfig(), &[]).await;
    let mut kept = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(serving.admin_address).await.unwrap();
        if number % 2 == 0 {
            let request = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
            // It may have been cut already.
            let _ = stream.write_all(request).await;
        }
        kept.push(stream);
    }
    let alive = timeout(Duration::from_secs(4), serving.admin("GET", "/livez"));
    assert_eq!(alive.await.unwrap(), (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn an_admin_connection_takes_one_request() {
    let cluster = SimCluster::start().await;
    let serving = Serving::start(cluster.kubeconfig(), &[]).await;
    let mut stream = TcpStream::connect(serving.admin_address).await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let end = stream.read_to_string(&mut answer);
    timeout(Duration::from_secs(4), end).await.unwrap().unwrap();
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    assert_eq!(
        serving.client.scale("web", "shop", 4, &[]).await.status,
        200
    );
    assert_eq!(
        serving.client.count("web", "none").await,
        Err(http::StatusCode::NOT_FOUND)
    );
    // A path, a method and a status are few labels, whatever is asked for.
    for path in ["/x", "/y", "/namespaces/a\"b/deployments/c/replicas"] {
        serving
            .client
            .send("PURGE".parse().unwrap(), &path.replace('"', "%22"), &[], "")
            .await;
    }
    let files = &serving.files;
    let foreign = Client::with_files(
        serving.address,
        &files.ca,
        &files.foreign.certificate,
        &files.foreign.key,
    );
    assert!(foreign.try_send(http::Request::default()).await.is_err());
    serving.program.line("tls.client.refused", 1).await;
    let text = serving.metrics().await;
    let mut families = Vec::new();
    let body = text
        .strip_suffix("# EOF\n")
        .expect("it ends as OpenMetrics does");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, family, rest) = (
                words.next().unwrap(),
                words.next().unwrap(),
                words.next().unwrap(),
            );
            match keyword {
                "HELP" => assert!(rest.len() > 10, "{line}"),
                "TYPE" => {
                    assert!(
                        ["counter", "gauge", "histogram", "info"].contains(&rest),
                        "{line}"
                    );
                    let prefix = family.split('_').next().unwrap();
                    assert!(["headcount", "process"].contains(&prefix), "{line}");
                    assert!(!families.contains(&family), "{family} is there twice");
                    families.push(family);
                }
                "UNIT" => assert_eq!(family.rsplit('_').next(), Some(rest), "{line}"),
                _ => panic!("{line}"),
            }
        } else {
            is_sample(line, families.last().unwrap());
        }
    }
    for sample in [
        "headcount_http_requests_total{route=\"/api/v1/namespaces/{namespace}/deployments/{name}/replicas\",method=\"PUT\",status=\"200\"} 1",
        "headcount_http_requests_total{route=\"none\",method=\"other\",status=\"404\"} 2",
        "headcount_tls_handshakes_total{result=\"UnknownIssuer\"} 1",
        "headcount_informer_deployments 1",
        "headcount_informer_synced 1",
        "headcount_informer_connected 1",
        "headcount_informer_relists_total{reason=\"start\"} 1",
    ] {
        assert!(
            text.contains(&format!("\n{sample}\n")),
            "{sample} isn't in {text}"
        );
    }
}

/// A name of its family, labels, a number.
fn is_sample(line: &str, family: &str) {
    let suffixes = ["_total", "_info", "_bucket", "_sum", "_count"];
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let (name, labels) = series
        .split_once('{')
        .map_or((series, None), |(name, rest)| {
            (name, rest.strip_suffix('}'))
        });
    assert!(
        name == family
            || suffixes
                .iter()
                .any(|s| name.strip_suffix(s) == Some(family)),
        "{line} isn't of {family}"
    );
    for label in labels.into_iter().flat_map(|labels| labels.split("\",")) {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{line}"
        );
        assert!(!value.trim_end_matches('"').contains('"'), "{line}");
    }
}

#[tokio::test]
async fn whatever_callers_send_the_metrics_have_as_many_lines_as_before() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let send = async |round: usize| {
        let odd = format!("PURGE{round}");
        for method in ["GET", "PUT", "POST", &odd] {
            for path in [
                format!("/namespaces/web{round}/deployments/shop{round}/replicas"),
                format!("/namespaces/web/deployments/shop/containers/c{round}/image"),
                format!("/nothing{round}?x={round}"),
                format!("/deployments?x={round}"),
            ] {
                let method = http::Method::from_bytes(method.as_bytes()).unwrap();
                serving.client.send(method, &path, &[], "").await;
            }
        }
        // What fails before HTTP has reasons of a few names.
        let mut stream = TcpStream::connect(serving.address).await.unwrap();
        let _ = stream.write_all(format!("{round} no TLS").as_bytes()).await;
        serving.metrics().await.lines().count()
    };
    let before = send(0).await;
    for round in 1..10 {
        send(round).await;
    }
    let after = send(10).await;
    assert!(after <= before + 2, "{before} lines, then {after}");
}
