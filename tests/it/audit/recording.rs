//! Who did what, from where, why, and what became of it.

use http::Method;
use serde_json::{Value, json};
use simkube::{Fault, On, Rule};

use super::{Audited, of};
use crate::support::{Client, SimCluster};

const POLICY: &str = "
authorization:
  mode: policy
  rules:
    - {name: no payments, effect: deny, subjects: ['*'], verbs: ['*'], deployments: ['pay-*']}
    - {name: on call, subjects: [alice], verbs: [get, scale, image], namespaces: [web], bounds: {max: 9}}
";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What of a record is always there, and another one each time.
fn without_place(record: &Value) -> Value {
    let mut record = record.clone();
    let object = record.as_object_mut().unwrap();
    for name in [
        "chain",
        "record",
        "previous",
        "hash",
        "timestamp",
        "span_id",
        "serial",
    ] {
        assert!(object.remove(name).is_some(), "{name}");
    }
    let address = object.remove("address").unwrap();
    assert!(address.as_str().unwrap().starts_with("127.0.0.1:"));
    record
}

#[tokio::test]
async fn a_write_is_on_record_before_it_is_sent_and_when_its_outcome_is_known() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let audited = Audited::new("", POLICY);
    let serving = audited.serve(&cluster).await;
    let trace = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = [
        ("x-request-id", "deploy-4711"),
        ("traceparent", trace.as_str()),
        ("x-reason", "incident 4711"),
    ];
    let answer = serving.client.scale("web", "shop", 5, &headers).await;
    assert_eq!(answer.status, 200);
    // The ordinary log has the reason too.
    let line = serving.program.line("scale.applied", 1).await;
    assert_eq!(line.text("reason"), "incident 4711");
    let version: u64 = answer.header("x-resource-version").parse().unwrap();
    assert_eq!(serving.terminated().await.code, Some(0));
    let records = audited.records();
    let who = json!({
        "principal": "alice", "subject": "CN=alice", "issuer": "CN=headcount demo CA", "names": "alice",
        "request_id": "deploy-4711", "trace_id": TRACE, "authorization": "policy", "verb": "scale", "namespace": "web",
        "name": "shop", "from": 3, "to": 5, "reason": "incident 4711",
    });
    let with = |more: Value| {
        let mut all = who.clone();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(
        without_place(of(&records, "scale.requested")[0]),
        with(json!({"event": "scale.requested", "dry_run": false}))
    );
    assert_eq!(
        without_place(of(&records, "scale.applied")[0]),
        with(
            json!({"event": "scale.applied", "result": "applied", "status": 200, "resource_version": version, "rule": "on call"})
        )
    );
    let events: Vec<_> = records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "audit.file",
            "audit.started",
            "scale.requested",
            "scale.applied",
            "audit.stopped"
        ]
    );
}

