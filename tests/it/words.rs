//! What callers are told of requests that are wrong: what is wrong, where, and what may be there; never in words of Rust or a library.

use headcount::kubernetes::{Clock, LeaseRules};
use http::Method;
use serde_json::{Value, json};
use simkube::{Cluster, NewDeployment, Options};

use crate::support::{Answer, InProcess};

const SHOP: &str = "/namespaces/web/deployments/shop";
const JSON: (&str, &str) = ("content-type", "application/json");

async fn server() -> InProcess {
    let cluster = Cluster::new(Options::default());
    let shop = NewDeployment::new("web", "shop").replicas(3);
    cluster.create(shop).unwrap();
    cluster.create_namespace("headcount");
    let rules = LeaseRules {
        namespace: "headcount".into(),
        longest: 24 * 3600,
        most: 3,
    };
    InProcess::leasing(&cluster, &rules, &Clock::default()).await
}

/// Words that nobody knows who doesn't know the program's sources.
const OF_PROGRAMMERS: [&str; 17] = [
    "i32",
    "u32",
    "u64",
    "i64",
    "usize",
    "f64",
    "struct",
    "invalid digit",
    "invalid type",
    "invalid value",
    "invalid length",
    "expected a ",
    "UUID",
    "ParseIntError",
    "serde",
    "hyper",
    "Utf8Error",
];

/// Is a 400 whose sentence names what is wrong, in words of the API.
#[track_caller]
fn check(answer: &Answer, names: &str, asked: &str) {
    assert_eq!(answer.status, 400, "{asked}: {}", answer.text());
    let told = answer.error();
    assert!(told.contains(names), "{asked}: {told}");
    for word in OF_PROGRAMMERS {
        assert!(!told.contains(word), "{asked}: {told}");
    }
}

/// The writes, with bodies that would do.
fn writes() -> Vec<(Method, String, Value)> {
    let one = |method, path: &str, body| (method, format!("{SHOP}{path}"), body);
    let item = json!({"namespace": "web", "name": "shop", "replicaCount": 4});
    let before = json!({
        "namespace": "web", "name": "shop", "uid": "8c5d2c1e-9f6f-4a7e-9a52-0a4f6b7c8d9e", "replicaCount": 3, "setTo": 4,
        "mark": "0123456789abcdef",
    });
    vec![
        one(Method::PUT, "/replicas", json!({"replicaCount": 4})),
        one(Method::PATCH, "/replicas", json!({"delta": 1})),
        one(
            Method::PUT,
            "/lease",
            json!({"replicaCount": 4, "durationSeconds": 60}),
        ),
        one(Method::PATCH, "/lease", json!({"durationSeconds": 60})),
        one(
            Method::PUT,
            "/containers/app/image",
            json!({"image": "example.org/shop:2"}),
        ),
        one(Method::PUT, "/paused", json!({"paused": true})),
        one(Method::POST, "/rollback", json!({"revision": 1})),
        (
            Method::POST,
            "/batches".into(),
            json!({"items": [item], "durationSeconds": 60}),
        ),
        (
            Method::POST,
            "/batches".into(),
            json!({"labelSelector": "app=shop", "namespace": "web", "replicaCount": 4}),
        ),
        (
            Method::POST,
            "/batches/restore".into(),
            json!({"takenAt": "2026-11-28T17:00:00Z", "items": [before]}),
        ),
    ]
}

