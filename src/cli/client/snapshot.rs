//! The file that keeps what a batch found before it changed it: it is there before anything is sent.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
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

/// A file of a snapshot, for its owner alone. Its name is reserved: whoever else comes at the same time gets another one, or is refused.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    /// What stands there by now, as far as it is this one's.
    own: Identity,
}

/// By which a file is known from another one of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl SnapshotFile {
    /// A new file, in which stands what is known beforehand; one that is there already is left as it is.
    pub(super) fn new(given: Option<&Path>, known: &Value) -> Result<Self, Failed> {
        let mut file = match given {
            Some(path) => Self::reserved(path)?.ok_or_else(|| there_already(path))?,
            None => {
                let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
                Self::free(Path::new(""), &now)?
            }
        };
        let none = json!({ "items": [] });
        let known = if known.is_null() { &none } else { known };
        if let Err(error) = file.write(known) {
            file.remove();
            return Err(not_kept(&error));
        }
        Ok(file)
    }

    /// Makes an empty file, which nobody else can make then; nothing if there is one of that name.
    fn reserved(path: &Path) -> Result<Option<Self>, Failed> {
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made.and_then(|file| file.metadata()) {
            Ok(metadata) => Ok(Some(Self {
                path: path.to_owned(),
                own: Identity::of(&metadata),
            })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(source) => Err(not_kept(&pki::Error::Write {
                path: path.to_owned(),
                source,
            })),
        }
    }

    /// One by a name that no file in this folder has.
    fn free(folder: &Path, time: &str) -> Result<Self, Failed> {
        let first = format!("{PREFIX}{time}.json");
        let others = (2..1000).map(|n| format!("{PREFIX}{time}-{n}.json"));
        for name in std::iter::once(first).chain(others) {
            if let Some(file) = Self::reserved(&folder.join(name))? {
                return Ok(file);
            }
        }
        Err(Failed::usage(
            "this folder has a thousand snapshots of this second; name a file with --snapshot",
        ))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what stands there is this one's own: somebody may have taken it away, and put another in its place.
    fn is_own(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| Identity::of(&there) == self.own)
    }

    /// Whole or not at all, on the disk before this is done.
    fn write(&mut self, snapshot: &Value) -> Result<(), pki::Error> {
        let failed = |source| pki::Error::Write {
            path: self.path.clone(),
            source,
        };
        if !self.is_own() {
            let why = "somebody has taken it away, or put another file in its place";
            return Err(failed(io::Error::other(why)));
        }
        pki::write_private(&self.path, &format!("{snapshot:#}\n"))?;
        self.own = Identity::of(&fs::symlink_metadata(&self.path).map_err(failed)?);
        Ok(())
    }

    /// Puts what the server has answered in the place of what was known; what can't be kept is told, for whoever reads it to keep.
    pub(super) fn replace(&mut self, snapshot: &Value) -> Result<(), Failed> {
        self.write(snapshot).map_err(|error| {
            Failed::new(
                Code::Failed,
                format!("failed to keep the snapshot: {error}; keep it yourself, it is {snapshot}"),
            )
        })
    }

    /// There is nothing to bring back.
    pub(super) fn remove(self) {
        if self.is_own() {
            // What is left of it says that itself.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn not_kept(error: &pki::Error) -> Failed {
    Failed::usage(format!(
        "failed to keep what is there now: {error}; nothing was changed; name a file that can be written with --snapshot"
    ))
}

fn there_already(path: &Path) -> Failed {
    Failed::usage(format!(
        "there is a file {path:?} already, which may be the only way back from another batch: name another one with --snapshot"
    ))
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

/// Refuses a file that is there already, before anything is asked: it is reserved only when something is to be set.
pub(super) fn not_there(path: &Path) -> Result<(), Failed> {
    let there = path.try_exists().map_err(|error| {
        Failed::usage(format!(
            "failed to look for {path:?}: {error}; name a file that can be written with --snapshot"
        ))
    })?;
    match there || path.is_symlink() {
        true => Err(there_already(path)),
        false => Ok(()),
    }
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
        let mut file = SnapshotFile::new(Some(&path), &Value::Null).unwrap();
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

    #[test]
    fn of_many_at_once_each_has_a_file_of_its_own_and_one_alone_has_the_name_that_was_given() {
        const MANY: usize = 16;
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("s.json");
        let start = std::sync::Barrier::new(MANY);
        let made: Vec<_> = std::thread::scope(|threads| {
            let one = |n: usize| {
                let (start, given, folder) = (&start, &given, folder.path());
                threads.spawn(move || {
                    start.wait();
                    let named = SnapshotFile::new(Some(given), &json!({"items": [n]}));
                    let mut file = SnapshotFile::free(folder, "t").unwrap();
                    file.replace(&json!({"items": [n]})).unwrap();
                    (n, named, file)
                })
            };
            let all: Vec<_> = (0..MANY).map(one).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let kept = |path: &Path| -> Value {
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
        };
        for (n, _, file) in &made {
            assert_eq!(kept(file.path()), json!({"items": [n]}));
        }
        let named: Vec<_> = made.iter().filter(|(_, named, _)| named.is_ok()).collect();
        assert_eq!(named.len(), 1, "{made:?}");
        assert_eq!(kept(&given), json!({"items": [named[0].0]}));
    }

    #[test]
    fn what_others_have_put_in_the_place_of_a_snapshot_is_neither_written_over_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.json");
        let mut file = SnapshotFile::new(Some(&path), &Value::Null).unwrap();
        let other = folder.path().join("other.json");
        fs::write(&other, "other").unwrap();
        fs::rename(&other, &path).unwrap();
        let failed = file.replace(&json!({"items": [1]})).unwrap_err();
        assert!(
            failed.sentence.contains("another file in its place"),
            "{failed}"
        );
        assert!(
            failed.sentence.contains(r#"it is {"items":[1]}"#),
            "{failed}"
        );
        file.remove();
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    }
}
