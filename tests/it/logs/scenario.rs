//! One scenario, told by the log lines of the program in both forms.

use std::time::Duration;

use serde_json::json;
use simkube::{Fault, On, Rule};

use super::kubeconfig_with_token;
use crate::support::{Client, SimCluster, eventually, lines::Line, program::Serving};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_SPAN: &str = "b7ad6b7169203331";

#[tokio::test]
async fn the_scenario_is_told_in_text() {
    let stderr = play(&[]).await;
    let added = stderr
        .iter()
        .find(|line| line.contains(" informer.deployment.added "))
        .unwrap();
    let (time, rest) = added.split_once(' ').unwrap();
    assert_eq!(time.len(), "2026-01-02T03:04:05.678901Z".len(), "{time}");
    let (told, version) = rest.rsplit_once('=').unwrap();
    let expected = "INFO  informer.deployment.added Deployment web/cart added with 1 replicas \
        namespace=\"web\" name=\"cart\" replicas=1 resource_version";
    assert_eq!(told, expected);
    assert!(version.parse::<u64>().is_ok(), "{version}");
}

#[tokio::test]
async fn the_scenario_is_told_in_json() {
    for line in play(&["--log-format=json"]).await {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line).unwrap();
        for name in ["timestamp", "severity", "event", "message"] {
            assert!(object[name].is_string(), "{name}: {line}");
        }
    }
}

/// Plays the scenario against the program with these flags, asserts its lines, and returns all of stderr.
async fn play(flags: &[&str]) -> Vec<String> {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::start(&kubeconfig_with_token(&cluster), flags).await;
    starts(&serving).await;
    follows_the_cluster(&cluster, &serving).await;
    refuses_and_accepts_clients(&serving).await;
    writes(&serving).await;
    loses_the_connection(&cluster, &serving).await;
    lists_again_when_history_is_gone(&cluster, &serving).await;
    let ended = serving.terminated().await;
    assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &[][..]));
    let lines: Vec<Line> = ended.stderr.iter().map(|line| Line::read(line)).collect();
    let last: Vec<_> = lines
        .iter()
        .rev()
        .take(2)
        .rev()
        .map(|line| line.event.as_str())
        .collect();
    assert_eq!(last, ["server.closing", "server.stopped"]);
    let mut events: Vec<_> = lines.iter().map(|line| line.event.as_str()).collect();
    events.sort_unstable();
    events.dedup();
    // Nothing else is on stderr, and nothing of the libraries.
    let all = [
        "autoscalers.followed",
        "informer.connection.lost",
        "informer.connection.restored",
        "informer.deployment.added",
        "informer.deployment.changed",
        "informer.deployment.deleted",
        "informer.relist",
        "informer.synced",
        "scale.applied",
        "scale.failed",
        "server.closing",
        "server.draining",
        "server.listening",
        "server.stopped",
        "tls.client.accepted",
        "tls.client.refused",
    ];
    assert_eq!(events, all);
    ended.stderr
}

async fn starts(serving: &Serving) {
    let listening = serving.program.line("server.listening", 1).await;
    assert_eq!(listening.names(), ["address", "admin_address", "cluster"]);
    assert_eq!(
        listening.message,
        format!("listening at {}", serving.address)
    );
    let relist = serving.program.line("informer.relist", 1).await;
    assert_eq!(
        (relist.text("reason"), relist.text("namespace")),
        ("start", "all")
    );
    let synced = serving.program.line("informer.synced", 1).await;
    assert_eq!(
        synced.names(),
        ["count", "namespace", "resource_version", "seconds"]
    );
    assert_eq!(synced.number("count"), 1);
    assert!((0.0..10.0).contains(&synced.seconds("seconds")));
    assert!(
        synced.message.starts_with("1 Deployments in "),
        "{}",
        synced.message
    );
}

