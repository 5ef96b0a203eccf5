//! Keys of the configuration file that have another place now. The old ones work for a version more, with a warning.
//!
//! A file with old keys is rewritten before it is read, as `headcount config migrate` does it for good: nothing else knows of them.

use std::{collections::BTreeSet, ops::Range};

use serde_json::Value;
use tracing::warn;

use super::document::{Kind, Node};

/// A key at the top of the file that went into a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Where it stood, at the top.
    pub old: &'static str,
    /// The section in which it stands …
    pub section: &'static str,
    /// … and what it is called there.
    pub key: &'static str,
    /// The version that has both.
    pub since: &'static str,
    /// The first version that doesn't have the old one any more.
    pub until: &'static str,
}

/// All that have moved.
pub const MOVED: [Moved; 2] = [
    Moved {
        old: "logFormat",
        section: "logging",
        key: "format",
        since: "0.2.0",
        until: "0.3.0",
    },
    Moved {
        old: "logLevel",
        section: "logging",
        key: "level",
        since: "0.2.0",
        until: "0.3.0",
    },
];

impl Moved {
    /// Where it stands now: `logging.format`.
    pub fn replacement(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// An old key that a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deprecated {
    /// Which.
    pub moved: &'static Moved,
    /// The line on which it stands, from 1.
    pub line: u64,
}

impl std::fmt::Display for Deprecated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Moved { old, until, .. } = self.moved;
        write!(
            f,
            "line {}: {old} is called {} now, and its old name is gone in {until}",
            self.line,
            self.moved.replacement()
        )
    }
}

/// Warns of old keys, each by a line in the log.
pub(crate) fn warn_of(all: &[Deprecated]) {
    for Deprecated { moved, line } in all {
        warn!(name: "config.deprecated", key = moved.old, replacement = moved.replacement(), removed_in = moved.until, line,
            "the configuration file has a key by its old name; `headcount config migrate` rewrites it");
    }
}

/// An old key that can't be given its new place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct CannotMove {
    /// The line on which it stands, from 1.
    pub line: u64,
    /// Why not, and what to do.
    pub why: String,
}

/// A file with all keys where they stand now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The file's text.
    pub text: String,
    /// What was done, in the order of the old file.
    pub moved: Vec<Deprecated>,
    /// For each of its lines, the one of the old file that it comes from, from 1.
    lines: Vec<usize>,
}

impl Migrated {
    /// The line of the old file, from 1, that a line comes from.
    pub(super) fn old_line(&self, line: u64) -> u64 {
        let at = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        self.lines.get(at).map_or(line, |line| *line as u64)
    }
}

/// Gives every old key its new place. A file that can't be read comes back as it is: reading it tells why.
///
/// # Errors
///
/// When a file has a key at both places, or is written so that the rest of it couldn't stay as it is.
pub fn migrate(text: &str) -> Result<Migrated, CannotMove> {
    let mut done = Migrated {
        text: text.to_owned(),
        moved: Vec::new(),
        lines: (1..=text.lines().count()).collect(),
    };
    // From the last on, since each becomes the first of its section.
    for moved in MOVED.iter().rev() {
        // A file is read every two seconds, and hardly ever has one.
        if !done.text.contains(moved.old) {
            continue;
        }
        let Some(root) = Node::read(&done.text) else {
            break;
        };
        let Some(at) = root.entries().iter().position(|(key, _)| key.is(moved.old)) else {
            continue;
        };
        serde_saphyr::from_str::<Value>(&done.text).map_err(|error| {
            let (line, why) = crate::yaml::fault(&error, &done.text);
            let line = done.old_line(line.unwrap_or_default());
            CannotMove { line, why }
        })?;
        let line = done.old_line(root.entries()[at].0.line as u64);
        let edited = edit(&done.text, &root, at, moved);
        let edited = edited.and_then(|edits| {
            let (text, lines) = apply(&done.text, edits);
            is_the_same(&done.text, &text, moved)
                .then_some((text, lines))
                .ok_or("the file is written in a way that can't be rewritten without changing more")
        });
        let (text, lines) = edited.map_err(|why| CannotMove {
            line,
            why: format!(
                "{} is called {} now, and {why}: write it there and remove the old one",
                moved.old,
                moved.replacement()
            ),
        })?;
        done.lines = lines
            .into_iter()
            .map(|line| done.old_line(line as u64) as usize)
            .collect();
        done.text = text;
        done.moved.push(Deprecated { moved, line });
    }
    done.moved.sort_by_key(|moved| moved.line);
    Ok(done)
}

