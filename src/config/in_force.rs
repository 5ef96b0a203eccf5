//! The configuration in force, each value with where it comes from: `headcount config print`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde_json::{Map, Value};

use super::{
    API_VERSION, ConfigError, KIND, ServeArgs, Settings, deprecated::migrate, document::Node,
    schema::json_schema,
};
use crate::yaml::scalar;

/// What is in force, as a configuration file would have it.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The file that says all of it.
    pub configuration: Value,
    /// Where each value comes from, by its path in JSON Pointer's form (RFC 6901): `/limits/times/idle`.
    pub origins: BTreeMap<String, String>,
}

/// Where the value at a path comes from.
type Origin<'a> = Box<dyn Fn(&[String]) -> String + 'a>;

/// Values from one place, and what that place is called.
struct From<'a> {
    values: Value,
    origin: Origin<'a>,
}

/// Where the file has what is a flag of another name.
const ELSEWHERE: [(&str, &str, &str); 3] = [
    ("logFormat", "logging", "format"),
    ("logLevel", "logging", "level"),
    ("enable", "authorization", "enable"),
];

impl InForce {
    /// What these flags, variables and text of the file make together; all three must be fit for use.
    ///
    /// # Errors
    ///
    /// As [`super::Config::load`], for a file that can't be read.
    pub(super) fn of(
        flags: &Settings,
        environment: &Settings,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, ConfigError> {
        let mut sources = vec![
            From {
                values: given(flags),
                origin: Box::new(flag),
            },
            From {
                values: given(environment),
                origin: Box::new(|path| {
                    format!(
                        "HEADCOUNT_{}",
                        flag(path)[2..].replace('-', "_").to_ascii_uppercase()
                    )
                }),
            },
        ];
        if let Some((path, text)) = file {
            sources.push(of_file(path, text)?);
        }
        let mut whole = Self {
            configuration: Value::Null,
            origins: BTreeMap::new(),
        };
        let given: Vec<_> = sources.iter().map(|from| (from, &from.values)).collect();
        whole.configuration = whole
            .object(&json_schema(), &given, &mut Vec::new())
            .unwrap_or_default();
        // Names for the cluster are nothing to other modes.
        if whole.configuration.pointer("/authorization/mode") != Some(&Value::from("kubernetes"))
            && let Some(authorization) = whole.configuration["authorization"].as_object_mut()
        {
            authorization.remove("kubernetes");
            whole
                .origins
                .retain(|path, _| !path.starts_with("/authorization/kubernetes"));
        }
        whole.configuration["apiVersion"] = API_VERSION.into();
        whole.configuration["kind"] = KIND.into();
        Ok(whole)
    }

    /// The value that is in force, of those given for this place, the first of which wins; or the default.
    fn value(
        &mut self,
        schema: &Value,
        given: &[(&From<'_>, &Value)],
        path: &mut Vec<String>,
    ) -> Option<Value> {
        if is_section(schema) && given.iter().all(|(_, value)| value.is_object()) {
            return self.object(schema, given, path);
        }
        // A value of several forms, one of which is a section: a rate, or the word unlimited.
        let forms = schema.get("anyOf").and_then(Value::as_array);
        if let Some((_, Value::Object(_))) = given.first()
            && let Some(form) = forms.and_then(|all| all.iter().find(|form| is_section(form)))
        {
            return self.object(form, given, path);
        }
        let (value, origin) = match given.first() {
            Some((from, Value::Array(elements))) if schema.get("items").is_some_and(is_section) => {
                let mut list = Vec::new();
                for (at, element) in elements.iter().enumerate() {
                    path.push(at.to_string());
                    list.extend(self.value(&schema["items"], &[(from, element)], path));
                    path.pop();
                }
                return Some(Value::Array(list));
            }
            Some((from, value)) => ((*value).clone(), (from.origin)(path)),
            None => (schema.get("default")?.clone(), "default".into()),
        };
        self.origins.insert(pointer(path), origin);
        Some(value)
    }

    fn object(
        &mut self,
        schema: &Value,
        given: &[(&From<'_>, &Value)],
        path: &mut Vec<String>,
    ) -> Option<Value> {
        // What may be empty is so where it isn't there.
        let may_be_empty = ["required", "anyOf", "minProperties"]
            .iter()
            .all(|key| schema.get(*key).is_none());
        if given.is_empty() && !may_be_empty {
            return None;
        }
        let mut whole = Map::new();
        for (key, schema) in schema["properties"].as_object()? {
            if ["apiVersion", "kind"].contains(&key.as_str()) && path.is_empty()
                || schema == &Value::Bool(false)
            {
                continue;
            }
            let given: Vec<_> = given
                .iter()
                .filter_map(|(from, value)| Some((*from, value.get(key)?)))
                .collect();
            path.push(key.clone());
            if let Some(value) = self.value(schema, &given, path) {
                whole.insert(key.clone(), value);
            }
            path.pop();
        }
        Some(Value::Object(whole))
    }

    /// As a configuration file, with origins as comments.
    pub fn yaml(&self) -> String {
        let mut yaml = format!("apiVersion: {API_VERSION}\nkind: {KIND}\n");
        if let Value::Object(top) = &self.configuration {
            for (key, value) in top {
                if !["apiVersion", "kind"].contains(&key.as_str()) {
                    self.entry(&mut yaml, "", "", key, value, &mut vec![key.clone()]);
                }
            }
        }
        yaml
    }

    /// `first` is what the first line has before its key, `indent` what the others have.
    fn entry(
        &self,
        yaml: &mut String,
        first: &str,
        indent: &str,
        key: &str,
        value: &Value,
        path: &mut Vec<String>,
    ) {
        // Writing into a String can't fail.
        let origin = self
            .origins
            .get(&pointer(path))
            .map(|origin| format!("  # {origin}"));
        let origin = origin.unwrap_or_default();
        let key = scalar(&key.into());
        let within = format!("{indent}  ");
        match value {
            Value::Object(entries) if !entries.is_empty() && origin.is_empty() => {
                let _ = writeln!(yaml, "{first}{key}:");
                for (key, value) in entries {
                    path.push(key.clone());
                    self.entry(yaml, &within, &within, key, value, path);
                    path.pop();
                }
            }
            // A section in which nothing is set.
            Value::Object(entries) if entries.is_empty() && origin.is_empty() => {}
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                let _ = writeln!(yaml, "{first}{key}:");
                for (at, element) in elements.iter().enumerate() {
                    path.push(at.to_string());
                    let mut entries: Vec<_> = element.as_object().into_iter().flatten().collect();
                    // What a rule is called stands first.
                    entries.sort_by_key(|(key, _)| *key != "name");
                    for (number, (key, value)) in entries.into_iter().enumerate() {
                        let lead = if number == 0 { "- " } else { "  " };
                        path.push(key.clone());
                        let deeper = format!("{within}  ");
                        self.entry(yaml, &format!("{within}{lead}"), &deeper, key, value, path);
                        path.pop();
                    }
                    path.pop();
                }
            }
            value => {
                let _ = writeln!(yaml, "{first}{key}: {}{origin}", flow(value));
            }
        }
    }
}

/// Whether its values are sections, whose keys are known.
fn is_section(schema: &Value) -> bool {
    schema.get("properties").is_some()
}

/// What flags or variables give, where the file has it.
fn given(settings: &Settings) -> Value {
    let all = serde_json::to_value(settings).unwrap_or_default();
    let mut values = Map::new();
    for (key, value) in all.as_object().into_iter().flatten() {
        if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        match ELSEWHERE.iter().find(|(flag, ..)| flag == key) {
            Some((_, section, key)) => {
                let section = values.entry(*section).or_insert_with(|| Map::new().into());
                section[*key] = value.clone();
            }
            None => {
                values.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(values)
}

/// The flag of a place in the file: `--max-replicas` of `maxReplicas`, `--log-format` of `logging.format`.
fn flag(path: &[String]) -> String {
    let elsewhere = ELSEWHERE
        .iter()
        .find(|(_, section, key)| path.iter().map(String::as_str).eq([*section, *key]));
    let key = elsewhere.map_or_else(
        || path.first().map_or("", String::as_str),
        |(flag, ..)| flag,
    );
    let mut flag = String::from("--");
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            flag.push('-');
        }
        flag.push(c.to_ascii_lowercase());
    }
    flag
}

fn of_file<'a>(path: &'a Path, text: &str) -> Result<From<'a>, ConfigError> {
    let wrong = |line, why| ConfigError::File {
        path: path.to_owned(),
        line,
        why,
    };
    let migrated = migrate(text).map_err(|error| wrong(Some(error.line), error.why))?;
    let values = serde_saphyr::from_str(&migrated.text).map_err(|error| {
        let (line, why) = crate::yaml::fault(&error, &migrated.text);
        wrong(line.map(|line| migrated.old_line(line)), why)
    })?;
    let root = Node::read(&migrated.text);
    let origin = move |at: &[String]| {
        let line = root
            .as_ref()
            .map_or(1, |root| root.line_at(at.iter().map(String::as_str)));
        super::plain(&format!(
            "{}:{}",
            path.display(),
            migrated.old_line(line as u64)
        ))
    };
    Ok(From {
        values,
        origin: Box::new(origin),
    })
}

fn pointer(path: &[String]) -> String {
    let steps = path
        .iter()
        .map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")));
    steps.collect()
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(flow).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(&key.as_str().into()), flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        value => scalar(value),
    }
}

impl ServeArgs {
    /// The configuration in force with these flags and these variables.
    ///
    /// # Errors
    ///
    /// As [`super::Config::load`].
    pub fn in_force(
        self,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<InForce, ConfigError> {
        let environment = super::environment::read(environment)?;
        let source = super::Source {
            file: self.config.or(environment.config),
            settings: Some(self.settings.clone().or(environment.settings.clone())),
        };
        let text = source.text()?;
        // What couldn't be used isn't in force.
        source.config(text.as_deref())?;
        let file = source.path().zip(text.as_deref());
        InForce::of(&self.settings, &environment.settings, file)
    }
}

#[cfg(test)]
mod tests;
