//! The file of the trail: gone on with where it ended, written in whole records, rotated.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    chain::{Head, LONGEST_LINE, Link, sha256},
    settings::TrailSettings,
};

/// How much of a file's end is looked at for its last record, in bytes.
const END: u64 = 4 * LONGEST_LINE as u64;

/// Why there is no trail to write to.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file.
    #[error(
        "failed to open the audit file {0:?}: {1}; it must be a file, in a folder that exists, that this process may write"
    )]
    Open(PathBuf, io::Error),
    /// Another process writes to it.
    #[error(
        "the audit file {0:?} is being written by another process: give each server a file of its own"
    )]
    Taken(PathBuf),
    /// It doesn't end with a record.
    #[error(
        "the audit file {path:?} doesn't end with a sound record, so that nothing can follow on it: {why}; look at it with `headcount audit verify`, and move it away to begin another one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with its end.
        why: &'static str,
    },
    /// The thread that writes.
    #[error("failed to start the thread that writes the audit trail: {0}")]
    Thread(io::Error),
}

/// What a crash, or a full disk, left of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// How a file goes on.
pub(super) struct Resumed {
    /// Where its chain, or that of the file before it, has come to; `None` begins one.
    pub(super) head: Option<Head>,
    /// What stands behind the last record.
    pub(super) torn: Option<Torn>,
}

/// The file that is written to.
pub(super) struct Trail {
    settings: TrailSettings,
    file: File,
    /// Bytes of whole records.
    size: u64,
    /// Whether something may stand behind them.
    torn: bool,
}

impl Trail {
    /// Opens the file, which nobody else may write to, and finds where it ended.
    pub(super) fn open(settings: &TrailSettings) -> Result<(Self, Resumed), AuditError> {
        let path = &settings.path;
        let failed = |error| AuditError::Open(path.clone(), error);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            let why = "it is no regular file; standard output is stdout: true";
            return Err(failed(io::Error::other(why)));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Taken(path.clone())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // One that is somebody else's keeps the mode that they gave it.
        let _ = file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
        sync_folder(path);
        let size = file.metadata().map_err(failed)?.len();
        let end = read_end(&file, size).map_err(failed)?;
        let resumed = if size == 0 {
            // A crash may have come between the old file's new name and this one's first record.
            let before = newest(settings).map_or(Ok(None), |path| last_of(&path));
            Resumed {
                head: before.map_err(failed)?,
                torn: None,
            }
        } else {
            resume(&end, size).map_err(|why| AuditError::Damaged {
                path: path.clone(),
                why,
            })?
        };
        let trail = Self {
            settings: settings.clone(),
            size: size - resumed.torn.as_ref().map_or(0, |torn| torn.bytes),
            // A record whose line has no end needs one.
            torn: size > 0 && (resumed.torn.is_some() || end.last() != Some(&b'\n')),
            file,
        };
        Ok((trail, resumed))
    }

    /// Whether nothing was written to it.
    pub(super) fn is_new(&self) -> bool {
        self.size == 0
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Whether it is time for another one.
    pub(super) fn is_full(&self) -> bool {
        self.size >= self.settings.max_size as u64
    }

    /// Whether what an append that failed left behind couldn't be taken away: the file must be opened anew.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Appends lines and waits until they are on disk: all of them, or the file is as it was, unless it [is torn](Self::is_torn) then.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let start = if self.torn { "\n" } else { "" };
        let written = (&self.file)
            .write_all(start.as_bytes())
            .and_then(|()| (&self.file).write_all(lines.as_bytes()))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                let torn = if self.torn {
                    self.file.metadata()?.len() - self.size - lines.len() as u64
                } else {
                    0
                };
                self.size += torn + lines.len() as u64;
                self.torn = false;
                Ok(())
            }
            Err(error) => {
                // A file that may only grow refuses that.
                if !self.torn && self.file.set_len(self.size).is_err() {
                    self.torn = true;
                }
                Err(error)
            }
        }
    }

    /// What somebody else did to the file since it was last written to, if anything.
    pub(super) fn meddled(&mut self) -> Option<Meddled> {
        let ours = self.file.metadata().ok()?;
        let there = match fs::metadata(&self.settings.path) {
            Ok(there) => Some((there.dev(), there.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        if there != Some((ours.dev(), ours.ino())) {
            return Some(Meddled::Replaced);
        }
        if !self.torn && ours.len() != self.size {
            self.size = ours.len();
            return Some(Meddled::Changed);
        }
        None
    }

    /// Gives the file a name of its own, by its first record, and says which.
    pub(super) fn put_away(&self) -> io::Result<PathBuf> {
        let start = read_start(&self.file)?;
        let first = start.map_or(0, |link| link.record);
        let path = rotated(&self.settings.path, first);
        // Never over one that is there.
        if path.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{path:?} exists already"),
            ));
        }
        fs::rename(&self.settings.path, &path)?;
        sync_folder(&path);
        Ok(path)
    }
}