/// Some bytes of a text, and what to put in their place.
struct Edit {
    bytes: Range<usize>,
    by: String,
}

fn edit(text: &str, root: &Node, at: usize, moved: &Moved) -> Result<Vec<Edit>, &'static str> {
    let (key, value) = &root.entries()[at];
    let section = root.entry(moved.section);
    if section.is_some_and(|(_, section)| section.entry(moved.key).is_some()) {
        return Err("both are there");
    }
    let Kind::Map { flow, .. } = root.kind else {
        return Err("the file is no mapping");
    };
    let quote = match text[key.bytes.clone()].chars().next() {
        Some(quote @ ('"' | '\'')) => quote.to_string(),
        _ => String::new(),
    };
    let quoted = |word: &str| format!("{quote}{word}{quote}");
    let written = &text[value.bytes.clone()];
    let entry = format!("{}: {}", quoted(moved.key), written.trim_end());
    match (flow, section) {
        (true, None) => Ok(vec![Edit {
            bytes: key.bytes.start..value.bytes.end,
            by: format!("{}: {{{entry}}}", quoted(moved.section)),
        }]),
        (true, Some((_, section))) => Ok(vec![
            taken_from_flow(text, root, at),
            into_flow(section, &entry)?,
        ]),
        (false, None) => Ok(in_place(text, key, value, moved)),
        (false, Some((_, section))) if matches!(section.kind, Kind::Map { flow: true, .. }) => {
            if written.contains('\n') {
                return Err("its value has several lines");
            }
            let (taken, _) = taken_from_block(text, root, at, false);
            Ok(vec![taken, into_flow(section, &entry)?])
        }
        (false, Some((name, section))) => into_block(text, root, at, name, section, moved),
    }
}

/// An entry of `{…}` with one of the commas beside it.
fn taken_from_flow(text: &str, root: &Node, at: usize) -> Edit {
    let entries = root.entries();
    let (key, value) = &entries[at];
    let bytes = match (at.checked_sub(1), entries.get(at + 1)) {
        (_, Some((next, _))) => key.bytes.start..next.bytes.start,
        (Some(before), None) => entries[before].1.bytes.end..value.bytes.end,
        (None, None) => key.bytes.start..value.bytes.end,
    };
    // A comment between two entries would be lost; that it is there is found when both texts are compared.
    debug_assert!(bytes.end <= text.len());
    Edit {
        bytes,
        by: String::new(),
    }
}

fn into_flow(section: &Node, entry: &str) -> Result<Edit, &'static str> {
    let Kind::Map {
        flow: true,
        entries,
    } = &section.kind
    else {
        return Err("its section is no mapping of its own");
    };
    let first = section.bytes.start + 1;
    Ok(Edit {
        bytes: first..first,
        by: match entries.is_empty() {
            true => entry.to_owned(),
            false => format!("{entry}, "),
        },
    })
}

/// The section begins where the old key stood.
fn in_place(text: &str, key: &Node, value: &Node, moved: &Moved) -> Vec<Edit> {
    let start = line_start(text, key.line);
    let indent = &text[start..key.bytes.start];
    let mut edits = vec![Edit {
        bytes: start..key.bytes.end,
        by: format!(
            "{indent}{}:{}{indent}  {}",
            moved.section,
            line_end(text),
            moved.key
        ),
    }];
    for line in key.line + 1..=value.last_line {
        let at = line_start(text, line);
        if !text[at..].starts_with(['\n', '\r']) {
            edits.push(Edit {
                bytes: at..at,
                by: "  ".into(),
            });
        }
    }
    edits
}

/// The old entry's lines become the first of its section's.
fn into_block(
    text: &str,
    root: &Node,
    at: usize,
    name: &Node,
    section: &Node,
    moved: &Moved,
) -> Result<Vec<Edit>, &'static str> {
    let first = section.entries().first();
    let Some((first, _)) = first.filter(|(first, _)| first.line > name.line) else {
        return Err("its section is no mapping of its own");
    };
    let indent = &text[line_start(text, first.line)..first.bytes.start];
    let (taken, comments) = taken_from_block(text, root, at, true);
    let (key, _) = &root.entries()[at];
    let old_indent = &text[line_start(text, key.line)..key.bytes.start];
    let mut lines = String::new();
    for (number, line) in text[taken.bytes.clone()].split_inclusive('\n').enumerate() {
        let line = line.strip_prefix(old_indent).unwrap_or(line);
        if line.trim().is_empty() {
            lines.push_str(line);
            continue;
        }
        lines.push_str(indent);
        if number == comments {
            lines.push_str(moved.key);
            let name = key.bytes.len();
            lines.push_str(&line[name..]);
        } else {
            lines.push_str(line);
        }
    }
    if !lines.ends_with('\n') {
        lines.push_str(line_end(text));
    }
    let below = line_start(text, name.line + 1);
    Ok(vec![
        taken,
        Edit {
            bytes: below..below,
            by: lines,
        },
    ])
}

