//! `headcount completions`: what a shell completes commands and flags with.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// The arguments of `headcount completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "bash: headcount completions bash >~/.local/share/bash-completion/completions/headcount\nzsh: headcount completions zsh >_headcount, in a folder of $fpath\nfish: headcount completions fish >~/.config/fish/completions/headcount.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the script to stdout.
pub(super) fn run(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "headcount", &mut script);
    // A closed stdout is the reader's wish.
    let _ = io::stdout().write_all(&script);
    ExitCode::SUCCESS
}
