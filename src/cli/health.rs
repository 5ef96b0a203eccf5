//! `headcount health`: asks a running server whether it is healthy, as a caller would. For `helm test`, smoke tests and scripts.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::Value;

use super::{BAD_CONFIGURATION, core_dumps, say};
use crate::{
    client::{Answer, Client, ClientError, ClientFiles, FilesError, ServerAddress},
    pki::printable,
};

/// The call that tells.
const PATH: &str = "/api/v1/health";
/// The longest time to wait.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// The arguments of `headcount health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// The server: https://HOST, with :PORT unless it is 443
    #[arg(long, value_name = "URL")]
    server: ServerAddress,
    /// The CAs that the server's certificate may come from, PEM
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long the answer is waited for, connecting included
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    timeout: Duration,
}

/// Why it isn't known to be healthy.
#[derive(Debug, thiserror::Error)]
enum HealthError {
    #[error(transparent)]
    Files(#[from] FilesError),
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
                HealthError::Files(_) => ExitCode::from(BAD_CONFIGURATION),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn ask(args: HealthArgs) -> Result<(), HealthError> {
    let HealthArgs {
        server,
        ca,
        cert,
        key,
        timeout,
    } = args;
    let client = Client::new(server.clone(), &ClientFiles { ca, cert, key }, timeout)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = runtime.block_on(client.get(PATH));
    // A resolver of names that hangs is waited for no longer.
    runtime.shutdown_background();
    let Answer { status, body } = asked?;
    let body = String::from_utf8_lossy(&body);
    // A closed stdout changes nothing about the answer.
    let _ = writeln!(io::stdout(), "{}", printable(body.trim_end()));
    let told: Value = serde_json::from_str(&body).unwrap_or_default();
    match (status, told["status"].as_str(), told["error"].as_str()) {
        (StatusCode::OK, Some("healthy"), _) => Ok(()),
        (_, _, Some(why)) => Err(HealthError::Unhealthy(server, why.to_owned())),
        _ => Err(HealthError::Odd(server, status)),
    }
}

fn time(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "give a time from 1ms to 10m, like 10s, 500ms or 1m30s";
    let time = text.parse::<SignedDuration>().map_err(|_| WRONG)?;
    let time = Duration::try_from(time).map_err(|_| WRONG)?;
    (Duration::from_millis(1)..=LONGEST)
        .contains(&time)
        .then_some(time)
        .ok_or(WRONG)
}
