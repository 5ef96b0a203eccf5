//! The commands that ask a running server; `kubectl headcount` has them as its own.

mod arguments;
mod asker;
mod batch;
mod changes;
mod completion;
mod context;
mod counts;
mod failed;
mod history;
mod lease;
mod list;
mod output;
mod read;
mod rollout;
mod snapshot;
mod watch;
mod whoami;
mod write;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

pub(super) use self::{
    arguments::{OutputArgs, ServerArgs},
    asker::tell,
    failed::Failed,
};
use super::{core_dumps, say};

/// What help says of exit codes, the same for each of these commands.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 3 forbidden or not let in, 4 not found, 5 conflict (somebody else was faster, \
or it isn't what --current or --if-match says), 6 time-out, 7 refused by bounds or admission, 8 server busy or away, 64 usage, 130 Ctrl-C";
/// How that begins.
pub(super) const EXIT_CODES_ARE: &str = "Exit codes: ";

/// How a command is used, for its manual page.
pub(super) fn examples(command: &str) -> &'static [&'static str] {
    match command {
        "get" => &[
            "headcount get shop",
            "headcount get web/shop jobs/mailer -o wide",
            "headcount get shop -o json",
        ],
        "list" => &[
            "headcount list",
            "headcount list -n web -l 'app in (shop, gateway)'",
        ],
        "watch" => &["headcount watch shop", "headcount watch -n web -o json"],
        "set" => &[
            "headcount set shop 5 --wait",
            "headcount set shop 5 --current 3 --reason 'after the fair'",
            "headcount set shop 10 --for 2h",
        ],
        "step" => &["headcount step shop +2", "headcount step shop -1 --dry-run"],
        "image" => &["headcount image shop app=registry.example/shop:2 --wait"],
        "restart" => &["headcount restart shop --wait=2m"],
        "pause" => &["headcount pause shop --reason 'a look first'"],
        "resume" => &["headcount resume shop --wait"],
        "rollback" => &["headcount rollback shop", "headcount rollback shop --to 3"],
        "batch" => &[
            "headcount batch shop=10 checkout/cart=6 jobs/mailer=0 --for 1h",
            "headcount batch -l tier=front 10 --dry-run",
            "headcount list -n web -o json | headcount batch -f - --snapshot before-the-fair.json",
        ],
        "restore" => &[
            "headcount restore headcount-snapshot-20261128T170000Z.json --dry-run",
            "headcount restore headcount-snapshot-20261128T170000Z.json",
        ],
        "leases" => &["headcount leases", "headcount leases -n web -o wide"],
        "extend" => &["headcount extend shop 1h"],
        "cancel" => &["headcount cancel shop", "headcount cancel shop --keep"],
        "history" => &[
            "headcount history shop",
            "headcount history -n web --limit 20",
        ],
        "wait" => &["headcount wait shop --for 2m"],
        "whoami" => &["headcount whoami -o name"],
        "add" => &[
            "headcount context add staging --server https://headcount.example --pki certificates --client alice -n web",
        ],
        _ => &[],
    }
}

/// The commands of a client.
#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Show Deployments in detail
    #[command(after_help = EXIT_CODES)]
    Get(read::GetArgs),
    /// List Deployments with their counts
    #[command(after_help = EXIT_CODES)]
    List(list::ListArgs),
    /// Show Deployments, and each change from then on until Ctrl-C
    #[command(after_help = EXIT_CODES)]
    Watch(watch::WatchArgs),
    /// Set the count of a Deployment
    #[command(after_help = EXIT_CODES)]
    Set(write::SetArgs),
    /// Make a count so many replicas larger or smaller
    #[command(after_help = EXIT_CODES)]
    Step(write::StepArgs),
    /// Set the counts of many Deployments, by name or by labels, and keep what was
    #[command(after_help = EXIT_CODES)]
    Batch(Box<batch::BatchArgs>),
    /// Bring back the counts from before a batch, where nobody else has changed them since
    #[command(after_help = EXIT_CODES)]
    Restore(batch::RestoreArgs),
    /// List the counts that are leased for a time
    #[command(after_help = EXIT_CODES)]
    Leases(lease::LeasesArgs),
    /// Have a lease end so long from now on
    #[command(after_help = EXIT_CODES)]
    Extend(lease::ExtendArgs),
    /// End a lease now, and go back to the count from before
    #[command(after_help = EXIT_CODES)]
    Cancel(lease::CancelArgs),
    /// Show who changed which count
    #[command(after_help = EXIT_CODES)]
    History(history::HistoryArgs),
    /// Set the image of a container
    #[command(after_help = EXIT_CODES)]
    Image(write::ImageArgs),
    /// Restart all Pods of a Deployment, a few at a time
    #[command(after_help = EXIT_CODES)]
    Restart(write::PlainArgs),
    /// Hold the rollouts of a Deployment
    #[command(after_help = EXIT_CODES)]
    Pause(write::PlainArgs),
    /// Let the rollouts of a Deployment go on
    #[command(after_help = EXIT_CODES)]
    Resume(write::PlainArgs),
    /// Go back to the previous revision of a Deployment, or another one
    #[command(after_help = EXIT_CODES)]
    Rollback(write::RollbackArgs),
    /// Wait until the rollout of a Deployment has ended
    #[command(after_help = EXIT_CODES)]
    Wait(read::WaitArgs),
    /// Show whom a server takes you for, and what you may do
    #[command(after_help = EXIT_CODES)]
    Whoami(whoami::WhoamiArgs),
    /// Keep servers by name, with the files to ask them with
    Context(context::ContextArgs),
    /// Write what a shell's completion may put in the place of the last word
    #[command(hide = true)]
    Complete(completion::CompleteArgs),
}

