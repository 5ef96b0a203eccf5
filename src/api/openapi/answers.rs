//! What is answered: headers, and every failure.

use serde_json::{Value, json};
use utoipa::openapi::{
    Components, Content, Header, ObjectBuilder, Ref, RefOr, Response, Type, example::ExampleBuilder,
};

use super::calls::schema;

/// Failures that any call can have.
pub(super) const OF_EVERY_CALL: [u16; 9] = [400, 401, 408, 413, 414, 429, 431, 500, 503];

/// Each failure: when, and an example of its sentence.
const FAILURES: [(u16, &str, &str); 18] = [
    (
        400,
        "A name that cannot be, a body of another form, or a query parameter or header that cannot be.",
        "the body must be exactly one JSON object {\"replicaCount\": N} with N a whole number from 0 to 2147483647",
    ),
    (
        401,
        "The certificate that opened the connection expired, was revoked or is denied; the connection closes.",
        "the client certificate has expired since the connection was opened: renew it and connect again",
    ),
    (
        403,
        "The permission is missing; the same whether there is such a Deployment or not. Or a browser sent a write for another site's page.",
        "alice may not scale Deployment \"shop\" in namespace \"web\"",
    ),
    (
        404,
        "There is no such Deployment, container or revision, or this server doesn't manage it.",
        "no Deployment \"shop\" in namespace \"web\" is managed by this server: check both names, and which namespaces and labels it manages",
    ),
    (
        408,
        "The body did not arrive in time.",
        "the body didn't arrive within 20 s: send it at once",
    ),
    (
        409,
        "The Deployment is being deleted, or others kept changing it.",
        "others kept changing the Deployment: read it again and retry",
    ),
    (
        410,
        "What the page was of is forgotten.",
        "the list has changed too often since its first page: begin again without continue",
    ),
    (
        412,
        "`If-Match` or `If-None-Match` does not hold.",
        "the precondition doesn't hold: the Deployment now has 4 replicas and the tag \"8a4d1f0c-5a3e-4f6f-9a65-0d8b5f1d2c3e-4\"; read it again before you decide",
    ),
    (
        413,
        "The body is too large.",
        "the body is larger than 65536 bytes",
    ),
    (
        414,
        "The URI is too long.",
        "the URI is longer than 8192 bytes",
    ),
    (
        415,
        "The body is not `application/json`.",
        "the body must be application/json",
    ),
    (
        422,
        "A bound of the server, the policy or the Deployment forbids it, or the cluster's own admission does.",
        "300 replicas are more than the 200 that this server allows",
    ),
    (
        429,
        "The caller asks more often, or changes more, than its limits let it. Nothing was changed. Over HTTP/2 without a body where the caller's streams leave no room for one.",
        "too many requests: come back in 2 s",
    ),
    (
        431,
        "The headers are too large, or too many.",
        "the headers are larger than 32768 bytes",
    ),
    (
        500,
        "A fault of this server; its log has the reason under the request's id.",
        "the request met a defect of this server: its log has more under the request's id",
    ),
    (
        502,
        "The cluster refuses this server's own credentials, or its account may not do this. Nothing was changed.",
        "the cluster refuses this server's own credentials: tell whoever runs it",
    ),
    (
        503,
        "This server's copy is not complete or not as new as asked for, the Kubernetes API is away, or the server has too much to do.",
        "the copy of the cluster isn't complete yet: come back in 3 s",
    ),
    (
        504,
        "The write was sent and its outcome is not known: read before you send it again.",
        "Kubernetes didn't answer, so whether the write was carried out is not known: read before you send it again",
    ),
];

const HEADERS: [(&str, Type, &str, &str); 15] = [
    (
        "X-Request-Id",
        Type::String,
        "The id under which the request is logged.",
        "deploy-42",
    ),
    (
        "X-Resource-Version",
        Type::String,
        "The version of the Deployment, or of the copy.",
        "1029",
    ),
    (
        "ETag",
        Type::String,
        "The tag of this representation.",
        "\"8a4d1f0c-5a3e-4f6f-9a65-0d8b5f1d2c3e-3\"",
    ),
    (
        "Age",
        Type::Integer,
        "Seconds since this was last known to be current.",
        "0",
    ),
    (
        "Cache-Control",
        Type::String,
        "`no-cache`: ask again, with the tag. Of a stream: `no-store`.",
        "no-cache",
    ),
    (
        "Retry-After",
        Type::Integer,
        "Seconds; whoever waits so long is served.",
        "3",
    ),
    (
        "Link",
        Type::String,
        "`rel=\"next\"`: the page that follows.",
        "</api/v1/deployments?limit=500&continue=abc>; rel=\"next\"",
    ),
    (
        "Warning",
        Type::String,
        "Why what was written may not stay.",
        "299 - \"HorizontalPodAutoscaler shop sets the count too\"",
    ),
    (
        "X-Also-Set-By",
        Type::String,
        "What sets the count too: a structured field (RFC 9651).",
        "HorizontalPodAutoscaler/shop;min=2;max=10",
    ),
    (
        "X-Dry-Run",
        Type::String,
        "`true`: nothing was changed, as asked.",
        "true",
    ),
    (
        "Preference-Applied",
        Type::String,
        "The preferences that were followed; of `wait`, the seconds that it was at most.",
        "return=representation, wait=60",
    ),
    (
        "Vary",
        Type::String,
        "What the answer depends on.",
        "accept-encoding",
    ),
    (
        "Referrer-Policy",
        Type::String,
        "Nobody is told the page's address.",
        "no-referrer",
    ),
    (
        "Content-Security-Policy",
        Type::String,
        "What the page may load: nothing.",
        "default-src 'none'",
    ),
    (
        "X-Content-Type-Options",
        Type::String,
        "The page is HTML, and nothing else.",
        "nosniff",
    ),
];

/// An answer with these headers, and those of every answer.
pub(super) fn answer(description: &str, headers: &[&str]) -> Response {
    let mut answer = Response::new(description);
    for name in headers.iter().chain(&["X-Request-Id"]) {
        let header = Ref::new(format!("#/components/headers/{name}"));
        answer.headers.insert((*name).into(), RefOr::Ref(header));
    }
    answer
}

/// The same with a JSON body, of the schema of this name.
pub(super) fn json_answer(
    description: &str,
    headers: &[&str],
    schema_name: &str,
    example: Value,
) -> Response {
    let mut content = Content::new(Some(schema(schema_name)));
    content.example = Some(example);
    let mut answer = answer(description, headers);
    answer
        .content
        .insert("application/json".into(), content.into());
    answer
}

/// Adds headers and failures.
pub(super) fn add(components: &mut Components) {
    for (name, of, description, example) in HEADERS {
        let example = match of {
            Type::Integer => example.parse::<u64>().map(Value::from).unwrap_or_default(),
            _ => example.into(),
        };
        let mut header = Header::new(ObjectBuilder::new().schema_type(of));
        header.description = Some(description.into());
        header.example = Some(example);
        components.headers.insert(name.into(), RefOr::T(header));
    }
    for (status, description, sentence) in FAILURES {
        let headers: &[&str] = match status {
            429 | 503 => &["Retry-After"],
            _ => &[],
        };
        let mut failure = answer(description, headers);
        let mut content = Content::new(Some(schema("Error")));
        let example = ExampleBuilder::new()
            .value(Some(json!({"error": sentence})))
            .build();
        content.examples.insert("error".into(), RefOr::T(example));
        failure
            .content
            .insert("application/json".into(), content.into());
        components
            .responses
            .insert(status.to_string(), RefOr::T(failure));
    }
}
