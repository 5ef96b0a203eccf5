//! What a configuration was made of: its file can be read again, with the same flags and environment.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, FromFile, Settings, from_file, read_file};

/// What a configuration is made of, so that its file can be read again.
#[derive(Debug, Clone, Default)]
pub struct Source {
    pub(super) file: Option<PathBuf>,
    /// Of flags and environment; `None` for a configuration that was made by a program.
    pub(super) settings: Option<Settings>,
}

impl Source {
    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The file's text, if there is a file.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn text(&self) -> Result<Option<String>, ConfigError> {
        self.file.as_deref().map(read_file).transpose()
    }

    pub(super) fn config(&self, text: Option<&str>) -> Result<Config, ConfigError> {
        let FromFile {
            settings: file,
            authorization,
            deprecated,
        } = match (&self.file, text) {
            (Some(path), Some(text)) => from_file(path, text)?,
            _ => FromFile::default(),
        };
        let settings = self.settings.clone().unwrap_or_default();
        Ok(Config {
            source: self.clone(),
            deprecated,
            ..settings.or(file).validate(authorization)?
        })
    }
}
