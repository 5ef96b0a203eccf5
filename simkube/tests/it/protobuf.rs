//! Protobuf, decoded by structs that are declared from Kubernetes' own definitions.

mod messages;

use std::time::Duration;

use messages::{
    Deployment, DeploymentList, ObjectMeta, Scale, ScaleNumber, Status, TypeMeta, Unknown,
    WatchEvent,
};
use prost::Message;
use simkube::NewDeployment;

use crate::support::{ALL, PROTOBUF, SHOP, get, get_as, open, piece, request, send, shop};

fn opened<M: Message + Default>(bytes: &[u8], api_version: &str, kind: &str) -> M {
    let unknown = Unknown::decode(bytes.strip_prefix(b"k8s\0").expect("the magic")).unwrap();
    let type_meta = unknown.type_meta.unwrap();
    assert_eq!(
        (type_meta.api_version.as_str(), type_meta.kind.as_str()),
        (api_version, kind)
    );
    assert_eq!(
        (
            unknown.content_encoding.as_deref(),
            unknown.content_type.as_deref()
        ),
        (Some(""), Some(""))
    );
    M::decode(&unknown.raw.unwrap()[..]).unwrap()
}

/// The frames of a watch.
fn frames(mut bytes: &[u8]) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>().unwrap();
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        events.push(WatchEvent::decode(frame).unwrap());
        bytes = rest;
    }
    events
}

#[tokio::test]
async fn a_list_decodes_and_equals_the_json() {
    let cluster = shop();
    cluster.create(
        NewDeployment::new("shop", "odd")
            .replicas(None)
            .annotation("note", "ünïcödé")
            .finalizer("example.org/wait")
            .ready(false),
    );
    cluster.delete("shop", "odd");
    for query in ["", "?limit=2", "?labelSelector=tier"] {
        let answer = get_as(&cluster, &format!("{ALL}{query}"), PROTOBUF).await;
        let list: DeploymentList = opened(&answer.body, "apps/v1", "DeploymentList");
        let json = get(&cluster, &format!("{ALL}{query}")).await.json();
        let meta = list.metadata.unwrap();
        assert_eq!(json["metadata"]["resourceVersion"], meta.resource_version);
        assert_eq!(
            json["metadata"]["continue"].as_str().unwrap_or_default(),
            meta.continue_token
        );
        assert_eq!(
            json["metadata"]["remainingItemCount"].as_i64(),
            meta.remaining_item_count
        );
        assert_eq!(json["items"].as_array().unwrap().len(), list.items.len());
        for (item, json) in list.items.iter().zip(json["items"].as_array().unwrap()) {
            assert_same(item, json);
        }
    }
}

