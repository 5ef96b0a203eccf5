//! The calls that write.

use serde_json::{Value, json};
use utoipa::openapi::{Content, HttpMethod, OneOfBuilder, Response, example::ExampleBuilder};

use super::{
    answers::answer,
    calls::{Call, RequestBody, schema},
};

const COUNT: &str = "The desired count, through the `scale` subresource. A 200 means that Kubernetes has taken it and that reads from this \
server show it, also for a count that it had already. A write that has been sent goes on when its caller hangs up.";

const STEP: &str = "Changes the count by so much, from what it is when the write is made. Only with `If-Match` or \
`Idempotency-Key`, a new one for each step: sent again with its key, a step is answered as before and changes nothing. One that leads below 0 is 422.";

const IMAGE: &str = "The image of one container or init container, written as it is given; whether there is such an image, nobody checks \
here. The rollout goes on behind the answer. It needs the permission `image`.";

const RESTART: &str = "Replaces every Pod, as `kubectl rollout restart` does: an annotation of the Pod template gets the time. It needs the \
permission `restart`.";

const PAUSED: &str = "Pauses the rollout, or resumes it. A paused one still scales. It needs the permission `pause`.";

const ROLLBACK: &str = "Goes back to the Pod template of the revision before, or of the one that is given, as `kubectl rollout undo` does. \
Right after a change it waits, up to 3 s, until the Deployment's controller has numbered what runs. It needs the permission `rollback`.";

const LEASE: &str = "Sets the count for so many seconds, after which it goes back to what it was, unless somebody else has set it meanwhile. A \
Deployment has one lease at most: sent again, it is renewed, with this count and this time from now on, and goes back to what it was before \
the first. Needs the permission `scale`; with every condition and bound of a count that is set.";

const EXTEND: &str = "The lease ends so many seconds from now, later than before or sooner. 409 if it is over or somebody else has set the count.";

const CANCEL: &str = "Ends the lease now and goes back to the count before it, or, with `keep`, leaves its count as it is. A count that somebody \
else has set meanwhile is left alone: `reverted` is `false` then.";

/// What a write answers: the sentence, or what was done.
fn written(status: &str, message: &str, schema_name: &str, representation: Value) -> Response {
    let headers = [
        "ETag",
        "X-Resource-Version",
        "X-Dry-Run",
        "Preference-Applied",
        "Warning",
    ];
    let mut answer = answer(status, &headers);
    let either = OneOfBuilder::new()
        .item(schema("Message"))
        .item(schema(schema_name));
    let mut content = Content::new(Some(either));
    let message = json!({ "message": message });
    for (name, value) in [("message", message), ("representation", representation)] {
        let example = ExampleBuilder::new().value(Some(value)).build();
        content.examples.insert(name.into(), example.into());
    }
    answer
        .content
        .insert("application/json".into(), content.into());
    answer
}

/// What differs between writes.
struct Write {
    call: (HttpMethod, &'static str, &'static str),
    summary: &'static str,
    description: &'static str,
    body: RequestBody,
    done: &'static str,
    schema: &'static str,
    representation: Value,
}

impl Write {
    fn call(self) -> Call {
        let (method, path, id) = self.call;
        let mut parameters = vec!["namespace", "name"];
        if path.contains("{container}") {
            parameters.push("container");
        }
        parameters.extend([
            "dryRun",
            "If-Match",
            "If-None-Match.write",
            "Prefer",
            "X-Reason",
        ]);
        if matches!(method, HttpMethod::Patch) && path.ends_with("/replicas") {
            parameters.push("Idempotency-Key");
        }
        if matches!(method, HttpMethod::Delete) {
            parameters.push("keep");
        }
        let body = (!matches!(method, HttpMethod::Delete)).then_some(self.body);
        let taken = written(
            "Kubernetes has taken it, and this server's copy has it.",
            self.done,
            self.schema,
            self.representation.clone(),
        );
        let unseen = written(
            "Kubernetes has taken it; this server's copy does not have it yet, or the rollout is not complete within the time that the caller waits.",
            "Replica count updated; this server's copy has not caught up yet.",
            self.schema,
            self.representation,
        );
        Call {
            method,
            path,
            id,
            tag: "write",
            summary: self.summary,
            description: self.description,
            parameters,
            body,
            answers: vec![(200, taken), (202, unseen)],
            failures: vec![403, 404, 409, 412, 415, 422, 502, 504],
        }
    }
}

fn takes(schema: &'static str, examples: Vec<(&'static str, Value)>) -> RequestBody {
    RequestBody {
        schema,
        required: true,
        examples,
    }
}

fn may_take(schema: &'static str, examples: Vec<(&'static str, Value)>) -> RequestBody {
    RequestBody {
        required: false,
        ..takes(schema, examples)
    }
}