/// Change and read replica counts of Deployments through headcount.
#[derive(Parser)]
#[command(name = "kubectl-headcount", bin_name = "kubectl headcount", version)]
pub(super) struct Plugin {
    #[command(subcommand)]
    pub(super) command: ClientCommand,
}

/// How kubectl calls this program.
pub(super) enum CalledAs {
    /// `kubectl headcount …`
    Plugin,
    /// For what may come next on its command line.
    Completer,
}

/// Whether kubectl called this, by the name of the program.
pub(super) fn called_by_kubectl() -> Option<CalledAs> {
    let name = std::env::args_os().next()?;
    match std::path::Path::new(&name).file_name()?.to_str()? {
        "kubectl-headcount" => Some(CalledAs::Plugin),
        "kubectl_complete-headcount" => Some(CalledAs::Completer),
        _ => None,
    }
}

/// A command line whose flags before one of these commands are moved behind it, which alone knows them; `others` are the commands
/// that they mean nothing to.
pub(super) fn led_by_the_command(
    mut words: Vec<OsString>,
    others: impl Fn(&str) -> bool,
) -> Vec<OsString> {
    let leading = arguments::LeadingArgs::command();
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        if !word.starts_with('-') {
            if at > 1 && !others(word) {
                words[1..=at].rotate_right(1);
            }
            return words;
        }
        let Some((flag, whole)) = arguments::flag_of(leading.get_arguments(), word) else {
            return words;
        };
        at += 1 + usize::from(flag.get_action().takes_values() && !whole);
    }
    // There is no command, which is what is to be said.
    words.truncate(1);
    words
}

/// Whether a word is a command that asks a server, or no command at all.
pub(super) fn has_server_flags(word: &str) -> bool {
    Plugin::command().find_subcommand(word).is_some()
        || word == "health"
        || super::Cli::command().find_subcommand(word).is_none()
}

/// Writes what may stand in the place of the last word, as kubectl takes it.
pub(super) fn complete() -> ExitCode {
    let words = std::env::args_os().skip(1);
    let words: Vec<_> = words.map(|w| w.to_string_lossy().into_owned()).collect();
    on_a_thread(async {
        completion::write(&words).await;
        Ok(())
    })
}

/// Runs a command; the exit code is one of [`EXIT_CODES`].
pub(super) fn run(command: ClientCommand) -> ExitCode {
    // A crash would leave the private key behind; that isn't worth a failure of its own.
    let _ = core_dumps::forbid();
    on_a_thread(async {
        match command {
            ClientCommand::Get(args) => read::get(&args).await,
            ClientCommand::List(args) => list::list(&args).await,
            ClientCommand::Watch(args) => watch::watch(&args).await,
            ClientCommand::Set(args) => write::set(&args).await,
            ClientCommand::Step(args) => write::step(&args).await,
            ClientCommand::Batch(args) => batch::batch(&args).await,
            ClientCommand::Restore(args) => batch::restore(&args).await,
            ClientCommand::Leases(args) => lease::leases(&args).await,
            ClientCommand::Extend(args) => lease::extend(&args).await,
            ClientCommand::Cancel(args) => lease::cancel(&args).await,
            ClientCommand::History(args) => history::history(&args).await,
            ClientCommand::Image(args) => write::image(&args).await,
            ClientCommand::Restart(args) => write::restart(&args).await,
            ClientCommand::Pause(args) => write::pause(&args, true).await,
            ClientCommand::Resume(args) => write::pause(&args, false).await,
            ClientCommand::Rollback(args) => write::rollback(&args).await,
            ClientCommand::Wait(args) => read::wait(&args).await,
            ClientCommand::Whoami(args) => whoami::whoami(&args).await,
            ClientCommand::Context(args) => context::run(&args),
            ClientCommand::Complete(args) => {
                completion::write_names(&args, &super::Cli::command()).await;
                Ok(())
            }
        }
    })
}

/// One thread is enough, and started sooner than several.
fn on_a_thread(work: impl Future<Output = Result<(), Failed>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            // A resolver of names that hangs is waited for no longer.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failed::new(
            failed::Code::Failed,
            format!("failed to start: {error}"),
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            say(&failed);
            failed.exit_code()
        }
    }
}
