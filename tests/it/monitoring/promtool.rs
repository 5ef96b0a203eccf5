//! Prometheus' own tool, which knows what Prometheus would make of a file.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::support::skipped;

/// What promtool said of something.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) good: bool,
    pub(crate) words: String,
}

/// Where promtool is; `None` where it can't be had, which is said, and in CI is a failure.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/promtool");
        let output = Command::new(script).output().map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().into()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    });
    match found {
        Ok(path) => Some(path),
        Err(why) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            skipped(&format!("Prometheus' own checks, because {}", why.trim()));
            None
        }
    }
}

/// Runs it in a folder with something to read.
pub(crate) fn promtool<A: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) -> Option<Verdict> {
    let mut child = Command::new(program()?)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It reads everything before it says anything, if it reads at all.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    Some(Verdict {
        good: output.status.success(),
        words: String::from_utf8_lossy(&words).into_owned(),
    })
}

/// The same, where only a good verdict will do.
pub(crate) fn accepted<A: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) {
    if let Some(Verdict { good, words }) = promtool(folder, arguments, input) {
        assert!(good, "{words}");
    }
}
