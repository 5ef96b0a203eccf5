//! `headcount config migrate`: deprecated keys of a file get their new names; all else in it stays as it is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{BAD_CONFIGURATION, say, written};
use crate::config::{self, Migrated};

/// The arguments of `headcount config migrate`.
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file, whole or not at all [default: write to standard output]
    #[arg(long, conflicts_with = "output")]
    in_place: bool,
    /// Write to this file, whole or not at all
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &MigrateArgs) -> ExitCode {
    let migrated = match config::migrate_file(&args.file) {
        Ok(migrated) => migrated,
        Err(error) => {
            say(&error);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let to = match args.in_place {
        true => Some(&args.file),
        false => args.output.as_ref(),
    };
    let Some(to) = to else {
        tell(&args.file, &migrated);
        return written(&migrated.text);
    };
    // A file that needs nothing keeps even its time stamp.
    let nothing_to_do = args.in_place && migrated.moved.is_empty();
    if !nothing_to_do && let Err(error) = replace(to, &migrated.text) {
        say(&format!(
            "failed to write {}: {error}; what stood there still stands",
            to.display()
        ));
        return ExitCode::FAILURE;
    }
    tell(&args.file, &migrated);
    ExitCode::SUCCESS
}

/// Says on stderr what was changed, since stdout may be the file.
fn tell(path: &Path, migrated: &Migrated) {
    let path = crate::pki::printable(&path.display().to_string());
    let mut words = String::new();
    for deprecated in &migrated.moved {
        let (old, new) = (deprecated.moved.old, deprecated.moved.replacement());
        words.push_str(&format!(
            "{path}: line {}: {old} is {new} now\n",
            deprecated.line
        ));
    }
    if migrated.moved.is_empty() {
        words = format!("{path}: no key is deprecated, nothing was changed\n");
    }
    // A closed stderr changes nothing about what was done.
    let _ = io::stderr().write_all(words.as_bytes());
}

/// Writes a file whole or not at all; one that is there keeps its mode, and a link to it goes on leading to it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = match fs::metadata(&path) {
        Ok(there) => there.permissions().mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0o644,
        Err(error) => return Err(error),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut waiting = name.to_owned();
    waiting.push(format!(".{}.new", std::process::id()));
    let waiting = path.with_file_name(waiting);
    let written = write(&waiting, mode, text).and_then(|()| fs::rename(&waiting, &path));
    if written.is_err() {
        // It may not have come that far.
        let _ = fs::remove_file(&waiting);
    }
    written
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
