//! What tests' programs say is kept, with the keys and tokens that they had, so that all of it can be searched for them
//! when the tests have ended: `.ci/secrets`.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde_json::Value;

/// The folder of all that was said.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("output")
}

/// A new file there.
fn file(kind: &str) -> File {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    fs::create_dir_all(folder()).unwrap();
    let path = folder().join(format!("{}-{number}.{kind}", process::id()));
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// Where what a program says is kept.
pub(super) fn of_program() -> File {
    file("output")
}

/// Keeps the lines of a server in this process.
pub(super) fn keep(lines: &str) {
    of_program().write_all(lines.as_bytes()).unwrap();
}

/// Keeps what must not be said by a program: the keys and tokens in the files that it is started with, and beside those.
pub(super) fn keep_secrets_of(command: &Command) {
    let mut secrets = Vec::new();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let path = argument
            .split_once('=')
            .map_or(&*argument, |(_, value)| value);
        let path = Path::new(path);
        let beside = path.parent().filter(|_| path.is_file()).map(fs::read_dir);
        let beside = beside.into_iter().flatten().flatten().flatten();
        let keys = beside.map(|entry| entry.path()).filter(|path| {
            let extension = path.extension();
            extension.is_some_and(|extension| extension == "key")
        });
        for path in keys.chain([path.to_owned()]) {
            secrets.extend(
                fs::read_to_string(path)
                    .iter()
                    .flat_map(|text| secrets_in(text)),
            );
        }
    }
    keep_secrets(secrets);
}

/// Keeps what must not be said by anybody: the keys and tokens in these files.
pub(crate) fn keep_secrets_in<'a>(contents: impl Iterator<Item = &'a [u8]>) {
    let texts = contents.filter_map(|content| std::str::from_utf8(content).ok());
    keep_secrets(texts.flat_map(secrets_in).collect());
}

fn keep_secrets(mut secrets: Vec<String>) {
    if !secrets.is_empty() {
        secrets.sort();
        secrets.dedup();
        writeln!(file("secrets"), "{}", secrets.join("\n")).unwrap();
    }
}

/// A key in PEM, as it may be written out, an account's token, or the tokens and keys of a kubeconfig.
fn secrets_in(text: &str) -> Vec<String> {
    if text.starts_with("eyJ") {
        return vec![text.trim().to_owned()];
    }
    if text.contains("PRIVATE KEY-----") {
        let lines = text
            .lines()
            .filter(|line| line.len() > 40 && !line.contains(' '));
        let mut secrets: Vec<_> = lines.map(str::to_owned).collect();
        if let Ok(key) = PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            // What is before are the algorithm's numbers, which all keys have.
            if let Some(secret) = key.secret_der().get(36..52) {
                secrets.push(secret.iter().map(|byte| format!("{byte:02x}")).collect());
                secrets.push(format!("{secret:?}").trim_matches(['[', ']']).to_owned());
            }
        }
        return secrets;
    }
    match serde_json::from_str(text) {
        Ok(kubeconfig) => credentials(&kubeconfig),
        Err(_) => Vec::new(),
    }
}

fn credentials(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(credentials).collect(),
        Value::Object(object) => {
            let of = |(name, value): (&String, &Value)| match (name.as_str(), value.as_str()) {
                ("token" | "password" | "client-key-data", Some(secret)) => vec![secret.to_owned()],
                _ => credentials(value),
            };
            object.iter().flat_map(of).collect()
        }
        _ => Vec::new(),
    }
}
