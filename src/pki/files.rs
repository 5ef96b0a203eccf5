//! The files that certificates and keys are written to, and the demo's set of them.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
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
    write_whole(path, pem, 0o600)
}

/// Writes a certificate or a bundle, readable by everyone (less the umask); whole or not at all, like [`write_private`].
///
/// # Errors
/// As [`write_private`].
pub fn write_certificate(path: &Path, pem: &str) -> Result<(), Error> {
    write_whole(path, pem, 0o644)
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
        write_private(&self.key, &issued.key_pem)?;
        write_certificate(&self.certificate, &issued.chain_pem)
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

/// Writes next to `path` under a name that nobody else uses, then renames: readers see the old file or the new one.
fn write_whole(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".{:032x}.new",
        u128::from_be_bytes(random_bytes()?)
    ));
    let new = path.with_file_name(name);
    let written = create_with(&new, content, mode).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Nothing can be done about a failure here, and the first one says more.
        let _ = fs::remove_file(&new);
    }
    written.map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
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
