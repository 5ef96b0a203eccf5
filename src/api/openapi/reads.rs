//! The calls that read.

use serde_json::{Value, json};
use utoipa::openapi::{ArrayBuilder, Content, HttpMethod, ObjectBuilder, Response, Type};

use super::{
    answers::{answer, json_answer},
    calls::{Call, schema},
};

const READ: [&str; 4] = ["ETag", "X-Resource-Version", "Age", "Cache-Control"];

const HAS_IT: &str = "The caller has it already: its tag is one of `If-None-Match`.";

/// A 304 with these headers beside those of every read.
fn not_modified(headers: &[&str]) -> (u16, Response) {
    (304, answer(HAS_IT, &[&READ[..], headers].concat()))
}

fn read(path: &'static str, id: &'static str, summary: &'static str) -> Call {
    Call {
        method: HttpMethod::Get,
        path,
        id,
        tag: "read",
        summary,
        description: "",
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        failures: Vec::new(),
    }
}

/// A list, or a stream of its changes.
fn listed() -> Response {
    let mut headers = READ.to_vec();
    headers.extend(["Link", "Vary"]);
    let mut answer = answer(
        "One consistent snapshot, sorted by namespace, then name, in byte order. With `watch`, the events.",
        &headers,
    );
    let array = ArrayBuilder::new().items(schema("Listed")).build();
    let mut list = Content::new(Some(array));
    list.example = Some(json!([{"namespace": "web", "name": "shop", "replicaCount": 3}]));
    answer
        .content
        .insert("application/json".into(), list.into());
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let kinds = ["snapshot", "added", "changed", "deleted"];
    let event = ObjectBuilder::new()
        .description(Some("One event; a stream has many."))
        .property("event", text().enum_values(Some(kinds)))
        .property(
            "id",
            text().description(Some("For `Last-Event-ID`; opaque.")),
        )
        .property(
            "data",
            text()
                .content_media_type("application/json")
                .description(Some(
                    "The list in a `snapshot`, else one Deployment with its `resourceVersion`.",
                )),
        )
        .required("event")
        .required("id")
        .required("data");
    let mut events = Content::new(Some(event));
    events.example = Some(json!({
        "event": "changed",
        "id": "1030",
        "data": r#"{"namespace":"web","name":"shop","replicaCount":4,"resourceVersion":"1030"}"#,
    }));
    answer
        .content
        .insert("text/event-stream".into(), events.into());
    answer
}

const LIST: &str = "What the caller may see of what this server manages; gzip with `Accept-Encoding: gzip`. With `limit`, \
`Link` leads from page to page of one snapshot. With `status=true` each Deployment has \
`readyReplicas`, too, and a watch tells of their changes.\n\nWith `watch` the answer is a stream of server-sent events: `snapshot` with the list, then \
`added`, `changed` and `deleted` with one Deployment each and its `resourceVersion`. `Last-Event-ID` goes on where another stream ended, as \
far as the server remembers; otherwise there is a new `snapshot`. A comment every 15 s shows that the stream lives. It ends when the caller's \
access does.";

const LIST_PARAMETERS: [&str; 8] = [
    "labelSelector",
    "limit",
    "continue",
    "status",
    "watch",
    "Last-Event-ID",
    "If-None-Match",
    "X-Min-Resource-Version",
];

pub(super) fn of_deployments() -> Vec<Call> {
    let mut all = counts();
    all.extend(leases());
    all
}

fn counts() -> Vec<Call> {
    vec![
        Call {
            description: LIST,
            parameters: LIST_PARAMETERS.into(),
            answers: vec![(200, listed()), not_modified(&["Link", "Vary"])],
            failures: vec![403, 410, 502],
            ..read(
                "/deployments",
                "listDeployments",
                "List or watch all Deployments",
            )
        },
        Call {
            description: LIST,
            parameters: [&["namespace"][..], &LIST_PARAMETERS].concat(),
            answers: vec![(200, listed()), not_modified(&["Link", "Vary"])],
            failures: vec![403, 404, 410, 502],
            ..read(
                "/namespaces/{namespace}/deployments",
                "listDeploymentsOfNamespace",
                "List or watch the Deployments of one namespace",
            )
        },
        deployment(),
        history(),
        Call {
            description: "The count that its `spec` asks for, out of this server's copy. A Deployment that states none runs 1.\n\nWith \
                `If-None-Match` and `Prefer: wait=SECONDS` the answer waits for another tag: 200 as soon as there is one, 304 when the time is up.",
            parameters: vec![
                "namespace",
                "name",
                "If-None-Match",
                "Prefer.wait",
                "X-Min-Resource-Version",
            ],
            answers: vec![
                (
                    200,
                    json_answer(
                        "The count.",
                        &[&READ[..], &["X-Also-Set-By", "Preference-Applied"]].concat(),
                        "Replicas",
                        json!({"namespace": "web", "name": "shop", "replicaCount": 3}),
                    ),
                ),
                not_modified(&["X-Also-Set-By", "Preference-Applied"]),
            ],
            failures: vec![403, 404, 502],
            ..read(
                "/namespaces/{namespace}/deployments/{name}/replicas",
                "getReplicas",
                "Read a count",
            )
        },
        Call {
            description: "The names and images of its Pod template. They are read from Kubernetes when somebody asks, once for all who ask at \
                once, and serve others for up to a second.",
            parameters: vec![
                "namespace",
                "name",
                "If-None-Match",
                "X-Min-Resource-Version",
            ],
            answers: vec![
                (
                    200,
                    json_answer(
                        "The containers.",
                        &READ,
                        "Containers",
                        json!({
                            "namespace": "web", "name": "shop",
                            "containers": [{"name": "app", "image": "example.org/shop:1"}],
                        }),
                    ),
                ),
                not_modified(&[]),
            ],
            failures: vec![403, 404, 502],
            ..read(
                "/namespaces/{namespace}/deployments/{name}/containers",
                "getContainers",
                "Read the containers",
            )
        },
    ]
}