fn assert_same(item: &Deployment, json: &serde_json::Value) {
    let (meta, spec) = (item.metadata.clone().unwrap(), item.spec.clone().unwrap());
    let status = item.status.clone().unwrap();
    let at = &json["metadata"];
    assert_eq!(
        (&at["name"], &at["namespace"], &at["uid"]),
        (&meta.name.into(), &meta.namespace.into(), &meta.uid.into())
    );
    assert_eq!(at["resourceVersion"], meta.resource_version);
    assert_eq!(at["generation"], meta.generation);
    assert_eq!(
        serde_json::to_value(&meta.labels).unwrap(),
        at.get("labels")
            .cloned()
            .unwrap_or_else(|| serde_json::json!({}))
    );
    assert_eq!(
        serde_json::to_value(&meta.annotations).unwrap(),
        at.get("annotations")
            .cloned()
            .unwrap_or_else(|| serde_json::json!({}))
    );
    assert_eq!(at.get("finalizers").is_some(), !meta.finalizers.is_empty());
    assert_eq!(
        at.get("deletionTimestamp").is_some(),
        meta.deletion_timestamp.is_some()
    );
    let fields: serde_json::Value =
        serde_json::from_slice(&meta.managed_fields[0].fields_v1.clone().unwrap().raw).unwrap();
    assert_eq!(at["managedFields"][0]["fieldsV1"], fields);
    assert_eq!(
        json["spec"]["replicas"].as_i64(),
        spec.replicas.map(i64::from)
    );
    assert_eq!(
        json["spec"]["selector"]["matchLabels"],
        serde_json::to_value(spec.selector.unwrap().match_labels).unwrap()
    );
    let container = &spec.template.unwrap().spec.unwrap().containers[0];
    assert_eq!(
        json["spec"]["template"]["spec"]["containers"][0]["image"],
        container.image
    );
    for (field, value) in [
        ("observedGeneration", status.observed_generation),
        ("replicas", status.replicas.into()),
        ("updatedReplicas", status.updated_replicas.into()),
        ("availableReplicas", status.available_replicas.into()),
        ("unavailableReplicas", status.unavailable_replicas.into()),
        ("readyReplicas", status.ready_replicas.into()),
    ] {
        assert_eq!(
            json["status"][field].as_i64().unwrap_or(0),
            value,
            "{field}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_framed_events_whose_objects_are_enveloped() {
    let cluster = shop();
    let version = cluster.resource_version();
    let accept = "application/vnd.kubernetes.protobuf;stream=watch";
    let uri = format!(
        "{SHOP}?watch=true&timeoutSeconds=10&allowWatchBookmarks=true&resourceVersion={version}"
    );
    let response = open(&cluster, request("GET", &uri, &[("accept", accept)], ""))
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], accept);
    cluster.scale("shop", "cart", 0);
    cluster.delete("shop", "search");
    let mut bytes = Vec::new();
    let mut body = response.into_body();
    while let Some(part) = piece(&mut body, Duration::from_secs(20)).await {
        bytes.extend_from_slice(&part.unwrap());
    }
    let events = frames(&bytes);
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["MODIFIED", "DELETED", "BOOKMARK"]);
    let objects: Vec<Deployment> = events
        .iter()
        .map(|event| opened(&event.object.clone().unwrap().raw, "apps/v1", "Deployment"))
        .collect();
    assert_eq!(objects[0].spec.clone().unwrap().replicas, Some(0));
    let meta = objects[1].metadata.clone().unwrap();
    assert_eq!(
        (meta.name, meta.resource_version),
        ("search".to_owned(), (version + 2).to_string())
    );
    assert_eq!(
        objects[2].metadata.clone().unwrap().resource_version,
        (version + 2).to_string()
    );
}

#[tokio::test]
async fn errors_are_statuses_in_the_same_encoding() {
    let cluster = shop();
    let answer = get_as(&cluster, &format!("{SHOP}/none"), PROTOBUF).await;
    assert_eq!(answer.status, 404);
    let status: Status = opened(&answer.body, "v1", "Status");
    assert_eq!(
        (status.code, status.reason.as_str(), status.status.as_str()),
        (404, "NotFound", "Failure")
    );
    assert_eq!(status.message, "deployments.apps \"none\" not found");
    let details = status.details.unwrap();
    assert_eq!(
        (
            details.name.as_str(),
            details.group.as_str(),
            details.kind.as_str()
        ),
        ("none", "apps", "deployments")
    );

    cluster.scale("shop", "cart", 4);
    cluster.compact();
    let answer = get_as(
        &cluster,
        &format!("{ALL}?watch=true&resourceVersion=1001"),
        PROTOBUF,
    )
    .await;
    let [event] = &frames(&answer.body)[..] else {
        panic!("one event")
    };
    assert_eq!(event.kind, "ERROR");
    let status: Status = opened(&event.object.clone().unwrap().raw, "v1", "Status");
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn an_expired_continue_token_is_a_protobuf_status_with_a_way_on() {
    let cluster = shop();
    let first = get_as(&cluster, &format!("{ALL}?limit=1"), PROTOBUF).await;
    let token = opened::<DeploymentList>(&first.body, "apps/v1", "DeploymentList")
        .metadata
        .unwrap()
        .continue_token;
    cluster.expire_continue_tokens();
    let answer = get_as(
        &cluster,
        &format!("{ALL}?limit=1&continue={token}"),
        PROTOBUF,
    )
    .await;
    let status: Status = opened(&answer.body, "v1", "Status");
    assert_eq!(status.code, 410);
    assert!(!status.metadata.unwrap().continue_token.is_empty());
}

#[tokio::test]
async fn objects_that_came_over_http_have_their_own_labels_and_image() {
    let cluster = shop();
    let labels = serde_json::json!({ "run": "posted" });
    let body = serde_json::json!({
        "kind": "Deployment", "apiVersion": "apps/v1", "metadata": { "name": "posted", "labels": labels },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "example.org/c:1" }] } },
        },
    });
    let headers = [("content-type", "application/json"), ("accept", PROTOBUF)];
    let answer = send(&cluster, request("POST", SHOP, &headers, body.to_string())).await;
    assert_eq!(answer.status, 201);
    let made: Deployment = opened(&answer.body, "apps/v1", "Deployment");
    assert_same(
        &made,
        &get(&cluster, &format!("{SHOP}/posted")).await.json(),
    );
    let template = made.spec.unwrap().template.unwrap();
    assert_eq!(template.metadata.unwrap().labels["run"], "posted");
    assert_eq!(
        template.spec.unwrap().containers[0].image,
        "example.org/c:1"
    );
}

