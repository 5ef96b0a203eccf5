//! What the JSON Schema says of `authorization` beyond its types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::access::Verb;

/// `enable`, `rules` and `kubernetes` are each for one mode; `rules` are needed in theirs.
pub(super) fn each_for_its_mode() -> serde_json::Value {
    let is = |mode: &str| serde_json::json!({"required": ["mode"], "properties": {"mode": {"const": mode}}});
    let not = |key: &str| serde_json::json!({"properties": {key: false}});
    serde_json::json!([
        {"if": is("policy"), "then": {"required": ["rules"]}, "else": not("rules")},
        {"if": is("kubernetes"), "else": not("kubernetes")},
        {"if": {"anyOf": [is("policy"), is("kubernetes")]}, "then": not("enable")},
    ])
}

/// A list of verbs, or of `*`, that isn't empty.
pub(super) struct Verbs;

impl JsonSchema for Verbs {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Verbs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all = Verb::ALL.map(Verb::as_str);
        let words: Vec<_> = all.into_iter().chain(["*"]).collect();
        json_schema!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": words}})
    }
}

/// Text that isn't empty and isn't Kubernetes' own.
pub(super) struct Prefix;

impl JsonSchema for Prefix {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "not": {"pattern": "^system:"}})
    }
}

/// Names or patterns, of which there must be some.
pub(super) struct Names;

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}})
    }
}
