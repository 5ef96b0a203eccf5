//! Writes through the whole server: callers who hang up, a cluster that refuses connections, many at once.

use std::time::Duration;

use http::{Request, header};
use http_body_util::Full;
use simkube::{Fault, On, Rule};
use tokio::time::sleep;

use super::UPDATED;
use crate::support::{Setup, SimCluster, TestServer, World, eventually};

async fn server() -> (SimCluster, TestServer) {
    let sim = SimCluster::start().await;
    sim.cluster.set_rollout(None);
    sim.create("web", "shop", 3);
    let server = Setup::new(sim.kubeconfig()).healthy().await;
    eventually(Duration::from_secs(5), "a watch", async || {
        sim.cluster.counts().open_watches == 1
    })
    .await;
    (sim, server)
}

#[tokio::test]
async fn a_hundred_writes_in_a_row_are_each_read_back_at_once() {
    let (sim, server) = server().await;
    for count in 10..110 {
        assert_eq!(
            server.client.scale("web", "shop", count, &[]).await.text(),
            UPDATED
        );
        assert_eq!(server.client.count("web", "shop").await, Ok(count));
    }
    assert_eq!(sim.cluster.counts().gets, 0);
}

#[tokio::test]
async fn of_twenty_callers_with_the_same_tag_exactly_one_wins() {
    let (sim, server) = server().await;
    let tag = server
        .client
        .get("/namespaces/web/deployments/shop/replicas")
        .await
        .header("etag")
        .to_owned();
    let racing: Vec<_> = (0..20)
        .map(|n| {
            let (client, tag) = (server.client.clone(), tag.clone());
            tokio::spawn(async move {
                client
                    .scale("web", "shop", 100 + n, &[("if-match", &tag)])
                    .await
                    .status
                    .as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for caller in racing {
        statuses.push(caller.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[412; 19][..]));
    assert_ne!(sim.count("web", "shop"), Some(3));
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_hangs_up() {
    for protocol in ["http/1.1", "h2"] {
        let (sim, server) = server().await;
        sim.cluster.faults().add(Rule::new(
            On::Scale,
            Fault::Delay(Duration::from_millis(300)),
        ));
        let client = server.client.alpn(&[protocol]);
        let path = "/api/v1/namespaces/web/deployments/shop/replicas";
        let uri = if protocol == "h2" {
            format!("https://{}{path}", server.address)
        } else {
            path.to_owned()
        };
        let mut request = Request::put(uri).header(header::CONTENT_TYPE, "application/json");
        if protocol != "h2" {
            request = request.header(header::HOST, server.address.to_string());
        }
        let request = request.body(Full::from(r#"{"replicaCount":8}"#)).unwrap();
        let caller = tokio::spawn(async move { drop(client.try_send(request).await) });
        eventually(Duration::from_secs(5), "the write on its way", async || {
            sim.cluster.counts().scales == 1
        })
        .await;
        assert_eq!(sim.count("web", "shop"), Some(3));
        // The connection goes down with its task.
        caller.abort();
        eventually(Duration::from_secs(5), protocol, async || {
            server.client.count("web", "shop").await == Ok(8)
        })
        .await;
        assert_eq!(sim.count("web", "shop"), Some(8));
    }
}

#[tokio::test]
async fn a_refused_connection_is_503_and_nothing_was_sent() {
    let (mut sim, server) = server().await;
    sim.kill();
    eventually(
        Duration::from_secs(2),
        "the end of its connections",
        async || sim.cluster.counts().open_watches == 0,
    )
    .await;
    let answer = server.client.scale("web", "shop", 8, &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.error().contains("nothing was sent"),
        "{}",
        answer.error()
    );
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    // Reads go on, and the server comes back by itself.
    assert_eq!(server.client.count("web", "shop").await, Ok(3));
    assert_eq!(sim.count("web", "shop"), Some(3));
    sim.serve_again().await;
    let written = async || server.client.scale("web", "shop", 8, &[]).await.status == 200;
    eventually(Duration::from_secs(10), "a write", written).await;
    assert_eq!(server.client.count("web", "shop").await, Ok(8));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_commit_is_read_again_and_on_a_condition_504() {
    let (sim, server) = server().await;
    sim.cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::after_commit(Fault::Refuse)));
    let answer = server.client.scale("web", "shop", 8, &[]).await;
    assert_eq!(answer.text(), UPDATED);
    assert_eq!(server.client.count("web", "shop").await, Ok(8));
    let any = ("if-match", "*");
    let answer = server.client.scale("web", "shop", 9, &[any]).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    eventually(Duration::from_secs(5), "what was committed", async || {
        server.client.count("web", "shop").await == Ok(9)
    })
    .await;
}

#[tokio::test]
async fn of_many_connections_that_fell_silent_one_write_finds_out_for_all() {
    let world = World::simulated().await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    for n in 0..8 {
        let name = format!("shop-{n}");
        world
            .create("web", &name, Some(3), serde_json::json!({}))
            .await;
    }
    let server = Setup::new(&kubeconfig).healthy().await;
    // So that as many connections are kept.
    let together = (0..8).map(|n| {
        let client = server.client.clone();
        tokio::spawn(async move { client.scale("web", &format!("shop-{n}"), 5, &[]).await })
    });
    for write in together.collect::<Vec<_>>() {
        assert_eq!(write.await.unwrap().status, 200);
    }
    proxy.swallow();
    let silent = server.client.scale("web", "shop-0", 6, &[]).await;
    assert_eq!(silent.status, 504, "{}", silent.text());
    for n in 1..8 {
        let answer = server
            .client
            .scale("web", &format!("shop-{n}"), 7, &[])
            .await;
        assert_eq!(answer.status, 200, "{n}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_the_write_that_is_under_way() {
    let (sim, server) = server().await;
    sim.cluster.faults().add(Rule::new(
        On::Scale,
        Fault::Delay(Duration::from_millis(300)),
    ));
    let client = server.client.clone();
    let caller = tokio::spawn(async move { client.scale("web", "shop", 8, &[]).await });
    eventually(Duration::from_secs(5), "the write on its way", async || {
        sim.cluster.counts().scales == 1
    })
    .await;
    server.shut_down().await;
    assert_eq!(caller.await.unwrap().text(), UPDATED);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(sim.count("web", "shop"), Some(8));
}