/// A lease, for examples.
fn lease() -> Value {
    json!({
        "namespace": "web", "name": "shop", "replicaCount": 10, "previousReplicaCount": 3, "holder": "alice", "state": "held",
        "takenAt": "2026-06-01T10:00:00Z", "until": "2026-06-01T12:00:00Z", "remainingSeconds": 5400, "reason": "a sale",
    })
}

fn leases() -> [Call; 2] {
    let array = ArrayBuilder::new().items(schema("Lease")).build();
    let mut content = Content::new(Some(array));
    content.example = Some(json!([lease()]));
    let mut listed = answer(
        "Those whose Deployments the caller may see; the one that ends first is first.",
        &["Warning"],
    );
    listed
        .content
        .insert("application/json".into(), content.into());
    [
        Call {
            description: "For how long its count is leased, and what it goes back to, out of this server's copy. 404 if it has no lease.",
            parameters: vec!["namespace", "name", "X-Min-Resource-Version"],
            answers: vec![(200, json_answer("The lease.", &[], "Lease", lease()))],
            failures: vec![403, 404, 502],
            ..read(
                "/namespaces/{namespace}/deployments/{name}/lease",
                "getLease",
                "Read the lease of a count",
            )
        },
        Call {
            description: "The leases of counts, out of this server's copy.",
            parameters: vec!["namespace.query"],
            answers: vec![(200, listed)],
            failures: vec![403, 404, 502],
            ..read("/leases", "listLeases", "List the leases of counts")
        },
    ]
}

fn deployment() -> Call {
    let example = json!({
        "namespace": "web", "name": "shop", "uid": "8a4d1f0c-5a3e-4f6f-9a65-0d8b5f1d2c3e", "resourceVersion": "1029",
        "generation": 7, "observedGeneration": 7,
        "replicas": {"desired": 3, "current": 3, "updated": 3, "ready": 3, "available": 3},
        "paused": false, "rollout": {
            "status": "complete", "message": "all 3 replicas are updated and available",
            "desired": 3, "current": 3, "updated": 3, "ready": 3, "available": 3,
        },
        "revision": 4, "containers": [{"name": "app", "image": "example.org/shop:1"}], "labels": {"app": "shop"},
        "conditions": [{
            "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.", "lastTransitionTime": "2026-06-01T10:00:00Z",
        }],
        "lastSetBy": {"manager": "headcount", "principal": "alice", "at": "2026-06-01T10:00:00Z", "subresource": "scale"},
        "bounds": {"min": 2, "max": 20},
        "alsoSetBy": [{"kind": "HorizontalPodAutoscaler", "name": "shop", "minReplicas": 2, "maxReplicas": 10}],
        "willStick": false,
    });
    let headers = [&READ[..], &["Preference-Applied"]].concat();
    Call {
        description: "Counts of its Pods, its rollout, images, labels and conditions, who set the count last, and what sets it too. Read from \
            Kubernetes when somebody asks, once for all who ask at once, and kept for a second.\n\nWith `Prefer: wait=SECONDS` the answer waits \
            until the rollout is complete: 202 when the time is up.",
        parameters: vec![
            "namespace",
            "name",
            "If-None-Match",
            "Prefer.wait",
            "X-Min-Resource-Version",
        ],
        answers: vec![
            (
                200,
                json_answer("The Deployment.", &headers, "Deployment", example.clone()),
            ),
            (
                202,
                json_answer(
                    "The time is up, and the rollout is not complete.",
                    &headers,
                    "Deployment",
                    example,
                ),
            ),
            not_modified(&["Preference-Applied"]),
        ],
        failures: vec![403, 404, 502],
        ..read(
            "/namespaces/{namespace}/deployments/{name}",
            "getDeployment",
            "Read all of one Deployment",
        )
    }
}

