//! The command line: one file a subcommand.

mod audit;
mod client;
mod completions;
mod config;
mod core_dumps;
mod demo;
mod doctor;
mod health;
mod man;
mod openapi;
mod pki;
mod policy;
mod serve;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::error;

use crate::{
    StartError,
    telemetry::log::{self, Format, LogSettings},
};

/// The exit code of a command line, configuration or file that nothing can be started with (EX_USAGE of sysexits.h).
const BAD_CONFIGURATION: u8 = 64;
/// How many polls a busy thread makes before it looks at sockets again: with tokio's 61 of them, of ready connections of one
/// caller, somebody else's request isn't even seen for most of a millisecond.
const POLLS: u32 = 2;

/// Reads and sets replica counts of Kubernetes Deployments over mutual TLS.
#[derive(Parser)]
#[command(
    name = "headcount",
    version,
    about,
    after_help = "The commands from get to context, and health, ask a server that runs; the others run one, or look at what belongs to one."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Client(Box<client::ClientCommand>),
    /// Serve the API of a cluster
    Serve(Box<crate::config::ServeArgs>),
    /// Check everything that `serve` needs, with the same flags, and say what to fix: exit code 0 fine, 1 something failed, 64 usage
    Doctor(Box<doctor::DoctorArgs>),
    /// Try everything without a cluster: certificates, a simulated Kubernetes and the server, until Ctrl-C
    Demo(demo::DemoArgs),
    /// Make, renew, revoke, deny and show certificates: for development and small installations
    Pki(Box<pki::PkiArgs>),
    /// Say what a configuration's rules decide, and test them
    Policy(policy::PolicyArgs),
    /// Find out whether an audit trail is whole
    Audit(audit::AuditArgs),
    /// Ask a running server whether it is healthy, over mutual TLS: exit code 0 healthy, 1 not, 64 usage or unusable files
    Health(Box<health::HealthArgs>),
    /// Write a shell's completions to stdout
    Completions(completions::CompletionsArgs),
    /// Write the manual page to stdout, or all of them into a folder
    Man(man::ManArgs),
    /// Print the OpenAPI document of the API, to make clients of
    Openapi,
    /// Check a configuration, print what is in force, rewrite deprecated keys, print the file's JSON Schema
    Config(Box<config::ConfigArgs>),
}

/// Runs the program; the exit code is 0, 64 for a bad configuration, 3 for what a policy denies, 1 for another failure, or what the
/// commands of a client say.
pub fn main() -> ExitCode {
    let plugin = client::called_by_kubectl();
    if let Some(client::CalledAs::Completer) = plugin {
        return client::complete();
    }
    let words = client::led_by_the_command(std::env::args_os().collect(), |word| {
        plugin.is_none() && !client::has_server_flags(word)
    });
    let parsed = match plugin {
        None => Cli::try_parse_from(&words).map(|cli| cli.command),
        Some(_) => client::Plugin::try_parse_from(&words)
            .map(|plugin| Command::Client(Box::new(plugin.command))),
    };
    let command = match parsed {
        Ok(command) => command,
        // Help and version are no errors, and go to stdout.
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(_) if words.len() == 1 && plugin.is_none() => {
            say(
                &"the command is missing: get, set or list to ask a server, serve to run one; `headcount --help` tells more",
            );
            return ExitCode::from(BAD_CONFIGURATION);
        }
        Err(error) if plugin.is_none() && is_logged(&words) => {
            return refused_unstarted(&crate::config::sentence(&error));
        }
        Err(error) => {
            say(&crate::config::sentence(&error));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let code = match command {
        Command::Client(command) => client::run(*command),
        Command::Serve(args) => serve::run(*args),
        Command::Doctor(args) => doctor::run(*args),
        Command::Demo(args) => demo::run(&args),
        Command::Pki(args) => pki::run(*args),
        Command::Policy(args) => policy::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Health(args) => health::run(*args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Openapi => openapi::run(),
        Command::Config(args) => config::run(*args),
    };
    log::flush();
    code
}

/// Whether the command is one that says all in log lines, which no person may be reading; of all others that is told in words, even
/// if they can't be understood.
fn is_logged(words: &[OsString]) -> bool {
    let is_flag = |word: &&OsString| word.to_str().is_some_and(|word| word.starts_with('-'));
    let command = words.iter().skip(1).find(|word| !is_flag(word));
    command.is_some_and(|word| word == "serve" || word == "demo")
}

/// Says to a person why nothing was done.
fn say(error: &dyn Display) {
    tell("error", error);
}

/// Says to a person what to look at.
fn warn(warning: &dyn Display) {
    tell("warning", warning);
}

fn tell(what: &str, said: &dyn Display) {
    let text = said.to_string();
    let lines: Vec<_> = text.lines().map(crate::pki::printable).collect();
    // A closed stderr changes nothing about what was or wasn't done.
    let _ = writeln!(io::stderr(), "{what}: {}", lines.join("\n"));
}

/// Starts the log lines and a runtime, and runs `work` on it.
fn on_runtime<W>(settings: &LogSettings, work: W) -> ExitCode
where
    W: Future<Output = ExitCode>,
{
    if let Err(error) = log::start(settings) {
        return refused_unstarted(&error);
    }
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(POLLS)
        .build()
    {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // What still runs was given its time by the drain.
            runtime.shutdown_background();
            code
        }
        Err(error) => failed(&error),
    }
}

/// Says why nothing was started, before it is known how lines are to look: as the command line or the environment asks,
/// even if something else in them is wrong.
fn refused_unstarted(error: &dyn Display) -> ExitCode {
    let format = asked_format(
        std::env::args_os(),
        std::env::var_os("HEADCOUNT_LOG_FORMAT"),
    );
    // It fails only if it was started before.
    let _ = log::start(&LogSettings {
        format,
        ..LogSettings::default()
    });
    let code = refused(error);
    log::flush();
    code
}

fn asked_format(
    arguments: impl IntoIterator<Item = OsString>,
    variable: Option<OsString>,
) -> Format {
    let mut asked = variable;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--log-format" {
            asked = arguments.next();
        } else if let Some(format) = argument
            .to_str()
            .and_then(|a| a.strip_prefix("--log-format="))
        {
            asked = Some(format.into());
        }
    }
    match asked {
        Some(json) if json == "json" => Format::Json,
        _ => Format::default(),
    }
}

/// Says why nothing was started.
fn refused(error: &dyn Display) -> ExitCode {
    error!(name: "config.invalid", "{error}");
    ExitCode::from(BAD_CONFIGURATION)
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    error!(name: "server.failed", "{error}");
    ExitCode::FAILURE
}

/// The exit code for a server that didn't start.
fn not_started(error: &StartError) -> ExitCode {
    match error {
        StartError::Files(_) | StartError::Cluster(_) | StartError::Audit(_) => refused(error),
        StartError::Listen(..) => failed(error),
    }
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The first one asks for an end; the second one is the end.
    async fn shutdown(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            log::flush();
            std::process::exit(1);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The whole command line, for tests that hold what is written elsewhere to it.
#[cfg(test)]
pub(crate) fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
