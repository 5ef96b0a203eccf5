//! The scale subresource: preconditions, absent and wrong numbers, dry runs.

use serde_json::{Value, json};

use crate::support::{ALL, SHOP, get, patch, put, request, send, shop};

const CART: &str = "/apis/apps/v1/namespaces/shop/deployments/cart/scale";

fn scale_of(replicas: i64) -> Value {
    json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": { "name": "cart", "namespace": "shop" }, "spec": { "replicas": replicas } })
}

#[tokio::test]
async fn a_scale_shows_counts_and_selector() {
    let cluster = shop();
    let scale = get(&cluster, CART).await.json();
    let object = get(&cluster, &format!("{SHOP}/cart")).await.json();
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&"Scale".into(), &"autoscaling/v1".into())
    );
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        assert_eq!(
            scale["metadata"][field], object["metadata"][field],
            "{field}"
        );
    }
    assert_eq!(scale["spec"], json!({ "replicas": 3 }));
    assert_eq!(
        scale["status"],
        json!({ "replicas": 3, "selector": "app=cart" })
    );
}

#[tokio::test]
async fn a_write_makes_one_version_and_one_generation() {
    let cluster = shop();
    let version = cluster.resource_version();
    let answer = put(&cluster, CART, &scale_of(6)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["metadata"]["resourceVersion"],
        (version + 1).to_string()
    );
    let cart = cluster.deployment("shop", "cart").unwrap();
    assert_eq!(
        (cart.replicas, cart.generation, cart.observed_generation),
        (Some(6), 2, 1)
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_makes_no_version() {
    let cluster = shop();
    let version = cluster.resource_version();
    assert_eq!(put(&cluster, CART, &scale_of(3)).await.status, 200);
    assert_eq!(
        patch(&cluster, CART, json!({ "spec": { "replicas": 3 } }))
            .await
            .status,
        200
    );
    assert_eq!(cluster.resource_version(), version);
}

#[tokio::test]
async fn absent_replicas_mean_zero_and_zero_is_left_out() {
    let cluster = shop();
    let mut body = scale_of(0);
    body["spec"] = json!({});
    assert_eq!(put(&cluster, CART, &body).await.json()["spec"], json!({}));
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(0)
    );
}

#[tokio::test]
async fn an_older_version_is_a_conflict() {
    let cluster = shop();
    let seen = get(&cluster, CART).await.json();
    cluster.touch_status("shop", "cart");
    let mut body = seen.clone();
    body["spec"]["replicas"] = 9.into();
    for answer in [
        put(&cluster, CART, &body).await,
        patch(&cluster, CART, json!({ "metadata": { "resourceVersion": seen["metadata"]["resourceVersion"] }, "spec": { "replicas": 9 } })).await,
    ] {
        assert_eq!(answer.status, 409);
        let json = answer.json();
        assert_eq!(json["reason"], "Conflict");
        assert_eq!(
            json["message"],
            "Operation cannot be fulfilled on deployments.apps \"cart\": the object has been modified; please apply your changes to the latest version and try again"
        );
        assert_eq!(json["details"], json!({ "name": "cart", "group": "apps", "kind": "deployments" }));
    }
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(3)
    );
}

