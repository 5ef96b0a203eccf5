//! A page of documentation, and what its fenced blocks are.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A page, by its path in the project.
pub(super) struct Page {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    /// Where its first line is: `docs/faq.md:12`.
    pub(super) place: String,
    pub(super) language: String,
    pub(super) text: String,
    pub(super) note: Note,
}

/// What the comment right before a block says of it; readers don't see it.
#[derive(Debug, PartialEq)]
pub(super) enum Note {
    None,
    /// `<!-- file: NAME -->`: what follows works with it under this name.
    File(String),
    /// `<!-- runs until Ctrl-C -->`: a server in a terminal of its own, until the next one or the page's end.
    Server,
    /// `<!-- not run: REASON -->`
    NotRun(String),
}

/// A file or folder of this project.
pub(super) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Page {
    /// README.md, everything below docs/, and the README.md of everything below deploy/.
    pub(super) fn all() -> Vec<Self> {
        let mut paths = vec!["README.md".to_owned()];
        collect("docs", &mut paths, &|name| name.ends_with(".md"));
        collect("deploy", &mut paths, &|name| name == "README.md");
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &str) -> Self {
        let text = fs::read_to_string(project(path)).unwrap();
        Self {
            path: path.to_owned(),
            blocks: blocks(path, &text),
            text,
        }
    }
}

impl Block {
    /// Whether it holds commands.
    pub(super) fn is_commands(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "console")
    }
}

fn collect(folder: &str, paths: &mut Vec<String>, wanted: &dyn Fn(&str) -> bool) {
    let mut entries: Vec<_> = fs::read_dir(project(folder))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            collect(&path, paths, wanted);
        } else if wanted(&name) {
            paths.push(path);
        }
    }
}

fn blocks(path: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut before = "";
    while let Some((number, line)) = lines.next() {
        let unindented = line.trim_start();
        let Some(language) = unindented.strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line.trim();
            }
            continue;
        };
        let indent = &line[..line.len() - unindented.len()];
        let place = format!("{path}:{}", number + 2);
        let content: String = lines
            .by_ref()
            .map(|(_, line)| line.strip_prefix(indent).unwrap_or(line))
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        blocks.push(Block {
            note: note(&place, before),
            place,
            language: language.to_owned(),
            text: content,
        });
        before = "";
    }
    blocks
}

fn note(place: &str, before: &str) -> Note {
    let comment = before
        .strip_prefix("<!-- ")
        .and_then(|rest| rest.strip_suffix(" -->"));
    match comment {
        None => Note::None,
        Some("runs until Ctrl-C") => Note::Server,
        Some(comment) => match comment.split_once(": ") {
            Some(("file", name)) if Path::new(name).file_name().is_some() => {
                Note::File(name.to_owned())
            }
            Some(("not run", reason)) => Note::NotRun(reason.to_owned()),
            _ => panic!("{place}: a comment that says nothing of the block: {comment}"),
        },
    }
}
