//! The OpenAPI document and the running server: what is served, what its examples are answered with, what programs make of it.

mod programs;

use headcount::{
    access::{Authorization, Verb, Verbs},
    config::LeaseSettings,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use simkube::NewDeployment;

use crate::support::{Setup, SimCluster, TestServer};

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
    sim.cluster.create_namespace("headcount");
    let setup = Setup {
        leases: LeaseSettings {
            namespace: Some("headcount".into()),
            ..LeaseSettings::default()
        },
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
    let mut succeeded = Vec::new();
    for (path, item) in object(&document["paths"]) {
        let mut operations: Vec<_> = object(item).collect();
        // What isn't there can't be read, changed or taken away.
        operations.sort_by_key(|(method, _)| match &***method {
            "put" => 0,
            "delete" => 2,
            _ => 1,
        });
        for (method, operation) in operations {
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
                    // Whether it is as it says, the client sees to.
                    let answer = server.client.send(verb, &target, &headers, &body).await;
                    if answer.status.is_success() {
                        succeeded.push(id);
                    }
                }
            }
        }
    }
    succeeded.dedup();
    let all = object(&document["paths"]).flat_map(|(_, item)| object(item));
    let failed: Vec<_> = all
        .map(|(_, operation)| operation["operationId"].as_str().unwrap())
        .filter(|id| !succeeded.contains(id))
        .collect();
    assert_eq!(failed, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_is_answered_as_the_document_says() {
    let (_sim, server) = served().await;
    let document = document(&server).await;
    for (path, item) in object(&document["paths"]) {
        for (method, _) in object(item) {
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
                let asked_for = answer.status.is_success() || answer.status == 503;
                assert!(
                    !asked_for || !path.contains("{name}"),
                    "{target:.80} {body}: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_by_the_reads_whose_parameters_choose_what_is_shown_and_by_no_other()
 {
    let (_sim, server) = served().await;
    let lease = "/namespaces/web/deployments/shop/lease";
    let json = [("content-type", "application/json")];
    let body = r#"{"replicaCount":3,"durationSeconds":600}"#;
    let taken = server.client.send(Method::PUT, lease, &json, body).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let document = document(&server).await;
    let reads = object(&document["paths"]).filter(|(_, item)| item["get"].is_object());
    let mut refusing = Vec::new();
    for (path, _) in reads {
        let path = path
            .replace("{namespace}", "web")
            .replace("{name}", "shop")
            .replace("{container}", "main");
        let plain = server.client.get(&path).await;
        assert_eq!(plain.status, 200, "{path}");
        let asked = server.client.get(&format!("{path}?foo=1")).await;
        match asked.status.as_u16() {
            200 => {}
            400 => refusing.push(path.clone()),
            other => panic!("{path}: {other}"),
        }
        if path.ends_with("/deployments") {
            let watch = format!("{path}?watch&foo=1");
            assert_eq!(server.client.get(&watch).await.status, 400, "{watch}");
        }
    }
    refusing.sort();
    assert_eq!(refusing, ["/history", "/leases", lease]);
}
