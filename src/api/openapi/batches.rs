//! The calls for many Deployments at once.

use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use super::{
    answers::json_answer,
    calls::{Call, RequestBody},
};

const BATCH: &str = "Sets the counts of up to 250 Deployments, listed or selected by labels. Each is judged as a request for it alone would \
be, and counts as one for the caller's rate of writes, which is waited for, up to 20 s. The answer is 200 whatever became of each: its \
result says that. It goes on when its caller hangs up.

`snapshot` has what was changed, or may have been, as it was before: keep it to restore that. With an `Idempotency-Key` a dry run has it \
too, for the batch with the same key that follows: so nothing is lost with an answer that doesn't arrive.";

const RESTORE: &str = "Sets every count of a snapshot back to what it was, if nobody else has set it since; what others have set, even to the \
same, is left alone and has the status 412. What is there again already is 200 and unchanged, so twice does no harm. The answer has a snapshot of its own, \
which undoes it.";

fn call(
    (path, id, summary): (&'static str, &'static str, &'static str),
    description: &'static str,
    (schema, examples): (&'static str, Vec<(&'static str, Value)>),
    parameters: Vec<&'static str>,
) -> Call {
    let done = json_answer(
        "What became of each.",
        &["X-Resource-Version", "X-Dry-Run"],
        "BatchAnswer",
        json!({
            "results": [
                {"namespace": "web", "name": "shop", "status": 200, "replicaCount": 10, "previousReplicaCount": 3, "changed": true, "resourceVersion": "1029"},
                {"namespace": "web", "name": "cart", "status": 422, "error": "10 replicas are more than the 5 that this Deployment allows"},
            ],
            "succeeded": 1, "failed": 1, "snapshot": snapshot(),
        }),
    );
    Call {
        method: HttpMethod::Post,
        path,
        id,
        tag: "write",
        summary,
        description,
        parameters,
        body: Some(RequestBody {
            schema,
            required: true,
            examples,
        }),
        answers: vec![(200, done)],
        failures: vec![403, 404, 415, 422, 502],
    }
}

fn snapshot() -> Value {
    json!({
        "takenAt": "2026-06-01T10:00:00Z",
        "items": [{
            "namespace": "web", "name": "shop", "uid": "8a4d1f0c-5a3e-4f6f-9a65-0d8b5f1d2c3e",
            "replicaCount": 3, "setTo": 10, "mark": "5f1d2c3e8a4d1f0c",
        }],
    })
}

pub(super) fn all() -> Vec<Call> {
    vec![
        call(
            ("/batches", "setMany", "Set the counts of many Deployments"),
            BATCH,
            (
                "Batch",
                vec![
                    (
                        "a list",
                        json!({"items": [
                            {"namespace": "web", "name": "shop", "replicaCount": 10},
                            {"namespace": "web", "name": "cart", "replicaCount": 4},
                        ]}),
                    ),
                    (
                        "a selector",
                        json!({"labelSelector": "app in (shop,cart)", "namespace": "web", "replicaCount": 10}),
                    ),
                ],
            ),
            vec!["dryRun", "X-Reason", "Idempotency-Key"],
        ),
        call(
            (
                "/batches/restore",
                "restoreMany",
                "Bring back what a batch has changed",
            ),
            RESTORE,
            ("Snapshot", vec![("a snapshot", snapshot())]),
            vec!["dryRun", "X-Reason"],
        ),
    ]
}
