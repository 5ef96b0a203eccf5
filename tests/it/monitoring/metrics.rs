//! `/metrics` of servers that have done everything, and its page.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use http::Method;
use simkube::{Fault, On, Rule};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    page::{Values, metrics},
    promtool::{Verdict, accepted, promtool},
};
use crate::support::{Client, SimCluster, eventually, program::Serving};

const COUNT: &str = "/namespaces/web/deployments/shop/replicas";
const PATIENCE: Duration = Duration::from_secs(20);

/// A family of an exposition.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// OpenMetrics text by family, whose names are those of the page: with `_total` where it counts.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut present = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            let [keyword, family, rest] = words[..] else {
                panic!("{line}")
            };
            let entry = families.entry(family.to_owned()).or_default();
            match keyword {
                "TYPE" => entry.kind = rest.to_owned(),
                "UNIT" => entry.unit = rest.to_owned(),
                _ => {}
            }
            present = family.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let labels = labels.split_terminator("\",").map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        families.get_mut(&present).unwrap().samples.push(Sample {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().unwrap(),
        });
    }
    let named = families.into_iter().map(|(name, family)| {
        let suffix = match &*family.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        (name + suffix, family)
    });
    named.collect()
}

/// The sum of the samples of one name that have these labels.
fn sum(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let all = families.values().flat_map(|family| &family.samples);
    let matching = all.filter(|sample| {
        let has =
            |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
        sample.name == name && labels.iter().all(has)
    });
    matching.map(|sample| sample.value).sum()
}

/// A server that has served everything that there is, refused clients, lost its cluster's watch, and failed to reload.
async fn busy(cluster: &SimCluster) -> (Serving, tempfile::TempDir) {
    cluster.create("web", "shop", 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.yaml");
    let configuration = |authorization: &str| {
        format!(
            "apiVersion: headcount/v1alpha1\nkind: Configuration\nauthorization: {authorization}\n"
        )
    };
    std::fs::write(&file, configuration("{mode: kubernetes}")).unwrap();
    let flag = format!("--config={}", file.display());
    let serving = Serving::healthy(cluster.kubeconfig(), &[&flag]).await;
    let client = &serving.client;
    for path in [
        "/health",
        "/whoami",
        "/history",
        "/deployments",
        COUNT,
        "/nothing",
    ] {
        for protocol in ["h2", "http/1.1"] {
            client.alpn(&[protocol]).get(path).await;
        }
    }
    client.send(Method::HEAD, COUNT, &[], "").await;
    for path in ["/", "/page/app.js"] {
        let mut request = client.request(Method::GET, "", &[], "");
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(client.try_send(request).await.unwrap().status, 200);
    }
    for method in [Method::DELETE, Method::PATCH, Method::POST, Method::OPTIONS] {
        client.send(method, COUNT, &[], "").await;
    }
    let shop = "/namespaces/web/deployments/shop";
    for call in ["restart", "paused", "rollback"] {
        client.get(&format!("{shop}/{call}")).await;
    }
    for path in [
        shop,
        "/namespaces/web/deployments",
        "/leases",
        "/namespaces/web/deployments/shop/lease",
        "/batches",
        "/batches/restore",
        "/openapi.json",
        "/docs",
    ] {
        client.get(path).await;
    }
    let containers = "/namespaces/web/deployments/shop/containers";
    client.get(containers).await;
    let image = format!("{containers}/main/image");
    let json = [("content-type", "application/json")];
    client
        .send(Method::PUT, &image, &json, r#"{"image":"shop:2"}"#)
        .await;
    let conflicts = Rule::new(On::Scale, Fault::status(409)).times(1);
    cluster.cluster.faults().add(conflicts);
    // What answers with a conflict has a newer version sooner or later.
    let others = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cluster.touch("web", "shop");
        }
    };
    tokio::select! {
        answer = client.scale("web", "shop", 4, &[]) => assert_eq!(answer.status, 200),
        () = others => {}
    }
    let expired = Rule::new(On::Event, Fault::Expired).times(1);
    cluster.cluster.faults().add(expired);
    cluster.touch("web", "shop");
    let foreign = &serving.files.foreign;
    let foreign = Client::with_files(
        serving.address,
        &serving.files.ca,
        &foreign.certificate,
        &foreign.key,
    );
    assert!(foreign.try_send(http::Request::default()).await.is_err());
    std::fs::write(&file, configuration("{mode: nonsense}")).unwrap();
    serving.program.line("reload.failed", 1).await;
    (serving, folder)
}

