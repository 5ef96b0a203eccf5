//! Whole Deployments and namespaces: create, edit, delete with finalizers.

use serde_json::json;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};

use crate::support::{SHOP, get, patch, put, request, send, shop};

const CART: &str = "/apis/apps/v1/namespaces/shop/deployments/cart";

#[tokio::test]
async fn uids_are_version_4_and_follow_from_the_seed() {
    let uid = |seed| {
        let cluster = Cluster::new(Options::default().seed(seed));
        cluster.create(NewDeployment::new("shop", "cart"));
        cluster.deployment("shop", "cart").unwrap().uid
    };
    assert_eq!(uid(1), uid(1));
    assert_ne!(uid(1), uid(2));
    assert_eq!(&uid(1)[14..15], "4");
}

#[tokio::test]
async fn edits_of_metadata_keep_the_generation_and_edits_of_spec_raise_it() {
    let cluster = shop();
    let version = cluster.resource_version();
    let labelled = patch(&cluster, CART, json!({ "metadata": { "labels": { "tier": null, "new": "1" }, "annotations": { "a": "b" } } })).await;
    let json = labelled.json();
    assert_eq!(
        json["metadata"]["labels"],
        json!({ "app": "cart", "new": "1" })
    );
    assert_eq!(json["metadata"]["annotations"]["a"], "b");
    assert_eq!(json["metadata"]["generation"], 1);
    let imaged = patch(&cluster, CART, json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "example.org/x:2" }] } } } })).await;
    assert_eq!(imaged.json()["metadata"]["generation"], 2);
    assert_eq!(
        patch(&cluster, CART, json!({ "spec": { "replicas": 8 } }))
            .await
            .json()["metadata"]["generation"],
        3
    );
    assert_eq!(cluster.resource_version(), version + 3);
    assert_eq!(
        patch(&cluster, CART, json!({ "spec": { "replicas": 8 } }))
            .await
            .status,
        200
    );
    assert_eq!(cluster.resource_version(), version + 3);
}

/// Sends a strategic merge patch.
async fn strategic(
    cluster: &Cluster,
    parameters: &str,
    patch: serde_json::Value,
) -> crate::support::Answer {
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let uri = format!("{CART}{parameters}");
    send(cluster, request("PATCH", &uri, &headers, patch.to_string())).await
}

/// A patch of one container's image.
fn image(container: &str, image: &str) -> serde_json::Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": container, "image": image }] } } } })
}

#[tokio::test]
async fn a_strategic_patch_merges_containers_by_name_and_a_merge_patch_replaces_them() {
    let cluster = shop();
    let containers =
        |object: &serde_json::Value| object["spec"]["template"]["spec"]["containers"].clone();
    let before = get(&cluster, CART).await.json();
    let patched = strategic(
        &cluster,
        "?fieldManager=me",
        image("main", "example.org/x:2"),
    )
    .await;
    let mut wanted = containers(&before);
    wanted[0]["image"] = "example.org/x:2".into();
    assert_eq!(containers(&patched.json()), wanted);
    assert_eq!(patched.json()["metadata"]["generation"], 2);
    let unknown = strategic(&cluster, "", image("side", "example.org/y:1")).await;
    assert_eq!(
        containers(&unknown.json())[1],
        json!({ "name": "side", "image": "example.org/y:1" })
    );
    let merged = patch(&cluster, CART, image("main", "example.org/x:3")).await;
    assert_eq!(
        containers(&merged.json()),
        json!([{ "name": "main", "image": "example.org/x:3" }])
    );
}

#[tokio::test]
async fn a_strategic_patch_that_changes_nothing_or_is_a_dry_run_makes_no_version() {
    let cluster = shop();
    let version = cluster.resource_version();
    assert_eq!(
        strategic(&cluster, "", image("main", "pause:3.10"))
            .await
            .status,
        200
    );
    let dry = strategic(&cluster, "?dryRun=All", image("main", "example.org/x:2")).await;
    assert_eq!(
        dry.json()["spec"]["template"]["spec"]["containers"][0]["image"],
        "example.org/x:2"
    );
    assert_eq!(cluster.resource_version(), version);
}

#[tokio::test]
async fn a_patch_with_another_version_is_a_conflict_whatever_its_uid_says() {
    let cluster = shop();
    let seen = get(&cluster, CART).await.json()["metadata"].clone();
    cluster.delete("shop", "cart");
    assert_eq!(strategic(&cluster, "", json!({})).await.status, 404);
    cluster.create(NewDeployment::new("shop", "cart"));
    let (uid, version) = (&seen["uid"], &seen["resourceVersion"]);
    let mut stale = image("main", "example.org/x:2");
    stale["metadata"] = json!({ "uid": uid, "resourceVersion": version });
    let answer = strategic(&cluster, "", stale.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["reason"]),
        (409, &"Conflict".into())
    );
    stale["metadata"] = json!({ "uid": uid });
    assert_eq!(strategic(&cluster, "", stale).await.status, 422);
}

#[tokio::test]
async fn a_list_of_one_name_is_a_read_of_that_one() {
    let cluster = shop();
    let refused = cluster.faults().add(Rule::new(
        On::Get,
        Fault::Forbidden {
            user: "me".to_owned(),
        },
    ));
    let uri = format!("{SHOP}?fieldSelector=metadata.name%3Dcart");
    let told = get(&cluster, &uri).await;
    assert!(
        told.json()["message"]
            .as_str()
            .unwrap()
            .contains("cannot list resource")
    );
    cluster.faults().remove(refused);
    assert_eq!(get(&cluster, &uri).await.names(), ["cart"]);
    assert_eq!((cluster.counts().gets, cluster.counts().lists), (2, 0));
}

