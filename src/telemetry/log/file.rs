//! The log file: only its owner reads it, and it is rotated by size.
//!
//! A full file `x` becomes `x.1`, which was `x.2` to be, and so on: a collector that follows files by their inode loses nothing.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tracing::warn;

use crate::limits::Bytes;

/// The least size of a file: more than is written at once.
const LEAST: usize = 64 * 1024;
/// The largest size of a file.
const MOST: usize = 64 * 1024 * 1024 * 1024;
/// Its owner's alone: lines have names and addresses.
const MODE: u32 = 0o600;

/// Where the log file is, and how much room it takes: `maxSize` times one more than `keep`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSettings {
    /// The file.
    pub path: PathBuf,
    /// How large it gets, in bytes.
    #[serde(default = "usual_size", with = "Bytes::<LEAST, MOST>")]
    pub max_size: usize,
    /// How many earlier ones are kept.
    #[serde(default = "usual_number", deserialize_with = "number")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

fn usual_size() -> usize {
    64 * 1024 * 1024
}

fn usual_number() -> u32 {
    3
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    if (1..=100).contains(&number) {
        return Ok(number);
    }
    let why = format!("{number} earlier files can't be kept: write 1 to 100");
    Err(serde::de::Error::custom(why))
}

/// A log file that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the log file {path:?} (logging.file): {why}")]
pub struct FileError {
    path: PathBuf,
    why: String,
}

/// The file as it is written.
pub(super) struct LogFile {
    settings: FileSettings,
    file: File,
    length: u64,
    /// Whether it was said that it can't be rotated.
    told: bool,
}

impl LogFile {
    pub(super) fn open(settings: FileSettings) -> Result<Self, FileError> {
        match open(&settings.path) {
            Ok((file, length)) => Ok(Self {
                settings,
                file,
                length,
                told: false,
            }),
            Err(error) => Err(FileError {
                path: settings.path,
                why: error.to_string(),
            }),
        }
    }

    /// Writes whole lines, all of them or none.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.is_in_place() {
            // Somebody took it away; what they have is theirs.
            self.open_anew()?;
        }
        let most = self.settings.max_size as u64;
        if self.length > 0 && self.length + lines.len() as u64 > most {
            self.rotate()?;
        }
        let written = self.file.write_all(lines);
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // A part of a line would spoil the next one. If it stays, opening ends it.
            Err(_) => {
                let _ = self.file.set_len(self.length);
            }
        }
        written
    }

    fn is_in_place(&self) -> bool {
        let there = fs::metadata(&self.settings.path);
        match (there, self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        }
    }

    fn open_anew(&mut self) -> io::Result<()> {
        (self.file, self.length) = open(&self.settings.path)?;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let FileSettings { path, keep, .. } = &self.settings;
        let renamed = (1..*keep)
            .rev()
            .try_for_each(|number| {
                match fs::rename(earlier(path, number), earlier(path, number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            })
            .and_then(|()| fs::rename(path, earlier(path, 1)));
        match renamed {
            Ok(()) => {
                self.told = false;
                self.open_anew()
            }
            // Better too long than lost.
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    warn!(name: "log.rotation.failed", path = %path.display(), error = %error, "the log file can't be rotated and grows beyond logging.file.maxSize: let this program rename files in its folder");
                }
                Ok(())
            }
        }
    }
}

/// The name of an earlier file; 1 is the latest.
fn earlier(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Opens or makes a file for appending; its last line is whole.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // What isn't a file could wait for a reader already when it is opened.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(io::Error::other("it isn't a regular file"));
    }
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(MODE)
        .open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::other("another process writes to it"));
        }
        // Where there are no locks, there is no protection.
        Err(TryLockError::Error(_)) | Ok(()) => {}
    }
    let metadata = file.metadata()?;
    if metadata.mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    let mut length = metadata.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            length += 1;
        }
    }
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(path: &Path) -> FileSettings {
        FileSettings {
            path: path.to_owned(),
            max_size: 10,
            keep: 2,
        }
    }

    fn read(path: impl AsRef<Path>) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_full_file_makes_room_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(small(&path)).unwrap();
        for line in ["1111111\n", "22\n", "33\n", "44\n", "5555555\n", "66\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "66\n");
        assert_eq!(read(folder.path().join("log.1")), "5555555\n");
        assert_eq!(read(folder.path().join("log.2")), "22\n33\n44\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn all_files_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut log = LogFile::open(small(&path)).unwrap();
        log.write(b"after that\n").unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(read(folder.path().join("log.1")), "before\n");
    }

    #[test]
    fn a_start_goes_on_behind_what_is_there_and_ends_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "a\nto").unwrap();
        LogFile::open(small(&path)).unwrap().write(b"b\n").unwrap();
        assert_eq!(read(&path), "a\nto\nb\n");
    }

    #[test]
    fn a_file_that_was_moved_or_deleted_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(small(&path)).unwrap();
        log.write(b"a\n").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        log.write(b"b\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.write(b"c\n").unwrap();
        assert_eq!(read(&path), "c\n");
        assert_eq!(read(folder.path().join("moved")), "a\n");
    }

    #[test]
    fn two_processes_dont_write_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let _first = LogFile::open(small(&path)).unwrap();
        let second = LogFile::open(small(&path)).err().unwrap().to_string();
        assert!(second.contains("another process writes to it"), "{second}");
    }

    #[test]
    fn a_folder_and_a_missing_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none/log")] {
            let error = LogFile::open(small(&path)).err().unwrap().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
        }
    }

    #[test]
    fn a_file_that_cant_be_rotated_grows_rather_than_losing_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::open(small(&path)).unwrap();
        // A folder with something in it is in the way.
        fs::create_dir_all(folder.path().join("log.1/x")).unwrap();
        fs::create_dir_all(folder.path().join("log.2/x")).unwrap();
        for line in ["1111111\n", "2222222\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "1111111\n2222222\n");
    }
}