#[tokio::test]
async fn the_page_has_every_metric_with_its_type_unit_and_labels_and_no_other() {
    let cluster = SimCluster::start().await;
    let (serving, _folder) = busy(&cluster).await;
    let families = families(&serving.metrics().await);
    let page: BTreeMap<_, _> = metrics().into_iter().map(|m| (m.name.clone(), m)).collect();
    let (there, told): (BTreeSet<_>, BTreeSet<_>) =
        (families.keys().collect(), page.keys().collect());
    assert_eq!(there, told, "docs/metrics.md and /metrics");
    // Whose values are all there from the start, or by now.
    let mut whole = 0;
    for (name, family) in &families {
        let told = &page[name];
        assert_eq!(
            (&family.kind, &family.unit),
            (&told.kind, &told.unit),
            "{name}"
        );
        assert!(!family.samples.is_empty(), "{name}");
        for sample in &family.samples {
            let labels = sample.labels.iter().filter(|(label, _)| *label != "le");
            let names: BTreeSet<_> = labels.clone().map(|(label, _)| label).collect();
            assert_eq!(names, told.labels.keys().collect(), "{sample:?}");
            for (label, value) in labels {
                assert!(
                    told.labels[label].allow(value),
                    "{name} has {label}={value:?}"
                );
            }
        }
        for (label, values) in &told.labels {
            let Values::These {
                values,
                numbers: false,
            } = values
            else {
                continue;
            };
            let seen = |value: &String| family.samples.iter().any(|s| s.labels[label] == *value);
            // This server has no revocation list; what a call to Kubernetes may be, it hasn't all made.
            let rest = |value: &String| match &**label {
                "verb" | "resource" => true,
                "kind" => value == "crl",
                _ => false,
            };
            for value in values.iter().filter(|value| !rest(value)) {
                assert!(seen(value), "{name} never has {label}={value:?}");
                whole += 1;
            }
        }
    }
    assert!(whole > 40, "{whole}");
}

