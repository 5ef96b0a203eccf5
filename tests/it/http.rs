//! HTTP as callers see it: the calls, the order of judgement, protocols and their edges.

use headcount::access::WriteRules;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Setup, SimCluster, TestServer};

async fn server() -> (SimCluster, TestServer) {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let server = Setup::new(cluster.kubeconfig()).healthy().await;
    (cluster, server)
}

const SHOP: &str = "/namespaces/web/deployments/shop/replicas";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn the_four_calls_answer_byte_for_byte_over_both_protocols() {
    let (_cluster, server) = server().await;
    for protocol in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[protocol]);
        assert_eq!(
            client.scale("web", "shop", 3, &[]).await.text(),
            r#"{"message":"Replica count updated successfully."}"#
        );
        assert_eq!(
            client.get(SHOP).await.text(),
            r#"{"namespace":"web","name":"shop","replicaCount":3}"#
        );
        assert_eq!(
            client.get("/deployments").await.text(),
            r#"[{"namespace":"web","name":"shop","replicaCount":3}]"#
        );
        assert_eq!(
            client.get("/health").await.text(),
            r#"{"status":"healthy","kubernetes":"connected"}"#
        );
    }
}

#[tokio::test]
async fn failures_are_judged_in_the_documented_order() {
    let (_cluster, server) = server().await;
    let client = &server.client;
    let text = ("content-type", "text/plain");
    let large = " ".repeat(70_000);
    // Each request has every fault that comes later in the order, too.
    let cases = [
        (404, Method::PATCH, "/nowhere", vec![text], large.as_str()),
        (
            405,
            Method::DELETE,
            "/namespaces/A/deployments/B/replicas",
            vec![text],
            &large,
        ),
        (
            415,
            Method::PUT,
            "/namespaces/A/deployments/B/replicas",
            vec![text],
            &large,
        ),
        (
            413,
            Method::PUT,
            "/namespaces/A/deployments/B/replicas",
            vec![JSON],
            &large,
        ),
        (
            400,
            Method::PUT,
            "/namespaces/A/deployments/none/replicas",
            vec![JSON, ("if-match", "\"x\"")],
            r#"{"replicaCount":1}"#,
        ),
        (
            400,
            Method::PUT,
            "/namespaces/web/deployments/none/replicas?dryrun=true",
            vec![JSON],
            r#"{"replicaCount":1}"#,
        ),
        (
            404,
            Method::PUT,
            "/namespaces/web/deployments/none/replicas",
            vec![JSON, ("if-match", "\"x\"")],
            r#"{"replicaCount":20000}"#,
        ),
        (
            412,
            Method::PUT,
            SHOP,
            vec![JSON, ("if-match", "\"x\"")],
            r#"{"replicaCount":20000}"#,
        ),
        (
            422,
            Method::PUT,
            SHOP,
            vec![JSON],
            r#"{"replicaCount":20000}"#,
        ),
    ];
    for (status, method, path, headers, body) in cases {
        for protocol in ["http/1.1", "h2"] {
            let answer = client
                .alpn(&[protocol])
                .send(method.clone(), path, &headers, body)
                .await;
            assert_eq!(
                answer.status,
                status,
                "{method} {path} over {protocol}: {}",
                answer.text()
            );
            assert!(!answer.error().is_empty());
        }
    }
}

