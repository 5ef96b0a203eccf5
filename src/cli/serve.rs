//! `headcount serve`: the API of a cluster.

use std::process::ExitCode;

use super::{Signals, failed, not_started, on_runtime, refused_unstarted};
use crate::{
    Headcount,
    config::{Config, ServeArgs},
};

pub(super) fn run(args: ServeArgs) -> ExitCode {
    let config = match Config::load(args, std::env::vars_os()) {
        Ok(config) => config,
        Err(error) => return refused_unstarted(&error),
    };
    on_runtime(config.log_format, config.log_level, serve(config))
}

async fn serve(config: Config) -> ExitCode {
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