/// An entry's lines, perhaps with the comments right above it, and how many lines those are. Where comments stay, the one behind its
/// value becomes a line.
fn taken_from_block(text: &str, root: &Node, at: usize, with_comments: bool) -> (Edit, usize) {
    let (key, value) = &root.entries()[at];
    let mut above = 0;
    if with_comments {
        let comment = |line: usize| {
            text[line_start(text, line)..]
                .trim_start_matches([' ', '\t'])
                .starts_with('#')
        };
        while key.line - above > 1 && comment(key.line - above - 1) {
            above += 1;
        }
        // What a file begins with is about the file.
        if key.line - above == 1 {
            above = 0;
        }
    }
    let bytes = line_start(text, key.line - above)..line_start(text, value.last_line + 1);
    let behind = text[value.bytes.end.min(bytes.end)..bytes.end].trim();
    let by = match behind.starts_with('#') && !with_comments {
        true => {
            let indent = &text[line_start(text, key.line)..key.bytes.start];
            format!("{indent}{behind}{}", line_end(text))
        }
        false => String::new(),
    };
    (Edit { bytes, by }, above)
}

/// Where a line, from 1, begins; the text's end for those behind it.
fn line_start(text: &str, line: usize) -> usize {
    let mut ends = text.match_indices('\n').map(|(at, _)| at + 1);
    match line.checked_sub(2) {
        None => 0,
        Some(before) => ends.nth(before).unwrap_or(text.len()),
    }
}

/// How lines of this text end.
fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// The text with these edits, and for each of its lines the one, from 1, that it comes from.
fn apply(text: &str, mut edits: Vec<Edit>) -> (String, Vec<usize>) {
    edits.sort_by_key(|edit| (edit.bytes.start, edit.bytes.end));
    // What is taken away comes back elsewhere, so that lines put in come from there.
    let taken = edits.iter().find(|edit| !edit.bytes.is_empty());
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let taken_line = taken.map(|edit| line_of(edit.bytes.start));
    let mut new = String::with_capacity(text.len() + 32);
    let mut lines = Vec::new();
    let mut copied = 0;
    let mut put = |new: &mut String, piece: &str, first: usize, moves: bool| {
        for (number, line) in piece.split_inclusive('\n').enumerate() {
            if new.is_empty() || new.ends_with('\n') {
                lines.push(if moves { first + number } else { first });
            }
            new.push_str(line);
        }
    };
    for Edit { bytes, by } in edits {
        put(&mut new, &text[copied..bytes.start], line_of(copied), true);
        // Whole lines that are put in were taken elsewhere.
        let moves = bytes.is_empty() && by.ends_with('\n');
        let comes_from = taken_line.filter(|_| moves).unwrap_or(line_of(bytes.start));
        put(&mut new, &by, comes_from, moves);
        copied = bytes.end;
    }
    put(&mut new, &text[copied..], line_of(copied), true);
    (new, lines)
}

/// Whether the new text says what the old one does, with the key moved, and has lost no comment.
fn is_the_same(old: &str, new: &str, moved: &Moved) -> bool {
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).ok();
    let (Some(mut expected), Some(found)) = (read(old), read(new)) else {
        return false;
    };
    let Some(top) = expected.as_object_mut() else {
        return false;
    };
    let Some(value) = top.remove(moved.old) else {
        return false;
    };
    let section = top
        .entry(moved.section)
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    let Some(section) = section.as_object_mut() else {
        return false;
    };
    section.insert(moved.key.into(), value);
    let comments = |text| {
        let root = Node::read(text);
        root.map(|root| root.comments(text).into_iter().collect::<BTreeSet<_>>())
    };
    expected == found && comments(old) == comments(new)
}

#[cfg(test)]
mod tests;
