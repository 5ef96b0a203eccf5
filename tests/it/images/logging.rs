//! Every write of an image is told in one line, whatever came of it.

use std::net::{Ipv4Addr, SocketAddr};

use headcount::access::Authorization;
use http::Method;
use serde_json::Value;
use simkube::{Fault, On, Rule};

use super::{MAIN, image, patches, read, setting, setting_at, shop};
use crate::support::{
    InProcess, Setup, SimCluster,
    lines::{Captured, Line},
};

/// The lines about this process's caller.
fn told(log: &Captured) -> Vec<Line> {
    log.about(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
}

fn last(log: &Captured) -> Line {
    told(log).pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_set_is_told_with_who_what_from_and_to() {
    let log = Captured::start();
    let server = shop().await;
    let headers = [("x-request-id", "release-7")];
    let answer = setting(&server, "shop:2", &headers).await;
    let line = last(&log);
    assert_eq!(
        (&line.event[..], &line.severity[..]),
        ("image.applied", "INFO")
    );
    assert_eq!(
        line.message,
        "Deployment web/shop set to image shop:2 in container main"
    );
    let mut names = vec![
        "address",
        "container",
        "from",
        "issuer",
        "name",
        "namespace",
        "principal",
        "request_id",
        "resource_version",
        "result",
        "serial",
        "span_id",
        "subject",
        "to",
        "trace_id",
    ];
    names.sort_unstable();
    assert_eq!(line.names(), names);
    for (name, value) in [
        ("subject", "CN=alice"),
        ("serial", "01"),
        ("namespace", "web"),
        ("name", "shop"),
        ("container", "main"),
        ("from", "shop:1"),
        ("to", "shop:2"),
        ("result", "updated"),
        ("request_id", "release-7"),
    ] {
        assert_eq!(line.text(name), value, "{name}");
    }
    assert_eq!(
        line.number("resource_version").to_string(),
        answer.header("x-resource-version")
    );
    setting_at(&server, &format!("{MAIN}?dryRun=true"), "shop:3", &[]).await;
    let line = last(&log);
    assert_eq!(line.text("result"), "dry run");
    assert!(line.message.starts_with("dry run: "));
    assert_eq!(told(&log).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_not_set_is_told_with_its_reason() {
    let log = Captured::start();
    let server = shop().await;
    read(&server, &[]).await;
    let webhook = Fault::Webhook {
        name: "images.example.com".into(),
        message: "only signed images".into(),
        code: 403,
    };
    server.cluster.faults().add(Rule::new(On::Write, webhook));
    setting(&server, "shop:2", &[]).await;
    let line = last(&log);
    assert_eq!(
        (&line.event[..], &line.severity[..]),
        ("image.failed", "WARN")
    );
    assert_eq!(
        line.message,
        "Deployment web/shop not set to image shop:2 in container main"
    );
    assert_eq!((line.text("from"), line.text("to")), ("shop:1", "shop:2"));
    assert_eq!(line.number("result"), 422);
    assert!(line.text("error").contains("only signed images"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_before_the_cluster_is_asked_is_told_without_its_body_and_forges_nothing() {
    let log = Captured::start();
    let server = shop().await;
    setting(&server, "Secret:hunter2", &[]).await;
    let line = last(&log);
    assert_eq!(
        (&line.event[..], line.number("result")),
        ("image.failed", 400)
    );
    assert_eq!(line.message, "a write was refused");
    assert!(!line.text("error").contains("hunter2") && !line.fields.contains_key("to"));
    // What has no line ends and no quotes of its own after decoding, and is cut.
    let evil = "x%22%0aevent=forged%1b%5b2J".repeat(20);
    let path = format!("/namespaces/web/deployments/shop/containers/{evil}/image");
    assert_eq!(setting_at(&server, &path, "shop:2", &[]).await.status, 400);
    let line = last(&log);
    assert_eq!(
        (&line.event[..], line.text("container").chars().count()),
        ("image.failed", 64)
    );
    assert_eq!(line.fields.get("event"), None::<&Value>);
}

/// A server on a port, which answers as long as it is held.
async fn without_permission() -> (SimCluster, crate::support::TestServer) {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let setup = Setup {
        authorization: Authorization::default(),
        ..Setup::new(sim.kubeconfig())
    };
    let server = setup.healthy().await;
    (sim, server)
}

#[tokio::test]
async fn without_the_permission_an_image_is_403_before_anything_else_is_judged() {
    let (sim, server) = without_permission().await;
    let put = async |path: &str| {
        let headers = [("content-type", "text/plain")];
        server.client.send(Method::PUT, path, &headers, "{").await
    };
    for path in [
        MAIN,
        "/namespaces/WEB/deployments/none/containers/none/image",
    ] {
        let answer = put(path).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        assert!(
            answer.error().contains("permission \"image\""),
            "{}",
            answer.text()
        );
    }
    let (get, none) = (
        server.client.get(MAIN).await,
        put("/namespaces/web/deployments/shop/image").await,
    );
    assert_eq!((get.status.as_u16(), none.status.as_u16()), (405, 404));
    // Reading and scaling need another permission.
    let path = "/namespaces/web/deployments/shop/containers";
    assert_eq!(server.client.get(path).await.status, 200);
    assert_eq!(server.client.scale("web", "shop", 4, &[]).await.status, 200);
    assert_eq!(sim.cluster.counts().gets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_synced_sets_nothing() {
    let cluster = simkube::Cluster::new(simkube::Options::default());
    cluster.create(simkube::NewDeployment::new("web", "shop").image("shop:1"));
    let server = InProcess::start(&cluster);
    let answer = setting(&server, "shop:2", &[]).await;
    assert_eq!(answer.status, 503);
    server.becomes_synced().await;
    assert_eq!(
        (patches(&server).len(), image(&server).await),
        (0, "shop:1".into())
    );
}