#[tokio::test]
async fn an_answer_is_not_lost_to_a_body_that_nobody_wants() {
    let (_cluster, server) = server().await;
    let body = " ".repeat(8 << 20);
    for protocol in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[protocol]);
        for (status, method, path) in [
            (413, Method::PUT, SHOP),
            (413, Method::GET, SHOP),
            (405, Method::DELETE, SHOP),
            (404, Method::PUT, "/nowhere"),
        ] {
            let answer = client.send(method, path, &[JSON], &body).await;
            assert_eq!(answer.status, status, "{path} over {protocol}");
            assert!(!answer.error().is_empty());
        }
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_for_a_body_that_nobody_wants() {
    let (_cluster, server) = server().await;
    let mut stream = server.client.connect().await.unwrap();
    let head =
        format!("DELETE /api/v1{SHOP} HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut refused = Vec::new();
    while !refused.ends_with(b"\"}") {
        assert_ne!(stream.read_buf(&mut refused).await.unwrap(), 0);
    }
    assert!(refused.starts_with(b"HTTP/1.1 405 "));
    // The connection is still in step and of use.
    let next = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(&[b' '; 2_000_000]).await.unwrap();
    stream.write_all(next.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_refused_is_not_asked_for() {
    let (_cluster, server) = server().await;
    for (status, head) in [
        (413, format!("PUT /api/v1{SHOP}")),
        (405, format!("DELETE /api/v1{SHOP}")),
        (404, "PUT /nowhere".to_owned()),
    ] {
        let request = format!(
            "{head} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n"
        );
        let answer = raw(&server, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} "))
                && answer.contains("\r\nconnection: close\r\n"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_bound_is_named_with_the_count_and_nothing_is_clamped() {
    let (cluster, server) = server().await;
    let answer = server.client.scale("web", "shop", 10_001, &[]).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.error().contains("10001") && answer.error().contains("10000"),
        "{}",
        answer.error()
    );
    assert_eq!(cluster.count("web", "shop"), Some(3));
    assert_eq!(
        server.client.scale("web", "shop", 10_000, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_read_only_server_refuses_writes_and_sends_nothing() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let writes = WriteRules {
        read_only: true,
        max_replicas: 10_000,
    };
    let server = Setup {
        writes,
        ..Setup::new(cluster.kubeconfig())
    }
    .healthy()
    .await;
    for (count, path_status) in [(5, 503), (-1, 400)] {
        let answer = server.client.scale("web", "shop", count, &[]).await;
        assert_eq!(answer.status, path_status, "{}", answer.text());
        assert_eq!(
            answer.headers.contains_key("retry-after"),
            path_status == 503
        );
    }
    let refused = server.client.scale("web", "shop", 5, &[]).await;
    assert_eq!(refused.header("retry-after"), "60");
    assert!(refused.text().contains("read-only"), "{}", refused.text());
    assert_eq!(server.client.scale("web", "none", 5, &[]).await.status, 503);
    assert_eq!(cluster.writes(), 0);
    let told = server.client.get("/whoami").await.json();
    assert_eq!(told["readOnly"], true, "it says so before anybody tries");
}

#[tokio::test]
async fn reads_never_reach_kubernetes() {
    let (cluster, server) = server().await;
    cluster.forget_requests();
    for path in [
        SHOP,
        "/deployments",
        "/namespaces/web/deployments/none/replicas",
    ] {
        for _ in 0..20 {
            server.client.get(path).await;
        }
    }
    assert!(
        cluster.requests() <= 2,
        "{} requests: more than the probe makes",
        cluster.requests()
    );
}

#[tokio::test]
async fn a_list_has_a_weak_tag_that_is_the_same_in_every_coding() {
    let (cluster, server) = server().await;
    let client = &server.client;
    let plain = client.get("/deployments").await;
    let zipped = client
        .send(
            Method::GET,
            "/deployments",
            &[("accept-encoding", "gzip")],
            "",
        )
        .await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert_eq!(plain.header("etag"), zipped.header("etag"));
    let mut unzipped = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&zipped.body[..]),
        &mut unzipped,
    )
    .unwrap();
    assert_eq!(unzipped, plain.text());
    let unchanged = client
        .send(
            Method::GET,
            "/deployments",
            &[("if-none-match", plain.header("etag"))],
            "",
        )
        .await;
    assert_eq!((unchanged.status.as_u16(), unchanged.text()), (304, ""));
    cluster.touch("web", "shop");
    cluster.create("web", "cart", 1);
    crate::support::eventually(
        std::time::Duration::from_secs(5),
        "the new Deployment",
        async || client.get("/deployments").await.header("etag") != plain.header("etag"),
    )
    .await;
}

#[tokio::test]
async fn head_answers_with_the_headers_of_get() {
    let (_cluster, server) = server().await;
    for protocol in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[protocol]);
        for path in [SHOP, "/deployments", "/health"] {
            let (head, get) = (
                client.send(Method::HEAD, path, &[], "").await,
                client.get(path).await,
            );
            assert_eq!((head.status, head.body.len()), (get.status, 0));
            for name in [
                "content-type",
                "content-length",
                "etag",
                "x-resource-version",
            ] {
                assert_eq!(
                    head.header(name),
                    get.header(name),
                    "{name} of {path} over {protocol}"
                );
            }
        }
    }
}

/// Sends bytes as they are and returns what comes back until the server closes.
async fn raw(server: &TestServer, bytes: &str) -> String {
    let mut stream = server.client.connect().await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A close without close_notify is an error to rustls; what was read before it counts.
    let _ = tokio::time::timeout(
        std::time::Duration::from_secs(5),
        stream.read_to_end(&mut answer),
    )
    .await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_missing_or_doubled_host_is_400() {
    let (_cluster, server) = server().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let answer = raw(
            &server,
            &format!("GET /api/v1/health HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"),
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains(r#"{"error":"the request has"#),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_connection_is_closed_behind_a_transfer_encoding() {
    let (_cluster, server) = server().await;
    let smuggled = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = "Content-Length: 6";
    let coding = "Transfer-Encoding: chunked";
    let other = "transfer-encoding:  Chunked ";
    for fields in [
        &[coding][..],
        &[length, coding],
        &[coding, length],
        &[other, length],
    ] {
        let fields = fields.join("\r\n");
        let put = format!(
            "PUT /api/v1{SHOP} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{fields}\r\n\r\n12\r\n{{\"replicaCount\":x}}\r\n0\r\n\r\n"
        );
        let answer = raw(&server, &format!("{put}{smuggled}")).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{put}: {answer}");
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close"),
            "{put}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_request_that_two_readers_could_read_differently_is_the_last_of_its_connection() {
    let (_cluster, server) = server().await;
    let smuggled = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n";
    let put =
        format!("PUT /api/v1{SHOP} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n");
    for request in [
        // Two lengths, that differ or not in one field, a length that is none, a coding that isn't the last.
        format!("{put}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}"),
        format!("{put}Content-Length: 1, 2\r\n\r\n{{}}"),
        format!("{put}Content-Length: +2\r\n\r\n{{}}"),
        format!("{put}Content-Length: 0x2\r\n\r\n{{}}"),
        format!("{put}Content-Length: -1\r\n\r\n"),
        format!("{put}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("{put}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{put}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{put}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        // A chunk whose size is none, or whose end is missing.
        format!("{put}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n"),
        format!("{put}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}0\r\n\r\n"),
        // Names, folded lines, bare carriage returns and line feeds.
        "GET /api/v1/health HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
        "GET /api/v1/health HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n".to_owned(),
        "GET /api/v1/health HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n".to_owned(),
        "GET /api/v1/hea lth HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /api/v1/health HTTP/1.0\r\n\r\n".to_owned(),
        "GET /api/v1/health HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let answer = raw(&server, &format!("{request}{smuggled}")).await;
        let refused = answer.is_empty() || answer.get(8..13) == Some(" 400 ");
        assert!(refused, "{request:?}: {answer}");
        assert!(
            answer.matches("HTTP/1.").count() <= 1,
            "{request:?}: {answer}"
        );
    }
    // Where a line ends with a line feed alone, all readers that accept it agree.
    let answer = raw(
        &server,
        "GET /api/v1/health HTTP/1.1\nHost: a\nConnection: close\n\n",
    )
    .await;
    assert!(answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
}

#[tokio::test]
async fn what_is_longer_than_its_limit_is_told_by_its_own_status() {
    let (_cluster, server) = server().await;
    for protocol in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[protocol]);
        let long = format!("/{}", "a".repeat(9000));
        assert_eq!(client.get(&long).await.status, 414, "{protocol}");
        let value = "v".repeat(17_000);
        let headers = [("x-a", value.as_str()), ("x-b", &value)];
        let answer = client.send(Method::GET, SHOP, &headers, "").await;
        assert_eq!(answer.status, 431, "{protocol}");
        assert!(!answer.error().is_empty());
        assert_eq!(client.get(SHOP).await.status, 200);
    }
}
