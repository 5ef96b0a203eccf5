//! Leases of coordination.k8s.io: conditional like everything else, and watched.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};

use crate::support::{self, request};

async fn send(cluster: &Cluster, method: Method, uri: &str, body: &Value) -> (StatusCode, Value) {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let json = [("content-type", "application/json")];
    let answer = support::send(cluster, request(method.as_str(), uri, &json, body)).await;
    (answer.status, answer.json())
}

/// What a watch tells until it ends.
async fn lines(cluster: &Cluster, uri: &str) -> Vec<Value> {
    let answer = support::get(cluster, uri).await;
    let text = std::str::from_utf8(&answer.body).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/web/leases";

fn cluster() -> Cluster {
    let cluster = Cluster::new(Options::default());
    cluster.create(NewDeployment::new("web", "shop")).unwrap();
    cluster
}

fn lease(name: &str, holder: &str) -> Value {
    json!({
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": name, "labels": {"kind": "count"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60},
    })
}

async fn create(cluster: &Cluster, name: &str) -> Value {
    let (status, made) = send(cluster, Method::POST, LEASES, &lease(name, "a")).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

#[tokio::test]
async fn a_lease_is_created_once_read_replaced_and_deleted() {
    let cluster = cluster();
    let made = create(&cluster, "one").await;
    assert_eq!(made["metadata"]["namespace"], "web");
    assert_eq!(made["spec"]["holderIdentity"], "a");
    let (status, again) = send(&cluster, Method::POST, LEASES, &lease("one", "b")).await;
    assert_eq!(
        (status.as_u16(), &again["reason"]),
        (409, &json!("AlreadyExists"))
    );
    let path = format!("{LEASES}/one");
    let mut changed = made.clone();
    changed["spec"]["holderIdentity"] = "b".into();
    let (status, replaced) = send(&cluster, Method::PUT, &path, &changed).await;
    assert_eq!(status, 200, "{replaced}");
    assert_eq!(replaced["metadata"]["uid"], made["metadata"]["uid"]);
    assert_ne!(
        replaced["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    let (_, read) = send(&cluster, Method::GET, &path, &Value::Null).await;
    assert_eq!(read, replaced);
    assert_eq!(
        send(&cluster, Method::DELETE, &path, &Value::Null).await.0,
        200
    );
    assert_eq!(
        send(&cluster, Method::GET, &path, &Value::Null).await.0,
        404
    );
    assert_eq!(
        send(&cluster, Method::DELETE, &path, &Value::Null).await.0,
        404
    );
    assert_eq!(send(&cluster, Method::PUT, &path, &changed).await.0, 404);
}

#[tokio::test]
async fn a_write_of_an_older_version_or_of_another_lease_is_a_conflict() {
    let cluster = cluster();
    let made = create(&cluster, "one").await;
    let path = format!("{LEASES}/one");
    assert!(
        cluster.change_lease("web", "one", |lease| lease["spec"]["holderIdentity"] =
            "c".into())
    );
    let mut mine = made.clone();
    mine["spec"]["holderIdentity"] = "b".into();
    let (status, refused) = send(&cluster, Method::PUT, &path, &mine).await;
    assert_eq!(
        (status.as_u16(), &refused["reason"]),
        (409, &json!("Conflict"))
    );
    for condition in [
        json!({"resourceVersion": made["metadata"]["resourceVersion"]}),
        json!({"uid": "8a5d3f3c-4a34-4c1c-9d4e-0f3f6ad7a001"}),
    ] {
        let options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": condition});
        let (status, refused) = send(&cluster, Method::DELETE, &path, &options).await;
        assert_eq!(status, 409, "{refused}");
    }
    assert_eq!(cluster.leases("web")[0]["spec"]["holderIdentity"], "c");
}

#[tokio::test]
async fn a_list_and_a_watch_show_those_that_a_selector_selects() {
    let cluster = cluster();
    create(&cluster, "one").await;
    let mut other = lease("other", "a");
    other["metadata"]["labels"]["kind"] = "election".into();
    send(&cluster, Method::POST, LEASES, &other).await;
    let selected = format!("{LEASES}?labelSelector=kind%3Dcount");
    let (_, list) = send(&cluster, Method::GET, &selected, &Value::Null).await;
    let names: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["metadata"]["name"])
        .collect();
    assert_eq!(names, ["one"]);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    create(&cluster, "two").await;
    cluster.change_lease("web", "other", |lease| {
        lease["spec"]["holderIdentity"] = "z".into()
    });
    cluster.delete_lease("web", "one").unwrap();
    let watch = format!("{selected}&watch=true&resourceVersion={version}&timeoutSeconds=1");
    let events = lines(&cluster, &watch).await;
    let told: Vec<_> = events
        .iter()
        .map(|e| {
            (
                e["type"].as_str().unwrap(),
                e["object"]["metadata"]["name"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("ADDED", Some("two")),
            ("DELETED", Some("one")),
            ("BOOKMARK", None)
        ]
    );
    cluster.end_lease_watches(true);
    let expired = lines(&cluster, &watch).await;
    assert_eq!(expired[0]["object"]["code"], 410);
}

#[tokio::test]
async fn faults_meet_reads_and_writes_of_leases_apart() {
    let cluster = cluster();
    create(&cluster, "one").await;
    let path = format!("{LEASES}/one");
    let busy = Fault::Status {
        code: 503,
        retry_after: None,
    };
    let rule = cluster
        .faults()
        .add(Rule::new(On::LeaseWrite, busy.clone()));
    assert_eq!(
        send(&cluster, Method::DELETE, &path, &Value::Null).await.0,
        503
    );
    assert_eq!(
        send(&cluster, Method::GET, &path, &Value::Null).await.0,
        200
    );
    cluster.faults().remove(rule);
    cluster.faults().add(Rule::new(On::Leases, busy));
    assert_eq!(
        send(&cluster, Method::GET, LEASES, &Value::Null).await.0,
        503
    );
    assert_eq!(
        send(&cluster, Method::DELETE, &path, &Value::Null).await.0,
        200
    );
}

#[tokio::test]
async fn a_lease_that_cannot_be_is_refused() {
    let cluster = cluster();
    let mut nameless = lease("x", "a");
    nameless["metadata"].as_object_mut().unwrap().remove("name");
    let mut endless = lease("x", "a");
    endless["spec"]["leaseDurationSeconds"] = 0.into();
    for (body, expected) in [(nameless, 422), (endless, 422)] {
        let (status, told) = send(&cluster, Method::POST, LEASES, &body).await;
        assert_eq!(status.as_u16(), expected, "{told}");
    }
    let elsewhere = LEASES.replace("/web/", "/none/");
    let (status, _) = send(&cluster, Method::POST, &elsewhere, &lease("x", "a")).await;
    assert_eq!(status, 404);
}
