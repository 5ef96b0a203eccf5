//! What the server tells of a batch, and the table of it.

use serde::Deserialize;
use serde_json::Value;

use super::super::{lease::Lease, output::Table};

/// How a table of them reads.
pub(super) struct Shown {
    /// Whether counts are brought back.
    pub(super) back: bool,
    /// Whether it is told what would become of them.
    pub(super) dry_run: bool,
}

/// What became of all.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) results: Vec<Outcome>,
    #[serde(default)]
    pub(super) snapshot: Value,
}

/// What became of one Deployment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) status: u16,
    replica_count: Option<i64>,
    previous_replica_count: Option<i64>,
    #[serde(default)]
    changed: bool,
    /// How long the count stays, if it is leased.
    until: Option<String>,
    /// The lease that it has ended or renewed.
    lease_before: Option<Lease>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    pub(super) error: Option<String>,
}

impl Told {
    /// What became of each, or would.
    pub(super) fn table(&self, shown: &Shown) -> Table {
        let leased = self.results.iter().any(|one| one.until.is_some());
        let (before, after) = match shown.dry_run {
            true => ("NOW", "THEN"),
            false => ("BEFORE", "NOW"),
        };
        let mut headers = vec!["NAMESPACE", "NAME", before, after];
        headers.extend(leased.then_some("UNTIL"));
        headers.push("RESULT");
        let mut table = Table::new(&headers);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let number = |n: Option<i64>| or_none(n.map(|n| n.to_string()));
        for one in &self.results {
            let mut cells = vec![
                one.namespace.clone(),
                one.name.clone(),
                number(one.previous_replica_count),
                number(one.replica_count),
            ];
            cells.extend(leased.then(|| or_none(one.until.clone())));
            cells.push(one.result(shown) + &one.lease(shown));
            table.row(cells);
        }
        table
    }
}

impl Outcome {
    /// In a word, or with the reason.
    fn result(&self, shown: &Shown) -> String {
        let (done, failed, skipped) = match (shown.back, shown.dry_run) {
            (true, true) => ("would be restored", "would fail", "would be skipped"),
            (true, false) => ("restored", "failed", "skipped"),
            (false, true) => ("would be scaled", "would fail", "would be skipped"),
            (false, false) => ("scaled", "failed", "skipped"),
        };
        match (&self.error, self.changed) {
            // Somebody else's count, which a restoration leaves alone.
            (Some(error), _) if shown.back && self.status == 412 => format!("{skipped}: {error}"),
            (Some(error), _) if self.status == 504 => format!("unknown: {error}"),
            (Some(error), _) => format!("{failed}: {error}"),
            (None, false) => "unchanged".into(),
            (None, true) => done.into(),
        }
    }

    /// Whether there is no such Deployment.
    pub(super) fn is_missing(&self) -> bool {
        self.status == 404
    }

    /// Of one that is to be brought back it is known that it was there, and no more of what has become of it.
    pub(super) fn not_back(&mut self) {
        let Some(error) = &mut self.error else {
            return;
        };
        if self.status == 404 {
            *error = "it is gone, or this server manages it no longer".into();
        } else if error.starts_with("the Deployment by this name is another one") {
            *error = "it is another Deployment than the snapshot's: left as it is".into();
        }
    }

    /// What becomes of the lease that was there before; nothing without one.
    fn lease(&self, shown: &Shown) -> String {
        let Some(before) = &self.lease_before else {
            return String::new();
        };
        if self.until.is_none() {
            let now = self.replica_count.into();
            return format!("; {}", before.ended(&now, shown.dry_run));
        }
        let then = before.previous_replica_count;
        let then = then.map_or_else(String::new, |count| format!(", then {count}"));
        format!("; {}{then}", before.renewed())
    }
}
