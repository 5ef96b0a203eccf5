//! `audit` in the configuration file: where records go, and what happens when they can't.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    limits::{Bytes, Time},
    yaml::given,
};

/// The least size at which a file is rotated, in bytes …
const LEAST_SIZE: usize = 64 << 10;
/// … and the largest.
const LARGEST_SIZE: usize = 64 << 30;

/// Where records of the audit trail go. By default nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("anyOf" = [
    {"required": ["file"]},
    {"required": ["stdout"], "properties": {"stdout": {"const": true}}},
]))]
pub struct AuditSettings {
    /// A file, which is rotated.
    pub file: Option<TrailSettings>,
    /// Standard output.
    pub stdout: bool,
    /// What becomes of writes while records can't be written.
    pub failure_policy: FailurePolicy,
    /// When the log is told how far the trail has come.
    pub checkpoints: Checkpoints,
}

/// The file of an audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrailSettings {
    /// The file that is written to; its folder must exist.
    pub path: PathBuf,
    /// From this size on, in bytes, another file is begun: 64Ki to 64Gi.
    #[serde(default = "usual_size", with = "Bytes::<LEAST_SIZE, LARGEST_SIZE>")]
    pub max_size: usize,
    /// So many rotated files are kept beside it: 1 to 100000.
    #[serde(default = "usual_keep", deserialize_with = "keep")]
    #[schemars(range(min = 1, max = 100_000))]
    pub keep: usize,
}

/// What becomes of writes while records can't be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FailurePolicy {
    /// They are refused before anything is sent to Kubernetes.
    #[default]
    Closed,
    /// They go on; lost records are counted.
    Open,
}

/// When the log is told how far the trail has come, besides at its start and end and with each new file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Checkpoints {
    /// After so many records: 1 to 1000000.
    #[serde(deserialize_with = "records")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub records: u64,
    /// After this time, if there were any.
    #[serde(with = "Time")]
    pub interval: Duration,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            records: 1000,
            interval: Duration::from_secs(60),
        }
    }
}

impl TrailSettings {
    /// This file, with the default sizes.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_size: usual_size(),
            keep: usual_keep(),
        }
    }
}

impl AuditSettings {
    /// Whether records go anywhere.
    pub fn is_on(&self) -> bool {
        self.file.is_some() || self.stdout
    }
}

impl<'de> Deserialize<'de> for AuditSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Given {
            #[serde(default, deserialize_with = "given")]
            file: Option<TrailSettings>,
            #[serde(default)]
            stdout: bool,
            #[serde(default)]
            failure_policy: FailurePolicy,
            #[serde(default)]
            checkpoints: Checkpoints,
        }
        let Given {
            file,
            stdout,
            failure_policy,
            checkpoints,
        } = Given::deserialize(deserializer)?;
        let settings = Self {
            file,
            stdout,
            failure_policy,
            checkpoints,
        };
        if settings.is_on() {
            return Ok(settings);
        }
        Err(D::Error::custom(
            "audit names no sink, so that nothing would be recorded: give it a file, stdout: true, or leave it out",
        ))
    }
}

fn usual_size() -> usize {
    100 << 20
}

fn usual_keep() -> usize {
    10
}

fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(deserializer, 100_000).map(|files| files as usize)
}

fn records<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1_000_000)
}

fn within<'de, D: Deserializer<'de>>(deserializer: D, most: u64) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if (1..=most).contains(&number) {
        return Ok(number);
    }
    Err(D::Error::custom(format!(
        "{number} can't be: write 1 to {most}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AuditSettings, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_alone_has_the_defaults_around_it() {
        let read = read("file: {path: /var/log/audit.log}").unwrap();
        assert_eq!(read.file, Some(TrailSettings::at("/var/log/audit.log")));
        assert_eq!(read.failure_policy, FailurePolicy::Closed);
        assert_eq!(read.checkpoints, Checkpoints::default());
        assert!(!read.stdout && read.is_on());
    }

    #[test]
    fn everything_can_be_set() {
        let text = "file: {path: a, maxSize: 64Ki, keep: 3}\nstdout: true\nfailurePolicy: open\ncheckpoints: {records: 5, interval: 10s}";
        let read = read(text).unwrap();
        assert_eq!(read.file.unwrap().max_size, 65536);
        assert_eq!(
            (read.stdout, read.failure_policy),
            (true, FailurePolicy::Open)
        );
        assert_eq!(
            (read.checkpoints.records, read.checkpoints.interval),
            (5, Duration::from_secs(10))
        );
    }

    #[test]
    fn a_trail_to_nowhere_and_sizes_that_cannot_be_are_refused() {
        for (text, why) in [
            ("{}", "names no sink"),
            ("stdout: false", "names no sink"),
            ("file: {path: a, maxSize: 1Ki}", "65536"),
            ("file: {path: a, keep: 0}", "1 to 100000"),
            ("stdout: true\ncheckpoints: {records: 0}", "1 to 1000000"),
            ("stdout: true\nfailurePolicy: ajar", "ajar"),
            ("stdout: true\nfile: {maxSize: 1Mi}", "path"),
            ("stdout: true\nsyslog: true", "syslog"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
