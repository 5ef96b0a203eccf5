//! `headcount man`: the manual pages, made of the same definitions as `--help`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, Args, Command, CommandFactory as _};
use clap_mangen::Man;

use super::{Cli, client, say};

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

/// What the environment says to the commands that ask a server.
const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "HEADCOUNT_CONTEXTS",
        "The file of contexts, in place of headcount/contexts.yaml of $XDG_CONFIG_HOME or ~/.config.",
    ),
    ("NO_COLOR", "Anything: no colours."),
    (
        "CLICOLOR_FORCE",
        "1: colours, even where there is no terminal.",
    ),
    ("TERM", "dumb: no colours, and no bar of a rollout."),
];

/// Writes the program's page to stdout, or all pages into a folder; the exit code is 0, or 1 if that fails.
pub(super) fn run(args: &ManArgs) -> ExitCode {
    let program = program();
    let Some(folder) = &args.output else {
        // A closed stdout is the reader's wish.
        let _ = io::stdout().write_all(&page(&program));
        return ExitCode::SUCCESS;
    };
    let written = fs::create_dir_all(folder).and_then(|()| write_all(&program, folder));
    match written {
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

/// The commands, each with the whole name that its page has.
fn program() -> Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    program
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write_all(below, folder)?;
    }
    let name = command.get_display_name().unwrap_or("headcount");
    fs::write(folder.join(format!("{name}.1")), page(command))
}

/// A command's page.
fn page(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    // Into memory, where nothing fails.
    let _ = render(command, &mut page);
    page
}

fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let usage = synopsis(command);
    let man = Man::new(command.clone().override_usage(usage));
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    if let Some(notes) = command.get_after_help() {
        let notes = notes.to_string();
        match notes.strip_prefix(client::EXIT_CODES_ARE) {
            Some(codes) => {
                section(page, "EXIT STATUS", codes)?;
                writeln!(page, ".SH ENVIRONMENT")?;
                for (name, what) in ENVIRONMENT {
                    writeln!(page, ".TP\n{}\n{}", escaped(name), escaped(what))?;
                }
            }
            None => section(page, "NOTES", &notes)?,
        }
    }
    let examples = client::examples(command.get_name());
    if !examples.is_empty() {
        writeln!(page, ".SH EXAMPLES\n.nf")?;
        for example in examples {
            writeln!(page, "{}", escaped(example))?;
        }
        writeln!(page, ".fi")?;
    }
    if command.get_version().is_some() {
        man.render_version_section(page)?;
    }
    Ok(())
}

fn section(page: &mut Vec<u8>, heading: &str, text: &str) -> io::Result<()> {
    writeln!(page, ".SH \"{heading}\"")?;
    for line in text.lines() {
        writeln!(page, "{}\n.br", escaped(line))?;
    }
    Ok(())
}

/// As roff takes it for text.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    // What would begin a request.
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line
    }
}

/// How a command is called: what it takes, then its flags with their values.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or("headcount");
    let mut usage = name.to_owned();
    let shown = || command.get_arguments().filter(|a| !a.is_hide_set());
    let value = |argument: &Arg| {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut add = |words: String, required: bool| {
        usage.push(' ');
        usage.push_str(&if required {
            words
        } else {
            format!("[{words}]")
        });
    };
    for argument in shown().filter(|a| a.is_positional()) {
        let many = argument
            .get_num_args()
            .is_some_and(|many| many.max_values() > 1);
        let dots = if many { "…" } else { "" };
        let words = value(argument).join(" ") + dots;
        add(words, argument.is_required_set());
    }
    if command.has_subcommands() {
        add("COMMAND".into(), true);
    }
    for argument in shown().filter(|a| !a.is_positional()) {
        let Some(long) = argument.get_long() else {
            continue;
        };
        let short = argument.get_short();
        let mut words = short.map_or_else(String::new, |short| format!("-{short}|"));
        words.push_str("--");
        words.push_str(long);
        if argument.get_action().takes_values() {
            let optional = argument
                .get_num_args()
                .is_some_and(|many| many.min_values() == 0);
            let value = value(argument).join(" ");
            words.push_str(&if optional {
                format!("[={value}]")
            } else {
                format!(" {value}")
            });
        }
        add(words, argument.is_required_set());
    }
    usage
}
