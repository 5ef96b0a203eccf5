//! The files that are written: the log's and the audit trail's. Nothing is written to find out.

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    path::Path,
};

use super::report::Report;
use crate::config::Config;

const LOG: &str = "files.log";
const AUDIT: &str = "files.audit";

/// The files that are written: their checks, settings and paths.
pub(super) fn written(
    config: &Config,
) -> impl Iterator<Item = (&'static str, &'static str, &Path)> {
    let log = config
        .log
        .file
        .as_ref()
        .map(|file| (LOG, "logging.file", file.path.as_path()));
    let audit = config
        .audit
        .file
        .as_ref()
        .map(|file| (AUDIT, "audit.file", file.path.as_path()));
    log.into_iter().chain(audit)
}

pub(super) fn check(report: &mut Report, config: &Config) {
    for (check, setting, path) in written(config) {
        match trouble(path) {
            None => report.ok(check, format!("{} can be written", path.display())),
            Some((why, fix)) => report.fail(
                check,
                format!("{} can't be written ({why})", path.display()),
                format!("{fix} ({setting})"),
            ),
        }
    }
}

/// Why a file couldn't be written, and what to do.
pub(super) fn trouble(path: &Path) -> Option<(String, &'static str)> {
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            match fs::metadata(folder) {
                Ok(found) if found.permissions().readonly() => Some((
                    "its folder is read-only".into(),
                    "let the server's user write to the folder",
                )),
                Ok(found) if found.is_dir() => None,
                Ok(_) => Some(("its folder is a file".into(), "take another path")),
                Err(error) => Some((
                    format!("its folder: {error}"),
                    "make the folder, or mount the volume",
                )),
            }
        }
        Err(error) => Some((
            error.to_string(),
            "let the server's user write to the file, or take another path",
        )),
    }
}
