//! Plays a case of `tests/page` in Chromium, and does in the cluster what it asks for.

use std::{
    path::{Path, PathBuf},
    process::{Command as Built, Stdio},
    sync::OnceLock,
    time::Duration,
};

use headcount::pki::DemoFiles;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    sync::Semaphore,
    time::timeout,
};

use crate::{node::in_a_quiet_network, support::skipped};

/// How long a case may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(600);
/// Browsers at a time.
static TURNS: Semaphore = Semaphore::const_new(2);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of what drives a browser, which is built once; `None` where it can't be had, which a pipeline must not take.
fn tools() -> Option<&'static Path> {
    static TOOLS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let tools = TOOLS.get_or_init(|| {
        let build = root().join("tests/page/build");
        let output = Built::new(build).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout).into()),
            false => Err(text(&output.stderr)),
        }
    });
    match tools {
        Ok(folder) => Some(folder),
        Err(errors) => {
            assert!(std::env::var_os("CI").is_none(), "{errors}");
            skipped(&format!("no browser shows the page: {errors}"));
            None
        }
    }
}

/// Runs a test with a browser, in a network that stays as it is: a browser closes its connections when that changes.
pub(super) fn seen<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    // What installs something needs the machine's network.
    if tools().is_some() {
        in_a_quiet_network(test);
    }
}

/// What a case knows: where the server is, and whose certificate the browser has, alice's.
pub(super) fn world(address: impl ToString, files: &DemoFiles) -> Value {
    json!({
        "address": address.to_string(),
        "ca": files.ca,
        "certificate": files.client.certificate,
        "key": files.client.key,
    })
}

/// Plays a case. `step` does what it asks for by a name and details, and returns what it is told.
#[allow(
    clippy::print_stdout,
    reason = "figures, which are shown when asked for"
)]
pub(super) async fn play(
    case: &str,
    world: &Value,
    mut step: impl AsyncFnMut(&str, &[Value]) -> Value,
) {
    let tools = tools().unwrap();
    let _turn = TURNS.acquire().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| world[name].as_str().unwrap().to_owned();
    let mut node = Command::new("unshare")
        // Of its own: mounts for the browser's policy, processes that end with it.
        .args(["--map-root-user", "--mount", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc"])
        .arg(root().join("tests/page/play"))
        .arg(case)
        .env("PAGE_CA", file("ca"))
        .env("PAGE_CERTIFICATE", file("certificate"))
        .env("PAGE_KEY", file("key"))
        .env("PAGE_ORIGIN", format!("https://{}", file("address")))
        .env("PAGE_TOOLS", tools)
        .env("PAGE_WORLD", world.to_string())
        // What a browser leaves behind.
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    let mut said = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut errors = node.stderr.take().unwrap();
    let complaints = tokio::spawn(async move {
        let mut text = String::new();
        errors.read_to_string(&mut text).await.map(|_| text)
    });
    let played = timeout(PATIENCE, async {
        while let Some(line) = said.next_line().await.unwrap() {
            let Some(asked) = line.strip_prefix('@') else {
                println!("{case}: {line}");
                continue;
            };
            let asked: Vec<Value> = serde_json::from_str(asked).unwrap();
            let told = step(asked[0].as_str().unwrap(), &asked[1..]).await;
            stdin
                .write_all(format!("{told}\n").as_bytes())
                .await
                .unwrap();
        }
        node.wait().await.unwrap()
    });
    let ended = played.await;
    let succeeded = ended.as_ref().is_ok_and(|status| status.success());
    drop(node);
    let complaints = complaints.await.unwrap().unwrap();
    assert!(succeeded, "{case}: {ended:?}\n{complaints}");
}
