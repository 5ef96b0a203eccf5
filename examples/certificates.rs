//! Makes the certificates for a first deployment: an authority, a server that answers to the Service's names, one client.
//!
//! `cargo run --example certificates -- FOLDER` writes `ca.crt`, `server.crt`, `server.key`, `client.crt` and `client.key`.
//! The authority's key is not kept: whoever needs another certificate makes all of them anew.

use std::{env, path::Path, process::ExitCode};

use headcount::pki::{
    Authority, Error, Leaf, Pair, SERVER_NAMES, create_folder, write_certificate,
};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        complain("usage: certificates FOLDER");
        return ExitCode::from(64);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), Error> {
    let authority = Authority::new("headcount local CA")?;
    let server = authority.issue(&Leaf::server(&SERVER_NAMES))?;
    let client = authority.issue(&Leaf::client("admin"))?;
    create_folder(folder)?;
    write_certificate(&folder.join("ca.crt"), &authority.certificate_pem())?;
    Pair::in_folder(folder, "server").write(&server)?;
    Pair::in_folder(folder, "client").write(&client)
}

#[expect(clippy::print_stderr, reason = "a person reads it in a terminal")]
fn complain(message: &str) {
    eprintln!("{message}");
}