pub(super) fn of_the_server() -> Vec<Call> {
    let health = Call {
        tag: "server",
        description: "Whether the server's copy follows the cluster. It needs a valid certificate and no permission.",
        answers: vec![
            (
                200,
                json_answer(
                    "It does.",
                    &[],
                    "Healthy",
                    json!({"status": "healthy", "kubernetes": "connected"}),
                ),
            ),
            (
                503,
                json_answer(
                    "It does not: no complete list yet, or no sign of life for some seconds.",
                    &["Retry-After"],
                    "Unhealthy",
                    json!({"status": "unhealthy", "error": "the copy of the cluster isn't complete yet"}),
                ),
            ),
        ],
        ..read("/health", "getHealth", "Ask whether the server is healthy")
    };
    let whoami = Call {
        tag: "server",
        description: "Whom the server takes the caller for, and what that may do. It needs a valid certificate and no permission.",
        answers: vec![(
            200,
            json_answer(
                "The caller.",
                &[],
                "WhoAmI",
                json!({
                    "principal": "spiffe://example.org/ci/web", "principalKind": "uri", "groups": ["ci"],
                    "certificate": {
                        "subject": "CN=runner, O=ci", "serial": "2a", "issuer": "CN=clients", "validUntil": "2026-12-24T00:00:00Z",
                        "validUntilOf": "revocationList", "notAfter": "2027-03-01T00:00:00Z",
                    },
                    "authorization": "policy",
                    "permissions": [{
                        "rule": "ci", "effect": "allow", "verbs": ["get", "scale"], "namespaces": ["web"], "bounds": {"max": 10},
                    }],
                }),
            ),
        )],
        ..read("/whoami", "whoAmI", "Ask whom the server takes you for")
    };
    vec![health, whoami, document(), page()]
}

fn history() -> Call {
    Call {
        description: "The latest changes of counts that this server saw, whoever made them, newest first: as many of the latest 1,000 as the \
            caller may see. What is gone is shown to those alone who may see it whatever its labels were.",
        parameters: vec![
            "namespace.query",
            "name.query",
            "limit.history",
            "If-None-Match",
            "X-Min-Resource-Version",
        ],
        answers: vec![
            (
                200,
                json_answer(
                    "The changes.",
                    &READ,
                    "History",
                    json!({
                        "since": "2026-11-28T08:00:00.000Z",
                        "changes": [{
                            "time": "2026-11-28T09:00:00.125Z", "namespace": "web", "name": "shop", "from": 3, "to": 10,
                            "by": {"principal": "alice", "manager": "headcount:alice@2026-11-28T09:00:00Z"}, "resourceVersion": "1030",
                        }],
                    }),
                ),
            ),
            not_modified(&[]),
        ],
        failures: vec![403, 404, 502],
        ..read("/history", "getHistory", "Read who changed which counts")
    }
}

fn document() -> Call {
    let mut found = answer("The document.", &["ETag", "Cache-Control", "Vary"]);
    let mut content = Content::new(Some(ObjectBuilder::new().schema_type(Type::Object)));
    content.example = Some(json!({"openapi": "3.1.0"}));
    found
        .content
        .insert("application/json".into(), content.into());
    Call {
        tag: "server",
        description: "This document: OpenAPI 3.1. It needs a valid certificate and no permission.",
        parameters: vec!["If-None-Match"],
        answers: vec![(200, found), rendered_not_modified(&[])],
        ..read("/openapi.json", "getOpenApi", "Read this document")
    }
}

fn page() -> Call {
    let mut found = answer(
        "The page.",
        &[
            "ETag",
            "Cache-Control",
            "Vary",
            "Content-Security-Policy",
            "Referrer-Policy",
            "X-Content-Type-Options",
        ],
    );
    let mut content = Content::new(Some(ObjectBuilder::new().schema_type(Type::String)));
    content.example = Some(json!("<!doctype html>"));
    found.content.insert("text/html".into(), content.into());
    Call {
        tag: "server",
        description: "A page of this document for people: no script, nothing from elsewhere. It needs a valid certificate and no permission.",
        parameters: vec!["If-None-Match"],
        answers: vec![
            (200, found),
            rendered_not_modified(&[
                "Content-Security-Policy",
                "Referrer-Policy",
                "X-Content-Type-Options",
            ]),
        ],
        ..read("/docs", "getDocs", "Read this document as a page")
    }
}

fn rendered_not_modified(more: &[&str]) -> (u16, Response) {
    let headers = [&["ETag", "Cache-Control", "Vary"][..], more].concat();
    (304, answer("The caller has it already.", &headers))
}
