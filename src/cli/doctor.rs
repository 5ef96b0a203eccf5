//! `headcount doctor`: whether `headcount serve` would work with the same flags, environment and file, and what to do where it
//! wouldn't. It changes nothing, and never listens.

mod addresses;
mod certificates;
mod cluster;
mod configuration;
mod heard;
mod outputs;
mod permissions;
mod report;
mod system;

use std::{path::Path, process::ExitCode};

use clap::Args;

use self::report::Report;
use super::{core_dumps, say};
use crate::config::{Config, ServeArgs};

/// The arguments of `headcount doctor`: those of `serve`, and how it tells.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Tell one JSON object in place of a line a check
    #[arg(long)]
    json: bool,
}

/// Checks everything; the exit code is 0, or 1 if something failed.
pub(super) fn run(args: DoctorArgs) -> ExitCode {
    // A crash would leave the private key behind; that isn't worth a check of its own.
    let _ = core_dumps::forbid();
    let mut report = Report::new(args.json);
    let config = match Config::load(args.serve, std::env::vars_os()) {
        Ok(config) => config,
        Err(error) => {
            report.fail(
                "configuration",
                error.to_string(),
                "correct it; docs/configuration.md has every setting",
            );
            for check in [
                "certificates",
                "addresses",
                "system",
                "kubernetes",
                "permissions",
            ] {
                report.skip(check, "the configuration can't be used");
            }
            return report.finish();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(check(&mut report, &config));
            // A credential plugin that hangs is waited for no longer.
            runtime.shutdown_background();
            report.finish()
        }
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

/// Does `work` on this thread, and tells what `serve` would have warned of.
pub(super) fn warnings_of<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (done, warnings) = heard::warnings_of(work);
    (
        done,
        warnings.into_iter().map(|warning| warning.words).collect(),
    )
}

/// The files that can't be written: their settings, paths, why, and what to do.
pub(super) fn unwritable(config: &Config) -> Vec<(&'static str, &Path, String, &'static str)> {
    let files = outputs::written(config);
    let trouble = files.filter_map(|(_, setting, path)| {
        let (why, fix) = outputs::trouble(path)?;
        Some((setting, path, why, fix))
    });
    trouble.collect()
}

async fn check(report: &mut Report, config: &Config) {
    configuration::check(report, config);
    let certificates = certificates::check(report, config);
    outputs::check(report, config);
    addresses::check(report, config, certificates.leaf.as_deref()).await;
    system::check(report, config);
    match cluster::check(report, config, &certificates.future).await {
        Some((rights, namespace)) => permissions::check(report, config, &rights, &namespace).await,
        None => {
            for check in [permissions::NEEDED, permissions::BEYOND] {
                report.skip(check, "the Kubernetes API doesn't answer");
            }
        }
    }
}
