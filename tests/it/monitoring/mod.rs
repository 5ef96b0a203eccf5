//! What is made to be looked at: the metrics, their page, the dashboard, the alerts and their runbooks.

mod dashboard;
mod metrics;
mod page;
mod promtool;
mod rules;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Where the dashboard and the rules are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring")
}

/// The names of metrics, recorded ones too, in an expression; those of labels and functions are none.
fn names(expression: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c: char| !part(c));
    let named = |word: &&str| {
        let first = word.split('_').next().unwrap_or_default();
        word.contains(':') || ["headcount", "process"].contains(&first) && word.contains('_')
    };
    words.filter(named).map(String::from).collect()
}

/// Which of the names in expressions docs/metrics.md doesn't have, and which of its metrics are in none of them.
fn compared<'a>(
    expressions: impl IntoIterator<Item = &'a str>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let used: BTreeSet<String> = expressions.into_iter().flat_map(names).collect();
    let used = used.into_iter().filter(|name| !name.contains(':'));
    let mut unused: BTreeSet<_> = page::metrics()
        .into_iter()
        .map(|m| (m.name, m.kind))
        .collect();
    let all = unused.clone();
    let unknown = used.filter(|name| {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| name.strip_suffix(part));
        let of = |(known, kind): &&(String, String)| {
            known == name || kind == "histogram" && Some(known.as_str()) == whole
        };
        let metric = all.iter().find(of);
        metric.is_none_or(|metric| {
            unused.remove(metric);
            false
        })
    });
    let unknown = unknown.collect();
    (unknown, unused.into_iter().map(|(name, _)| name).collect())
}
