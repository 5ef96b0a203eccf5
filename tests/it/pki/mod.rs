//! `headcount pki` as its users see it: its files, its words, its exit codes, and what OpenSSL makes of them.

mod authority;
mod denying;
mod openssl;
mod refusals;
mod renewing;
mod revoking;
mod serving;
mod showing;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, Pem, X509Certificate};

use crate::support::program::headcount;

/// A folder in which commands run; the CA is in `headcount-pki` there.
struct Workshop(TempDir);

/// What a command did.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Workshop {
    /// One without a CA.
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with a CA.
    fn with_authority(flags: &[&str]) -> Self {
        let workshop = Self::new();
        workshop.done(&[&["init"], flags].concat());
        workshop
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_as(headcount(["pki"].iter().chain(args)))
    }

    fn run_as(&self, mut command: Command) -> Done {
        let output = command.current_dir(self.0.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command that works; its words.
    fn done(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(0), ""),
            "{args:?}: {done:#?}"
        );
        done.stdout
    }

    /// Runs a command that is refused as bad usage; its sentence. Nothing may have changed.
    fn refused(&self, args: &[&str]) -> String {
        let before = self.contents();
        let done = self.run(args);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(64), ""),
            "{args:?}: {done:#?}"
        );
        assert_eq!(self.contents(), before, "{args:?}");
        done.stderr
    }

    /// A file of the CA's folder.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("headcount-pki").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Every file of the CA's folder with its bytes.
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.path("")) else {
            return BTreeMap::new();
        };
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    fs::read(entry.path()).unwrap_or_default(),
                )
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }

    fn mode(&self, name: &str) -> u32 {
        mode(&self.path(name))
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The DER sections of a PEM text.
fn sections(pem: &str) -> Vec<Vec<u8>> {
    Pem::iter_from_buffer(pem.as_bytes())
        .map(|section| section.unwrap().contents)
        .collect()
}

fn certificate(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn list(der: &[u8]) -> CertificateRevocationList<'_> {
    let (rest, list) = CertificateRevocationList::from_der(der).unwrap();
    assert!(rest.is_empty());
    list
}

/// The length of a validity in days, without the minutes that its start lies in the past.
fn days(certificate: &X509Certificate<'_>) -> i64 {
    let validity = certificate.validity();
    (validity.not_after.timestamp() - validity.not_before.timestamp()) / (24 * 60 * 60)
}
