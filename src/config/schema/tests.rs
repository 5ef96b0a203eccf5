use std::{collections::BTreeMap, fs, path::Path};

use jsonschema::Validator;

use super::*;
use crate::config::from_file;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&json_schema()).unwrap()
}

/// Whether the program takes a file that says this.
fn taken(file: &Value) -> Result<(), String> {
    let read = from_file(Path::new("FILE"), &file.to_string());
    read.map(drop).map_err(|error| error.to_string())
}

fn refused(validator: &Validator, file: &Value) -> Vec<String> {
    let errors = validator.iter_errors(file);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Every key of a file, in each mode of authorization.
fn whole_files() -> Vec<Value> {
    let text = fs::read_to_string(root().join("tests/first-version/configuration.yaml")).unwrap();
    let first: Value = serde_saphyr::from_str(&text).unwrap();
    let migrated = crate::config::migrate(&text).unwrap().text;
    let mut newest: Value = serde_saphyr::from_str(&migrated).unwrap();
    // Keys that have come since.
    newest["autoscalers"] = false.into();
    newest["leases"] = serde_json::json!({"enabled": true, "namespace": "headcount", "longest": "8h", "most": 500});
    let with = |authorization: Value| {
        let mut file = newest.clone();
        file["authorization"] = authorization;
        file
    };
    vec![
        first,
        newest.clone(),
        with(serde_json::json!({"mode": "any", "enable": ["image"]})),
        with(
            serde_json::json!({"mode": "kubernetes", "kubernetes": {"userPrefix": "a:", "groupPrefix": "b:"}}),
        ),
    ]
}

#[test]
fn the_committed_schema_is_that_of_the_program() {
    let path = root().join("docs/headcount.schema.json");
    let schema = format!("{:#}\n", json_schema());
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == schema,
        "docs/headcount.schema.json is another one: WRITE_DOCS=1 writes it anew, or `headcount config schema` prints it"
    );
}

#[test]
fn the_schema_is_one_and_describes_every_key() {
    fn described(schema: &Value, path: &str) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}/{key}");
            assert!(
                value["description"].is_string() || *value == Value::Bool(true),
                "{path} has no description"
            );
            described(value, &path);
            described(&value["items"], &path);
        }
        let of = ["properties", "additionalProperties"].map(|key| schema.get(key).is_some());
        assert_eq!(of[0], of[1] && of[0], "{path} takes unknown keys");
    }
    let schema = json_schema();
    jsonschema::meta::validate(&schema).unwrap();
    described(&schema, "");
}

#[test]
fn every_key_is_taken_and_documented_and_no_other_one_is() {
    let validator = validator();
    for file in whole_files() {
        assert_eq!(refused(&validator, &file), [""; 0]);
        assert_eq!(taken(&file), Ok(()));
    }
    let schema = json_schema();
    let newest = &whole_files()[1];
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    for key in schema["properties"].as_object().unwrap().keys() {
        let deprecated = MOVED.iter().any(|moved| moved.old == key);
        assert!(
            deprecated || newest.get(key).is_some(),
            "{key} is in no file of this test"
        );
        let mut flag = String::from("--");
        for c in key.chars() {
            if c.is_ascii_uppercase() {
                flag.push('-');
            }
            flag.push(c.to_ascii_lowercase());
        }
        assert!(
            page.contains(&format!("`{key}`")) || page.contains(&flag),
            "docs/configuration.md doesn't have {key}"
        );
    }
}

#[test]
fn every_configuration_of_the_documentation_is_taken() {
    let validator = validator();
    let known = json_schema();
    let mut seen = 0;
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let page = page.unwrap().path();
        if page.extension().is_none_or(|e| e != "md") {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("\n```yaml\n").skip(1);
        for block in blocks.filter_map(|rest| rest.split("\n```").next()) {
            let Ok(Value::Object(mut file)) = serde_saphyr::from_str::<Value>(block) else {
                continue;
            };
            let is_ours = file
                .keys()
                .all(|key| known["properties"].get(key).is_some());
            // The chart's values have a section of the name of a key.
            let is_chart = file.get("clientCa").is_some_and(Value::is_object);
            if !is_ours || is_chart || file.is_empty() {
                continue;
            }
            seen += 1;
            file.insert("apiVersion".into(), crate::config::API_VERSION.into());
            file.insert("kind".into(), crate::config::KIND.into());
            let file = Value::Object(file);
            assert_eq!(refused(&validator, &file), [""; 0], "{page:?}: {block}");
            assert_eq!(taken(&file), Ok(()), "{page:?}: {block}");
        }
    }
    assert!(seen >= 6, "only {seen} configurations were found");
}

