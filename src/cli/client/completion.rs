//! What may come next on a command line: for kubectl's plugin (`kubectl_complete-headcount`, kubectl 1.26 or newer) lines of words,
//! then a directive; for shells, whose scripts know the rest, names of Deployments, namespaces and contexts alone.

use std::{collections::BTreeSet, time::Duration};

use clap::{Args, Command, CommandFactory as _, Parser as _};

use super::{
    Plugin,
    arguments::ServerArgs,
    asker::{Asker, Counted},
    output,
};
use crate::client::contexts::Contexts;

/// How long a shell waits for names.
const PATIENCE: Duration = Duration::from_secs(1);
/// The directive that no files are meant.
const NO_FILES: &str = ":4";
/// The directive that whatever the shell itself completes is meant.
const DEFAULT: &str = ":0";

/// Where the server is, of a command line that isn't whole.
#[derive(clap::Parser)]
struct Where {
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `headcount complete`, which the shells' completions call.
#[derive(Debug, Args)]
pub(in crate::cli) struct CompleteArgs {
    /// The command line so far without its first word, the last one unfinished
    #[arg(
        value_name = "WORD",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Writes names for a shell.
pub(super) async fn write_names(args: &CompleteArgs, program: &Command) {
    let (last, before) = parted(&args.words);
    let (found, whence) = candidates(program, last, before).await;
    if whence == Whence::Names {
        write_lines(found.into_iter().filter(|word| word.starts_with(last)));
    }
}

/// Writes what kubectl asks for.
pub(super) async fn write(words: &[String]) {
    let (last, before) = parted(words);
    let (found, whence) = candidates(&Plugin::command(), last, before).await;
    let found = found.into_iter().filter(|word| word.starts_with(last));
    let directive = if whence == Whence::Files {
        DEFAULT
    } else {
        NO_FILES
    };
    write_lines(found.chain([directive.to_owned()]));
}

fn parted(words: &[String]) -> (&str, &[String]) {
    match words.split_last() {
        Some((last, before)) => (last, before),
        None => ("", &[]),
    }
}

fn write_lines(lines: impl Iterator<Item = String>) {
    // Names come from a server; whoever has closed stdout needs none.
    let lines = lines.map(|line| format!("{}\n", crate::pki::printable(&line)));
    let _ = output::data(&lines.collect::<String>());
}

/// Where words come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whence {
    /// The command line's own.
    Commands,
    /// A server, or the file of contexts.
    Names,
    /// Whatever the shell makes of files.
    Files,
}

async fn candidates(
    program: &Command,
    last: &str,
    before: &[String],
) -> (BTreeSet<String>, Whence) {
    let mut command = program;
    let mut positionals = 0;
    let mut words = before.iter().peekable();
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            let takes = command
                .get_arguments()
                .any(|a| is_flag(a, word) && a.get_action().takes_values());
            if takes && !word.contains('=') && word != "--wait" {
                words.next();
            }
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
        } else {
            positionals += 1;
        }
    }
    let valued = before.last().and_then(|word| {
        let mut arguments = command.get_arguments();
        arguments
            .find(|a| is_flag(a, word) && a.get_action().takes_values() && a.get_id() != "wait")
    });
    if let Some(argument) = valued {
        let fixed = argument.get_possible_values();
        if !fixed.is_empty() {
            let fixed = fixed.iter().map(|v| v.get_name().to_owned());
            return (fixed.collect(), Whence::Commands);
        }
        return match argument.get_id().as_str() {
            "context" => (contexts(), Whence::Names),
            "namespace" => {
                let (all, _) = deployments(before).await;
                (
                    all.into_iter().map(|d| d.namespace).collect(),
                    Whence::Names,
                )
            }
            "ca" | "cert" | "key" | "pki" => (BTreeSet::new(), Whence::Files),
            _ => (BTreeSet::new(), Whence::Commands),
        };
    }
    if last.starts_with('-') {
        let flags = command
            .get_arguments()
            .filter_map(|a| Some(format!("--{}", a.get_long()?)));
        return (flags.collect(), Whence::Commands);
    }
    if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
        let names = shown.map(|c| c.get_name().to_owned());
        return (names.collect(), Whence::Commands);
    }
    let takes = command.get_positionals().nth(positionals).or_else(|| {
        let last = command.get_positionals().last();
        last.filter(|a| a.get_num_args().is_some_and(|n| n.max_values() > 1))
    });
    let found = match takes.map(|argument| argument.get_id().as_str()) {
        Some("name") if ["use", "remove", "show"].contains(&command.get_name()) => contexts(),
        Some("name" | "names") if command.get_name() != "add" => {
            let namespace = flag(before, &["-n", "--namespace"]);
            let (all, own) = deployments(before).await;
            let wanted = all
                .into_iter()
                .filter(|d| namespace.is_none_or(|n| n == d.namespace));
            wanted
                .map(|d| {
                    // Of the context's namespace the name is enough, once it is begun.
                    let begun = !last.is_empty() && d.name.starts_with(last);
                    match namespace {
                        Some(_) => d.name,
                        None if begun && own.as_ref() == Some(&d.namespace) => d.name,
                        None => format!("{}/{}", d.namespace, d.name),
                    }
                })
                .collect()
        }
        _ => BTreeSet::new(),
    };
    (found, Whence::Names)
}

fn is_flag(argument: &clap::Arg, word: &str) -> bool {
    let long = word
        .strip_prefix("--")
        .map(|w| w.split('=').next().unwrap_or(w));
    let short = word
        .strip_prefix('-')
        .filter(|w| w.len() == 1)
        .and_then(|w| w.chars().next());
    (long.is_some() && argument.get_long() == long)
        || (short.is_some() && argument.get_short() == short)
}

/// The value of a flag that stands before.
fn flag<'a>(before: &'a [String], names: &[&str]) -> Option<&'a str> {
    before
        .iter()
        .zip(before.iter().skip(1))
        .find(|(word, _)| names.contains(&word.as_str()))
        .map(|(_, value)| value.as_str())
        .or_else(|| {
            let long = |word: &'a String| word.strip_prefix(names.last()?)?.strip_prefix('=');
            before.iter().find_map(long)
        })
}

fn contexts() -> BTreeSet<String> {
    let read = Contexts::file().and_then(|path| Contexts::read(&path));
    read.map(|c| c.contexts.into_keys().collect())
        .unwrap_or_default()
}

/// What the server lists, and the context's namespace; nothing if it can't be asked, since nobody reads errors on a Tab.
async fn deployments(before: &[String]) -> (Vec<Counted>, Option<String>) {
    let names = ["--context", "--server", "--ca", "--cert", "--key"];
    let given = names
        .iter()
        .filter_map(|name| Some([(*name).to_owned(), flag(before, &[name])?.to_owned()]));
    let words = std::iter::once("headcount".to_owned()).chain(given.flatten());
    let Ok(mut place) = Where::try_parse_from(words) else {
        return Default::default();
    };
    place.server.timeout = PATIENCE;
    let Ok(target) = place.server.target() else {
        return Default::default();
    };
    let all = Asker::new(&target).read("/api/v1/deployments".into()).await;
    (all.unwrap_or_default(), target.namespace.clone())
}
