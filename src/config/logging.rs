//! What the configuration file says of log lines; for their form and their least severity there are flags too.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    telemetry::events,
    telemetry::log::{FileSettings, Format, Levels, LogSettings, Severity},
    yaml::given,
};

/// `logging` in the file.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = [{"if": {"required": ["stderr"], "properties": {"stderr": {"const": false}}}, "then": {"required": ["file"]}}]))]
pub(super) struct Logging {
    /// The form of all lines.
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = Format::default()))]
    format: Option<Format>,
    /// The least severity that is logged.
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = Severity::default()))]
    level: Option<Severity>,
    /// The least severity of some events, by the first words of their types.
    #[serde(default)]
    levels: BTreeMap<String, Severity>,
    /// Whether lines go to stderr.
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("default" = true))]
    stderr: Option<bool>,
    /// A file that they go to.
    #[serde(default, deserialize_with = "given")]
    file: Option<FileSettings>,
}

impl Logging {
    /// What can't be, and why.
    pub(super) fn check(&self) -> Result<(), (String, &'static str)> {
        let known = |words: &str| {
            let of_library = words.strip_prefix("library.");
            events::any_begins_with(words) || of_library.is_some_and(|name| !name.is_empty())
        };
        if let Some(unknown) = self.levels.keys().find(|words| !known(words)) {
            let why = "no event begins with these words; docs/events.md lists all, and library.NAME is a library's";
            return Err((unknown.clone(), why));
        }
        if self.stderr == Some(false) && self.file.is_none() {
            let why = "without a file (logging.file) all lines would be lost";
            return Err(("stderr: false".into(), why));
        }
        Ok(())
    }

    /// The settings that these make with what was given elsewhere, which wins.
    pub(super) fn settings(self, format: Option<Format>, level: Option<Severity>) -> LogSettings {
        LogSettings {
            format: format.or(self.format).unwrap_or_default(),
            levels: Levels {
                general: level.or(self.level).unwrap_or_default(),
                of: self.levels,
            },
            stderr: self.stderr.unwrap_or(true),
            file: self.file,
        }
    }
}
