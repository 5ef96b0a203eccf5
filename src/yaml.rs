//! YAML: what is wrong with a file, for a person; and values as YAML.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// The line, from 1, where it is known, and the first sentence of what the reader says, with the key of that line of `text`.
pub(crate) fn fault(error: &serde_saphyr::Error, text: &str) -> (Option<u64>, String) {
    let line = error.location().map(|location| location.line());
    let said = error.without_snippet().to_string();
    let said = said.lines().next().unwrap_or_default();
    // The line is told by whoever asks for it, and not twice.
    let said = said.split(" at line ").next().unwrap_or_default();
    let sentence = if let Some((twice, _)) = said.split_once("set DuplicateKeyPolicy") {
        twice.trim_end_matches([' ', ',', '.', ';', '('])
    } else if said.contains("did not match any variant of untagged enum") {
        "it must be a list, or the one thing that it would hold"
    } else if said.starts_with("cannot deserialize null into string") {
        "a text is missing, where null is"
    } else {
        said
    };
    // All are easily written by people who don't know this of YAML.
    let hint = if sentence.starts_with("while scanning an anchor or alias") {
        "; put quotes around what begins with * or &"
    } else if said.starts_with("cannot deserialize null into string") {
        "; what is meant as the text null or ~ needs quotes"
    } else {
        ""
    };
    let key = line.and_then(|line| key_at(text, line)).unwrap_or_default();
    if key.is_empty() || sentence.contains(key) {
        (line, format!("{sentence}{hint}"))
    } else {
        (line, format!("{key}: {sentence}{hint}"))
    }
}

/// The key that stands in a line, if there is one.
fn key_at(text: &str, line: u64) -> Option<&str> {
    let line = text
        .lines()
        .nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let (key, _) = line.trim_start_matches(['-', ' ']).split_once(':')?;
    let name = |c: char| c.is_ascii_alphanumeric();
    key.chars().all(name).then_some(key)
}

/// A value: a key with nothing behind it isn't one, and was meant to be something.
pub(crate) fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::deserialize(deserializer)? {
        Some(value) => Ok(Some(value)),
        None => Err(D::Error::custom(
            "the key has no value; leave it out to have the default",
        )),
    }
}

/// A scalar as YAML reads it back: text that could be anything else is in quotes.
pub(crate) fn scalar(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    // `5s`, `64Ki`
    let quantity = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'i'])
        && text.chars().all(|c| c.is_ascii_alphanumeric());
    if plain || quantity {
        text.clone()
    } else {
        crate::pki::json_escaped(&value.to_string())
    }
}

/// A value in block style, without a document's marks.
pub(crate) fn written(value: &Value) -> String {
    let mut lines = block(value);
    lines.push(String::new());
    lines.join("\n")
}

fn block(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let key = scalar(&key.clone().into());
                let nested = block(value);
                if holds(value) {
                    lines.push(format!("{key}:"));
                    lines.extend(nested.iter().map(|line| format!("  {line}")));
                } else {
                    lines.push(format!("{key}: {}", nested.concat()));
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let marks = std::iter::once("- ").chain(std::iter::repeat("  "));
                lines.extend(
                    marks
                        .zip(block(item))
                        .map(|(mark, line)| format!("{mark}{line}")),
                );
            }
        }
        Value::Object(_) => lines.push("{}".into()),
        Value::Array(_) => lines.push("[]".into()),
        leaf => lines.push(scalar(leaf)),
    }
    lines
}

/// Whether it is written on lines of its own.
fn holds(value: &Value) -> bool {
    value.as_object().is_some_and(|o| !o.is_empty())
        || value.as_array().is_some_and(|a| !a.is_empty())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "nothing but its reading is of interest")]
    struct File {
        #[serde(default, deserialize_with = "given")]
        max_replicas: Option<u32>,
        #[serde(default)]
        read_only: bool,
    }

    fn said(text: &str) -> (Option<u64>, String) {
        let error = serde_saphyr::from_str::<File>(text).unwrap_err();
        fault(&error, text)
    }

    #[test]
    fn what_is_wrong_names_the_key_and_leaves_the_line_to_whoever_tells_it() {
        let text = "\nreadOnly: [1]\n";
        let (line, why) = said(text);
        assert_eq!(line, Some(2));
        assert!(
            why.contains("readOnly") && !why.contains(" at line "),
            "{why}"
        );
        let (_, twice) = said("readOnly: true\nreadOnly: true\n");
        assert!(
            twice.contains("readOnly") && !twice.contains("Options"),
            "{twice}"
        );
        let (_, nothing) = said("maxReplicas:\n");
        assert!(nothing.contains("the key has no value"), "{nothing}");
    }

    #[test]
    fn values_are_read_back_as_they_were_written() {
        let values = serde_json::json!({
            "a": [{"b": 1, "c": {"d": "x: y"}}, [], {}, [[1], "- z"], null],
            "yes": "no", "1": "2", "": "", "odd": "\u{202e}\u{9b}\n#",
        });
        let text = written(&values);
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, values, "{text}");
        assert!(!text.contains(['\u{202e}', '\u{9b}']), "{text}");
        assert_eq!(written(&serde_json::json!([])), "[]\n");
    }
}
