//! The JSON Schema of the configuration file, for editors and other tools: made of the types that read it.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value};

use super::{Settings, deprecated::MOVED};

/// The schema (draft 2020-12). What only a program can tell, such as whether a label selector can be read, isn't in it.
pub fn json_schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<Settings>();
    let mut schema = schema.to_value();
    tidy(&mut schema);
    schema["title"] = "Configuration of headcount serve".into();
    schema["description"] =
        "Flags and environment variables win over it; docs/configuration.md has every setting."
            .into();
    for moved in MOVED {
        let mut old = schema["properties"][moved.section]["properties"][moved.key].clone();
        if let Some(old) = old.as_object_mut() {
            old.remove("default");
            old.insert("deprecated".into(), true.into());
            let why = format!(
                "Deprecated since {}, and gone in {}: use {}.",
                moved.since,
                moved.until,
                moved.replacement()
            );
            old.insert("description".into(), why.into());
        }
        schema["properties"][moved.old] = old;
    }
    let never_both = MOVED.iter().map(|moved| {
        serde_json::json!({"not": {
            "required": [moved.old, moved.section],
            "properties": {moved.section: {"required": [moved.key]}},
        }})
    });
    schema["allOf"] = never_both.collect();
    schema
}

/// Takes out what says nothing to who writes a file, and bounds numbers as their types do.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // Every key has a value: one without is an error.
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|of| of != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".into(), one);
                }
            }
            if let Some(Value::Array(cases)) = map.get_mut("anyOf") {
                cases.retain(|case| case["type"] != "null");
                if cases.len() == 1
                    && let Some(Value::Object(one)) = cases.pop()
                {
                    map.remove("anyOf");
                    for (key, value) in one {
                        map.entry(key).or_insert(value);
                    }
                }
            }
            if map
                .get("default")
                .is_some_and(|default| default.is_null() || *default == Value::Array(vec![]))
            {
                map.remove("default");
            }
            map.remove("writeOnly");
            bound(map);
            for (key, value) in map {
                // Defaults and constants are values and no schemas.
                if !["default", "const", "enum", "examples"].contains(&key.as_str()) {
                    tidy(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn bound(map: &mut Map<String, Value>) {
    let most: Option<u64> = match map.get("format").and_then(Value::as_str) {
        Some("int32") => Some(i32::MAX as u64),
        Some("uint32") => Some(u32::MAX.into()),
        Some("uint" | "uint64" | "double") => None,
        _ => return,
    };
    map.remove("format");
    if let Some(most) = most {
        map.entry("maximum").or_insert(most.into());
    }
}

/// A list that isn't empty, or the one thing that it would hold.
pub(super) struct OneOrMany<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}OrMany", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
    }
}

/// The name of a namespace.
pub(super) struct Namespace;

impl JsonSchema for Namespace {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Namespace".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63})
    }
}

#[cfg(test)]
mod tests;
