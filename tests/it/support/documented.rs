//! What the OpenAPI document says of an answer. Every answer that a test's client gets is held to it, so that nothing is told that isn't
//! documented, whatever the test is about.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use http::{HeaderName, Method, StatusCode};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

/// Headers that HTTP itself has, and no document of an API.
const OF_HTTP: [&str; 9] = [
    "allow",
    "content-type",
    "content-length",
    "content-encoding",
    "date",
    "connection",
    "transfer-encoding",
    "x-content-type-options",
    "cross-origin-resource-policy",
];
/// What may come before a path or a method is looked at, or instead of it.
const OF_NO_CALL: [u16; 9] = [400, 401, 408, 413, 414, 429, 431, 500, 503];
/// A body that is larger is as good as its first part, and takes long to look at.
const LARGE: usize = 128 * 1024;

/// Fails if an answer isn't as the document says.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let found = undocumented(method, path, answer);
    assert!(
        found.is_empty(),
        "the OpenAPI document has another answer to {method} {path:.200}: {}",
        found.join("; ")
    );
}

/// What of an answer isn't as the document says.
fn undocumented(method: &Method, path: &str, answer: &Answer) -> Vec<String> {
    let Some(path) = path.strip_prefix("/api/v1") else {
        return Vec::new();
    };
    let status = answer.status.as_u16();
    let mut found = Vec::new();
    let (at, said) = match call(method, path) {
        Call::Of(template, operation) => match operation["responses"].get(status.to_string()) {
            Some(said) => (format!("{method} {template} {status}"), resolved(said)),
            None => return vec![format!("{status} is not documented: {:?}", answer.body)],
        },
        Call::None(without) => {
            let said = &DOCUMENT["components"]["responses"]["400"];
            if status != without && !OF_NO_CALL.contains(&status) {
                found.push(format!("{status}, which no document says"));
            }
            if status == 405 && !answer.headers.contains_key("allow") {
                found.push("405 doesn't say what is allowed".into());
            }
            ("no call".into(), said)
        }
    };
    let headers = said["headers"].as_object().into_iter().flatten();
    let mut known: Vec<_> = headers.map(|(name, _)| name.to_lowercase()).collect();
    if status == 429 || status == 503 {
        known.push("retry-after".into());
    }
    let unknown = answer.headers.keys().map(HeaderName::as_str);
    let unknown =
        unknown.filter(|name| !OF_HTTP.contains(name) && !known.iter().any(|k| k == name));
    found.extend(unknown.map(|name| format!("the header {name} of {status} is not documented")));
    found.extend(wrong_body(method, &at, said, answer));
    found
}

fn wrong_body(method: &Method, at: &str, said: &Value, answer: &Answer) -> Vec<String> {
    let kind = answer.header("content-type").split(';').next().unwrap();
    let content = &said["content"][kind];
    if answer.body.is_empty() {
        // HTTP's own refusals have none, and no id.
        let own = answer.headers.contains_key("x-request-id");
        let without = method == Method::HEAD || answer.status == StatusCode::NOT_MODIFIED || !own;
        let without = without || kind == "text/event-stream" || answer.status == 429;
        return Vec::from_iter((!without).then(|| format!("{} has no body", answer.status)));
    }
    if content.is_null() {
        return vec![format!("{at} has no {kind:?}")];
    }
    let plain = kind == "application/json" && !answer.headers.contains_key("content-encoding");
    if !plain || answer.body.len() > LARGE {
        return Vec::new();
    }
    let body = answer.json();
    let validator = validator(at, &content["schema"]);
    let errors = validator.iter_errors(&body);
    errors
        .map(|error| format!("{at} {}: {error} in {body}", error.instance_path()))
        .collect()
}

enum Call {
    Of(&'static str, &'static Value),
    /// None is documented, so the answer has this status.
    None(u16),
}

fn call(method: &Method, path: &str) -> Call {
    let path = path.split('?').next().unwrap_or_default();
    let segments: Vec<_> = path.split('/').collect();
    let fits = |template: &str| {
        let wanted: Vec<_> = template.split('/').collect();
        let mut pairs = wanted.iter().zip(&segments);
        wanted.len() == segments.len()
            && pairs.all(|(wanted, is)| wanted == is || wanted.starts_with('{') && !is.is_empty())
    };
    let mut all = DOCUMENT["paths"].as_object().into_iter().flatten();
    let Some((template, item)) = all.find(|(template, _)| fits(template)) else {
        return Call::None(404);
    };
    let name = match method.as_str() {
        "HEAD" => "get".into(),
        name => name.to_lowercase(),
    };
    match item.get(name) {
        Some(operation) => Call::Of(template, operation),
        None => Call::None(405),
    }
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        None => value,
        Some(at) => DOCUMENT.pointer(at.trim_start_matches('#')).unwrap(),
    }
}

/// Made once for each answer.
fn validator(at: &str, schema: &Value) -> Arc<Validator> {
    static ALL: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut all = ALL.lock().unwrap();
    let made = all.entry(at.to_owned()).or_insert_with(|| {
        let whole = json!({"components": DOCUMENT["components"], "allOf": [schema]});
        Arc::new(jsonschema::draft202012::new(&whole).unwrap())
    });
    Arc::clone(made)
}
