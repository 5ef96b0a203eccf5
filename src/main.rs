//! The `headcount` program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount::cli::main()
}
