//! `headcount audit verify`: whether an audit trail is whole.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{BAD_CONFIGURATION, say};
use crate::audit::{Checkpoint, Expected, Head, Report, UnreadableFile, in_log, verify};

/// The exit code for a trail whose last line has no end, and that is whole before it.
const INCOMPLETE: u8 = 4;

/// The arguments of `headcount audit`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Find records that were edited, dropped, moved or cut off: exit code 0 whole, 1 not, 4 whole but for a last line without an
    /// end (a crash leaves one), 64 bad usage or file
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The trail's files, in any order: the current one and those that were rotated
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The hash of the last record, or of the one with the number COUNT, as a checkpoint names it
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Option<String>,
    /// How many records there are at least, as a checkpoint names it
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// The server's log, text or JSON: the trail must agree with its checkpoints; repeatable
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// The files are captured standard output, which begins where a server started
    #[arg(long)]
    stdout: bool,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error(transparent)]
    Files(#[from] UnreadableFile),
    #[error("failed to read the log {0:?}: {1}")]
    Log(PathBuf, io::Error),
    #[error(
        "the log {0:?} has no checkpoint (audit.checkpoint): without one a cut-off end isn't found; give another log, or --head and --count"
    )]
    NoCheckpoint(PathBuf),
}

/// Runs one of the subcommands; what is found goes to stdout, why nothing is to stderr.
pub(super) fn run(args: AuditArgs) -> ExitCode {
    let AuditCommand::Verify(args) = args.command;
    match verified(args) {
        Ok(report) => {
            // A closed stdout changes nothing about what was found.
            let _ = io::stdout().write_all(in_words(&report).as_bytes());
            match report {
                Report { wrong, .. } if !wrong.is_empty() => ExitCode::FAILURE,
                Report {
                    incomplete: true, ..
                } => ExitCode::from(INCOMPLETE),
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            say(&error);
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn verified(args: VerifyArgs) -> Result<Report, VerifyError> {
    let mut checkpoints = Vec::new();
    for path in args.log {
        let found = checkpoints_of(&path).map_err(|error| VerifyError::Log(path.clone(), error))?;
        if found.is_empty() {
            return Err(VerifyError::NoCheckpoint(path));
        }
        checkpoints.extend(found);
    }
    let expected = Expected {
        head: args.head,
        count: args.count,
        checkpoints,
        stdout: args.stdout,
    };
    Ok(verify(&args.files, &expected)?)
}

fn checkpoints_of(path: &Path) -> io::Result<Vec<Checkpoint>> {
    let mut found = Vec::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        found.extend(in_log(&String::from_utf8_lossy(&line?)));
    }
    Ok(found)
}

fn in_words(report: &Report) -> String {
    let mut words = String::new();
    // Writing into a String can't fail.
    for wrong in &report.wrong {
        let _ = writeln!(words, "WRONG {}", crate::pki::printable(wrong));
    }
    if report.more > 0 {
        let _ = writeln!(words, "WRONG {} more", report.more);
    }
    for note in &report.notes {
        let _ = writeln!(words, "note: {}", crate::pki::printable(note));
    }
    if report.incomplete {
        let _ = writeln!(
            words,
            "note: the last line has no end: a crash leaves one, and so does who cuts a file; a checkpoint tells what is missing"
        );
    }
    if let (Some(first), Some(Head { chain, count, hash })) = (report.first, &report.head) {
        let (from, to) = &report.times;
        let [chain, from, to] = [chain, from, to].map(|text| crate::pki::printable(text));
        let _ = writeln!(
            words,
            "{} records, {first} to {count}, of chain {chain}, from {from} to {to}; head {hash}",
            report.records
        );
    }
    if report.checkpoints > 0 {
        let _ = writeln!(words, "{} checkpoints of the log agree", report.checkpoints);
    }
    words.push_str(match report {
        Report { wrong, .. } if !wrong.is_empty() => "NOT whole\n",
        Report {
            incomplete: true, ..
        } => "whole but for its last line\n",
        _ => "whole\n",
    });
    words
}

fn hash(text: &str) -> Result<String, &'static str> {
    let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits {
        return Ok(text.to_ascii_lowercase());
    }
    Err("a hash has 64 hexadecimal digits")
}
