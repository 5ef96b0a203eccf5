//! `headcount policy`: what the rules of a configuration file decide, and whether that is what was expected.
//!
//! Reads the file that `headcount serve` reads, and no more than it is given: no key, no cluster.

mod expectations;
mod question;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum};

use self::{
    expectations::{Expectations, ExpectationsError},
    question::{Answer, Question, QuestionError},
};
use super::{BAD_CONFIGURATION, say};
use crate::{
    access::{NoPrincipal, Verb},
    config::{AccessSettings, Config, ConfigError},
    pki::{CertificateError, read_certificates},
};

/// The exit code of `check` for what is denied.
const DENIED: u8 = 3;

/// The arguments of `headcount policy`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say whether a caller may do something, and why: exit code 0 allowed, 3 denied, 64 bad usage or configuration
    Check(Box<CheckArgs>),
    /// Compare the decisions with a file of expectations: exit code 0 all as expected, 1 not, 64 bad usage or file
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration file that `headcount serve` reads
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The caller's name, as `whoami` tells it
    #[arg(long, value_name = "NAME", required_unless_present = "cert")]
    subject: Option<String>,
    /// A group of the caller; repeatable
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// The caller's certificate (PEM or DER), in place of its name and groups
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "group"])]
    cert: Option<PathBuf>,
    /// What is to be done: get, list, watch, scale, image or restart
    #[arg(long, value_name = "VERB")]
    verb: Verb,
    /// The Deployment's namespace
    #[arg(long, value_name = "NAME")]
    namespace: String,
    /// The Deployment [default: every Deployment of the namespace]
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// A label of the Deployment; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// An annotation of the Deployment, such as headcount/max-replicas=5; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// The Deployment doesn't exist
    #[arg(long)]
    missing: bool,
    /// The count that is, for verb scale
    #[arg(long, value_name = "N", requires = "to")]
    from: Option<i32>,
    /// The count that is to be set, for verb scale
    #[arg(long, value_name = "N", requires = "from")]
    to: Option<i32>,
    /// The image that is to be set, for verb image
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// How the answer is written
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    output: Output,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// The configuration file that `headcount serve` reads
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file of expectations (kind: PolicyTest)
    #[arg(value_name = "EXPECTATIONS")]
    expectations: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// Words for a person
    Text,
    /// One JSON object
    Json,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
enum PolicyCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error(transparent)]
    Expectations(#[from] ExpectationsError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate {0:?} names no caller: {1}")]
    Nobody(PathBuf, NoPrincipal),
}

/// Runs one of the subcommands; what is decided goes to stdout, why nothing is to stderr.
pub(super) fn run(args: PolicyArgs) -> ExitCode {
    let done = match args.command {
        PolicyCommand::Check(args) => check(*args),
        PolicyCommand::Test(args) => test(&args),
    };
    match done {
        Ok((words, code)) => {
            // A closed stdout changes nothing about what was decided.
            let _ = io::stdout().write_all(words.as_bytes());
            code
        }
        Err(error) => {
            say(&error);
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn check(args: CheckArgs) -> Result<(String, ExitCode), PolicyCommandError> {
    let AccessSettings {
        authorization,
        server,
        identity,
    } = Config::access(&args.config)?;
    let (subject, groups) = match args.cert {
        Some(path) => {
            let principal = read_certificates(&path)?
                .first()
                .map_or_else(
                    || Err(NoPrincipal::Unreadable("there is none".into())),
                    |leaf| identity.principal(leaf),
                )
                .map_err(|why| PolicyCommandError::Nobody(path, why))?;
            (principal.name, principal.groups)
        }
        None => (args.subject.unwrap_or_default(), args.group),
    };
    let question = Question {
        subject,
        groups,
        verb: args.verb,
        namespace: args.namespace,
        deployment: args.deployment,
        exists: !args.missing,
        labels: args.label.into_iter().collect(),
        annotations: args.annotation.into_iter().collect(),
        counts: args.from.zip(args.to),
        image: args.image,
    };
    let answer = question.ask(&authorization, &server)?;
    let words = match args.output {
        Output::Text => in_words(&answer),
        Output::Json => serde_json::json!(answer).to_string() + "\n",
    };
    let code = if answer.allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DENIED)
    };
    Ok((words, code))
}

fn test(args: &TestArgs) -> Result<(String, ExitCode), PolicyCommandError> {
    let AccessSettings {
        authorization,
        server,
        ..
    } = Config::access(&args.config)?;
    let report = Expectations::read(&args.expectations)?.compare(&authorization, &server)?;
    let mut words = String::new();
    for failure in &report.failures {
        // Writing into a String can't fail.
        let _ = write!(words, "FAILED {}: {}", failure.test, failure.why);
        let _ = write!(words, "\n{}\n", in_words(&failure.answer));
    }
    let failed = report.failures.len();
    let _ = writeln!(words, "{} passed, {failed} failed", report.passed);
    Ok((
        words,
        if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    ))
}

fn in_words(answer: &Answer) -> String {
    let verdict = if answer.allowed { "allowed" } else { "denied" };
    let mut words = format!("{verdict}: {}\n", answer.why);
    if let Some(bounds) = &answer.bounds {
        let count = |key: &str, count: Option<i32>| count.map(|count| format!("{key} {count}"));
        let given: Vec<_> = [
            count("min", bounds.min),
            count("max", bounds.max),
            count("maxStep", bounds.max_step),
            bounds.allow_zero.map(|zero| format!("allowZero {zero}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let _ = writeln!(words, "bounds: {}", given.join(", "));
    }
    for rule in &answer.passed_over {
        let _ = writeln!(words, "passed over: {}: {}", rule.rule, rule.why);
    }
    words
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text
        .split_once('=')
        .ok_or("it has no `=`: give KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