/// What somebody else did to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meddled {
    /// It was moved away or removed.
    Replaced,
    /// It was written to or cut.
    Changed,
}

/// Moves a file away on which nothing can follow, and says where to.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = jiff::Timestamp::now().as_millisecond();
    let aside = named(path, &format!("-damaged-{now}"));
    fs::rename(path, &aside)?;
    sync_folder(path);
    Ok(aside)
}

/// Removes the oldest rotated files beyond those that are kept, and says which.
pub(super) fn prune(settings: &TrailSettings) -> io::Result<Vec<PathBuf>> {
    let all = rotated_files(&settings.path)?;
    let over = all.len().saturating_sub(settings.keep);
    let mut removed = Vec::new();
    for (_, path) in all.into_iter().take(over) {
        fs::remove_file(&path)?;
        removed.push(path);
    }
    Ok(removed)
}

/// `audit-000000000001.log` of `audit.log`.
fn rotated(path: &Path, first: u64) -> PathBuf {
    named(path, &format!("-{first:012}"))
}

/// The path with something behind the stem of its name.
fn named(path: &Path, more: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}{more}.{}", extension.to_string_lossy()),
        None => format!("{stem}{more}"),
    };
    path.with_file_name(name)
}

/// All rotated files of a path, oldest first.
fn rotated_files(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let there = entry?.path();
        let stem = there.file_stem().unwrap_or_default().to_string_lossy();
        let first = stem
            .rsplit_once('-')
            .filter(|(_, digits)| digits.len() >= 12)
            .and_then(|(_, digits)| digits.parse().ok());
        if let Some(first) = first
            && rotated(path, first) == there
        {
            all.push((first, there));
        }
    }
    all.sort_unstable();
    Ok(all)
}

fn newest(settings: &TrailSettings) -> Option<PathBuf> {
    let mut all = rotated_files(&settings.path).ok()?;
    all.pop().map(|(_, path)| path)
}

fn last_of(path: &Path) -> io::Result<Option<Head>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let end = read_end(&file, size)?;
    // One that can't be gone on with begins a new chain.
    Ok(resume(&end, size).ok().and_then(|resumed| resumed.head))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Has a new name survive a loss of power; not all file systems can.
fn sync_folder(path: &Path) {
    let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
}

fn read_end(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let from = size.saturating_sub(END);
    let mut end = vec![0; usize::try_from(size - from).unwrap_or(0)];
    file.read_exact_at(&mut end, from)?;
    Ok(end)
}

fn read_start(file: &File) -> io::Result<Option<Link>> {
    let mut start = vec![0; LONGEST_LINE];
    let read = file.read_at(&mut start, 0)?;
    let line = start[..read].split(|byte| *byte == b'\n').next();
    Ok(line.and_then(Link::read))
}

