//! What is wrong with a YAML file, for a person.

use serde::{Deserialize, Deserializer, de::Error as _};

/// The line, from 1, where it is known, and the first sentence of what the reader says.
pub(crate) fn fault(error: &serde_saphyr::Error) -> (Option<u64>, String) {
    let line = error.location().map(|location| location.line());
    let text = error.without_snippet().to_string();
    let sentence = text.lines().next().unwrap_or_default();
    // Both are easily written by people who don't know this of YAML.
    let hint = if sentence.starts_with("while scanning an anchor or alias") {
        "; put quotes around what begins with * or &"
    } else if sentence.starts_with("cannot deserialize null into string") {
        "; what is meant as the text null or ~ needs quotes"
    } else {
        ""
    };
    (line, format!("{sentence}{hint}"))
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
