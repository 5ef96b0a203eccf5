//! Adding a certificate to a deny list's file, whose form and reader are those of [`crate::tls::deny_list`].
//!
//! The file is a person's too: lines are added to it and nothing else is touched, comments included.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    CertificateError, FolderError,
    certificate::{content, parse, read_certificates},
    files::{NewFile, write_all},
    folder::lock_folder,
    words::{hexadecimal, in_words, printable},
};
use crate::tls::deny_list::{API_VERSION, CertificateFacts, DenyList, DenyListError, KIND};

/// What of a certificate is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DenyBy {
    /// This certificate alone, by its issuer and serial number.
    Serial,
    /// Every certificate of its key.
    Key,
    /// Every certificate with one of its names: common name, DNS names, URIs.
    Name,
}

/// Why nothing was added.
#[derive(Debug, thiserror::Error)]
pub enum DenyError {
    /// The certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The list's folder can't be locked, or the list not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The list can't be read.
    #[error("failed to read the deny list {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder that the list is to be in isn't there.
    #[error("{} is missing, where the deny list is to be: name another file with --deny-list", .0.display())]
    NoFolder(PathBuf),
    /// The list isn't one.
    #[error("failed to understand the deny list {}: {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DenyListError,
    },
    /// The list is written in a way that lines can't be added to.
    #[error("failed to add to the deny list {}, because its `{key}` isn't a list with one entry a line; add by hand:\n{lines}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The list's key.
        key: &'static str,
        /// What to add.
        lines: String,
    },
    /// It has no name that could be denied.
    #[error("{} has no name to be denied; use --by serial or --by key", .0.display())]
    NoName(PathBuf),
}

/// Adds a certificate to a deny list, which is made if it isn't there; `false` when everything asked for stood there already.
///
/// # Errors
/// When the certificate or the list can't be read, lines can't be added to the list, or it can't be written.
pub fn deny(list: &Path, certificate: &Path, by: &[DenyBy]) -> Result<bool, DenyError> {
    let der = read_certificates(certificate)?.remove(0);
    let facts = CertificateFacts::read(&der)
        .ok_or_else(|| content(certificate)("its certificate is damaged".into()))?;
    let parent = list.parent().filter(|path| !path.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(DenyError::NoFolder(parent.to_owned()));
    }
    let _lock = lock_folder(parent)?;
    let mut text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!(
            "# Certificates that are let in no more, whatever their CA says.\napiVersion: {API_VERSION}\nkind: {KIND}\n"
        ),
        Err(source) => {
            return Err(DenyError::Read {
                path: list.to_owned(),
                source,
            });
        }
    };
    let understood = |text: &str| {
        DenyList::parse(text).map_err(|source| DenyError::List {
            path: list.to_owned(),
            source,
        })
    };
    let before = understood(&text)?;
    let subject = parse(&der)
        .map(|parsed| parsed.subject().to_string())
        .unwrap_or_default();
    let comment = format!("# {}, {}", printable(&subject), in_words(SystemTime::now()));
    for by in by {
        for entry in entries(*by, &facts, certificate)? {
            let Entry { key, lines, alone } = entry;
            if understood(&text)?.denies(&alone).is_some() {
                continue;
            }
            let lines = [&[comment.clone()][..], &lines].concat();
            let expected = understood(&text)?.len() + 1;
            let added = with_lines(&text, key, &lines)
                .filter(|text| DenyList::parse(text).is_ok_and(|list| list.len() == expected));
            text = added.ok_or_else(|| DenyError::Shape {
                path: list.to_owned(),
                key,
                lines: indented(&lines, 2).join("\n"),
            })?;
        }
    }
    if understood(&text)? == before {
        return Ok(false);
    }
    write_all(&[NewFile::replacing(list, &text)]).map_err(FolderError::from)?;
    Ok(true)
}

/// A line or two to be added.
struct Entry {
    key: &'static str,
    lines: Vec<String>,
    /// Facts that this entry alone denies.
    alone: CertificateFacts,
}

