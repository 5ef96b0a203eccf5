//! The files that certificates and keys are written to, and the demo's set of them.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{Authority, Error, Issued, Leaf, random_bytes};

/// Writes a private key, readable by its owner alone from the first byte on.
///
/// The file appears whole or not at all; one that exists is replaced, whatever its mode was.
///
/// # Errors
/// When the file cannot be written; what stood there before still stands.
pub fn write_private(path: &Path, pem: &str) -> Result<(), Error> {
    write_all(&[NewFile::private(path, pem)])
}

/// Writes a certificate or a bundle, readable by everyone (less the umask); whole or not at all, like [`write_private`].
///
/// # Errors
/// As [`write_private`].
pub fn write_certificate(path: &Path, pem: &str) -> Result<(), Error> {
    write_all(&[NewFile::public(path, pem)])
}

/// Creates a folder, and those above it, with access for its owner alone. One that exists is left as it is.
///
/// # Errors
/// When it cannot be created, or something that is no folder stands there.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Folder {
            path: path.to_owned(),
            source,
        })
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate, with its intermediates if there are any.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Pair {
    /// The pair `NAME.crt`, `NAME.key` in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        }
    }

    /// Writes what was issued to these two files, the key first.
    ///
    /// # Errors
    /// As [`write_private`].
    pub fn write(&self, issued: &Issued) -> Result<(), Error> {
        write_all(&[
            NewFile::private(&self.key, &issued.key_pem),
            NewFile::public(&self.certificate, &issued.chain_pem),
        ])
    }
}

/// The files that [`write_demo`] leaves.
#[derive(Debug, Clone)]
pub struct DemoFiles {
    /// The folder that holds them all.
    pub folder: PathBuf,
    /// `ca.crt`: the authority of the server and of the clients that are let in.
    pub ca: PathBuf,
    /// `server.crt` and `server.key`.
    pub server: Pair,
    /// `client.crt` and `client.key`: alice, a person.
    pub client: Pair,
    /// `client2.crt` and `client2.key`: ci-pipeline, a program.
    pub client2: Pair,
    /// `expired.crt` and `expired.key`: a client whose certificate ended yesterday.
    pub expired: Pair,
    /// `foreign-ca.crt`: an authority that the server does not know.
    pub foreign_ca: PathBuf,
    /// `foreign.crt` and `foreign.key`: a client of that authority.
    pub foreign: Pair,
}

/// The names of a server for trying things out: this machine's own, and those of a Service `headcount` in a namespace `headcount`.
pub const SERVER_NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "headcount",
    "headcount.headcount",
    "headcount.headcount.svc",
    "headcount.headcount.svc.cluster.local",
];

/// Makes an authority and every certificate that the demo and its tests need, and writes them into `folder`.
///
/// The folder is created with access for its owner alone. Files of an earlier run are replaced, all of them, only after
/// everything new has been made; other files in it stay.
///
/// # Errors
/// When a certificate cannot be made or a file not be written.
pub fn write_demo(folder: &Path) -> Result<DemoFiles, Error> {
    let authority = Authority::new("headcount demo CA")?;
    let foreign_authority = Authority::new("foreign CA")?;
    let server = authority.issue(&Leaf::server(&SERVER_NAMES))?;
    let client = authority.issue(&Leaf::client("alice"))?;
    let client2 = authority.issue(&Leaf::client("ci-pipeline"))?;
    let expired = authority.issue(&Leaf::client("expired").expired())?;
    let foreign = foreign_authority.issue(&Leaf::client("mallory"))?;

    let files = DemoFiles {
        folder: folder.to_owned(),
        ca: folder.join("ca.crt"),
        server: Pair::in_folder(folder, "server"),
        client: Pair::in_folder(folder, "client"),
        client2: Pair::in_folder(folder, "client2"),
        expired: Pair::in_folder(folder, "expired"),
        foreign_ca: folder.join("foreign-ca.crt"),
        foreign: Pair::in_folder(folder, "foreign"),
    };
    create_folder(folder)?;
    write_certificate(&files.ca, &authority.certificate_pem())?;
    files.server.write(&server)?;
    files.client.write(&client)?;
    files.client2.write(&client2)?;
    files.expired.write(&expired)?;
    write_certificate(&files.foreign_ca, &foreign_authority.certificate_pem())?;
    files.foreign.write(&foreign)?;
    Ok(files)
}

/// A file to be written: where, what, and its mode.
pub(super) struct NewFile<'a> {
    pub(super) path: &'a Path,
    pub(super) content: &'a str,
    pub(super) mode: u32,
}

impl<'a> NewFile<'a> {
    /// One that its owner alone may read.
    pub(super) fn private(path: &'a Path, content: &'a str) -> Self {
        Self {
            path,
            content,
            mode: 0o600,
        }
    }

    /// One that everyone may read, less the umask.
    pub(super) fn public(path: &'a Path, content: &'a str) -> Self {
        Self {
            path,
            content,
            mode: 0o644,
        }
    }

    /// One that takes the place of another and keeps its mode; 0644, less the umask, where there is none.
    pub(super) fn replacing(path: &'a Path, content: &'a str) -> Self {
        let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o777);
        Self {
            path,
            content,
            mode,
        }
    }
}

/// Writes several files in this order. None is touched before all are on the disk under other names.
pub(super) fn write_all(files: &[NewFile<'_>]) -> Result<(), Error> {
    let mut waiting = Vec::new();
    let written = write_and_rename(files, &mut waiting);
    for new in &waiting {
        // Nothing can be done about a failure here, and the first one says more.
        let _ = fs::remove_file(new);
    }
    written
}

/// Writes next to each file under a name that nobody else uses, then renames: readers see the old file or the new one.
///
/// `waiting` holds what was written and not renamed.
fn write_and_rename(files: &[NewFile<'_>], waiting: &mut Vec<PathBuf>) -> Result<(), Error> {
    for NewFile {
        path,
        content,
        mode,
    } in files
    {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(
            ".{:032x}.new",
            u128::from_be_bytes(random_bytes()?)
        ));
        let new = path.with_file_name(name);
        waiting.push(new.clone());
        create_with(&new, content, *mode).map_err(write_error(path))?;
    }
    for NewFile { path, .. } in files {
        // The one way in which a rename can fail that is no accident, so that none fails after another was done.
        if path.is_dir() {
            return Err(write_error(path)(io::ErrorKind::IsADirectory.into()));
        }
    }
    for NewFile { path, .. } in files {
        fs::rename(&waiting[0], path).map_err(write_error(path))?;
        waiting.remove(0);
    }
    for NewFile { path, .. } in files {
        sync_folder(path).map_err(write_error(path))?;
    }
    Ok(())
}

/// A rename is only as lasting as its folder.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Write {
        path: path.to_owned(),
        source,
    }
}

fn create_with(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
