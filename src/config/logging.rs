//! What the configuration file says of log lines, beside their form and their least severity, which flags have too.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    telemetry::log::{FileSettings, Levels, LogSettings, Severity},
    yaml::given,
};

/// `logging` in the file.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Logging {
    /// The least severity of some events, by the first words of their types.
    #[serde(default)]
    levels: BTreeMap<String, Severity>,
    /// Whether lines go to stderr.
    #[serde(default, deserialize_with = "given")]
    stderr: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    file: Option<FileSettings>,
}

impl Logging {
    /// What can't be, and why.
    pub(super) fn check(&self) -> Result<(), (String, &'static str)> {
        if self.stderr == Some(false) && self.file.is_none() {
            let why = "without a file (logging.file) all lines would be lost";
            return Err(("stderr: false".into(), why));
        }
        Ok(())
    }

    /// The settings that these make with the least severity of everything else.
    pub(super) fn from(self, general: Severity) -> LogSettings {
        LogSettings {
            levels: Levels {
                general,
                of: self.levels,
            },
            stderr: self.stderr.unwrap_or(true),
            file: self.file,
            ..LogSettings::default()
        }
    }
}
