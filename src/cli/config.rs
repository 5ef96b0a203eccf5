//! `headcount config`: whether a configuration can be used, what is in force, old keys, and the JSON Schema of the file.

mod check;
mod migrate;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum};

use super::{BAD_CONFIGURATION, say};
use crate::config::{ServeArgs, json_schema};

/// The arguments of `headcount config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that `serve` would refuse, with the same flags, variables and file: exit code 0 nothing, 64 something
    Check(check::CheckArgs),
    /// Print the configuration in force, as a file, with where each value comes from
    Print(PrintArgs),
    /// Rewrite the deprecated keys of a file; all else in it stays as it is
    Migrate(migrate::MigrateArgs),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
}

/// The arguments of `headcount config print`: those of `serve`, and the form.
#[derive(Debug, Args)]
struct PrintArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// yaml: a configuration file, with origins as comments; json: an object of `configuration` and `origins`
    #[arg(long, value_name = "FORMAT", default_value = "yaml")]
    format: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    match args.command {
        Command::Check(args) => check::run(args),
        Command::Print(args) => print(args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Schema => written(&format!("{:#}\n", json_schema())),
    }
}

fn print(args: PrintArgs) -> ExitCode {
    let in_force = match args.serve.in_force(std::env::vars_os()) {
        Ok(in_force) => in_force,
        Err(error) => {
            say(&error);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    written(&match args.format {
        Form::Yaml => in_force.yaml(),
        Form::Json => {
            let whole = serde_json::json!({
                "configuration": in_force.configuration,
                "origins": in_force.origins,
            });
            format!("{whole:#}\n")
        }
    })
}

/// Writes to stdout; whoever reads no further has what it wanted.
fn written(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("failed to write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
