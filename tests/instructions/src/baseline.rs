//! The instructions that each path may take, and how what was counted is judged by them.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path as File};

use serde::{Deserialize, Serialize};

use crate::{callgrind, paths::Failure};

/// So many percent more fail the gate; so many fewer are worth a new baseline.
const TOLERANCE: u64 = 5;

/// What is committed: instructions of one iteration by path, and with what they were counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// With what it was taken.
    pub taken_with: Tools,
    /// Instructions of one iteration.
    pub instructions: BTreeMap<String, u64>,
}

/// What else decides how many instructions are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// `rustc --version`.
    pub rustc: String,
    /// `valgrind --version`.
    pub valgrind: String,
    /// The architecture, and whether the processor has the vector instructions that libraries choose by.
    pub processor: String,
}

/// How one path compares with its baseline.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Within the tolerance.
    Same,
    /// Fewer: the baseline could be lowered.
    Better,
    /// More.
    Worse,
    /// It has no baseline.
    New,
}

impl Baseline {
    /// Reads the committed baseline; none means that nothing has one yet.
    ///
    /// # Errors
    ///
    /// When the file is there and isn't one.
    pub fn read(file: &File) -> Result<Option<Self>, Failure> {
        if !file.exists() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&fs::read(file)?)?))
    }

    /// Writes it where it is committed.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn write(&self, file: &File) -> Result<(), Failure> {
        Ok(fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// What is said of `counted` instructions of a path.
    pub fn judge(&self, path: &str, counted: u64) -> Verdict {
        match self.instructions.get(path) {
            None => Verdict::New,
            Some(known) if counted * 100 > known * (100 + TOLERANCE) => Verdict::Worse,
            Some(known) if counted * 100 < known * (100 - TOLERANCE) => Verdict::Better,
            Some(_) => Verdict::Same,
        }
    }
}

/// How many percent more `counted` is than `known`.
pub fn percent(known: u64, counted: u64) -> f64 {
    (counted as f64 / known.max(1) as f64 - 1.0) * 100.0
}

impl Tools {
    /// Those of this machine.
    ///
    /// # Errors
    ///
    /// When valgrind isn't there.
    pub fn here() -> Result<Self, Failure> {
        Ok(Self {
            rustc: env!("RUSTC_VERSION").into(),
            valgrind: callgrind::version()?,
            processor: processor(),
        })
    }

    /// What differs from `other`, a line each.
    pub fn differences(&self, other: &Self) -> String {
        let mut lines = String::new();
        for (what, here, there) in [
            ("compiler", &self.rustc, &other.rustc),
            ("valgrind", &self.valgrind, &other.valgrind),
            ("processor", &self.processor, &other.processor),
        ] {
            if here != there {
                // Writing into a String can't fail.
                let _ = writeln!(
                    lines,
                    "note: the {what} is {here}, the baseline was taken with {there}; the numbers may differ because of that"
                );
            }
        }
        lines
    }
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    // valgrind shows programs at most AVX2, whatever else there is.
    match std::arch::is_x86_feature_detected!("avx2") {
        true => "x86_64 with AVX2".into(),
        false => "x86_64 without AVX2".into(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        Baseline {
            taken_with: tools("rustc 1.95.0"),
            instructions: BTreeMap::from([("read".into(), 10_000)]),
        }
    }

    fn tools(rustc: &str) -> Tools {
        Tools {
            rustc: rustc.into(),
            valgrind: "valgrind-3.19.0".into(),
            processor: "x86_64 with AVX2".into(),
        }
    }

    #[test]
    fn more_than_five_percent_more_is_worse_and_more_than_five_percent_less_is_better() {
        for (counted, verdict) in [
            (10_500, Verdict::Same),
            (10_501, Verdict::Worse),
            (9_500, Verdict::Same),
            (9_499, Verdict::Better),
        ] {
            assert_eq!(baseline().judge("read", counted), verdict, "{counted}");
        }
        assert_eq!(baseline().judge("write", 1), Verdict::New);
    }

    #[test]
    fn another_compiler_is_told() {
        let told = tools("rustc 1.96.0").differences(&baseline().taken_with);
        assert!(
            told.contains("the compiler is rustc 1.96.0, the baseline was taken with rustc 1.95.0"),
            "{told}"
        );
        assert_eq!(
            tools("rustc 1.95.0").differences(&baseline().taken_with),
            ""
        );
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("baseline.json");
        assert_eq!(Baseline::read(&file).unwrap(), None);
        baseline().write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap(), Some(baseline()));
    }
}
