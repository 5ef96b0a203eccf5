//! What was found: a line a check as soon as it is known, or one JSON object at the end.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use crate::pki::printable;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It doesn't work.
    Failed,
    /// Something that it needs isn't there.
    Skipped,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    outcome: Outcome,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// All checks so far.
pub(super) struct Report {
    json: bool,
    colours: bool,
    checks: Vec<Check>,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "WARN",
            Self::Failed => "FAIL",
            Self::Skipped => "skip",
        }
    }

    /// The terminal's code of its colour.
    const fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Warning => "33",
            Self::Failed => "31",
            Self::Skipped => "2",
        }
    }
}

impl Report {
    /// Text has colours on a terminal alone, and there not with NO_COLOR.
    pub(super) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        Self {
            json,
            colours: wanted && io::stdout().is_terminal(),
            checks: Vec::new(),
        }
    }

    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Outcome::Ok, found.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(check, Outcome::Warning, found.into(), Some(fix.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(check, Outcome::Failed, found.into(), Some(fix.into()));
    }

    pub(super) fn skip(&mut self, check: &'static str, why: &str) {
        self.add(check, Outcome::Skipped, format!("not checked: {why}"), None);
    }

    fn add(&mut self, check: &'static str, outcome: Outcome, found: String, fix: Option<String>) {
        // Names and other people's words are in both: nothing in them moves a terminal.
        let (found, fix) = (printable(&found), fix.map(|fix| printable(&fix)));
        if !self.json {
            let word = format!("{:<4}", outcome.word());
            let word = if self.colours {
                format!("\u{1b}[{}m{word}\u{1b}[0m", outcome.colour())
            } else {
                word
            };
            let fix = fix.as_deref().map(|fix| format!(" To do: {fix}."));
            let fix = fix.unwrap_or_default();
            // A closed stdout changes nothing about what was found.
            let _ = writeln!(io::stdout(), "{word} {check:<24} {found}.{fix}");
        }
        self.checks.push(Check {
            check,
            outcome,
            found,
            fix,
        });
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|c| c.outcome == outcome).count()
    }

    /// Sums up. The exit code is 1 if something failed; warnings are no failures.
    pub(super) fn finish(self) -> ExitCode {
        let [ok, warnings, failed, skipped] = [
            Outcome::Ok,
            Outcome::Warning,
            Outcome::Failed,
            Outcome::Skipped,
        ]
        .map(|outcome| self.count(outcome));
        let summary = if self.json {
            serde_json::json!({
                "checks": self.checks, "ok": ok, "warnings": warnings, "failed": failed, "skipped": skipped,
            })
            .to_string()
        } else {
            format!("{ok} ok, {warnings} to look at, {failed} failed, {skipped} not checked")
        };
        let _ = writeln!(io::stdout(), "{summary}");
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
