//! The OpenAPI document and the running server: what is served, what its examples are answered with, what programs make of it.

mod programs;

use headcount::access::{Authorization, Verb, Verbs};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use simkube::NewDeployment;

use crate::support::{Answer, Setup, SimCluster, TestServer};

/// A cluster with the Deployment that the document's examples are of, and a server of it.
async fn served() -> (SimCluster, TestServer) {
    let sim = SimCluster::start().await;
    for name in ["shop", "cart"] {
        let deployment = NewDeployment::new("web", name)
            .replicas(2)
            .image("example.org/shop:1");
        sim.cluster.create(deployment).unwrap();
    }
    let every = [Verb::Image, Verb::Restart, Verb::Pause, Verb::Rollback];
    let setup = Setup {
        authorization: Authorization::Any(Verbs::USUAL.with(every.into_iter().collect())),
        ..Setup::new(sim.kubeconfig())
    };
    (sim, setup.healthy().await)
}

async fn document(server: &TestServer) -> Value {
    server.client.get("/openapi.json").await.json()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        None => value,
        Some(at) => document.pointer(at.trim_start_matches('#')).unwrap(),
    }
}

/// Headers that HTTP itself has, and no document of an API.
const OF_HTTP: [&str; 6] = [
    "content-type",
    "content-length",
    "content-encoding",
    "date",
    "connection",
    "x-content-type-options",
];

/// What of an answer isn't as the document says.
fn undocumented(document: &Value, operation: &Value, answer: &Answer) -> Vec<String> {
    let status = answer.status.as_str();
    let Some(said) = operation["responses"].get(status) else {
        return vec![format!("{status} is not documented: {}", answer.text())];
    };
    let said = resolved(document, said);
    let headers = object(&said["headers"]).map(|(name, _)| name.to_lowercase());
    let known: Vec<_> = headers.collect();
    let mut found: Vec<_> = unknown_headers(&answer.headers, &known);
    let kind = answer.header("content-type").split(';').next().unwrap();
    let content = &said["content"][kind];
    match (answer.body.is_empty(), content.is_null()) {
        (true, _) => {}
        (false, true) => found.push(format!("{status} has no {kind:?}")),
        (false, false) if kind == "application/json" => {
            let whole = json!({"components": document["components"], "allOf": [content["schema"]]});
            let validator = jsonschema::draft202012::new(&whole).unwrap();
            let body = answer.json();
            let errors = validator.iter_errors(&body);
            found.extend(errors.map(|e| format!("{status} {}: {e} in {body}", e.instance_path())));
        }
        (false, false) => {}
    }
    found
}

fn unknown_headers(headers: &HeaderMap, known: &[String]) -> Vec<String> {
    let names = headers.keys().map(http::HeaderName::as_str);
    names
        .filter(|name| !OF_HTTP.contains(name) && !known.iter().any(|k| k == name))
        .map(|name| format!("the header {name} is not documented"))
        .collect()
}

#[tokio::test]
async fn the_document_is_served_as_it_is_committed_and_not_again_to_whom_has_it() {
    let (_sim, server) = served().await;
    let found = server.client.get("/openapi.json").await;
    assert_eq!(found.header("content-type"), "application/json");
    assert_eq!(found.text(), include_str!("../../../docs/openapi.json"));
    for path in ["/openapi.json", "/docs"] {
        let found = server.client.get(path).await;
        let tag = found.header("etag").to_owned();
        let again = [("if-none-match", &*tag)];
        let again = server.client.send(Method::GET, path, &again, "").await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        let zipped = [("accept-encoding", "gzip")];
        let zipped = server.client.send(Method::GET, path, &zipped, "").await;
        assert_eq!(zipped.header("content-encoding"), "gzip");
        assert!(zipped.body.len() * 4 < found.body.len());
        let head = server.client.send(Method::HEAD, path, &[], "").await;
        assert_eq!(head.header("content-length"), found.body.len().to_string());
    }
}

#[tokio::test]
async fn the_page_may_load_its_own_style_and_nothing_else() {
    let (_sim, server) = served().await;
    let page = server.client.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(page.text().contains("Read a count"));
}

#[tokio::test]
async fn every_example_of_the_document_is_answered_as_it_says() {
    let (_sim, server) = served().await;
    let document = document(&server).await;
    let (mut wrong, mut succeeded) = (Vec::new(), Vec::new());
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let id = operation["operationId"].as_str().unwrap();
            let target = path
                .replace("{namespace}", "web")
                .replace("{name}", "shop")
                .replace("{container}", "main");
            let content = &operation["requestBody"]["content"]["application/json"];
            let mut bodies: Vec<String> = object(&content["examples"])
                .map(|(_, example)| example["value"].to_string())
                .collect();
            if operation["requestBody"]["required"] != json!(true) {
                bodies.push(String::new());
            }
            for body in bodies {
                for prefer in ["return=minimal", "return=representation"] {
                    let mut headers = vec![("prefer", prefer), ("x-request-id", "deploy-42")];
                    if !body.is_empty() {
                        headers.push(("content-type", "application/json"));
                    }
                    if method == "patch" {
                        headers.push(("if-match", "*"));
                    }
                    let verb = method.to_uppercase().parse().unwrap();
                    let answer = server.client.send(verb, &target, &headers, &body).await;
                    let found = undocumented(&document, operation, &answer);
                    wrong.extend(found.iter().map(|w| format!("{id} {body}: {w}")));
                    if answer.status.is_success() {
                        succeeded.push(id);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    succeeded.dedup();
    let all = object(&document["paths"]).flat_map(|(_, item)| object(item));
    let failed: Vec<_> = all
        .map(|(_, operation)| operation["operationId"].as_str().unwrap())
        .filter(|id| !succeeded.contains(id))
        .collect();
    let unexpected: Vec<_> = failed
        .iter()
        .filter(|id| !WITHOUT_SUCCESS.contains(id))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?} did not succeed");
}

/// Calls without a success here: this cluster keeps no revisions to go back to.
const WITHOUT_SUCCESS: [&str; 1] = ["rollBack"];

#[tokio::test]
async fn what_cannot_be_is_answered_as_the_document_says() {
    let (_sim, server) = served().await;
    let document = document(&server).await;
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let id = operation["operationId"].as_str().unwrap();
            let verb = || method.to_uppercase().parse::<Method>().unwrap();
            let missing = path
                .replace("{namespace}", "web")
                .replace("{name}", "nothing")
                .replace("{container}", "main");
            let impossible = missing.replace("nothing", "No_Name");
            let long = format!("{missing}?{}", "x".repeat(10_000));
            type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
            let cases: [Case<'_>; 5] = [
                (&missing, &[("content-type", "application/json")], "{}"),
                (&missing, &[("content-type", "text/plain")], "x"),
                (&impossible, &[("content-type", "application/json")], "{}"),
                (&missing, &[("x-reason", "a\tb")], "{\"replicaCount\":1}"),
                (&long, &[], ""),
            ];
            for (target, headers, body) in cases {
                let answer = server.client.send(verb(), target, headers, body).await;
                let found = undocumented(&document, operation, &answer);
                assert_eq!(found, [""; 0], "{id} {target:.80} {body}");
            }
        }
    }
}
