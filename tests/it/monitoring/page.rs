//! docs/metrics.md, as far as a test can hold it to its word.

use std::{collections::BTreeMap, fs, path::Path};

/// A row of the page's tables.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) labels: BTreeMap<String, Values>,
}

/// What a label may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// One of these; `numbers`: or a whole number.
    These { values: Vec<String>, numbers: bool },
    /// What another page of the documentation has.
    OnPage(String),
    /// What only words tell.
    Told,
}

impl Values {
    pub(crate) fn allow(&self, value: &str) -> bool {
        match self {
            Self::These { values, numbers } => {
                values.iter().any(|v| v == value) || *numbers && value.parse::<u16>().is_ok()
            }
            Self::OnPage(page) => document(page).contains(&format!("`{value}`")),
            Self::Told => !value.is_empty(),
        }
    }
}

/// A page of the documentation.
pub(crate) fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All metrics that the page has.
pub(crate) fn metrics() -> Vec<Metric> {
    let page = document("metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut known = BTreeMap::new();
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [name, kind, unit, labels, tells, ""] = cells[..] else {
            panic!("a row is: | metric | type | unit | labels | what it tells |, not {row}");
        };
        assert!(tells.len() > 10, "{row}");
        Metric {
            name: name.trim_end_matches('`').to_owned(),
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            labels: read(labels, &mut known),
        }
    })
    .collect()
}

/// `` `name` (values), … ``
fn read(cell: &str, known: &mut BTreeMap<String, Values>) -> BTreeMap<String, Values> {
    let mut labels = BTreeMap::new();
    let mut rest = cell;
    while let Some((name, behind)) = rest.strip_prefix('`').and_then(|r| r.split_once("` (")) {
        let mut depth = 1;
        let end = behind.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let (values, behind) = behind.split_at(end.unwrap_or_else(|| panic!("{cell}")));
        let values = match values {
            "as above" => known[name].clone(),
            link if link.starts_with('[') => {
                let page = link.rsplit('(').next().unwrap().trim_end_matches(')');
                Values::OnPage(page.to_owned())
            }
            words if !words.contains('`') && words != "a number" => Values::Told,
            words => Values::These {
                values: words
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(String::from)
                    .collect(),
                numbers: words.contains("a number"),
            },
        };
        known.insert(name.to_owned(), values.clone());
        labels.insert(name.to_owned(), values);
        rest = behind.trim_start_matches(')').trim_start_matches(", ");
    }
    assert!(rest.is_empty(), "{rest:?} in {cell}");
    labels
}