#[tokio::test]
async fn a_scale_decodes() {
    let answer = get_as(&shop(), &format!("{SHOP}/cart/scale"), PROTOBUF).await;
    let scale: Scale = opened(&answer.body, "autoscaling/v1", "Scale");
    assert_eq!(scale.spec.unwrap().replicas, 3);
    assert_eq!(scale.status.unwrap().replicas, 3);
    assert_eq!(scale.metadata.unwrap().name, "cart");
}

#[tokio::test]
async fn bodies_may_come_in_protobuf() {
    let cluster = shop();
    let read = get_as(&cluster, &format!("{SHOP}/cart"), PROTOBUF)
        .await
        .body;
    let mut deployment: Deployment = opened(&read, "apps/v1", "Deployment");
    let send_as = async |method: &str, uri: &str, api_version: &str, kind: &str, raw: Vec<u8>| {
        let type_meta = TypeMeta {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        };
        let unknown = Unknown {
            type_meta: Some(type_meta),
            raw: Some(raw),
            ..Unknown::default()
        };
        let body = [&b"k8s\0"[..], &unknown.encode_to_vec()].concat();
        send(
            &cluster,
            request(method, uri, &[("content-type", PROTOBUF)], body),
        )
        .await
    };
    let meta = deployment.metadata.as_mut().unwrap();
    meta.name = "copy".to_owned();
    meta.uid.clear();
    meta.resource_version.clear();
    let made = send_as(
        "POST",
        SHOP,
        "apps/v1",
        "Deployment",
        deployment.encode_to_vec(),
    )
    .await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        made["metadata"]["labels"],
        serde_json::json!({ "app": "cart", "tier": "web" })
    );
    assert_eq!(made["spec"]["replicas"], 3);
    assert_eq!(
        made["spec"]["template"]["metadata"]["labels"]["app"],
        "cart"
    );
    assert_eq!(
        made["spec"]["template"]["spec"]["containers"][0]["name"],
        "main"
    );
    let scale = Scale {
        metadata: Some(ObjectMeta {
            name: "copy".to_owned(),
            ..ObjectMeta::default()
        }),
        spec: Some(ScaleNumber { replicas: 8 }),
        status: None,
    };
    let uri = format!("{SHOP}/copy/scale");
    assert_eq!(
        send_as(
            "PUT",
            &uri,
            "autoscaling/v1",
            "Scale",
            scale.encode_to_vec()
        )
        .await
        .json()["spec"]["replicas"],
        8
    );
    assert_eq!(
        send_as("PUT", &uri, "autoscaling/v1", "Scale", vec![0xff])
            .await
            .status,
        400
    );
}