#[tokio::test]
async fn what_was_done_is_counted_where_the_page_says() {
    let cluster = SimCluster::start().await;
    let (serving, _folder) = busy(&cluster).await;
    let relisted = async || {
        let families = families(&serving.metrics().await);
        sum(
            &families,
            "headcount_informer_relists_total",
            &[("reason", "expired")],
        ) == 1.0
    };
    eventually(PATIENCE, "the relist", relisted).await;
    let watching = async || {
        let families = families(&serving.metrics().await);
        sum(&families, "headcount_informer_watches", &[]) == 1.0
    };
    eventually(PATIENCE, "the next watch", watching).await;
    let text = serving.metrics().await;
    let families = families(&text);
    let is = |name: &str, labels: &[(&str, &str)], value: f64| {
        assert_eq!(
            sum(&families, name, labels),
            value,
            "{name} {labels:?}: {text}"
        );
    };
    is(
        "headcount_kubernetes_retries_total",
        &[("reason", "conflict")],
        1.0,
    );
    let scales = [("verb", "update"), ("resource", "deployments/scale")];
    let scales = match sum(
        &families,
        "headcount_kubernetes_request_duration_seconds_count",
        &scales,
    ) {
        0.0 => [("verb", "patch"), ("resource", "deployments/scale")],
        _ => scales,
    };
    is(
        "headcount_kubernetes_request_duration_seconds_count",
        &scales,
        2.0,
    );
    for (code, count) in [("409", 1.0), ("200", 1.0)] {
        let labels = [&scales[..], &[("code", code)]].concat();
        is("headcount_kubernetes_requests_total", &labels, count);
    }
    is("headcount_reloads_total", &[("result", "failed")], 1.0);
    is("headcount_reload_failing", &[], 1.0);
    is(
        "headcount_tls_handshake_duration_seconds_count",
        &[("result", "failed")],
        1.0,
    );
    is("headcount_http_requests_in_flight", &[], 0.0);
    is("headcount_informer_scopes", &[], 1.0);
    is("headcount_panics_total", &[], 0.0);
    let (accepted, shaken) = (
        "headcount_tls_handshakes_total",
        "headcount_tls_handshake_duration_seconds_count",
    );
    let accepted = sum(&families, accepted, &[("result", "accepted")]);
    is(shaken, &[("result", "accepted")], accepted);
    // What is counted is timed, by route and method.
    for sample in &families["headcount_http_request_duration_seconds"].samples {
        let label = |name: &str| sample.labels[name].as_str();
        let labels = [("route", label("route")), ("method", label("method"))];
        let count = sum(&families, "headcount_http_requests_total", &labels);
        assert!(count > 0.0, "{labels:?}");
        is(
            "headcount_http_request_duration_seconds_count",
            &labels,
            count,
        );
    }
    let process = |name: &str| sum(&families, name, &[]);
    assert!(process("process_cpu_seconds_total") > 0.0);
    assert!(process("process_resident_memory_bytes") > 1e6);
    assert!(process("process_threads") > 2.0);
    assert!(
        process("process_open_fds") > 5.0
            && process("process_open_fds") < process("process_max_fds")
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs_f64();
    for time in [
        "process_start_time_seconds",
        "headcount_reload_last_success_timestamp_seconds",
    ] {
        assert!((now - 600.0..=now).contains(&process(time)), "{time}");
    }
}

#[tokio::test]
async fn a_write_takes_as_long_as_kubernetes_does_and_a_connection_is_of_its_protocol() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_millis(300)));
    cluster.cluster.faults().add(slow);
    let mut open = serving.client.alpn(&["http/1.1"]).open().await.unwrap();
    let path = format!("/api/v1{COUNT}");
    let put = |body: &str| {
        let request = http::Request::put(&path).header("host", "a");
        let request = request.header("content-type", "application/json");
        request.body(body.to_owned().into()).unwrap()
    };
    assert_eq!(
        open.send(put(r#"{"replicaCount":5}"#))
            .await
            .unwrap()
            .status,
        200
    );
    let families = families(&serving.metrics().await);
    let is = |name: &str, labels: &[(&str, &str)]| sum(&families, name, labels);
    let route = "/api/v1/namespaces/{namespace}/deployments/{name}/replicas";
    let within = |le| {
        let bucket = "headcount_http_request_duration_seconds_bucket";
        is(bucket, &[("route", route), ("method", "PUT"), ("le", le)])
    };
    assert_eq!((within("0.25"), within("+Inf")), (0.0, 1.0));
    assert!(within("10.0") >= 1.0);
    assert_eq!(
        is("headcount_http_connections", &[("protocol", "http/1.1")]),
        1.0
    );
    assert_eq!(is("headcount_http_connections", &[("protocol", "h2")]), 0.0);
    drop(open);
    let closed = async || {
        let text = serving.metrics().await;
        text.contains("headcount_http_connections{protocol=\"http/1.1\"} 0\n")
    };
    eventually(PATIENCE, "the end of the connection", closed).await;
}

/// The answer to a request for metrics with an `Accept` header, in whole.
async fn scraped(serving: &Serving, accept: &str) -> String {
    let mut stream = TcpStream::connect(serving.admin_address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn prometheus_gets_open_metrics_and_whoever_takes_only_text_gets_text_and_promtool_likes_both()
 {
    let cluster = SimCluster::start().await;
    let (serving, _folder) = busy(&cluster).await;
    // What Prometheus sends.
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open_metrics = scraped(&serving, prometheus).await;
    assert!(open_metrics.contains(
        "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
    ));
    assert!(open_metrics.ends_with("\n# EOF\n"));
    let (_, body) = open_metrics.split_once("\r\n\r\n").unwrap();
    // Its parser of OpenMetrics is the one that makes blocks, which need times.
    let timed = body.lines().map(|line| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("{line} 1700000000\n"),
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scraped"), timed.collect::<String>()).unwrap();
    let blocks = [
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "scraped",
        "blocks",
    ];
    accepted(folder.path(), blocks, "");

    let plain = scraped(&serving, "text/plain").await;
    assert!(plain.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    let (_, body) = plain.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.lines().count(), {
        let dropped = |line: &&str| line.starts_with("# UNIT") || *line == "# EOF";
        let (_, whole) = open_metrics.split_once("\r\n\r\n").unwrap();
        whole.lines().filter(|line| !dropped(line)).count()
    });
    let anywhere = Path::new("/");
    accepted(anywhere, ["check", "metrics"], body);
    // And it is a judge: a counter by a wrong name isn't liked.
    let wrong = "# HELP headcount_x Something\n# TYPE headcount_x counter\nheadcount_x 1\n";
    if let Some(Verdict { good, words }) = promtool(anywhere, ["check", "metrics"], wrong) {
        assert!(!good && words.contains("_total"), "{words}");
    }
}
