//! The file that keeps what a batch found before it changed it: it is there before anything is sent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Failed, failed::Code};
use crate::pki;

/// The beginning of the names of such files, where none is given.
pub(super) const PREFIX: &str = "headcount-snapshot-";
/// No snapshot is longer, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A file of a snapshot, for its owner alone.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
}

impl SnapshotFile {
    /// A new file, in which stands what is known beforehand; one that is there already is left as it is.
    pub(super) fn new(given: Option<&Path>, known: &Value) -> Result<Self, Failed> {
        let path = match given {
            Some(path) => {
                not_there(path)?;
                path.to_owned()
            }
            None => free(&Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string())?,
        };
        let file = Self { path };
        let none = json!({ "items": [] });
        let known = if known.is_null() { &none } else { known };
        file.write(known).map_err(|error| {
            Failed::usage(format!(
                "failed to keep what is there now: {error}; nothing was changed; name a file that can be written with --snapshot"
            ))
        })?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whole or not at all, on the disk before this is done.
    fn write(&self, snapshot: &Value) -> Result<(), pki::Error> {
        pki::write_private(&self.path, &format!("{snapshot:#}\n"))
    }

    /// Puts what the server has answered in the place of what was known; what can't be kept is told, for whoever reads it to keep.
    pub(super) fn replace(&self, snapshot: &Value) -> Result<(), Failed> {
        self.write(snapshot).map_err(|error| {
            Failed::new(
                Code::Failed,
                format!("failed to keep the snapshot: {error}; keep it yourself, it is {snapshot}"),
            )
        })
    }

    /// There is nothing to bring back.
    pub(super) fn remove(self) {
        // What is left of it says that itself.
        let _ = fs::remove_file(&self.path);
    }
}

/// How a command names a file: `-` and names that begin like a flag need a folder before them.
pub(super) fn as_argument(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    let text = if text.starts_with('-') {
        format!("./{text}")
    } else {
        text
    };
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A snapshot, of a file or of stdin (`-`): as a batch has kept it, or with the whole answer of `-o json`.
pub(super) fn read(path: &Path) -> Result<Value, Failed> {
    let (text, place) = text_of(path, LONGEST)?;
    let wrong = |why: &str| {
        Failed::usage(format!(
            "{place} isn't a snapshot: {why}; give the file that `headcount batch` has written"
        ))
    };
    let mut told: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    if told["snapshot"].is_object() {
        told = told["snapshot"].take();
    }
    let items = told["items"]
        .as_array()
        .ok_or_else(|| wrong("it has no items"))?;
    if let Some(at) = items.iter().position(|item| !item["mark"].is_string()) {
        return Err(wrong(&format!(
            "items[{at}] has no mark, by which a count is known to be the batch's"
        )));
    }
    if items.is_empty() {
        return Err(Failed::new(
            Code::NotFound,
            format!("{place} has no Deployments: its batch has changed none"),
        ));
    }
    Ok(told)
}

/// The text of a file or of stdin, and how to name it.
pub(super) fn text_of(path: &Path, longest: u64) -> Result<(String, String), Failed> {
    use io::Read as _;
    let (source, place): (io::Result<Box<dyn io::Read>>, _) = if path == Path::new("-") {
        (Ok(Box::new(io::stdin())), "stdin".to_owned())
    } else {
        let file = fs::File::open(path).map(|file| Box::new(file) as Box<dyn io::Read>);
        (file, format!("{path:?}"))
    };
    let mut text = String::new();
    let read = source.and_then(|source| source.take(longest + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > longest => Err(Failed::usage(format!(
            "{place} is longer than {longest} bytes: it isn't what this command takes"
        ))),
        Ok(_) => Ok((text, place)),
        Err(error) => Err(Failed::usage(format!(
            "failed to read {place}: {error}; name a file that can be read, or - for stdin"
        ))),
    }
}

/// Refuses a file that is there already.
pub(super) fn not_there(path: &Path) -> Result<(), Failed> {
    if taken(path)? {
        return Err(Failed::usage(format!(
            "there is a file {path:?} already, which may be the only way back from another batch: name another one with --snapshot"
        )));
    }
    Ok(())
}

fn taken(path: &Path) -> Result<bool, Failed> {
    path.try_exists()
        .map(|there| there || path.is_symlink())
        .map_err(|error| {
            Failed::usage(format!(
                "failed to look for {path:?}: {error}; name a file that can be written with --snapshot"
            ))
        })
}

/// A name that no file in this folder has.
fn free(time: &str) -> Result<PathBuf, Failed> {
    let first = PathBuf::from(format!("{PREFIX}{time}.json"));
    let others = (2..1000).map(|n| PathBuf::from(format!("{PREFIX}{time}-{n}.json")));
    for path in std::iter::once(first).chain(others) {
        if !taken(&path)? {
            return Ok(path);
        }
    }
    Err(Failed::usage(
        "this folder has a thousand snapshots of this second; name a file with --snapshot",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_so_that_a_shell_takes_it() {
        for (path, argument) in [
            ("a/b-1.json", "a/b-1.json"),
            ("-x.json", "./-x.json"),
            ("my file.json", "'my file.json'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(as_argument(Path::new(path)), argument);
        }
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_kept_and_of_a_whole_answer_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let of = |text: &str| {
            fs::write(&path, text).unwrap();
            read(&path).map_err(|failed| (failed.code, failed.sentence))
        };
        let snapshot =
            json!({"takenAt": "t", "items": [{"name": "a", "mark": "0123456789abcdef"}]});
        assert_eq!(of(&snapshot.to_string()), Ok(snapshot.clone()));
        let answer = json!({"results": [], "snapshot": snapshot});
        assert_eq!(of(&answer.to_string()), Ok(snapshot));
        for (text, code, part) in [
            ("", Code::Usage, "isn't a snapshot: EOF"),
            ("{}", Code::Usage, "no items"),
            (
                r#"{"items":[{"name":"a"}]}"#,
                Code::Usage,
                "items[0] has no mark",
            ),
            (r#"{"items":[]}"#, Code::NotFound, "has changed none"),
        ] {
            let (found, sentence) = of(text).unwrap_err();
            assert_eq!(found, code, "{text}");
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn a_snapshot_of_another_batch_is_never_written_over_and_one_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let file = SnapshotFile::new(Some(&path), &Value::Null).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = SnapshotFile::new(Some(&path), &Value::Null).unwrap_err();
        assert_eq!(again.code, Code::Usage, "{again}");
        assert!(again.sentence.contains("already"), "{again}");
        file.replace(&json!({"items": [1]})).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains('1'));
        file.remove();
        assert!(!path.exists());
        let nowhere = folder.path().join("none/s.json");
        let failed = SnapshotFile::new(Some(&nowhere), &Value::Null).unwrap_err();
        assert_eq!(failed.code, Code::Usage, "{failed}");
        assert!(failed.sentence.contains("nothing was changed"), "{failed}");
    }
}
