//! Records of leases, and what is no record of who set a count.

use http::Method;
use serde_json::{Value, json};
use simkube::{Fault, On, Rule};

use super::{Audited, of};
use crate::support::{SimCluster, program::Serving};

pub(super) const LEASE: &str = "/namespaces/web/deployments/shop/lease";
pub(super) const LEASES: &str = "leases: {namespace: headcount}\n";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn served(audited: &Audited) -> (SimCluster, Serving) {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.cluster.create_namespace("headcount");
    let serving = audited.serve(&cluster).await;
    (cluster, serving)
}

async fn sent(serving: &Serving, method: Method, query: &str, body: &Value) {
    let path = format!("{LEASE}{query}");
    let (headers, body) = match body {
        Value::Null => (&[][..], String::new()),
        body => (&JSON[..], body.to_string()),
    };
    let answer = serving.client.send(method, &path, headers, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What records of an event say, of these fields.
fn said(records: &[Value], event: &str, fields: &[&str]) -> Vec<Value> {
    let said = |record: &&Value| fields.iter().map(|field| record[field].clone()).collect();
    of(records, event).iter().map(said).collect()
}

#[tokio::test]
async fn records_of_leases_have_counts_as_numbers_and_their_length_as_one_too() {
    let audited = Audited::new("", LEASES);
    let (_cluster, serving) = served(&audited).await;
    let wanted = json!({"replicaCount": 10, "durationSeconds": 600});
    sent(&serving, Method::PUT, "", &wanted).await;
    let longer = json!({"durationSeconds": 900});
    sent(&serving, Method::PATCH, "", &longer).await;
    sent(&serving, Method::DELETE, "?keep=true", &Value::Null).await;
    assert_eq!(serving.terminated().await.code, Some(0));
    let records = audited.records();
    let counts = ["from", "to", "duration_seconds", "keep"];
    assert_eq!(
        said(&records, "lease.requested", &counts),
        [
            json!([3, 10, 600, null]),
            json!([10, null, 900, null]),
            json!([10, null, null, true])
        ]
    );
    assert_eq!(
        said(&records, "lease.taken", &counts),
        [json!([3, 10, 600, null])]
    );
    assert_eq!(
        said(&records, "lease.extended", &counts),
        [json!([10, 10, 900, null])]
    );
    assert_eq!(
        said(&records, "lease.cancelled", &counts),
        [json!([10, 10, null, true])]
    );
}

#[tokio::test]
async fn a_record_of_a_lease_has_its_end_and_whose_it_renews_until_when_and_why() {
    let audited = Audited::new("", LEASES);
    let (_cluster, serving) = served(&audited).await;
    let wanted = json!({"replicaCount": 10, "durationSeconds": 3600});
    let headers = [JSON[0], ("x-reason", "a sale")];
    let body = wanted.to_string();
    let first = serving.client.send(Method::PUT, LEASE, &headers, &body);
    assert_eq!(first.await.status, 200);
    let until = serving.client.get(LEASE).await.json()["until"].clone();
    let shorter = json!({"replicaCount": 12, "durationSeconds": 60});
    sent(&serving, Method::PUT, "", &shorter).await;
    assert_eq!(serving.terminated().await.code, Some(0));
    let records = audited.records();
    let told = ["back_to", "renews", "renews_until", "renews_reason"];
    assert_eq!(
        said(&records, "lease.taken", &told),
        [
            json!([3, null, null, null]),
            json!([3, "alice", until, "a sale"])
        ]
    );
    assert_eq!(said(&records, "lease.taken", &["until"])[0], json!([until]));
}

#[tokio::test]
async fn a_lease_that_was_overtaken_has_a_record_with_who_did_it() {
    let audited = Audited::new("", LEASES);
    let (_cluster, serving) = served(&audited).await;
    let wanted = json!({"replicaCount": 10, "durationSeconds": 600});
    sent(&serving, Method::PUT, "", &wanted).await;
    let scaled = serving.client.scale("web", "shop", 7, &[]).await;
    assert_eq!(scaled.status, 200);
    // It has ended by then.
    let read = serving.client.get(LEASE).await;
    assert_eq!(read.status, 404, "{read:?}");
    assert_eq!(serving.terminated().await.code, Some(0));
    let told = ["principal", "from", "to", "by", "result"];
    assert_eq!(
        said(&audited.records(), "lease.overtaken", &told),
        [json!(["alice", 10, 7, "alice", "overtaken"])]
    );
}

#[tokio::test]
async fn a_forged_field_manager_is_in_the_history_and_has_no_record() {
    let audited = Audited::new("", "");
    let (cluster, serving) = served(&audited).await;
    // As `kubectl scale --field-manager` has it.
    let forged = ("headcount:carol@2026-11-28T09:00:00Z", "scale");
    let version = cluster.cluster.scale_by("web", "shop", 5, forged).unwrap();
    let version = version.to_string();
    let headers = [("x-min-resource-version", &*version)];
    let read = serving.client.send(Method::GET, "/history", &headers, "");
    let told = read.await.json();
    assert_eq!(told["changes"][0]["by"]["principal"], "carol", "{told}");
    assert_eq!(serving.terminated().await.code, Some(0));
    let records = audited.records();
    assert!(!records.is_empty());
    let named = records.iter().any(|r| r.to_string().contains("carol"));
    assert!(!named, "{records:#?}");
}

#[tokio::test]
async fn what_is_done_for_a_lease_is_on_record_before_and_what_cannot_be_begun_is_not() {
    let audited = Audited::new("", LEASES);
    let (cluster, serving) = served(&audited).await;
    let body = json!({"replicaCount": 10, "durationSeconds": 10});
    sent(&serving, Method::PUT, "", &body).await;
    let unread = Rule::new(On::Get, Fault::status(500));
    let unread = cluster.cluster.faults().add(unread);
    // Tried, and tried again.
    serving.program.line("lease.unsettled", 2).await;
    let goes_back = [json!(["alice", 3])];
    let asked = || said(&audited.records(), "lease.requested", &["principal", "to"]);
    assert_eq!(asked().len(), 1, "the request for it alone");
    cluster.cluster.faults().remove(unread);
    serving.program.line("lease.reverted", 1).await;
    assert_eq!(asked()[1..], goes_back);
}