async fn follows_the_cluster(cluster: &SimCluster, serving: &Serving) {
    let program = &serving.program;
    cluster.create("web", "cart", 1);
    let added = program.line("informer.deployment.added", 1).await;
    assert_eq!(added.message, "Deployment web/cart added with 1 replicas");
    cluster.cluster.scale("web", "cart", 4);
    let changed = program.line("informer.deployment.changed", 1).await;
    assert_eq!(
        changed.message,
        "Deployment web/cart changed from 1 to 4 replicas"
    );
    assert_eq!((changed.number("from"), changed.number("to")), (1, 4));
    assert_eq!(
        (changed.text("namespace"), changed.text("name")),
        ("web", "cart")
    );
    cluster.cluster.delete("web", "cart");
    let deleted = program.line("informer.deployment.deleted", 1).await;
    assert_eq!(deleted.message, "Deployment web/cart deleted");
    for line in [added, changed, deleted] {
        assert_eq!(line.severity, "INFO");
    }
}

async fn refuses_and_accepts_clients(serving: &Serving) {
    let files = &serving.files;
    let foreign = (&files.foreign.certificate, &files.foreign.key);
    let foreign = Client::with_files(serving.address, &files.ca, foreign.0, foreign.1);
    let mut stream = foreign.connect().await.unwrap();
    let peer = stream.get_ref().0.local_addr().unwrap();
    let told = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1])
        .await
        .unwrap_err();
    assert!(told.to_string().contains("UnknownCA"), "{told}");
    let refused = serving.program.line("tls.client.refused", 1).await;
    assert_eq!(refused.severity, "WARN");
    assert_eq!(refused.message, "client refused: UnknownIssuer");
    assert_eq!(
        (refused.text("reason"), refused.text("address")),
        ("UnknownIssuer", peer.to_string().as_str())
    );

    let stream = serving.client.connect().await.unwrap();
    let peer = stream.get_ref().0.local_addr().unwrap();
    let accepted = serving.program.line("tls.client.accepted", 1).await;
    assert_eq!(
        accepted.names(),
        ["address", "issuer", "principal", "serial", "subject"]
    );
    assert_eq!(
        (accepted.text("subject"), accepted.text("issuer")),
        ("CN=alice", "CN=headcount demo CA")
    );
    assert_eq!(accepted.text("address"), peer.to_string());
    let serial = accepted.text("serial");
    assert!(
        serial.len() >= 16 && serial.bytes().all(|b| b.is_ascii_hexdigit()),
        "{serial}"
    );
}

