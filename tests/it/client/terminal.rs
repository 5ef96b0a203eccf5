//! What is written where there is a terminal, by `script` of util-linux, and where nobody wants colours.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use simkube::NewDeployment;

use super::Site;
use crate::support::{eventually, skipped};

/// What a terminal gets of a command, or nothing where there is none to be had.
fn on_a_terminal(site: &Site, args: &str, variables: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new("script");
    let line = format!("{} {args}", env!("CARGO_BIN_EXE_headcount"));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env(
        "HEADCOUNT_CONTEXTS",
        site.folder.path().join("contexts.yaml"),
    );
    command
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_colours_and_a_bar_unless_it_is_dumb_or_nobody_wants_them() {
    let site = Site::start().await;
    let Some(shown) = on_a_terminal(&site, "get shop", &[]) else {
        return skipped("terminals are not tried, because script is missing");
    };
    assert!(shown.contains("\x1b[32mcomplete\x1b[0m"), "{shown:?}");
    let bar = on_a_terminal(&site, "set shop 3 --wait=20s", &[]).unwrap();
    assert!(
        bar.contains("\r\x1b[K") && bar.contains("[\x1b[32m####################\x1b[0m]"),
        "{bar:?}"
    );
    assert!(bar.ends_with('\n'), "{bar:?}");
    // What is wider than the terminal is cut, and goes on in no second line.
    let shown = bar.matches("\r\x1b[K").count();
    assert_eq!(bar.matches("\r\x1b[K\x1b[?7l").count(), shown, "{bar:?}");
    assert_eq!(bar.matches("\x1b[?7h").count(), shown, "{bar:?}");
    let plain = on_a_terminal(&site, "set shop 2 --wait=20s", &[("NO_COLOR", "1")]).unwrap();
    assert!(
        plain.contains("[####################]") && !plain.contains("\x1b[32m"),
        "{plain:?}"
    );
    for args in ["get shop", "set shop 4 --wait=20s"] {
        let dumb = on_a_terminal(&site, args, &[("TERM", "dumb")]).unwrap();
        assert!(!dumb.contains('\x1b'), "{dumb:?}");
    }
}

/// What a terminal shows of a command in the site's folder when this is typed at its question, and whether it succeeded; nothing where there is none.
fn typed(site: &Site, args: &str, keys: &str) -> Option<(bool, String)> {
    let mut command = Command::new("script");
    let line = format!("{} {args}", env!("CARGO_BIN_EXE_headcount"));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env(
        "HEADCOUNT_CONTEXTS",
        site.folder.path().join("contexts.yaml"),
    );
    command.current_dir(site.folder.path()).env("TERM", "dumb");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.ok()?;
    let mut stdin = child.stdin.take()?;
    let mut stdout = child.stdout.take()?;
    let mut shown = Vec::new();
    let mut some = [0; 1024];
    let mut to_type = Some(keys).filter(|keys| !keys.is_empty());
    loop {
        let read = match stdout.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        shown.extend(&some[..read]);
        // A Ctrl-C before the question would be no answer to it.
        if String::from_utf8_lossy(&shown).contains("[y/N]")
            && let Some(keys) = to_type.take()
        {
            stdin.write_all(keys.as_bytes()).ok()?;
        }
    }
    let done = child.wait().ok()?.success();
    Some((done, String::from_utf8_lossy(&shown).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_selector_selects_is_shown_at_a_terminal_and_set_once_somebody_agrees() {
    let site = Site::start().await;
    let new = NewDeployment::new("web", "front").label("tier", "front");
    site.cluster.cluster.create(new).unwrap();
    let count = async || site.serving.client.count("web", "front").await;
    eventually(std::time::Duration::from_secs(20), "it", async || {
        count().await == Ok(1)
    })
    .await;
    let Some((done, shown)) = typed(&site, "batch -l tier=front 3", "n\n") else {
        return skipped("nobody is asked at a terminal, because script is missing");
    };
    assert!(
        !done && shown.contains("Set this Deployment? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(count().await, Ok(1));
    let (done, shown) = typed(&site, "batch -l tier=front 3", "y\n").unwrap();
    // The table of what would become of it, and that of what has.
    assert!(done && shown.matches("  scaled").count() == 1, "{shown}");
    let (before, after) = shown.split_once("[y/N]").unwrap();
    assert!(
        before.contains("  would be scaled") && after.contains("  scaled"),
        "{shown}"
    );
    assert_eq!(count().await, Ok(3));
    // Ctrl-C is an answer, too.
    let (done, shown) = typed(&site, "batch -l tier=front 4", "\u{3}").unwrap();
    assert!(
        !done && shown.contains("nothing was set: it was only asked whether to"),
        "{shown}"
    );
    assert_eq!(count().await, Ok(3));
    let (done, shown) = typed(&site, "batch -l tier=front 4 --yes", "").unwrap();
    assert!(done && !shown.contains("[y/N]"), "{shown}");
    // Few that are named are nothing to ask about.
    let (done, shown) = typed(&site, "batch front=5", "").unwrap();
    assert!(done && !shown.contains("[y/N]"), "{shown}");
    assert_eq!(count().await, Ok(5));
}
