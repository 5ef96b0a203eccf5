//! The file of contexts: servers by name, with the files of the client that asks them.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{ClientFiles, ServerAddress};
use crate::pki;

/// How long another command's change of the file is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether it is done.
const PERIOD: Duration = Duration::from_millis(10);

/// Contexts, as they stand in their file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All of them, by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// A server, and who asks it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// `https://HOST[:PORT]`.
    #[serde(deserialize_with = "address", serialize_with = "as_text")]
    pub server: ServerAddress,
    /// The CAs that the server's certificate may come from; relative to the file of contexts, as the other paths.
    pub ca: PathBuf,
    /// The client's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The namespace of names without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Why there are no contexts.
#[derive(Debug, thiserror::Error)]
pub enum ContextsError {
    /// Nobody says where the file is.
    #[error(
        "there is no place for contexts: set HEADCOUNT_CONTEXTS to a file, or HOME to a folder"
    )]
    Nowhere,
    /// It is there and can't be read.
    #[error(
        "failed to read the contexts in {path:?}: {source}; make the file readable, or name another one in HEADCOUNT_CONTEXTS"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What stands in it can't be.
    #[error("failed to understand the contexts in {path:?}{}: {why}; correct it, or remove the file and add its contexts anew with `headcount context add`", line.map(|l| format!(" at line {l}")).unwrap_or_default())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u64>,
        /// Why.
        why: String,
    },
    /// Nobody knows whether another command changes it.
    #[error(
        "failed to lock the contexts by {path:?}: {why}; see that no other `headcount context` runs, and that the folder can be written to"
    )]
    Lock {
        /// The file that is locked.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It can't be written.
    #[error("failed to keep the contexts: {0}")]
    Write(#[from] pki::Error),
    /// A path isn't UTF-8.
    #[error("failed to keep the contexts: {0}; name the files by paths of UTF-8")]
    Unwritable(serde_json::Error),
    /// No context of this name.
    #[error("there is no context {name:?} in {path:?}: {}", known.as_deref().map_or_else(|| "it has none; make one with `headcount context add`".to_owned(), |k| format!("it has {k}")))]
    Unknown {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Those that there are, if there are any.
        known: Option<String>,
    },
}

impl Contexts {
    /// Where the file is: `$HEADCOUNT_CONTEXTS`, or `headcount/contexts.yaml` in `$XDG_CONFIG_HOME` or `~/.config`.
    ///
    /// # Errors
    /// When nothing in the environment says so.
    pub fn file() -> Result<PathBuf, ContextsError> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(file) = set("HEADCOUNT_CONTEXTS") {
            return Ok(file.into());
        }
        let folder = set("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            // The specification has relative ones ignored.
            .filter(|folder| folder.is_absolute())
            .or_else(|| Some(Path::new(&set("HOME")?).join(".config")));
        let folder = folder.ok_or(ContextsError::Nowhere)?;
        Ok(folder.join("headcount").join("contexts.yaml"))
    }

    /// Reads a file; one that isn't there has none.
    ///
    /// # Errors
    /// When it can't be read, or not understood.
    pub fn read(path: &Path) -> Result<Self, ContextsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(ContextsError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| {
            let (line, why) = crate::yaml::fault(&error, &text);
            ContextsError::Wrong {
                path: path.to_owned(),
                line,
                why,
            }
        })
    }

    /// Changes a file, which no other command changes meanwhile: it is written whole, for its owner alone, its folder if that isn't
    /// there.
    ///
    /// # Errors
    /// When the change fails, and when the file can't be locked within 5 s, read or written; what stood there still stands.
    pub fn change<E: From<ContextsError>>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            pki::create_folder(folder).map_err(ContextsError::from)?;
        }
        // Beside it, since it is replaced by another file.
        let _lock = lock(&path.with_added_extension("lock"))?;
        let mut contexts = Self::read(path)?;
        change(&mut contexts)?;
        let value = serde_json::to_value(&contexts).map_err(ContextsError::Unwritable)?;
        let text = crate::yaml::written(&value);
        pki::write_private(path, &text).map_err(ContextsError::from)?;
        Ok(())
    }

    /// The context of a name.
    ///
    /// # Errors
    /// When there is none; the error names those that there are.
    pub fn named(&self, name: &str, path: &Path) -> Result<&Context, ContextsError> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            ContextsError::Unknown {
                name: name.to_owned(),
                path: path.to_owned(),
                known: (!known.is_empty()).then(|| known.join(", ")),
            }
        })
    }
}

impl Context {
    /// The client's files, told from the folder of the file of contexts.
    #[must_use]
    pub fn files(&self, path: &Path) -> ClientFiles {
        let folder = path.parent().unwrap_or(Path::new(""));
        ClientFiles {
            ca: folder.join(&self.ca),
            cert: folder.join(&self.cert),
            key: folder.join(&self.key),
        }
    }
}

/// A lock, for as long as the file is open; the file stays, since whoever waits for it has it open.
fn lock(path: &Path) -> Result<File, ContextsError> {
    let failed = |why: String| ContextsError::Lock {
        path: path.to_owned(),
        why,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| failed(error.to_string()))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PERIOD),
            Err(TryLockError::WouldBlock) => {
                return Err(failed(format!(
                    "another command has had it for {PATIENCE:?}"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error.to_string())),
        }
    }
}

fn address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ServerAddress, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn as_text<S: serde::Serializer>(address: &ServerAddress, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(address)
}