async fn writes(serving: &Serving) {
    let traceparent = format!("00-{TRACE}-{PARENT_SPAN}-01");
    let headers = [
        ("x-request-id", "deploy-4711"),
        ("traceparent", traceparent.as_str()),
    ];
    let answer = serving.client.scale("web", "shop", 5, &headers).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-request-id")),
        (200, "deploy-4711")
    );
    let applied = serving.program.line("scale.applied", 1).await;
    assert_eq!(
        (applied.severity.as_str(), applied.text("result")),
        ("INFO", "updated")
    );
    assert_eq!(
        applied.message,
        "Deployment web/shop set from 3 to 5 replicas"
    );
    let version: i64 = answer.header("x-resource-version").parse().unwrap();
    assert_eq!(applied.number("resource_version"), version);
    let changed = serving.program.line("informer.deployment.changed", 2).await;
    assert_eq!((changed.number("from"), changed.number("to")), (3, 5));

    let answer = serving.client.scale("web", "shop", 10_001, &headers).await;
    assert_eq!(answer.status, 422);
    let failed = serving.program.line("scale.failed", 1).await;
    assert_eq!(
        (failed.severity.as_str(), failed.number("result")),
        ("WARN", 422)
    );
    assert_eq!(failed.text("error"), answer.error());
    for (line, from, to) in [(&applied, 3, 5), (&failed, 5, 10_001)] {
        assert_eq!(
            (
                line.text("subject"),
                line.text("namespace"),
                line.text("name")
            ),
            ("CN=alice", "web", "shop")
        );
        assert_eq!((line.number("from"), line.number("to")), (from, to));
        assert_eq!(
            (line.text("request_id"), line.text("trace_id")),
            ("deploy-4711", TRACE)
        );
        // The trace goes on in a span of the server's own.
        assert!(line.text("span_id").len() == 16 && line.text("span_id") != PARENT_SPAN);
        assert_eq!(
            line.text("serial"),
            serving
                .program
                .line("tls.client.accepted", 1)
                .await
                .text("serial")
        );
        assert!(line.text("address").starts_with("127.0.0.1:"));
    }
    // A write that never got as far as the cluster was tried by somebody, too.
    let path = "/namespaces/web/deployments/sh%0Aop/replicas";
    let text = [headers[0], headers[1], ("content-type", "text/plain")];
    let answer = serving
        .client
        .send(http::Method::PUT, path, &text, "5")
        .await;
    let refused = serving.program.line("scale.failed", 2).await;
    assert_eq!(
        (answer.status.as_u16(), refused.number("result")),
        (415, 415)
    );
    assert_eq!(
        (refused.message.as_str(), refused.text("name")),
        ("a write was refused", "sh\nop")
    );
    assert_eq!(
        (refused.text("request_id"), refused.text("trace_id")),
        ("deploy-4711", TRACE)
    );
    for line in [&applied, &failed, &refused] {
        assert_eq!(
            (line.text("subject"), line.text("issuer")),
            ("CN=alice", "CN=headcount demo CA")
        );
    }
    let answer = serving.client.scale("web", "shop", -1, &headers).await;
    let refused = serving.program.line("scale.failed", 3).await;
    assert_eq!(
        (answer.status.as_u16(), refused.number("result")),
        (400, 400)
    );
    assert_eq!(refused.number("from"), 5);
    assert!(
        refused
            .text("error")
            .starts_with("the body must be exactly one")
    );
    let headers = [headers[0], headers[1], ("host", "b")];
    let answer = serving.client.scale("web", "shop", 5, &headers).await;
    let refused = serving.program.line("scale.failed", 4).await;
    assert_eq!(
        (answer.status.as_u16(), refused.number("result")),
        (400, 400)
    );
    // Without an id and a trace of the caller there are new ones.
    let answer = serving.client.scale("web", "shop", 5, &[]).await;
    let unchanged = serving.program.line("scale.applied", 2).await;
    assert_eq!(unchanged.text("request_id"), answer.header("x-request-id"));
    assert!(unchanged.text("trace_id").len() == 32 && unchanged.text("trace_id") != TRACE);
}

async fn loses_the_connection(cluster: &SimCluster, serving: &Serving) {
    let faults = cluster.cluster.faults();
    // The next watch is refused once, and the one that is open ends.
    faults.add(Rule::new(On::Watch, Fault::status(503)).times(1));
    faults.add(Rule::new(On::OpenWatches, Fault::End));
    let lost = serving.program.line("informer.connection.lost", 1).await;
    assert_eq!(
        (lost.severity.as_str(), lost.text("namespace")),
        ("WARN", "all")
    );
    let seconds = lost.seconds("retry_in");
    assert_eq!(
        lost.message,
        format!("connection lost, retry in {seconds:.1} s")
    );
    assert!(
        seconds > 0.0 && lost.text("error").contains("503"),
        "{lost:?}"
    );
    let restored = serving
        .program
        .line("informer.connection.restored", 1)
        .await;
    assert_eq!(restored.severity, "INFO");
    faults.clear();
}

async fn lists_again_when_history_is_gone(cluster: &SimCluster, serving: &Serving) {
    let faults = cluster.cluster.faults();
    faults.add(Rule::new(On::Watch, Fault::Expired).times(1));
    faults.add(Rule::new(On::OpenWatches, Fault::End));
    let relist = serving.program.line("informer.relist", 2).await;
    assert_eq!(
        relist.text("reason"),
        "the watch's version has expired (410 Gone)"
    );
    let synced = serving.program.line("informer.synced", 2).await;
    assert_eq!(synced.fields.get("count"), Some(&json!(1)));
    // A list that finds nothing new tells of no Deployment.
    assert_eq!(serving.program.lines("informer.deployment.added").len(), 1);
    faults.clear();
    let healthy = async || serving.client.get("/health").await.status == 200;
    eventually(Duration::from_secs(10), "health", healthy).await;
}