/// Where the program reads more out of a value than a schema can say: what is in a text, and what belongs together.
const BEYOND: [&str; 16] = [
    "/leases/longest",
    "/labelSelector",
    "/listen",
    "/adminListen",
    "/drainDelay",
    "/limits/times",
    "/limits/requests/longestWait",
    "/limits/sizes",
    "/limits/http2",
    "/audit/checkpoints/interval",
    "/maxSize",
    "/namespaces",
    "/deployments",
    "/images",
    "/bounds",
    "/logging/levels",
];

/// Every place in a value, the deepest first.
fn places(value: &Value, path: &str, all: &mut Vec<String>) {
    let step = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                places(value, &step(key), all);
            }
        }
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                places(element, &step(&at.to_string()), all);
            }
        }
        _ => {}
    }
    all.push(path.to_owned());
}

/// Another value at a place.
fn with(file: &Value, place: &str, value: Value) -> Value {
    let mut file = file.clone();
    *file.pointer_mut(place).unwrap() = value;
    file
}

/// The same scalar as text, or the other way round: YAML has both for one.
fn otherwise(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        Value::String(text) => text.parse::<i64>().ok().map(Value::from),
        _ => None,
    }
}

#[test]
fn what_the_schema_refuses_the_program_refuses_too_and_the_other_way_round() {
    let validator = validator();
    let values = serde_json::json!([
        null, true, -1, 0, 1.5, 101, 5_000_000_000_u64, "", "x", "5", "any", "unlimited", [], ["x"], [[]], {}, {"x": 1}
    ]);
    let (mut tried, mut wrong) = (0, Vec::new());
    // One setting at a time, beside what every file has.
    let settings: BTreeMap<String, Value> = whole_files()
        .into_iter()
        .flat_map(|file| file.as_object().cloned().unwrap())
        .flat_map(|(key, value)| [(format!("{key} {value}"), (key, value))])
        .map(|(name, (key, value))| {
            let mut file =
                serde_json::json!({"apiVersion": "headcount/v1alpha1", "kind": "Configuration"});
            file[key] = value;
            (name, file)
        })
        .collect();
    for file in settings.values() {
        let mut all = Vec::new();
        places(file, "", &mut all);
        for place in all {
            let of = |value: &Value| with(file, &place, value.clone());
            let mut mutants: Vec<Value> = values.as_array().unwrap().iter().map(of).collect();
            let mut more = file.clone();
            if let Some(entries) = more.pointer_mut(&place).and_then(Value::as_object_mut) {
                entries.insert("unknown".into(), "x".into());
                mutants.push(more);
            }
            let (parent, key) = place.rsplit_once('/').unwrap_or_default();
            let mut less = file.clone();
            if let Some(entries) = less.pointer_mut(parent).and_then(Value::as_object_mut) {
                entries.remove(key);
                mutants.push(less);
            }
            for mutant in mutants {
                tried += 1;
                let by_schema = refused(&validator, &mutant);
                let by_program = taken(&mutant);
                let beyond = BEYOND.iter().any(|beyond| place.contains(beyond));
                if by_schema.is_empty() == by_program.is_ok() || beyond && by_schema.is_empty() {
                    continue;
                }
                let value = mutant.pointer(&place);
                let same = value
                    .and_then(otherwise)
                    .map(|value| with(&mutant, &place, value));
                if same.is_some_and(|same| refused(&validator, &same).is_empty()) {
                    continue;
                }
                let value = value.map(ToString::to_string).unwrap_or_default();
                let value = value.chars().take(60).collect::<String>();
                wrong.push(format!("{place} {value}: {by_schema:?}, {by_program:?}"));
            }
        }
    }
    assert!(tried > 3000, "{tried}");
    assert!(
        wrong.is_empty(),
        "{} of {tried}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