#[tokio::test]
async fn a_step_that_is_sent_again_is_on_record_as_a_repetition_by_whichever_server() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let mut results = Vec::new();
    for _server in 0..2 {
        let audited = Audited::new("", POLICY);
        let serving = audited.serve(&cluster).await;
        for _ in 0..2 {
            let path = "/namespaces/web/deployments/shop/replicas";
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", "once"),
            ];
            let answer = serving
                .client
                .send(Method::PATCH, path, &headers, r#"{"delta":2}"#)
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(cluster.count("web", "shop"), Some(5));
        assert_eq!(serving.terminated().await.code, Some(0));
        let records = audited.records();
        for record in of(&records, "scale.applied") {
            assert_eq!((&record["from"], &record["to"]), (&json!(3), &json!(5)));
            results.push(record["result"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(results, ["applied", "repeated", "repeated", "repeated"]);
}

#[tokio::test]
async fn every_kind_of_write_denial_and_refused_client_has_its_record() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.create("web", "pay-api", 3);
    cluster.create("ops", "cron", 1);
    let audited = Audited::new("", POLICY);
    let serving = audited.serve(&cluster).await;
    let client = &serving.client;
    let replicas = |namespace: &str, name: &str| {
        format!("/namespaces/{namespace}/deployments/{name}/replicas")
    };
    let json = ("content-type", "application/json");
    let put = async |path: &str, headers: &[(&str, &str)], body: &str| {
        client
            .send(Method::PUT, path, headers, body)
            .await
            .status
            .as_u16()
    };
    let shop = replicas("web", "shop");
    let count = |count: i32| format!("{{\"replicaCount\":{count}}}");
    assert_eq!(
        put(&format!("{shop}?dryRun=true"), &[json], &count(4)).await,
        200
    );
    assert_eq!(put(&shop, &[json], &count(10)).await, 422);
    assert_eq!(put(&shop, &[json], "{}").await, 400);
    assert_eq!(
        put(&shop, &[json, ("x-reason", "a\u{9}b")], &count(4)).await,
        400
    );
    assert_eq!(
        put(&shop, &[json, ("if-match", "\"other\"")], &count(4)).await,
        412
    );
    assert_eq!(put(&replicas("web", "none"), &[json], &count(4)).await, 404);
    assert_eq!(
        put(&replicas("web", "pay-api"), &[json], &count(4)).await,
        403
    );
    assert_eq!(put(&replicas("ops", "cron"), &[json], &count(4)).await, 403);
    let image = "/namespaces/web/deployments/shop/containers/main/image";
    assert_eq!(put(image, &[json], r#"{"image":"app:2"}"#).await, 200);
    // A write of which nobody knows what became.
    let rule = cluster
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::status(500)));
    let tag = client.get(&shop).await.header("etag").to_owned();
    assert_eq!(
        put(&shop, &[json, ("if-match", &tag)], &count(4)).await,
        504
    );
    cluster.cluster.faults().remove(rule);
    // Reads that are denied.
    assert_eq!(client.get(&replicas("ops", "cron")).await.status, 403);
    assert_eq!(client.get("/deployments").await.status, 403);
    assert_eq!(
        client
            .get("/namespaces/web/deployments/pay-api/containers")
            .await
            .status,
        403
    );
    // A client that isn't let in.
    let files = &serving.files;
    let foreign = Client::with_files(
        serving.address,
        &files.ca,
        &files.foreign.certificate,
        &files.foreign.key,
    );
    assert!(foreign.try_send(http::Request::default()).await.is_err());
    serving.program.line("tls.client.refused", 1).await;
    let log = audited.keep_log(&serving.terminated().await);

    let records = audited.records();
    let told: Vec<_> = records
        .iter()
        .filter(|record| !record["result"].is_null())
        .map(|record| {
            let text = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
            let status = record["status"].as_u64().unwrap_or(0);
            format!(
                "{} {} {}/{} {status} by {}",
                text("event"),
                text("result"),
                text("namespace"),
                text("name"),
                text("rule")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "scale.applied dry run web/shop 200 by on call",
            "scale.failed refused web/shop 422 by on call",
            "scale.failed refused web/shop 400 by on call",
            "scale.failed refused web/shop 400 by on call",
            "scale.failed refused web/shop 412 by on call",
            "scale.failed refused web/none 404 by on call",
            "scale.failed denied web/pay-api 403 by no payments",
            "scale.failed denied ops/cron 403 by -",
            "image.applied applied web/shop 200 by on call",
            "scale.failed unknown web/shop 504 by on call",
            "access.denied denied ops/cron 403 by -",
            "access.denied denied -/- 403 by -",
            "access.denied denied web/pay-api 403 by no payments",
            "tls.client.refused denied -/- 0 by -",
        ]
    );
    let image = of(&records, "image.applied")[0];
    assert_eq!(
        (&image["container"], &image["to"]),
        (&json!("main"), &json!("app:2"))
    );
    assert!(image["from"].as_str().unwrap() != "app:2");
    let refused = of(&records, "tls.client.refused")[0];
    assert_eq!(
        (&refused["reason"], &refused["subject"]),
        (&json!("UnknownIssuer"), &json!("CN=mallory"))
    );
    // What was sent has a record from before, and what wasn't sent has none.
    let sent = of(&records, "scale.requested");
    assert_eq!(sent.len(), 5, "{sent:#?}");
    let (code, words) = audited.verify(&["--log", log.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{words}");
    assert!(
        words.contains("checkpoints of the log agree\nwhole"),
        "{words}"
    );
}

#[tokio::test]
async fn standard_output_has_the_same_records_and_nothing_else() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let audited = Audited::new("", "  stdout: true\n");
    let serving = audited.serve(&cluster).await;
    assert_eq!(
        serving.client.scale("web", "shop", 4, &[]).await.status,
        200
    );
    let ended = serving.terminated().await;
    let text = std::fs::read_to_string(audited.file()).unwrap();
    assert_eq!(ended.stdout.join("\n") + "\n", text);
    assert!(ended.stdout.len() >= 5);
}

#[tokio::test]
async fn without_the_setting_nothing_is_written_anywhere() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = crate::support::program::Serving::healthy(cluster.kubeconfig(), &[]).await;
    assert_eq!(
        serving.client.scale("web", "shop", 4, &[]).await.status,
        200
    );
    let (_, ready) = serving.admin("GET", "/readyz?verbose").await;
    assert!(!ready.contains("audit"), "{ready}");
    let ended = serving.terminated().await;
    assert!(ended.stdout.is_empty());
    assert!(!ended.stderr.iter().any(|line| line.contains("audit.")));
}
