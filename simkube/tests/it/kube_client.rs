//! The cluster as `kube::Client` and k8s-openapi's types see it.

use futures_util::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, Client};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};

fn cluster_of_three() -> Cluster {
    let cluster = Cluster::new(Options::default());
    for (name, replicas) in [("cart", 3), ("checkout", 2), ("search", 1)] {
        cluster.create(
            NewDeployment::new("shop", name)
                .replicas(replicas)
                .label("app", name),
        );
    }
    cluster
}

fn api(cluster: &Cluster) -> Api<Deployment> {
    Api::namespaced(Client::new(cluster.service(), "default"), "shop")
}

#[tokio::test]
async fn lists_and_reads() {
    let cluster = cluster_of_three();
    let api = api(&cluster);
    let list = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(list.items.len(), 2);
    assert_eq!(list.metadata.remaining_item_count, Some(1));
    assert_eq!(list.items[0].spec.as_ref().unwrap().replicas, Some(3));
    let next = ListParams::default()
        .limit(2)
        .continue_token(list.metadata.continue_.as_deref().unwrap());
    let rest = api.list(&next).await.unwrap();
    assert_eq!(rest.items[0].metadata.name.as_deref(), Some("search"));
    assert_eq!(rest.metadata.continue_.unwrap_or_default(), "");
    assert_eq!(cluster.counts().lists, 1);
    assert_eq!(cluster.counts().further_pages, 1);
}

#[tokio::test]
async fn scales_by_patch() {
    let cluster = cluster_of_three();
    let api = api(&cluster);
    let patch = Patch::Merge(serde_json::json!({ "spec": { "replicas": 5 } }));
    let scale = api
        .patch_scale("cart", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(5));
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(5)
    );
    let missing = api
        .patch_scale("none", &PatchParams::default(), &patch)
        .await
        .unwrap_err();
    let kube::Error::Api(status) = missing else {
        panic!("{missing}")
    };
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "deployments.apps \"none\" not found")
    );
}

#[tokio::test(start_paused = true)]
async fn watches_from_a_version() {
    let cluster = cluster_of_three();
    let api = api(&cluster);
    let version = cluster.resource_version().to_string();
    let events = api
        .watch(&WatchParams::default().timeout(20), &version)
        .await
        .unwrap();
    cluster.scale("shop", "cart", 7);
    let deleted = cluster.delete("shop", "search").unwrap();
    let events: Vec<WatchEvent<Deployment>> = events.try_collect().await.unwrap();
    let [
        WatchEvent::Modified(cart),
        WatchEvent::Deleted(search),
        WatchEvent::Bookmark(last),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(cart.spec.as_ref().unwrap().replicas, Some(7));
    assert_eq!(search.metadata.resource_version, Some(deleted.to_string()));
    assert_eq!(last.metadata.resource_version, deleted.to_string());
}

#[tokio::test]
async fn creates_replaces_and_deletes() {
    let cluster = cluster_of_three();
    let api = api(&cluster);
    let mut cart = api.get("cart").await.unwrap();
    cart.metadata
        .labels
        .get_or_insert_default()
        .insert("tier".into(), "front".into());
    let replaced = api
        .replace("cart", &PostParams::default(), &cart)
        .await
        .unwrap();
    assert_eq!(replaced.metadata.generation, Some(1));
    let conflict = api
        .replace("cart", &PostParams::default(), &cart)
        .await
        .unwrap_err();
    assert!(
        conflict
            .to_string()
            .contains("the object has been modified"),
        "{conflict}"
    );
    cart.metadata = kube::api::ObjectMeta {
        name: Some("copy".into()),
        ..Default::default()
    };
    let created = api.create(&PostParams::default(), &cart).await.unwrap();
    assert_eq!(created.spec.unwrap().replicas, Some(3));
    assert!(
        api.delete("copy", &DeleteParams::default())
            .await
            .unwrap()
            .is_right()
    );
    assert_eq!(cluster.len(), 3);
}

#[tokio::test]
async fn a_refused_connection_is_an_error_of_the_transport() {
    let cluster = cluster_of_three();
    cluster
        .faults()
        .add(Rule::new(On::Any, Fault::Refuse).times(1));
    let api = api(&cluster);
    assert!(matches!(
        api.get("cart").await,
        Err(kube::Error::Service(_))
    ));
    api.get("cart").await.unwrap();
}
