//! What programs make of the document: a validator, a generated client, and one that tries everything that it allows.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use super::served;
use crate::support::skipped;

/// Installing what reads the document takes most of it, once.
const PATIENCE: Duration = Duration::from_secs(300);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

async fn run(program: &Path, folder: &Path, args: &[&str]) -> Output {
    let running = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("COLUMNS", "160")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, running).await;
    output
        .unwrap_or_else(|_| panic!("{args:?} took longer than {PATIENCE:?}"))
        .unwrap()
}

/// The standard output of what succeeds.
async fn succeeds(program: &Path, folder: &Path, args: &[&str]) -> String {
    let output = run(program, folder, args).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}\n{errors}");
    said
}

/// Python with those packages; `None` where they can't be had, which a pipeline must not take.
async fn python() -> Option<PathBuf> {
    let output = run(&root().join("tests/openapi/build"), root(), &[]).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Some(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    assert!(std::env::var_os("CI").is_none(), "{errors}");
    skipped(&format!("no program reads the OpenAPI document: {errors}"));
    None
}

#[tokio::test]
async fn the_document_is_valid_openapi() {
    let Some(python) = python().await else { return };
    let validator = ["-m", "openapi_spec_validator", "docs/openapi.json"];
    succeeds(&python, root(), &validator).await;
    let folder = tempfile::tempdir().unwrap();
    let broken = include_str!("../../../docs/openapi.json").replace("\"responses\"", "\"answers\"");
    std::fs::write(folder.path().join("broken.json"), broken).unwrap();
    let validator = ["-m", "openapi_spec_validator", "broken.json"];
    let output = run(&python, folder.path(), &validator).await;
    assert!(!output.status.success(), "a broken document is taken");
}

#[tokio::test]
async fn a_client_that_is_generated_from_the_document_reads_writes_and_knows_errors() {
    let (_sim, server) = served().await;
    let Some(python) = python().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("headcount_client");
    let [document, config] = ["docs/openapi.json", "tests/openapi/generator.yaml"]
        .map(|path| root().join(path).display().to_string());
    let generator = [
        "-m",
        "openapi_python_client",
        "generate",
        "--path",
        &document,
        "--meta",
        "none",
        "--config",
        &config,
        "--output-path",
        into.to_str().unwrap(),
        // What it can't make a client of is an error.
        "--fail-on-warning",
    ];
    succeeds(&python, folder.path(), &generator).await;
    let [ca, chain, key] = [
        &server.files.ca,
        &server.files.client.certificate,
        &server.files.client.key,
    ]
    .map(|path| path.to_str().unwrap());
    let at = format!("https://{}/api/v1", server.address);
    let script = root().join("tests/openapi/client.py");
    let args = [
        script.to_str().unwrap(),
        folder.path().to_str().unwrap(),
        &at,
        ca,
        chain,
        key,
    ];
    let said = succeeds(&python, folder.path(), &args).await;
    assert_eq!(said.trim(), "all as documented");
}

/// A bounded number of requests from a fixed seed: valid ones, and ones that break the document in one place each.
#[tokio::test]
async fn whatever_the_document_allows_or_forbids_is_answered_as_it_says() {
    let (_sim, server) = served().await;
    let Some(python) = python().await else { return };
    let folder = tempfile::tempdir().unwrap();
    // Where it looks for the one, and leaves what it remembers.
    for file in ["hooks.py", "schemathesis.toml"] {
        let from = root().join("tests/openapi").join(file);
        std::fs::copy(from, folder.path().join(file)).unwrap();
    }
    let document = root().join("docs/openapi.json").display().to_string();
    let at = format!("https://{}/api/v1", server.address);
    let [ca, chain, key] = [
        &server.files.ca,
        &server.files.client.certificate,
        &server.files.client.key,
    ]
    .map(|path| path.to_str().unwrap());
    let args = [
        "-m",
        "schemathesis.cli",
        "run",
        &document,
        "--url",
        &at,
        "--tls-verify",
        ca,
        "--request-cert",
        chain,
        "--request-cert-key",
        key,
        "--phases",
        "examples,coverage,fuzzing",
        "--no-color",
    ];
    let said = succeeds(&python, folder.path(), &args).await;
    let generated = said
        .lines()
        .find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
    assert!(generated.is_some_and(|count| count > 500), "{said}");
}