/// The body with each of its fields, those of its items too, replaced by each of these: with the field's name.
fn spoilt(body: &Value, by: &[Value]) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for field in body.as_object().unwrap().keys() {
        for value in by {
            let mut body = body.clone();
            body[field] = value.clone();
            all.push((field.clone(), body));
        }
    }
    if let Some(item) = body["items"].get(0) {
        for (field, item) in spoilt(item, by) {
            let mut body = body.clone();
            body["items"][0] = item;
            all.push((format!("items[0]: {field}"), body));
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn every_wrong_field_of_every_body_is_named_with_what_it_may_be() {
    let server = server().await;
    let wrong = [
        json!(-2_147_483_649_i64),
        json!(18_446_744_073_709_551_615_u64),
        json!(1e300),
        json!(1.5),
        json!(-1.0),
        json!([1]),
        json!({"a": 1}),
    ];
    let headers = [JSON, ("idempotency-key", "k")];
    for (method, path, body) in writes() {
        for (field, body) in spoilt(&body, &wrong) {
            if field == "revision" && body["revision"].is_u64() || body["items"] == json!([1]) {
                continue;
            }
            let body = body.to_string();
            let asked = format!("{method} {path} {body}");
            let answer = server.send(method.clone(), &path, &headers, &body).await;
            check(&answer, &format!("{field} must be "), &asked);
            assert!(answer.error().contains(", not "), "{asked}");
        }
        for (field, body) in spoilt(&body, &[json!("\u{fffd}?"), json!(null), json!(true)]) {
            if field == "revision" && body["revision"].is_null() || body["paused"] == true {
                continue;
            }
            let body = body.to_string();
            let asked = format!("{method} {path} {body}");
            let answer = server.send(method.clone(), &path, &headers, &body).await;
            check(&answer, "", &asked);
        }
        for body in [
            "",
            "{",
            "[]",
            "{}",
            "{\"x\":1}",
            "{\"a\"}",
            "\u{feff}{}",
            "{\"a\":+1}",
            "{\"a\":\"\\ud800\"}",
        ] {
            if path.ends_with("/rollback") && ["", "{}"].contains(&body) {
                continue;
            }
            let asked = format!("{method} {path} {body}");
            let answer = server.send(method.clone(), &path, &headers, body).await;
            check(&answer, "the body", &asked);
        }
    }
    assert_eq!(server.count("web", "shop"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn every_wrong_parameter_and_header_is_named() {
    let server = server().await;
    let reads = [
        ("/deployments?limit=", "limit"),
        ("/deployments?status=", "status"),
        ("/deployments?labelSelector=a%3D%3D%3D", "labelSelector"),
        ("/deployments?continue=", "continue"),
        ("/deployments?watch=", "watch"),
        ("/namespaces/web/deployments?limit=", "limit"),
        ("/history?limit=", "limit"),
        ("/history?namespace=", "namespace"),
        ("/history?name=", "name"),
        ("/leases?namespace=", "namespace"),
        ("/leases?x=", "\"x\""),
        ("/namespaces/web/deployments/shop/lease?x=", "\"x\""),
        ("/namespaces/web/deployments/shop?watch=true&x=", "watch"),
    ];
    for (path, name) in reads {
        for wrong in [
            "-1",
            "99999999999999999999",
            "1.5",
            "%FF",
            "x%00",
            "T%C3%9F",
        ] {
            // Deployments may be called so.
            if ["namespace", "name"].contains(&name)
                && ["99999999999999999999", "1.5"].contains(&wrong)
            {
                continue;
            }
            let path = format!("{path}{wrong}");
            let answer = server.send(Method::GET, &path, &[], "").await;
            check(&answer, name, &path);
        }
    }
    for wrong in ["-1", "99999999999999999999", "1.5", "x", "", "1, 2"] {
        let version = [("x-min-resource-version", wrong)];
        for path in [
            "/deployments",
            "/history",
            SHOP,
            &format!("{SHOP}/replicas"),
        ] {
            let answer = server.send(Method::GET, path, &version, "").await;
            check(&answer, "X-Min-Resource-Version", path);
        }
    }
    let replicas = format!("{SHOP}/replicas");
    let put = |query: &'static str, headers: Vec<(&'static str, &'static str)>| {
        let headers: Vec<_> = headers.into_iter().chain([JSON]).collect();
        let path = format!("{replicas}?{query}");
        let server = &server;
        async move {
            let body = "{\"replicaCount\":4}";
            server.send(Method::PUT, &path, &headers, body).await
        }
    };
    check(&put("dryRun=1", vec![]).await, "dryRun", "dryRun");
    check(&put("dryrun=true", vec![]).await, "\"dryrun\"", "dryrun");
    check(
        &put("", vec![("x-reason", "a\tb")]).await,
        "X-Reason",
        "X-Reason",
    );
    check(
        &put("", vec![("if-match", "*, \"x\"")]).await,
        "If-Match",
        "If-Match",
    );
    let key = [JSON, ("idempotency-key", "")];
    let step = server
        .send(Method::PATCH, &replicas, &key, "{\"delta\":1}")
        .await;
    check(&step, "Idempotency-Key", "Idempotency-Key");
    let keep = format!("{SHOP}/lease?keep=1");
    check(
        &server.send(Method::DELETE, &keep, &[], "").await,
        "keep",
        "keep",
    );
    for (namespace, name, what) in [
        ("WEB", "shop", "namespace"),
        ("web", "Shop", "Deployment's name"),
        ("web", "%FF", "Deployment's name"),
        ("%00", "shop", "namespace"),
    ] {
        let path = format!("/namespaces/{namespace}/deployments/{name}/replicas");
        check(&server.send(Method::GET, &path, &[], "").await, what, &path);
    }
    let coded = [("content-type", "application/json; charset=latin1")];
    let answer = server
        .send(Method::PUT, &replicas, &coded, "{\"replicaCount\":4}")
        .await;
    assert_eq!(answer.status, 415);
    assert!(answer.error().contains("latin1"), "{}", answer.error());
    let coded = [("content-type", "application/json; charset=\"UTF-8\"")];
    let answer = server
        .send(Method::PUT, &replicas, &coded, "{\"replicaCount\":4}")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
