//! Another site's page in a browser that has a client certificate: it can write nothing, whatever it makes the browser send.

use http::Method;
use serde_json::Value;

use crate::support::{Setup, SimCluster, program::Serving};

const JSON: (&str, &str) = ("content-type", "application/json");
const SHOP: &str = "/namespaces/web/deployments/shop/replicas";

/// Every call of the OpenAPI document that changes something, by method and path.
fn writes() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{namespace}", "web")
            .replace("{name}", "shop")
            .replace("{container}", "app");
        for method in ["put", "post", "patch", "delete"] {
            if item.get(method).is_some() {
                let method = method.to_uppercase().parse().unwrap();
                found.push((method, path.clone()));
            }
        }
    }
    found
}

#[tokio::test]
async fn no_write_of_the_api_is_taken_from_another_sites_page() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let server = Setup::new(cluster.kubeconfig()).healthy().await;
    let own = format!("https://{}", server.address);
    let writes = writes();
    assert!(writes.len() >= 6, "{writes:?}");
    let before = cluster.writes();
    for protocol in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[protocol]);
        for (method, path) in &writes {
            for said in [
                vec![("sec-fetch-site", "cross-site")],
                vec![("sec-fetch-site", "same-site"), ("origin", &own)],
                vec![("origin", "https://evil.example")],
                vec![("origin", "null")],
                // A request without a body and a type, which needs no preflight.
                vec![
                    ("origin", "https://evil.example"),
                    ("sec-fetch-mode", "no-cors"),
                ],
            ] {
                let answer = client.send(method.clone(), path, &said, "").await;
                let what = format!("{protocol} {method} {path} {said:?}: {}", answer.text());
                assert_eq!(answer.status, 403, "{what}");
                assert!(answer.error().contains("another site's page"), "{what}");
            }
        }
    }
    assert_eq!(cluster.writes(), before, "nothing was sent");
    assert_eq!(server.client.count("web", "shop").await, Ok(3));
}

#[tokio::test]
async fn this_servers_own_page_and_programs_write_as_before() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let server = Setup::new(cluster.kubeconfig()).healthy().await;
    let own = format!("https://{}", server.address);
    let mut count = 3;
    for protocol in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[protocol]);
        for said in [
            vec![],
            vec![("sec-fetch-site", "same-origin"), ("origin", &own)],
            vec![("sec-fetch-site", "none")],
            vec![("origin", &own)],
        ] {
            count += 1;
            let answer = client.scale("web", "shop", count, &said).await;
            assert_eq!(answer.status, 200, "{said:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn other_sites_cannot_ask_for_leave_nor_take_answers_in() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let server = Setup::new(cluster.kubeconfig()).healthy().await;
    let preflight = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type"),
        ("sec-fetch-site", "cross-site"),
    ];
    let answer = server
        .client
        .send(Method::OPTIONS, SHOP, &preflight, "")
        .await;
    assert_eq!(answer.status, 405);
    let reading = [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    for path in [SHOP, "/deployments", "/whoami", "/nowhere"] {
        let answer = server.client.send(Method::GET, path, &reading, "").await;
        let cors = answer.headers.keys().map(|name| name.as_str());
        assert_eq!(
            cors.filter(|n| n.starts_with("access-control")).count(),
            0,
            "{path}"
        );
        let policy = answer.header("cross-origin-resource-policy");
        assert_eq!(policy, "same-origin", "{path}");
    }
}

#[tokio::test]
async fn a_refused_write_of_another_site_is_logged_with_whose_certificate_it_had() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let said = [JSON, ("origin", "https://evil.example")];
    let answer = serving.client.scale("web", "shop", 0, &said[1..]).await;
    assert_eq!(answer.status, 403);
    let line = serving.program.line("scale.failed", 1).await;
    assert_eq!(line.number("result"), 403);
    let error = line.text("error");
    assert!(
        error.contains("another site's page (https://evil.example)"),
        "{error}"
    );
    assert!(!line.text("principal").is_empty());
}