#[tokio::test]
async fn a_replace_is_conditional_on_version_and_uid() {
    let cluster = shop();
    let mut object = get(&cluster, CART).await.json();
    object["spec"]["replicas"] = 5.into();
    assert_eq!(put(&cluster, CART, &object).await.status, 200);
    object["spec"]["replicas"] = 6.into();
    assert_eq!(put(&cluster, CART, &object).await.status, 409);
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(put(&cluster, CART, &object).await.status, 200);
    object["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    assert_eq!(put(&cluster, CART, &object).await.status, 409);
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(6)
    );
}

#[tokio::test]
async fn finalizers_hold_a_deleted_object_until_they_are_removed() {
    let cluster = shop();
    patch(
        &cluster,
        CART,
        json!({ "metadata": { "finalizers": ["example.org/wait"] } }),
    )
    .await;
    let held = send(&cluster, request("DELETE", CART, &[], "")).await;
    assert_eq!(held.json()["kind"], "Deployment");
    assert!(held.json()["metadata"]["deletionTimestamp"].is_string());
    assert!(cluster.deployment("shop", "cart").unwrap().deleting);
    let version = cluster.resource_version();
    send(&cluster, request("DELETE", CART, &[], "")).await;
    assert_eq!(cluster.resource_version(), version);
    patch(
        &cluster,
        CART,
        json!({ "metadata": { "finalizers": null } }),
    )
    .await;
    assert_eq!(get(&cluster, CART).await.status, 404);
    assert_eq!(cluster.resource_version(), version + 1);
}

#[tokio::test]
async fn a_deletion_answers_success_and_honours_preconditions() {
    let cluster = shop();
    let uid = cluster.deployment("shop", "cart").unwrap().uid;
    let delete = async |options: serde_json::Value| {
        let headers = [("content-type", "application/json")];
        send(
            &cluster,
            request("DELETE", CART, &headers, options.to_string()),
        )
        .await
    };
    assert_eq!(
        delete(json!({ "preconditions": { "uid": "x" } }))
            .await
            .status,
        409
    );
    assert_eq!(
        delete(json!({ "preconditions": { "resourceVersion": "1" } }))
            .await
            .status,
        409
    );
    assert_eq!(delete(json!({ "dryRun": ["All"] })).await.status, 200);
    let gone =
        delete(json!({ "propagationPolicy": "Background", "preconditions": { "uid": uid } })).await;
    assert_eq!(gone.json()["status"], "Success");
    assert_eq!(
        gone.json()["details"],
        json!({ "name": "cart", "group": "apps", "kind": "deployments", "uid": uid })
    );
    assert_eq!(delete(json!({})).await.status, 404);
}

#[tokio::test]
async fn creation_fills_defaults_and_refuses_doubles() {
    let cluster = shop();
    let body = json!({ "metadata": { "name": "new" }, "spec": { "selector": {}, "template": {} } });
    let post = async |body: &serde_json::Value| {
        send(
            &cluster,
            request(
                "POST",
                SHOP,
                &[("content-type", "application/json")],
                body.to_string(),
            ),
        )
        .await
    };
    let made = post(&body).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["spec"]["replicas"], 1);
    assert_eq!(made.json()["status"], json!({}));
    let double = post(&body).await;
    assert_eq!(double.status, 409);
    assert_eq!(double.json()["reason"], "AlreadyExists");
    assert_eq!(
        double.json()["message"],
        "deployments.apps \"new\" already exists"
    );
    assert_eq!(
        post(&json!({ "metadata": { "name": "n" }, "spec": { "replicas": -2 } }))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn creation_needs_the_namespace() {
    let cluster = shop();
    let body = json!({ "metadata": { "name": "new" }, "spec": {} }).to_string();
    let uri = "/apis/apps/v1/namespaces/absent/deployments";
    let answer = send(
        &cluster,
        request("POST", uri, &[("content-type", "application/json")], body),
    )
    .await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["message"], "namespaces \"absent\" not found");
}

#[tokio::test]
async fn namespaces_come_and_go_with_what_is_in_them() {
    let cluster = shop();
    let names = async || get(&cluster, "/api/v1/namespaces").await.names();
    assert_eq!(
        names().await,
        [
            "default",
            "kube-node-lease",
            "kube-public",
            "kube-system",
            "shop"
        ]
    );
    let body = json!({ "kind": "Namespace", "metadata": { "name": "empty" } }).to_string();
    let post = || {
        request(
            "POST",
            "/api/v1/namespaces",
            &[("content-type", "application/json")],
            body.clone(),
        )
    };
    assert_eq!(send(&cluster, post()).await.status, 201);
    assert_eq!(send(&cluster, post()).await.status, 409);
    assert_eq!(
        send(
            &cluster,
            request("DELETE", "/api/v1/namespaces/shop", &[], "")
        )
        .await
        .status,
        200
    );
    assert_eq!(
        names().await,
        [
            "default",
            "empty",
            "kube-node-lease",
            "kube-public",
            "kube-system"
        ]
    );
    assert!(cluster.is_empty());
    assert_eq!(get(&cluster, "/api/v1/namespaces/shop").await.status, 404);
}

#[tokio::test]
async fn what_is_not_offered_is_404_or_405() {
    let cluster = shop();
    assert_eq!(get(&cluster, "/api/v1/pods").await.status, 404);
    assert_eq!(
        get(
            &cluster,
            "/apis/apps/v1/namespaces/shop/deployments/cart/status/x"
        )
        .await
        .status,
        404
    );
    assert_eq!(
        send(&cluster, request("POST", CART, &[], "{}"))
            .await
            .status,
        405
    );
    assert_eq!(get(&cluster, "/readyz").await.body, "ok");
    assert_eq!(get(&cluster, "/version").await.json()["minor"], "36");
}
