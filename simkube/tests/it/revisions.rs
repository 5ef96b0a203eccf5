//! The ReplicaSets that keep what a Deployment's Pod template was, and managed fields of its count.

use std::time::Duration;

use serde_json::{Value, json};
use simkube::{Cluster, NewDeployment, Options};

use crate::support::{get, patch, request, send};

const CART: &str = "/apis/apps/v1/namespaces/shop/deployments/cart";
const SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";

fn cart() -> Cluster {
    let cluster = Cluster::new(Options::default().rollout(Duration::from_millis(30)));
    cluster.create(
        NewDeployment::new("shop", "cart")
            .image("cart:1")
            .label("app", "cart"),
    );
    cluster.create(NewDeployment::new("shop", "till").label("app", "till"));
    cluster
}

async fn set_image(cluster: &Cluster, image: &str) -> Value {
    let containers = json!([{ "name": "main", "image": image }]);
    let pod = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    patch(cluster, CART, pod).await;
    // The controller sees it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    get(cluster, CART).await.json()
}

/// Number and image of each revision of the cart.
async fn revisions(cluster: &Cluster) -> Vec<String> {
    let list = get(cluster, &format!("{SETS}?labelSelector=app%3Dcart"))
        .await
        .json();
    let told = |set: &Value| {
        let number = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
        format!("{} {}", number.as_str().unwrap(), image.as_str().unwrap())
    };
    list["items"].as_array().unwrap().iter().map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn each_template_that_a_deployment_had_is_a_revision_and_one_that_comes_back_gets_a_new_number()
 {
    let cluster = cart();
    assert_eq!(revisions(&cluster).await, ["1 cart:1"]);
    set_image(&cluster, "cart:2").await;
    let now = set_image(&cluster, "cart:3").await;
    let number = &now["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    assert_eq!(number, "3");
    assert_eq!(
        revisions(&cluster).await,
        ["1 cart:1", "2 cart:2", "3 cart:3"]
    );
    set_image(&cluster, "cart:2").await;
    assert_eq!(
        revisions(&cluster).await,
        ["1 cart:1", "3 cart:3", "4 cart:2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_template_that_the_controller_has_not_seen_has_no_number_and_no_replica_set() {
    let cluster = cart();
    cluster.set_rollout(None);
    let now = set_image(&cluster, "cart:2").await;
    let number = &now["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    assert_eq!(number, "1");
    assert_eq!(revisions(&cluster).await, ["1 cart:1"]);
    cluster.set_rollout(Some(Duration::from_millis(30)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(revisions(&cluster).await, ["1 cart:1", "2 cart:2"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_revisions_are_kept_than_the_deployment_says() {
    let cluster = cart();
    patch(
        &cluster,
        CART,
        json!({ "spec": { "revisionHistoryLimit": 2 } }),
    )
    .await;
    for n in 2..6 {
        set_image(&cluster, &format!("cart:{n}")).await;
    }
    assert_eq!(
        revisions(&cluster).await,
        ["3 cart:3", "4 cart:4", "5 cart:5"]
    );
    cluster.delete("shop", "cart");
    assert!(revisions(&cluster).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn replica_sets_are_listed_page_by_page() {
    let cluster = cart();
    set_image(&cluster, "cart:2").await;
    let first = get(&cluster, &format!("{SETS}?limit=2")).await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let last = get(&cluster, &format!("{SETS}?limit=2&continue={token}"))
        .await
        .json();
    assert_eq!(last["items"].as_array().unwrap().len(), 1);
    assert_eq!(last["metadata"]["continue"], "");
}

#[tokio::test(start_paused = true)]
async fn managed_fields_tell_who_set_a_count_last() {
    let cluster = cart();
    let uri = format!("{CART}/scale?fieldManager=somebody");
    let headers = [("content-type", "application/merge-patch+json")];
    let body = json!({ "spec": { "replicas": 4 } }).to_string();
    assert_eq!(
        send(&cluster, request("PATCH", &uri, &headers, body))
            .await
            .status,
        200
    );
    let cart = get(&cluster, CART).await.json();
    let owners = cart["metadata"]["managedFields"].as_array().unwrap();
    let owner = owners
        .iter()
        .find(|one| one["fieldsV1"]["f:spec"]["f:replicas"].is_object());
    let owner = owner.unwrap();
    assert_eq!(
        (&owner["manager"], &owner["subresource"]),
        (&json!("somebody"), &json!("scale"))
    );
}

#[tokio::test(start_paused = true)]
async fn who_applies_the_count_that_is_there_owns_it_too_and_another_count_is_its_writers_alone() {
    let cluster = cart();
    let apply = async |manager: &str, replicas: i32| {
        let uri = format!("{CART}/scale?fieldManager={manager}&force=true");
        let headers = [("content-type", "application/apply-patch+yaml")];
        let body = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "spec": { "replicas": replicas } });
        let applied = send(&cluster, request("PATCH", &uri, &headers, body.to_string())).await;
        assert_eq!(applied.status, 200);
    };
    let owners = async || {
        let cart = get(&cluster, CART).await.json();
        let entries = cart["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .clone();
        let owners = entries
            .into_iter()
            .filter(|one| one["fieldsV1"]["f:spec"]["f:replicas"].is_object());
        let owners: Vec<_> = owners
            .map(|one| format!("{} {}", one["operation"], one["manager"]).replace('"', ""))
            .collect();
        (owners, cart["metadata"]["resourceVersion"].clone())
    };
    apply("one", 4).await;
    let (of_one, first) = owners().await;
    assert_eq!(of_one, ["Apply one"]);
    apply("one", 4).await;
    assert_eq!(
        owners().await.1,
        first,
        "the same once more changes nothing"
    );
    apply("two", 4).await;
    let (of_both, second) = owners().await;
    assert_eq!(of_both, ["Apply one", "Apply two"]);
    assert_ne!(second, first);
    apply("two", 5).await;
    assert_eq!(owners().await.0, ["Apply two"]);
}
