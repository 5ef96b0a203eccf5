//! `headcount config check`: what `headcount serve` would refuse, all of it at once. It changes nothing and never listens.

use std::{fs::File, io::Read as _, path::Path, process::ExitCode};

use clap::Args;

use super::{BAD_CONFIGURATION, say, written};
use crate::{
    cli::{core_dumps, doctor, warn},
    config::{self, Config, ServeArgs},
    kubernetes,
    reload::Files,
};

/// The arguments of `headcount config check`: those of `serve`, and how far it goes.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Check what is said, and not the files that it names nor the kubeconfig, which are elsewhere
    #[arg(long)]
    skip_files: bool,
}

pub(super) fn run(args: CheckArgs) -> ExitCode {
    // A crash would leave the private key behind; that isn't worth a word of its own.
    let _ = core_dumps::forbid();
    let config = match config::problems(args.serve, std::env::vars_os()) {
        Ok(config) => config,
        Err(problems) => return refused(problems.iter().map(ToString::to_string)),
    };
    for deprecated in &config.deprecated {
        warn(&format!(
            "{}{deprecated}; `headcount config migrate` rewrites it",
            file(&config)
        ));
    }
    let problems = match args.skip_files {
        true => Vec::new(),
        false => of_files(&config),
    };
    if !problems.is_empty() {
        return refused(problems);
    }
    let seen = match args.skip_files {
        true => "can be used, as far as it says by itself",
        false => "can be used",
    };
    written(&format!("{}the configuration {seen}\n", file(&config)))
}

/// `FILE: `, as far as there is one.
fn file(config: &Config) -> String {
    let path = config.source.path();
    path.map(|path| format!("{}: ", path.display()))
        .unwrap_or_default()
}

fn refused(problems: impl IntoIterator<Item = String>) -> ExitCode {
    problems.into_iter().for_each(|problem| say(&problem));
    ExitCode::from(BAD_CONFIGURATION)
}

/// Why a file can't be read.
fn unreadable(path: &Path) -> Option<String> {
    let read = File::open(path).and_then(|mut file| file.read(&mut [0]));
    let error = read.err()?;
    Some(format!("failed to read {path:?}: {error}"))
}

/// What is wrong with the files that a configuration names.
fn of_files(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let (tls, warnings) = doctor::warnings_of(|| Files::read(config).and_then(|files| files.tls()));
    for warning in warnings {
        warn(&warning);
    }
    let unreadable: Vec<_> = config.files().into_iter().filter_map(unreadable).collect();
    match unreadable.is_empty() {
        true => problems.extend(tls.err().map(|error| error.to_string())),
        false => problems.extend(unreadable),
    }
    for (setting, path, why, fix) in doctor::unwritable(config) {
        problems.push(format!(
            "{} can't be written ({why}): {fix} ({setting})",
            path.display()
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let way =
                kubernetes::connection(config.kubeconfig.as_deref(), config.context.as_deref());
            problems.extend(runtime.block_on(way).err().map(|error| error.to_string()));
            // A credential plugin that hangs is waited for no longer.
            runtime.shutdown_background();
        }
        Err(error) => problems.push(error.to_string()),
    }
    problems
}
