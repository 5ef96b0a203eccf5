//! What is wrong with a YAML file, for a person.

/// The line, from 1, where it is known, and the first sentence of what the reader says.
pub(crate) fn fault(error: &serde_saphyr::Error) -> (Option<u64>, String) {
    let line = error.location().map(|location| location.line());
    let text = error.without_snippet().to_string();
    (line, text.lines().next().unwrap_or_default().to_owned())
}