/// How a file of `size` bytes that ends so goes on.
fn resume(end: &[u8], size: u64) -> Result<Resumed, &'static str> {
    let torn = |from: usize| {
        let left = &end[from.min(end.len())..];
        (!left.is_empty()).then(|| Torn {
            bytes: left.len() as u64,
            sha256: sha256(left),
        })
    };
    let mut line_end = end.len() - usize::from(end.last() == Some(&b'\n'));
    loop {
        let line = last_line(&end[..line_end]);
        let start = line_end - line.len();
        if let Some(link) = Link::read(line).filter(|link| link.sound) {
            return Ok(Resumed {
                head: Some(link.head()),
                torn: torn(line_end + 1),
            });
        }
        // A part of a record that couldn't be written whole has no such end.
        if line.ends_with(b"\"}") {
            return Err("its last record was changed");
        }
        if start == 0 && end.len() as u64 == size {
            // A crash during its very first record.
            return Ok(Resumed {
                head: None,
                torn: torn(0),
            });
        }
        if start == 0 {
            return Err("there is no record for longer than any record is");
        }
        line_end = start - 1;
    }
}

fn last_line(lines: &[u8]) -> &[u8] {
    let start = lines.iter().rposition(|byte| *byte == b'\n');
    &lines[start.map_or(0, |at| at + 1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(records: u64) -> (Head, String) {
        let (mut head, mut lines) = (Head::new(), String::new());
        for _ in 0..records {
            head.add("\"event\":\"a.b\"", &mut lines);
        }
        (head, lines)
    }

    fn resumed(text: &str) -> Result<Resumed, &'static str> {
        resume(text.as_bytes(), text.len() as u64)
    }

    #[test]
    fn a_file_goes_on_after_its_last_record() {
        let (head, lines) = lines(3);
        for text in [lines.as_str(), lines.trim_end()] {
            let resumed = resumed(text).unwrap();
            assert_eq!((resumed.head, resumed.torn), (Some(head.clone()), None));
        }
    }

    #[test]
    fn what_a_crash_left_of_a_record_is_told_apart_from_a_changed_one() {
        let (head, lines) = lines(2);
        let torn = &lines[..lines.len() / 3];
        let found = resumed(&format!("{lines}{torn}")).unwrap();
        assert_eq!(found.head, Some(head));
        let left = found.torn.unwrap();
        assert_eq!(
            (left.bytes, left.sha256),
            (torn.len() as u64, sha256(torn.as_bytes()))
        );
        assert!(resumed(torn).unwrap().head.is_none(), "of the first record");
        assert!(resumed(&lines.replace("a.b", "a.c")).is_err());
        assert!(resumed(&format!("{lines}{{\"event\":\"forged\"}}\n")).is_err());
    }

    #[test]
    fn a_file_that_another_server_writes_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TrailSettings::at(folder.path().join("audit.log"));
        let (first, _) = Trail::open(&settings).unwrap();
        assert!(matches!(Trail::open(&settings), Err(AuditError::Taken(_))));
        drop(first);
        assert!(Trail::open(&settings).is_ok());
        let mode = fs::metadata(&settings.path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_new_file_goes_on_where_the_newest_rotated_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TrailSettings::at(folder.path().join("audit.log"));
        let (head, lines) = lines(5);
        let (mut trail, _) = Trail::open(&settings).unwrap();
        trail.append(&lines).unwrap();
        let away = trail.put_away().unwrap();
        assert_eq!(away, folder.path().join("audit-000000000001.log"));
        drop(trail);
        let (trail, resumed) = Trail::open(&settings).unwrap();
        assert!(trail.is_new());
        assert_eq!(resumed.head, Some(head));
    }

    #[test]
    fn only_rotated_files_of_its_own_are_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TrailSettings {
            keep: 2,
            ..TrailSettings::at(folder.path().join("audit.log"))
        };
        let files = [
            "audit-000000000001.log",
            "audit-000000000009.log",
            "audit-1000000000000.log",
        ];
        let others = [
            "audit-1.log",
            "audit-000000000001.txt",
            "other-000000000001.log",
            "audit.log",
        ];
        for name in files.iter().chain(&others) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(prune(&settings).unwrap(), [folder.path().join(files[0])]);
        assert!(prune(&settings).unwrap().is_empty());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
    }
}
