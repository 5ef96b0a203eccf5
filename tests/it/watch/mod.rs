//! Watches: what a client is told that follows the list, and when that ends.

mod faults;
mod polling;
mod scopes;
mod status;

use std::time::Duration;

use http::Method;

use crate::support::{Events, Setup, SimCluster, TestServer};

const WATCH: &str = "/deployments?watch";

async fn served() -> (SimCluster, TestServer) {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    sim.create("db", "main", 1);
    let server = Setup::new(sim.kubeconfig()).healthy().await;
    (sim, server)
}

#[tokio::test]
async fn a_watch_is_the_list_and_then_every_change_of_a_count() {
    let (sim, server) = served().await;
    for alpn in ["http/1.1", "h2"] {
        let mut watch = Events::open(&server.client.alpn(&[alpn]), WATCH, &[]).await;
        assert_eq!(watch.status, 200);
        assert_eq!(watch.headers["content-type"], "text/event-stream");
        assert_eq!(watch.headers["cache-control"], "no-store");
        assert_eq!(watch.told().await, "snapshot of 2");
        let version = sim.cluster.scale("web", "shop", 5).unwrap();
        let changed = watch.next().await.unwrap();
        assert_eq!(
            (&*changed.name, changed.id),
            ("changed", version.to_string())
        );
        assert_eq!(
            changed.data,
            serde_json::json!({"namespace": "web", "name": "shop", "replicaCount": 5, "resourceVersion": version.to_string()})
        );
        sim.create("web", "new", 2);
        assert_eq!(watch.told().await, "added web/new=2");
        // Neither a status nor a label is shown.
        sim.touch("web", "new");
        sim.cluster.set_labels("web", "new", &[("a", "b")]);
        sim.cluster.delete("web", "new");
        assert_eq!(watch.told().await, "deleted web/new=2");
        sim.cluster.scale("web", "shop", 3);
        assert_eq!(watch.told().await, "changed web/shop=3");
    }
}

#[tokio::test]
async fn a_watch_of_a_namespace_tells_of_nothing_else() {
    let (sim, server) = served().await;
    let path = "/namespaces/web/deployments?watch=true";
    let mut watch = Events::open(&server.client, path, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
    sim.cluster.scale("db", "main", 7);
    sim.cluster.scale("web", "shop", 4);
    assert_eq!(watch.told().await, "changed web/shop=4");
    // Its id isn't one of a watch of everything.
    let id = [("last-event-id", &*watch.last_id)];
    let mut all = Events::open(&server.client, WATCH, &id).await;
    assert_eq!(all.told().await, "snapshot of 2");
    let mut again = Events::open(&server.client, path, &id).await;
    sim.cluster.scale("web", "shop", 6);
    assert_eq!(again.told().await, "changed web/shop=6");
}

#[tokio::test]
async fn a_watch_that_comes_back_is_told_what_it_missed_at_another_server_too() {
    let (sim, server) = served().await;
    let other = Setup::new(sim.kubeconfig()).healthy().await;
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    watch.told().await;
    sim.cluster.scale("web", "shop", 4);
    watch.told().await;
    let id = watch.last_id.clone();
    drop(watch);
    sim.cluster.scale("web", "shop", 5);
    let version = sim.cluster.delete("db", "main").unwrap().to_string();
    for server in [&server, &other] {
        let headers = [
            ("last-event-id", &*id),
            ("x-min-resource-version", &*version),
        ];
        let mut again = Events::open(&server.client, WATCH, &headers).await;
        assert_eq!(again.told().await, "changed web/shop=5");
        assert_eq!(again.told().await, "deleted db/main=1");
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_and_one_of_the_future_begins_with_a_snapshot() {
    let (_sim, server) = served().await;
    let ask = async |query: &str, id: &str| {
        let path = format!("/deployments?{query}");
        let request = server
            .client
            .request(Method::GET, &path, &[("last-event-id", id)], "");
        server.client.try_send(request).await.unwrap()
    };
    for (query, id) in [("watch", "x"), ("watch=1", ""), ("watch&limit=3", "")] {
        let answer = ask(query, id).await;
        assert_eq!(answer.status, 400, "{query} {id}");
        assert!(!answer.error().is_empty());
    }
    let future = [("last-event-id", "999999999")];
    let mut watch = Events::open(&server.client, WATCH, &future).await;
    assert_eq!(watch.told().await, "snapshot of 2");
}

#[tokio::test]
async fn head_answers_the_headers_of_a_watch_and_ends() {
    let (_sim, server) = served().await;
    let request = server.client.request(Method::HEAD, WATCH, &[], "");
    let answer = server.client.try_send(request).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.headers["content-type"], "text/event-stream");
}

#[tokio::test]
async fn a_caller_has_so_many_watches_and_others_have_theirs() {
    let sim = SimCluster::start().await;
    let mut setup = Setup::new(sim.kubeconfig());
    setup.limits.watches.per_caller = 2;
    let server = setup.healthy().await;
    let first = Events::open(&server.client, WATCH, &[]).await;
    let _second = Events::open(&server.client, WATCH, &[]).await;
    let third = Events::open(&server.client, WATCH, &[]).await;
    assert_eq!(third.status, 429);
    drop(first);
    crate::support::eventually(Duration::from_secs(5), "a place", async || {
        Events::open(&server.client, WATCH, &[]).await.status == 200
    })
    .await;
}
