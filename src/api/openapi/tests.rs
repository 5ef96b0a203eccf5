use std::{collections::BTreeSet, fs, path::Path};

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::api::path::Route;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn value() -> Value {
    serde_json::to_value(document()).unwrap()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Every call of a document: method, path, operation.
fn calls(document: &Value) -> Vec<(String, String, Value)> {
    object(&document["paths"])
        .flat_map(|(path, item)| {
            object(item).map(move |(method, operation)| {
                (method.to_uppercase(), path.clone(), operation.clone())
            })
        })
        .collect()
}

/// What a `$ref` stands for, or the value itself.
fn resolved(document: &Value, value: &Value) -> Value {
    match value["$ref"].as_str() {
        None => value.clone(),
        Some(at) => {
            let found = document.pointer(at.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{at} is nowhere")).clone()
        }
    }
}

/// What is wrong with a value of a schema.
fn wrong(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let whole = json!({"components": document["components"], "allOf": [schema]});
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    let errors = validator.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// A path with the examples of its parameters.
fn example_of(path: &str) -> String {
    path.replace("{namespace}", "web")
        .replace("{name}", "shop")
        .replace("{container}", "app")
}

#[test]
fn the_committed_document_is_that_of_the_program() {
    let path = root().join("docs/openapi.json");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, json()).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == json(),
        "docs/openapi.json is another one: WRITE_DOCS=1 writes it anew, or `headcount openapi` prints it"
    );
}

#[test]
fn the_document_has_every_route_with_every_method_and_nothing_else() {
    let document = value();
    let documented: BTreeSet<_> = calls(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    let mut routed = BTreeSet::new();
    let templates = crate::telemetry::metrics::Template::ALL.map(|template| template.as_str());
    for path in templates {
        let Some(path) = path.strip_prefix("/api/v1") else {
            continue;
        };
        let example = format!("/api/v1{}", example_of(path));
        let route = Route::of(&example).unwrap_or_else(|| panic!("{example} is no route"));
        for method in [
            Method::GET,
            Method::PUT,
            Method::PATCH,
            Method::POST,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            if route.methods().contains(&method) {
                routed.insert((method.to_string(), path.to_owned()));
            }
        }
    }
    assert_eq!(documented, routed);
}

#[test]
fn who_asks_for_no_path_is_told_of_every_path_and_no_other() {
    let sentence = crate::api::ApiError::NoSuchPath.to_string();
    let of_one = "/namespaces/{namespace}/deployments";
    let all = calls(&value()).into_iter().map(|(_, path, _)| path);
    // As they stand in the sentence: those of one Deployment without what is before them.
    let expected: BTreeSet<_> = all
        .map(|path| match path.strip_prefix(of_one) {
            None | Some("") => format!("/api/v1{path}"),
            Some("/{name}") => "/{name}".into(),
            Some(below) => below.replacen("/{name}", "", 1),
        })
        .collect();
    let words = sentence
        .split([' ', ','])
        .map(|word| word.trim_matches(';'));
    let told: BTreeSet<_> = words
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn the_page_of_the_api_has_every_call_that_it_has_a_heading_for() {
    let page = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let documented: BTreeSet<_> = calls(&value())
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    // A heading may have several calls.
    let headings: BTreeSet<_> = page
        .lines()
        .filter(|line| line.starts_with("### `"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|call| call.contains(" /"))
        .map(|call| call.split('?').next().unwrap().to_owned())
        .collect();
    let unknown: Vec<_> = headings.difference(&documented).collect();
    assert!(
        unknown.is_empty() && headings.len() >= 7,
        "docs/api.md has {unknown:?}, which no call is"
    );
}

#[test]
fn every_call_says_what_it_does_takes_and_answers() {
    let document = value();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in calls(&document) {
        let call = format!("{method} {path}");
        let has_text = |value: &Value, most: usize| {
            let length = value.as_str().map_or(0, str::len);
            length > 0 && length <= most
        };
        assert!(ids.insert(operation["operationId"].to_string()), "{call}");
        assert!(has_text(&operation["summary"], 60), "{call}");
        assert!(has_text(&operation["description"], 2000), "{call}");
        assert!(
            TAGS.iter()
                .any(|(tag, _)| operation["tags"] == json!([tag])),
            "{call}"
        );
        let mut in_path = 0;
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = resolved(&document, parameter);
            assert!(
                has_text(&parameter["description"], 400),
                "{call}: {parameter}"
            );
            in_path += usize::from(parameter["in"] == "path");
            if let Some(example) = parameter.get("example") {
                let found = wrong(&document, &parameter["schema"], example);
                assert_eq!(found, [""; 0], "{call}: {parameter}");
            }
        }
        assert_eq!(in_path, path.matches('{').count(), "{call}");
        for status in answers::OF_EVERY_CALL {
            let answer = &operation["responses"][status.to_string()];
            assert!(answer.is_object(), "{call} doesn't say {status}");
        }
        for (status, answer) in object(&operation["responses"]) {
            let answer = resolved(&document, answer);
            assert!(has_text(&answer["description"], 400), "{call} {status}");
            assert!(
                answer["headers"]["X-Request-Id"].is_object(),
                "{call} {status}"
            );
            assert_eq!(
                answer["content"].is_object(),
                status != "304",
                "{call} {status}"
            );
            let retries = answer["headers"].get("Retry-After").is_some();
            assert_eq!(
                retries,
                ["429", "503"].contains(&&**status),
                "{call} {status}"
            );
        }
    }
}

#[test]
fn every_example_is_of_its_schema() {
    let document = value();
    let mut tried = 0;
    for (method, path, operation) in calls(&document) {
        let answers = object(&operation["responses"]).map(|(_, a)| resolved(&document, a));
        for with_content in answers.chain([operation["requestBody"].clone()]) {
            for (kind, content) in object(&with_content["content"]) {
                let named = object(&content["examples"]).map(|(_, e)| &e["value"]);
                let examples: Vec<_> = content.get("example").into_iter().chain(named).collect();
                assert!(!examples.is_empty(), "{method} {path}: {kind}");
                for example in examples {
                    let found = wrong(&document, &content["schema"], example);
                    assert_eq!(found, [""; 0], "{method} {path}: {example}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn every_part_is_used_and_everything_that_is_used_is_there() {
    fn references(value: &Value, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(at)) = map.get("$ref") {
                    all.insert(at.clone());
                }
                map.values().for_each(|value| references(value, all));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, all)),
            _ => {}
        }
    }
    let document = value();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let there: BTreeSet<_> = object(&document["components"])
        .filter(|(kind, _)| *kind != "securitySchemes")
        .flat_map(|(kind, parts)| {
            object(parts).map(move |(name, _)| format!("#/components/{kind}/{name}"))
        })
        .collect();
    let unused: Vec<_> = there.difference(&used).collect();
    let missing: Vec<_> = used.difference(&there).collect();
    assert!(
        unused.is_empty() && missing.is_empty(),
        "unused: {unused:?}, missing: {missing:?}"
    );
}

#[test]
fn each_command_of_the_page_is_one_of_the_program() {
    let ids: Vec<_> = calls(&value())
        .into_iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    let without: Vec<_> = ids
        .iter()
        .filter(|id| page::command(id).is_none())
        .collect();
    assert_eq!(without, ["getDocs", "getOpenApi"]);
    for command in ids.iter().filter_map(|id| page::command(id)) {
        let words = command.split(' ');
        let parsed = crate::cli::command().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
}

#[test]
fn the_page_shows_every_call_and_schema_and_its_policy_allows_its_style_alone() {
    let document = value();
    let page = page::page(&super::document());
    for (_, _, operation) in calls(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(page.contains(&format!("<article id=\"{id}\"")), "{id}");
        assert!(page.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    for (name, _) in object(&document["components"]["schemas"]) {
        assert!(
            page.contains(&format!("<article id=\"schema-{name}\"")),
            "{name}"
        );
    }
    for link in page.split("href=\"#").skip(1) {
        let to = link.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{to}\"")), "{to} is nowhere");
    }
    for forbidden in ["<script", " style=", " onclick", "src=", "http://"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let style = page.split("<style>").nth(1).unwrap();
    let style = style.split("</style>").next().unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    use base64::Engine as _;
    let hash = base64::engine::general_purpose::STANDARD.encode(digest);
    let policy = page::policy();
    let policy = policy.to_str().unwrap();
    assert!(
        policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")),
        "{policy}"
    );
}
