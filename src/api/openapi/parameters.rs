//! What calls take in path, query and headers.

use serde_json::{Value, json};
use utoipa::openapi::{
    Components, KnownFormat, ObjectBuilder, RefOr, Required, SchemaFormat, Type,
    path::{ParameterBuilder, ParameterIn},
};

/// As `crate::name` judges them.
pub(super) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Preconditions: the asterisk alone, or entity tags.
const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#;

fn number(least: i64, most: i64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(least))
        .maximum(Some(most))
}

fn named(longest: usize, pattern: &str) -> ObjectBuilder {
    text()
        .min_length(Some(1))
        .max_length(Some(longest))
        .pattern(Some(pattern))
}

/// Adds every parameter under its name.
pub(super) fn add(components: &mut Components) {
    use ParameterIn::{Header, Path, Query};
    let switch = || ObjectBuilder::new().schema_type(Type::Boolean);
    let all: [(&str, ParameterIn, ObjectBuilder, Value, &str); 24] = [
        (
            "namespace",
            Path,
            named(63, LABEL),
            json!("web"),
            "The Deployment's namespace.",
        ),
        (
            "name",
            Path,
            named(253, SUBDOMAIN),
            json!("shop"),
            "The Deployment's name.",
        ),
        (
            "container",
            Path,
            named(63, LABEL),
            json!("app"),
            "A container, or an init container.",
        ),
        (
            "dryRun",
            Query,
            switch(),
            json!(true),
            "`true` goes as far as the cluster's own admission, and changes nothing.",
        ),
        (
            "keep",
            Query,
            switch(),
            json!(true),
            "`true` leaves the count as it is.",
        ),
        (
            "labelSelector",
            Query,
            text().max_length(Some(1024)),
            json!("app=shop"),
            "Only Deployments with such labels, as `kubectl get --selector` takes it. Not with `watch`.",
        ),
        (
            "limit",
            Query,
            number(1, 10_000),
            json!(500),
            "At most so many; `Link` of the answer leads to those that follow, in the same snapshot.",
        ),
        (
            "continue",
            Query,
            text(),
            Value::Null,
            "Where the page begins: out of `Link` of the answer before.",
        ),
        (
            "namespace.query",
            Query,
            named(63, LABEL),
            json!("web"),
            "Only of this namespace.",
        ),
        (
            "name.query",
            Query,
            named(253, SUBDOMAIN),
            json!("shop"),
            "Only of Deployments of this name.",
        ),
        (
            "limit.history",
            Query,
            number(1, 1000),
            json!(100),
            "The latest so many; 100 if it is left out.",
        ),
        (
            "status",
            Query,
            switch(),
            json!(true),
            "`true`: each Deployment has `readyReplicas`, too.",
        ),
        (
            "watch",
            Query,
            switch(),
            Value::Null,
            "`true`, or given without a value: the answer is a stream of server-sent events.",
        ),
        (
            "Last-Event-ID",
            Header,
            text(),
            Value::Null,
            "With `watch`: go on behind the event with this id.",
        ),
        (
            "If-None-Match",
            Header,
            text(),
            Value::Null,
            "Tags that the caller has already: 304 if the answer's is one of them.",
        ),
        (
            "If-None-Match.write",
            Header,
            text().pattern(Some(TAGS)),
            Value::Null,
            "`*`, or tags: 412 if one of them is the Deployment's now.",
        ),
        (
            "If-Match",
            Header,
            text().pattern(Some(TAGS)),
            Value::Null,
            "The `ETag` of what the caller has read: 412 if it is another one now. `*` is any.",
        ),
        (
            "Prefer",
            Header,
            text(),
            json!("return=representation"),
            "`return=representation`: the body says what was done. `wait=SECONDS`, 1 to 300: answer when the rollout is complete, at the latest after so long.",
        ),
        (
            "Prefer.wait",
            Header,
            text(),
            json!("wait=1"),
            "`wait=SECONDS`, 1 to 300: answer later, at the latest after so long.",
        ),
        (
            "Idempotency-Key",
            Header,
            text().pattern(Some("^[!-~]{1,128}$")),
            json!("7f3c1c6e"),
            "A name of this write: sent again with the same key, it is carried out once.",
        ),
        (
            "X-Reason",
            Header,
            text().pattern(Some("^[!-~]([ -~]{0,254}[!-~])?$")),
            json!("more traffic"),
            "Why the write is made, for the log, the audit trail and the Deployment's Events. The server takes any UTF-8 without control characters; this pattern is what every client can send.",
        ),
        (
            "X-Min-Resource-Version",
            Header,
            text().pattern(Some("^[0-9]{1,19}$")),
            json!("1"),
            "Wait, at most 5 s, until this server's copy is at least that new; then 503.",
        ),
        (
            "X-Request-Id",
            Header,
            text(),
            json!("deploy-42"),
            "Returned and logged, if it is 1 to 128 of `A–Z a–z 0–9 . _ -`; otherwise one is made.",
        ),
        (
            "traceparent",
            Header,
            text(),
            json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            "W3C Trace Context: log lines of the request have its trace id.",
        ),
    ];
    for (key, place, schema, example, description) in all {
        let required = if matches!(place, Path) {
            Required::True
        } else {
            Required::False
        };
        // Two forms of one header.
        let name = key.split_once('.').map_or(key, |(name, _)| name);
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description))
            .schema(Some(schema))
            .example((!example.is_null()).then_some(example))
            .build();
        components
            .parameters
            .insert(key.into(), RefOr::T(parameter));
    }
}
