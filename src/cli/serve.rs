//! `headcount serve`: the API of a cluster.

use std::process::ExitCode;

use tracing::warn;

use super::{Signals, core_dumps, failed, not_started, on_runtime, refused_unstarted};
use crate::{
    Headcount,
    config::{Config, ServeArgs, deprecated},
};

pub(super) fn run(args: ServeArgs) -> ExitCode {
    let config = match Config::load(args, std::env::vars_os()) {
        Ok(config) => config,
        Err(error) => return refused_unstarted(&error),
    };
    on_runtime(&config.log.clone(), serve(config))
}

async fn serve(config: Config) -> ExitCode {
    if let Err(error) = core_dumps::forbid() {
        warn!(name: "server.core_dumps.possible", error = %error, "failed to forbid core dumps: if this process crashes, one may have its private key");
    }
    deprecated::warn_of(&config.deprecated);
    // Before anything else, so that a signal during the start ends it.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    let headcount = match Headcount::bind(config).await {
        Ok(headcount) => headcount,
        Err(error) => return not_started(&error),
    };
    match headcount.run(signals.shutdown()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}
