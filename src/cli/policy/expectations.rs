//! A file of expectations: questions, and what their answers are to be.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::question::{Answer, Question, QuestionError};
use crate::{
    access::{Authorization, Bounds, Effect, Verb},
    config::API_VERSION,
    yaml::{self, given},
};

/// The kind of a file of expectations.
const KIND: &str = "PolicyTest";

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExpectationsError {
    #[error("failed to read the expectations {0:?}: {1}")]
    Read(PathBuf, io::Error),
    #[error("failed to understand the expectations {path:?}{}: {why}", line.map(|line| format!(" at line {line}")).unwrap_or_default())]
    File {
        path: PathBuf,
        line: Option<u64>,
        why: String,
    },
    #[error("failed to understand {test} of the expectations {path:?}: {why}")]
    Question {
        path: PathBuf,
        test: String,
        why: QuestionError,
    },
}

/// Tests, and the file that they stand in.
pub(super) struct Expectations {
    path: PathBuf,
    tests: Vec<Spanned<Test>>,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) passed: usize,
    pub(super) failures: Vec<Failure>,
}

/// A test whose answer isn't the expected one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) test: String,
    pub(super) why: String,
    pub(super) answer: Answer,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: Option<String>,
    kind: Option<String>,
    tests: Vec<Spanned<Test>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    subject: String,
    #[serde(default)]
    groups: Vec<String>,
    verb: Verb,
    namespace: String,
    #[serde(default, deserialize_with = "given")]
    deployment: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "given")]
    exists: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    from: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    to: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    image: Option<String>,
    expect: Effect,
    #[serde(default, deserialize_with = "given")]
    rule: Option<String>,
}

impl Expectations {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it can't be read, isn't of this kind or tests nothing.
    pub(super) fn read(path: &Path) -> Result<Self, ExpectationsError> {
        let path = path.to_owned();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return Err(ExpectationsError::Read(path, error)),
        };
        let file: File = match serde_saphyr::from_str(&text) {
            Ok(file) => file,
            Err(error) => {
                let (line, why) = yaml::fault(&error, &text);
                return Err(ExpectationsError::File { path, line, why });
            }
        };
        let (api_version, kind) = (file.api_version.as_deref(), file.kind.as_deref());
        let why = match (api_version, kind) {
            (Some(API_VERSION), Some(KIND)) if file.tests.is_empty() => {
                "tests is an empty list, and would find nothing wrong with any policy".to_owned()
            }
            (Some(API_VERSION), Some(KIND)) => {
                return Ok(Self {
                    path,
                    tests: file.tests,
                });
            }
            (Some(API_VERSION), _) => format!("its kind must be {KIND:?}"),
            _ => format!("its apiVersion must be {API_VERSION:?}"),
        };
        let line = None;
        Err(ExpectationsError::File { path, line, why })
    }

    /// Asks every question and compares.
    ///
    /// # Errors
    ///
    /// When a question can't be answered: then nothing is known of the policy.
    pub(super) fn compare(
        self,
        authorization: &Authorization,
        server: &Bounds,
    ) -> Result<Report, ExpectationsError> {
        let mut report = Report::default();
        for (place, test) in (1..).zip(self.tests) {
            let line = test.referenced.line();
            let test = test.value;
            let called = match &test.name {
                Some(name) => format!("test {place} {name:?} (line {line})"),
                None => format!("test {place} (line {line})"),
            };
            let expected = (test.expect, test.rule.clone());
            let answer = test.question().and_then(|q| q.ask(authorization, server));
            let answer = answer.map_err(|why| ExpectationsError::Question {
                path: self.path.clone(),
                test: called.clone(),
                why,
            })?;
            match difference(&answer, &expected) {
                None => report.passed += 1,
                Some(why) => report.failures.push(Failure {
                    test: called,
                    why,
                    answer,
                }),
            }
        }
        Ok(report)
    }
}

impl Test {
    fn question(self) -> Result<Question, QuestionError> {
        let counts = match (self.from, self.to) {
            (None, None) => None,
            (from, to) => Some(from.zip(to).ok_or(QuestionError::OneCount)?),
        };
        Ok(Question {
            subject: self.subject,
            groups: self.groups,
            verb: self.verb,
            namespace: self.namespace,
            deployment: self.deployment,
            exists: self.exists.unwrap_or(true),
            labels: self.labels,
            annotations: self.annotations,
            counts,
            image: self.image,
        })
    }
}

/// What is other than expected.
fn difference(answer: &Answer, (effect, rule): &(Effect, Option<String>)) -> Option<String> {
    let word = |allowed: bool| if allowed { "allow" } else { "deny" };
    let expected = *effect == Effect::Allow;
    if answer.allowed != expected {
        let (expected, found) = (word(expected), word(answer.allowed));
        return Some(format!("expected {expected}, and it is {found}"));
    }
    let by = answer.rule.as_ref().map(|rule| &rule.name);
    match rule {
        Some(rule) if by != Some(rule) => {
            let found = answer
                .rule
                .as_ref()
                .map_or("no rule".to_owned(), ToString::to_string);
            Some(format!(
                "expected rule {rule:?} to decide, and it is {found}"
            ))
        }
        _ => None,
    }
}