fn entries(by: DenyBy, facts: &CertificateFacts, path: &Path) -> Result<Vec<Entry>, DenyError> {
    let CertificateFacts {
        issuer,
        serial,
        spki_sha256,
        names,
        has_unreadable_name: _,
    } = facts;
    // No key has a hash of nothing but zeros, and no list an empty name.
    let nothing = CertificateFacts {
        issuer: String::new(),
        serial: Vec::new(),
        spki_sha256: [0; 32],
        names: Vec::new(),
        has_unreadable_name: false,
    };
    Ok(match by {
        DenyBy::Serial => vec![Entry {
            key: "serials",
            lines: vec![
                format!("- serial: {}", quoted(&hexadecimal(serial))),
                format!("  issuer: {}", quoted(issuer)),
            ],
            alone: CertificateFacts {
                issuer: issuer.clone(),
                serial: serial.clone(),
                ..nothing
            },
        }],
        DenyBy::Key => vec![Entry {
            key: "spkiSha256",
            lines: vec![format!("- {}", quoted(&hexadecimal(spki_sha256)))],
            alone: CertificateFacts {
                spki_sha256: *spki_sha256,
                ..nothing
            },
        }],
        DenyBy::Name if names.iter().all(String::is_empty) => {
            return Err(DenyError::NoName(path.to_owned()));
        }
        DenyBy::Name => names
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| Entry {
                key: "names",
                lines: vec![format!("- {}", quoted(name))],
                alone: CertificateFacts {
                    names: vec![name.clone()],
                    ..nothing.clone()
                },
            })
            .collect(),
    })
}

/// The text with an entry more under a key, right behind it; `None` when what stands there isn't one entry a line.
fn with_lines(text: &str, key: &str, entry: &[String]) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let prefix = format!("{key}:");
    let Some(at) = lines.iter().position(|line| line.starts_with(&prefix)) else {
        lines.push(prefix);
        lines.extend(indented(entry, 2));
        return Some(lines.join("\n") + "\n");
    };
    let value = lines[at][prefix.len()..].trim().to_owned();
    if value == "[]" {
        lines[at] = prefix;
    } else if !value.is_empty() && !value.starts_with('#') {
        return None;
    }
    // As deep as the entry that stands there, which may be not at all.
    let depth = lines[at + 1..]
        .iter()
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .filter(|line| line.trim_start().starts_with('-'))
        .map_or(2, |line| line.len() - line.trim_start().len());
    lines.splice(at + 1..at + 1, indented(entry, depth));
    Some(lines.join("\n") + "\n")
}

fn indented(lines: &[String], depth: usize) -> Vec<String> {
    let spaces = " ".repeat(depth);
    lines.iter().map(|line| format!("{spaces}{line}")).collect()
}

/// A YAML string in double quotes, with everything escaped that doesn't show.
fn quoted(text: &str) -> String {
    let mut all = String::from("\"");
    for c in text.chars() {
        let code = u32::from(c);
        match c {
            '"' | '\\' => all.extend(['\\', c]),
            ' '..='~' => all.push(c),
            _ if c.is_alphanumeric() => all.push(c),
            _ if code <= 0xffff => all += &format!("\\u{code:04x}"),
            _ => all += &format!("\\U{code:08x}"),
        }
    }
    all.push('"');
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: DenyList\n";

    fn with_name(text: &str) -> Option<String> {
        with_lines(text, "names", &[format!("- {}", quoted("bob"))])
    }

    #[test]
    fn an_entry_is_added_wherever_the_list_stands_and_as_deep_as_its_neighbours() {
        for (before, after) in [
            ("", "names:\n  - \"bob\"\n"),
            ("names:\n", "names:\n  - \"bob\"\n"),
            ("names: []\n", "names:\n  - \"bob\"\n"),
            ("names:\n- alice\n", "names:\n- \"bob\"\n- alice\n"),
            (
                "names: # gone\n\n    # since May\n    - alice\nserials: []\n",
                "names: # gone\n    - \"bob\"\n\n    # since May\n    - alice\nserials: []\n",
            ),
            (
                "names:\nserials: []\n",
                "names:\n  - \"bob\"\nserials: []\n",
            ),
        ] {
            let text = with_name(&format!("{HEAD}{before}")).unwrap();
            assert_eq!(text, format!("{HEAD}{after}"));
            DenyList::parse(&text).unwrap();
        }
        assert_eq!(with_name("names: [alice]\n"), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_the_list_that_it_was_added_to(name in any::<String>()) {
            prop_assume!(!name.is_empty());
            let text = with_lines(HEAD, "names", &[format!("- {}", quoted(&name))]).unwrap();
            let list = DenyList::parse(&text).unwrap();
            let facts = CertificateFacts {
                issuer: String::new(),
                serial: Vec::new(),
                spki_sha256: [0; 32],
                names: vec![name],
                has_unreadable_name: false,
            };
            prop_assert!(list.denies(&facts).is_some());
        }
    }
}
