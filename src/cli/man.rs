//! `headcount man`: the manual pages, made of the same definitions as `--help`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use super::{Cli, say};

/// The arguments of `headcount man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write the pages of the program and of every command into this folder, made if it isn't there, and not one to stdout
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
#[error("failed to write manual pages into {}: {source}", folder.display())]
struct ManError {
    folder: PathBuf,
    source: io::Error,
}

/// Writes the program's page to stdout, or all pages into a folder; the exit code is 0, or 1 if that fails.
pub(super) fn run(args: &ManArgs) -> ExitCode {
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        // Into memory, where nothing fails; a closed stdout is the reader's wish.
        let _ = Man::new(Cli::command().disable_help_subcommand(true)).render(&mut page);
        let _ = io::stdout().write_all(&page);
        return ExitCode::SUCCESS;
    };
    match write_all(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(source) => {
            say(&ManError {
                folder: folder.clone(),
                source,
            });
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}