#[tokio::test]
async fn another_uid_is_a_conflict_and_a_deleted_object_is_404() {
    let cluster = shop();
    let mut body = get(&cluster, CART).await.json();
    let uid = body["metadata"]["uid"].as_str().unwrap().to_owned();
    body["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    cluster.delete("shop", "cart");
    assert_eq!(put(&cluster, CART, &body).await.status, 404);
    cluster.create(simkube::NewDeployment::new("shop", "cart"));
    let recreated = put(&cluster, CART, &body).await;
    assert_eq!(recreated.status, 409);
    assert!(recreated.json()["message"].as_str().unwrap().contains(
        "StorageError: invalid object, Code: 4, Key: /registry/deployments/shop/cart, ResourceVersion: 0"
    ));
    let patched = patch(
        &cluster,
        CART,
        json!({ "metadata": { "uid": uid }, "spec": { "replicas": 9 } }),
    )
    .await;
    assert_eq!(patched.status, 409);
    let current = cluster.deployment("shop", "cart").unwrap().uid;
    assert_eq!(
        patched.json()["message"],
        format!(
            "Operation cannot be fulfilled on deployments/scale.apps \"cart\": Precondition failed: UID in precondition: {uid}, UID in object meta: {current}"
        )
    );
}

#[tokio::test]
async fn wrong_numbers_are_refused() {
    let cluster = shop();
    let negative = put(&cluster, CART, &scale_of(-1)).await;
    assert_eq!(negative.status, 422);
    assert_eq!(
        negative.json()["message"],
        "Scale.autoscaling \"cart\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    assert_eq!(put(&cluster, CART, &scale_of(1 << 31)).await.status, 400);
    assert_eq!(
        patch(&cluster, CART, json!({ "spec": { "replicas": "3" } }))
            .await
            .status,
        422
    );
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(3)
    );
}

#[tokio::test]
async fn an_absent_deployment_is_404() {
    let cluster = shop();
    for path in ["shop/deployments/none", "none/deployments/cart"] {
        let uri = format!("/apis/apps/v1/namespaces/{path}/scale");
        let name = if path.starts_with("shop") {
            "none"
        } else {
            "cart"
        };
        for answer in [
            get(&cluster, &uri).await,
            patch(&cluster, &uri, json!({ "spec": { "replicas": 3 } })).await,
        ] {
            assert_eq!(answer.status, 404);
            assert_eq!(
                answer.json()["message"],
                format!("deployments.apps \"{name}\" not found")
            );
        }
    }
}

#[tokio::test]
async fn a_dry_run_judges_and_changes_nothing() {
    let cluster = shop();
    let version = cluster.resource_version();
    let answer = put(&cluster, &format!("{CART}?dryRun=All"), &scale_of(9)).await;
    assert_eq!(answer.json()["spec"]["replicas"], 9);
    assert_eq!(
        put(&cluster, &format!("{CART}?dryRun=All"), &scale_of(-1))
            .await
            .status,
        422
    );
    assert_eq!(cluster.resource_version(), version);
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(3)
    );
    assert_eq!(
        put(&cluster, &format!("{CART}?dryRun=Some"), &scale_of(9))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn the_body_must_name_what_the_path_names() {
    let cluster = shop();
    let mut body = scale_of(4);
    body["metadata"]["name"] = "search".into();
    let answer = put(&cluster, CART, &body).await;
    assert_eq!(
        answer.json()["message"],
        "the name of the object (search) does not match the name on the URL (cart)"
    );
    let mut body = scale_of(4);
    body["kind"] = "Deployment".into();
    assert_eq!(put(&cluster, CART, &body).await.status, 400);
    let garbage = request("PUT", CART, &[("content-type", "application/json")], "{");
    assert_eq!(send(&cluster, garbage).await.status, 400);
    let unknown = request(
        "PATCH",
        CART,
        &[("content-type", "application/json-patch+json")],
        "",
    );
    assert_eq!(send(&cluster, unknown).await.status, 415);
}

#[tokio::test]
async fn requests_are_remembered() {
    let cluster = shop();
    get(&cluster, ALL).await;
    let headers = [
        ("traceparent", "00-1-2-01"),
        ("authorization", "Bearer secret"),
        ("content-type", "application/json"),
    ];
    send(
        &cluster,
        request(
            "PUT",
            &format!("{CART}?fieldManager=test"),
            &headers,
            scale_of(4).to_string(),
        ),
    )
    .await;
    let requests = cluster.requests();
    assert!(requests[0].is_list_or_watch());
    assert_eq!(
        (requests[1].path.as_str(), requests[1].query.as_str()),
        (CART, "fieldManager=test")
    );
    assert_eq!(requests[1].header("traceparent"), Some("00-1-2-01"));
    assert_eq!(requests[1].header("authorization"), None);
    let counts = cluster.counts();
    assert_eq!(
        (counts.requests, counts.lists, counts.scales, counts.writes),
        (2, 1, 1, 0)
    );
}
