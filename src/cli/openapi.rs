//! `headcount openapi`: the document of the API, as a running server has it at `/api/v1/openapi.json`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::say;

pub(super) fn run() -> ExitCode {
    match io::stdout().write_all(crate::api::openapi::json().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format_args!("the document could not be written: {error}"));
            ExitCode::FAILURE
        }
    }
}
