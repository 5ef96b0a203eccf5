//! What `watch` shows of changes, in each format.

use serde_json::{Value, json};

use super::{
    Failed,
    output::{self, Format, Mood, Rows},
};
use crate::pki::printable;

/// A Deployment, by namespace and name.
pub(super) type Key = (String, String);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Listed,
    Added,
    Changed,
    Deleted,
}

impl What {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
        }
    }
}

/// Something that happened to a Deployment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) what: What,
    pub(super) key: Key,
    pub(super) count: i64,
    /// How many are ready, where that is shown.
    pub(super) ready: Option<i64>,
    pub(super) before: Option<i64>,
    pub(super) version: Option<String>,
}

/// How changes are written.
pub(super) enum Shown {
    Rows(Rows),
    Values(Format),
    Names,
}

impl Shown {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Table => Self::Rows(Rows::new(&[
                "EVENT",
                "NAMESPACE",
                "NAME",
                "DESIRED",
                "BEFORE",
            ])),
            Format::Wide => Self::Rows(Rows::new(&[
                "EVENT",
                "NAMESPACE",
                "NAME",
                "DESIRED",
                "BEFORE",
                "READY",
                "VERSION",
            ])),
            Format::Json | Format::Yaml => Self::Values(format),
            Format::Name => Self::Names,
        }
    }

    /// Writes changes; whether somebody reads them.
    pub(super) async fn show(&mut self, changes: &[Change]) -> Result<bool, Failed> {
        let text = match self {
            Self::Rows(rows) => {
                let cells = changes.iter().map(|change| {
                    let mood = match change.what {
                        What::Listed => None,
                        What::Added => Some(Mood::Good),
                        What::Changed => Some(Mood::Waiting),
                        What::Deleted => Some(Mood::Bad),
                    };
                    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
                    let (namespace, name) = change.key.clone();
                    let cells = vec![
                        change.what.name().to_owned(),
                        namespace,
                        name,
                        change.count.to_string(),
                        or_none(change.before.map(|before| before.to_string())),
                        or_none(change.ready.map(|ready| ready.to_string())),
                        or_none(change.version.clone()),
                    ];
                    (cells, mood)
                });
                rows.text(cells.collect())
            }
            Self::Values(format) => {
                let values = changes.iter().map(|change| {
                    let value = change.value();
                    match format {
                        Format::Yaml => format!("---\n{}", crate::yaml::written(&value)),
                        _ => crate::pki::json_escaped(&format!("{value}\n")),
                    }
                });
                values.collect()
            }
            Self::Names => {
                let lines = changes.iter().map(|change| {
                    let (namespace, name) = &change.key;
                    format!("{}\n", printable(&format!("{namespace}/{name}")))
                });
                lines.collect()
            }
        };
        output::written_aside(text).await
    }
}

impl Change {
    fn value(&self) -> Value {
        let (namespace, name) = &self.key;
        let mut value = json!({
            "event": self.what.name(), "namespace": namespace, "name": name, "replicaCount": self.count,
        });
        if let Some(before) = self.before {
            value["previousReplicaCount"] = before.into();
        }
        if let Some(version) = &self.version {
            value["resourceVersion"] = version.as_str().into();
        }
        value
    }
}
