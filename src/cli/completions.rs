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
    script.extend_from_slice(names(args.shell).as_bytes());
    // A closed stdout is the reader's wish.
    let _ = io::stdout().write_all(&script);
    ExitCode::SUCCESS
}

/// What makes a shell ask for names of Deployments, namespaces and contexts, too.
const fn names(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => {
            r#"
_headcount_names() {
    local found
    _headcount "$@"
    [[ "${COMP_WORDS[COMP_CWORD]}" == -* ]] && return 0
    mapfile -t found < <("$1" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#found[@]} -gt 0 ]]; then
        COMPREPLY=("${found[@]}")
    fi
    return 0
}

complete -F _headcount_names -o nosort -o bashdefault -o default headcount
"#
        }
        Shell::Fish => {
            r#"
complete -c headcount -a '(headcount complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"#
        }
        _ => "",
    }
}
