//! The command line: one file a subcommand.

mod demo;
mod serve;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::error;

use crate::{
    StartError,
    telemetry::log::{self, Format, Severity},
};

/// The exit code of a command line, configuration or file that nothing can be started with (EX_USAGE of sysexits.h).
const BAD_CONFIGURATION: u8 = 64;

/// Reads and sets replica counts of Kubernetes Deployments over mutual TLS.
#[derive(Parser)]
#[command(name = "headcount", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API of a cluster
    Serve(Box<crate::config::ServeArgs>),
    /// Try everything without a cluster: certificates, a simulated Kubernetes and the server, until Ctrl-C
    Demo(demo::DemoArgs),
}

/// Runs the program; the exit code is 0, 64 for a bad configuration, or 1 for another failure.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(BAD_CONFIGURATION)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Demo(args) => demo::run(&args),
    }
}

/// Starts the log lines and a runtime, and runs `work` on it.
fn on_runtime<W>(format: Format, severity: Severity, work: W) -> ExitCode
where
    W: Future<Output = ExitCode>,
{
    if log::start(format, severity).is_err() {
        return ExitCode::FAILURE;
    }
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
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

/// Says why nothing was started.
fn refused(error: &dyn std::error::Error) -> ExitCode {
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
        StartError::Tls(_) | StartError::Cluster(_) => refused(error),
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
