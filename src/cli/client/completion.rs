//! What may come next on a command line: for kubectl's plugin (`kubectl_complete-headcount`, kubectl 1.26 or newer) lines of words,
//! then a directive; for shells, whose scripts know the rest, names of Deployments, namespaces and contexts alone.

use std::{collections::BTreeSet, time::Duration};

use clap::{Args, Command, CommandFactory as _, Parser as _};

use super::{
    Plugin,
    arguments::{LeadingArgs, NamespaceArgs, ServerArgs, Target, flag_of, named, namespace},
    asker::{Asker, Counted, MOST},
    output,
    snapshot::PREFIX,
};
use crate::client::contexts::Contexts;

/// How long a shell waits for names.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of more Deployments than a server gives at once, namespaces aren't picked.
const MOST_AT_ONCE: u32 = 10_000;
/// The directive that no files are meant.
const NO_FILES: &str = ":4";
/// The directive that the order is meant, too: what is nearest is first.
const IN_ORDER: &str = ":36";
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
    let directive = match whence {
        Whence::Files => DEFAULT,
        Whence::Names => IN_ORDER,
        Whence::Commands => NO_FILES,
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

async fn candidates(program: &Command, last: &str, before: &[String]) -> (Vec<String>, Whence) {
    let leading = LeadingArgs::command();
    // Before the command there may be flags of it.
    let arguments = |command: &'_ Command| -> Vec<clap::Arg> {
        let own = command.get_arguments().cloned();
        let more = leading
            .get_arguments()
            .filter(|_| std::ptr::eq(command, program));
        own.chain(more.cloned()).collect()
    };
    let mut command = program;
    let mut positionals = Vec::new();
    // The flag whose value comes next.
    let mut valued = None;
    for word in before {
        if valued.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            let all = arguments(command);
            valued = flag_of(all.iter(), word)
                .filter(|(a, whole)| {
                    a.get_action().takes_values() && !whole && a.get_id() != "wait"
                })
                .map(|(a, _)| a.clone());
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
        } else {
            positionals.push(word);
        }
    }
    if let Some(argument) = valued {
        let fixed = argument.get_possible_values();
        if !fixed.is_empty() {
            let fixed = fixed.iter().map(|v| v.get_name().to_owned());
            return (fixed.collect(), Whence::Commands);
        }
        return match argument.get_id().as_str() {
            "context" => (contexts(), Whence::Names),
            "namespace" => (namespaces(before).await, Whence::Names),
            "ca" | "cert" | "key" | "pki" | "file" | "snapshot" => (Vec::new(), Whence::Files),
            _ => (Vec::new(), Whence::Commands),
        };
    }
    if last.starts_with('-') {
        let all = arguments(command);
        let flags = all
            .iter()
            .filter_map(|a| Some(format!("--{}", a.get_long()?)));
        let flags: BTreeSet<_> = flags.collect();
        return (flags.into_iter().collect(), Whence::Commands);
    }
    if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
        let names: BTreeSet<_> = shown.map(|c| c.get_name().to_owned()).collect();
        return (names.into_iter().collect(), Whence::Commands);
    }
    let takes = command
        .get_positionals()
        .nth(positionals.len())
        .or_else(|| {
            let last = command.get_positionals().last();
            last.filter(|a| a.get_num_args().is_some_and(|n| n.max_values() > 1))
        });
    let found = match takes.map(|argument| argument.get_id().as_str()) {
        Some("name") if ["use", "remove", "show"].contains(&command.get_name()) => contexts(),
        // Of those that are selected by labels there is one count, and no names.
        Some("counts") if flag(before, &["-l", "--selector"]).is_some() => Vec::new(),
        Some("counts") => {
            let all = deployments(before, last).await.into_iter();
            all.map(|(name, count)| format!("{name}={count}")).collect()
        }
        Some("file") => match snapshots(last) {
            none if none.is_empty() => return (none, Whence::Files),
            some => some,
        },
        Some("name" | "names") if command.get_name() != "add" => {
            let all = deployments(before, last).await.into_iter();
            all.map(|(name, _)| name).collect()
        }
        Some("image") => match positionals.first() {
            Some(name) => images(before, name).await,
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    (found, Whence::Names)
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

fn contexts() -> Vec<String> {
    let read = Contexts::file().and_then(|path| Contexts::read(&path));
    read.map(|c| c.contexts.into_keys().collect())
        .unwrap_or_default()
}

/// Names of Deployments with their counts: those of the namespace that is meant, and then all others with theirs.
async fn deployments(before: &[String], last: &str) -> Vec<(String, i32)> {
    let Some(target) = target(before) else {
        return Vec::new();
    };
    let mut asker = Asker::new(&target);
    let with_namespace = |d: Counted| (format!("{}/{}", d.namespace, d.name), d.replica_count);
    if let Some((begun, _)) = last.split_once('/') {
        let Ok(begun) = namespace(begun) else {
            return Vec::new();
        };
        let all = asker.listed(Some(&begun), MOST).await;
        return all.into_iter().map(with_namespace).collect();
    }
    let given = flag(before, &["-n", "--namespace"]);
    let own = given.or(target.namespace.as_deref());
    let mut found = Vec::new();
    if let Some(own) = own {
        let all = asker.listed(Some(own), MOST).await;
        found.extend(all.into_iter().map(|d| (d.name, d.replica_count)));
    }
    if given.is_none() {
        let all = asker.listed(None, MOST).await;
        let others = all
            .into_iter()
            .filter(|d| own != Some(d.namespace.as_str()));
        found.extend(others.map(with_namespace));
    }
    found
}

/// Snapshots of batches in this folder, the newest first.
fn snapshots(last: &str) -> Vec<String> {
    let entries = std::fs::read_dir(".").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_one = |name: &String| {
        name.starts_with(PREFIX) && name.ends_with(".json") && name.starts_with(last)
    };
    let found: BTreeSet<_> = names.filter(is_one).collect();
    found.into_iter().rev().collect()
}

async fn namespaces(before: &[String]) -> Vec<String> {
    let Some(target) = target(before) else {
        return Vec::new();
    };
    let all = Asker::new(&target).listed(None, MOST_AT_ONCE).await;
    let all: BTreeSet<_> = all.into_iter().map(|d| d.namespace).collect();
    all.into_iter().collect()
}

/// The containers of a Deployment with the images that they have, to be changed.
async fn images(before: &[String], name: &str) -> Vec<String> {
    let (Some(target), Ok(name)) = (target(before), named(name)) else {
        return Vec::new();
    };
    let given = NamespaceArgs {
        namespace: flag(before, &["-n", "--namespace"]).map(str::to_owned),
    };
    let Ok(deployment) = name.in_namespace(&given, &target) else {
        return Vec::new();
    };
    let all = Asker::new(&target).containers(&deployment).await;
    all.into_iter()
        .map(|(name, image)| format!("{name}={image}"))
        .collect()
}

/// Whom to ask; nobody if the words don't tell, since nobody reads errors on a Tab.
fn target(before: &[String]) -> Option<Target> {
    let names = ["--context", "--server", "--ca", "--cert", "--key"];
    let given = names
        .iter()
        .filter_map(|name| Some([(*name).to_owned(), flag(before, &[name])?.to_owned()]));
    let words = std::iter::once("headcount".to_owned()).chain(given.flatten());
    let mut place = Where::try_parse_from(words).ok()?;
    place.server.timeout = Some(PATIENCE);
    place.server.target().ok()
}
