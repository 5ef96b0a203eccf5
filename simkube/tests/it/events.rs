//! Event objects as a client writes them.

use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use simkube::{Cluster, Options};

fn event(name: &str, of: &str) -> Event {
    let event = json!({
        "metadata": { "name": name },
        "involvedObject": { "kind": "Deployment", "namespace": of, "name": "cart" },
        "reason": "Scaled", "message": "3 → 5", "type": "Normal", "count": 1,
    });
    serde_json::from_value(event).unwrap()
}

#[tokio::test]
async fn an_event_is_created_counted_and_listed_in_its_namespace() {
    let cluster = Cluster::new(Options::default());
    let client = Client::new(cluster.service(), "default");
    let api = Api::<Event>::namespaced(client.clone(), "shop");
    let made = api
        .create(&PostParams::default(), &event("e1", "shop"))
        .await;
    assert_eq!(made.unwrap().count, Some(1));
    let count: Patch<Value> = Patch::Merge(json!({ "count": 2 }));
    let counted = api.patch("e1", &PatchParams::default(), &count).await;
    assert_eq!(counted.unwrap().count, Some(2));
    let list = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].message.as_deref(), Some("3 → 5"));
    let elsewhere = Api::<Event>::namespaced(client, "other");
    let none = elsewhere.list(&ListParams::default()).await.unwrap();
    assert!(none.items.is_empty());
    assert_eq!(cluster.events().len(), 1);
}

#[tokio::test]
async fn an_event_of_another_namespace_or_that_is_there_already_is_refused() {
    let cluster = Cluster::new(Options::default());
    let api = Api::<Event>::namespaced(Client::new(cluster.service(), "default"), "shop");
    let code = async |event| match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(event("e1", "other")).await, 422);
    let made = api
        .create(&PostParams::default(), &event("e1", "shop"))
        .await;
    assert!(made.is_ok());
    assert_eq!(code(event("e1", "shop")).await, 409);
    let count: Patch<Value> = Patch::Merge(json!({ "count": 2 }));
    let absent = api.patch("e2", &PatchParams::default(), &count).await;
    assert!(matches!(absent, Err(kube::Error::Api(status)) if status.code == 404));
}