pub(super) fn all() -> Vec<Call> {
    let count = json!({
        "namespace": "web", "name": "shop", "replicaCount": 3, "previousReplicaCount": 2, "changed": true, "resourceVersion": "1029",
    });
    let lease = json!({
        "namespace": "web", "name": "shop", "replicaCount": 10, "previousReplicaCount": 3, "holder": "alice", "state": "held",
        "takenAt": "2026-06-01T10:00:00Z", "until": "2026-06-01T12:00:00Z", "remainingSeconds": 7200,
    });
    let leased = json!({
        "namespace": "web", "name": "shop", "replicaCount": 10, "previousReplicaCount": 3, "changed": true, "resourceVersion": "1029",
        "lease": lease,
    });
    [
        Write {
            call: (
                HttpMethod::Put,
                "/namespaces/{namespace}/deployments/{name}/replicas",
                "setReplicas",
            ),
            summary: "Set a count",
            description: COUNT,
            body: takes("SetReplicas", vec![("three", json!({"replicaCount": 3}))]),
            done: "Replica count updated successfully.",
            schema: "ReplicasWritten",
            representation: count.clone(),
        },
        Write {
            call: (
                HttpMethod::Patch,
                "/namespaces/{namespace}/deployments/{name}/replicas",
                "stepReplicas",
            ),
            summary: "Change a count by so much",
            description: STEP,
            body: takes(
                "StepReplicas",
                vec![
                    ("two more", json!({"delta": 2})),
                    ("one fewer", json!({"delta": -1})),
                ],
            ),
            done: "Replica count updated successfully.",
            schema: "ReplicasWritten",
            representation: count,
        },
        Write {
            call: (
                HttpMethod::Put,
                "/namespaces/{namespace}/deployments/{name}/lease",
                "takeLease",
            ),
            summary: "Lease a count, or renew its lease",
            description: LEASE,
            body: takes(
                "TakeLease",
                vec![("two hours", json!({"replicaCount": 10, "durationSeconds": 7200}))],
            ),
            done: "Replica count leased until 2026-06-01T12:00:00Z.",
            schema: "Leased",
            representation: leased.clone(),
        },
        Write {
            call: (
                HttpMethod::Patch,
                "/namespaces/{namespace}/deployments/{name}/lease",
                "extendLease",
            ),
            summary: "Extend a lease",
            description: EXTEND,
            body: takes(
                "ExtendLease",
                vec![("an hour", json!({"durationSeconds": 3600}))],
            ),
            done: "Lease extended until 2026-06-01T12:00:00Z.",
            schema: "Leased",
            representation: leased,
        },
        Write {
            call: (
                HttpMethod::Delete,
                "/namespaces/{namespace}/deployments/{name}/lease",
                "cancelLease",
            ),
            summary: "End a lease",
            description: CANCEL,
            body: may_take("Nothing", Vec::new()),
            done: "Lease ended; the replica count is as it was before.",
            schema: "LeaseEnded",
            representation: json!({
                "namespace": "web", "name": "shop", "replicaCount": 3, "previousReplicaCount": 10, "changed": true,
                "resourceVersion": "1031", "reverted": true,
            }),
        },
        Write {
            call: (
                HttpMethod::Put,
                "/namespaces/{namespace}/deployments/{name}/containers/{container}/image",
                "setImage",
            ),
            summary: "Set an image",
            description: IMAGE,
            body: takes("SetImage", vec![("tag", json!({"image": "example.org/shop:2"}))]),
            done: "Image updated successfully.",
            schema: "ImageWritten",
            representation: json!({
                "namespace": "web", "name": "shop", "container": "app", "image": "example.org/shop:2",
                "previousImage": "example.org/shop:1", "changed": true, "resourceVersion": "1029",
            }),
        },
        Write {
            call: (
                HttpMethod::Post,
                "/namespaces/{namespace}/deployments/{name}/restart",
                "restart",
            ),
            summary: "Restart every Pod",
            description: RESTART,
            body: may_take("Nothing", vec![("nothing", json!({}))]),
            done: "Restart begun.",
            schema: "Restarted",
            representation: json!({
                "namespace": "web", "name": "shop", "restartedAt": "2026-06-01T10:00:00Z", "previouslyRestartedAt": null, "changed": true, "resourceVersion": "1029",
            }),
        },
        Write {
            call: (
                HttpMethod::Put,
                "/namespaces/{namespace}/deployments/{name}/paused",
                "setPaused",
            ),
            summary: "Pause or resume a rollout",
            description: PAUSED,
            body: takes(
                "SetPaused",
                vec![
                    ("pause", json!({"paused": true})),
                    ("resume", json!({"paused": false})),
                ],
            ),
            done: "Pause set.",
            schema: "PausedWritten",
            representation: json!({
                "namespace": "web", "name": "shop", "paused": true, "previouslyPaused": false, "changed": true, "resourceVersion": "1029",
            }),
        },
        Write {
            call: (
                HttpMethod::Post,
                "/namespaces/{namespace}/deployments/{name}/rollback",
                "rollBack",
            ),
            summary: "Roll back to an earlier revision",
            description: ROLLBACK,
            body: may_take(
                "Rollback",
                vec![
                    ("the one before", json!({})),
                    ("revision 4", json!({"revision": 4})),
                ],
            ),
            done: "Rolled back.",
            schema: "RolledBack",
            representation: json!({
                "namespace": "web", "name": "shop", "revision": 3, "previousRevision": 4, "changed": true, "resourceVersion": "1029",
            }),
        },
    ]
    .map(Write::call)
    .into()
}
