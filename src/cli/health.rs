//! `headcount health`: asks a running server whether it is healthy, as a caller would. For `helm test`, smoke tests and scripts.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use clap::Args;
use http::StatusCode;
use serde_json::Value;

use super::{
    BAD_CONFIGURATION,
    client::{Failed, OutputArgs, ServerArgs, tell},
    core_dumps, say,
};
use crate::{
    client::{Answer, Call, ClientError, ServerAddress},
    pki::printable,
};

/// The call that tells.
const PATH: &str = "/api/v1/health";

/// The arguments of `headcount health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Why it isn't known to be healthy.
#[derive(Debug, thiserror::Error)]
enum HealthError {
    /// The server isn't known, or the files can't be used.
    #[error("{0}")]
    Unasked(Failed),
    #[error("failed to start: {0}")]
    Runtime(#[from] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(
        "{0} is not healthy: {1}; its log says more, and so does `headcount doctor` with its flags"
    )]
    Unhealthy(ServerAddress, String),
    #[error(
        "{0} answered {1} and not whether it is healthy; see that it is headcount, and this its API's port"
    )]
    Odd(ServerAddress, StatusCode),
}

/// Asks, and tells the answer; the exit code is 0 if the server is healthy, 64 for files that can't be used, or 1.
pub(super) fn run(args: HealthArgs) -> ExitCode {
    // A crash would leave the private key behind; that isn't worth a failure of its own.
    let _ = core_dumps::forbid();
    match ask(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            match error {
                HealthError::Unasked(_) => ExitCode::from(BAD_CONFIGURATION),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn ask(args: HealthArgs) -> Result<(), HealthError> {
    let target = args.server.target().map_err(HealthError::Unasked)?;
    let server = target.server;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let asked = runtime.block_on(target.client.get(PATH));
    // A resolver of names that hangs is waited for no longer.
    runtime.shutdown_background();
    let answer = asked?;
    if target.verbose {
        tell(&Call::get(PATH.into()), &answer, began);
    }
    let Answer { status, body, .. } = answer;
    let body = String::from_utf8_lossy(&body);
    let told: Value = serde_json::from_str(&body).unwrap_or_default();
    // A closed stdout changes nothing about the answer.
    if told.is_null() || !args.output.is_structured() {
        let _ = writeln!(io::stdout(), "{}", printable(body.trim_end()));
    } else {
        let _ = args.output.write(&told);
    }
    match (status, told["status"].as_str(), told["error"].as_str()) {
        (StatusCode::OK, Some("healthy"), _) => Ok(()),
        (_, _, Some(why)) => Err(HealthError::Unhealthy(server, why.to_owned())),
        _ => Err(HealthError::Odd(server, status)),
    }
}
