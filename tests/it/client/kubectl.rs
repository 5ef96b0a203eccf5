//! As kubectl's plugin, and what kubectl completes its command line with.

use std::{
    os::unix::{fs::symlink, process::CommandExt as _},
    process::{Command, Output},
};

use super::Site;

fn called(site: &Site, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command.env_clear().env(
        "HEADCOUNT_CONTEXTS",
        site.folder.path().join("contexts.yaml"),
    );
    command
        .arg0(format!("/usr/local/bin/{name}"))
        .args(args)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_has_the_clients_commands_and_completes_their_words() {
    let site = Site::start().await;
    let output = called(&site, "kubectl-headcount", &["set", "web/shop", "3"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "web/shop scaled from 1 to 3\n"
    );
    // As with kubectl, flags may come first.
    for flags in [
        &["-n", "jobs"][..],
        &["-njobs", "--context=dev"],
        &["--context", "dev", "-n=jobs"],
    ] {
        let words = [flags, &["get", "mailer", "-o", "name"]].concat();
        let output = called(&site, "kubectl-headcount", &words);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "jobs/mailer\n",
            "{output:?}"
        );
    }
    let output = called(&site, "kubectl-headcount", &["serve"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("error: "),
        "{output:?}"
    );
    let help = called(&site, "kubectl-headcount", &["set", "--help"]);
    assert!(
        String::from_utf8_lossy(&help.stdout).contains("kubectl headcount set"),
        "{help:?}"
    );

    for (words, expected) in [
        (&["re"][..], "restart restore resume :4"),
        (&["get", ""], "admin shop jobs/mailer :36"),
        (&["get", "web/shop", "web/a"], "web/admin :36"),
        (&["set", "-n", "web", "s"], "shop :36"),
        (&["set", "s"], "shop :36"),
        (&["set", "m"], ":36"),
        (&["set", "jobs/"], "jobs/mailer :36"),
        (&["set", "-n", ""], "jobs web :36"),
        (&["set", "web/shop", ""], ":36"),
        (&["get", "--context", ""], "dev :36"),
        (&["--context", ""], "dev :36"),
        (&["-n", "jobs", "get", ""], "mailer :36"),
        (&["-n", "jobs", "re"], "restart restore resume :4"),
        (&["--verb"], "--verbose :4"),
        (&["image", "shop", ""], "main=example.org/app:1 :36"),
        (&["batch", ""], "admin=1 shop=3 jobs/mailer=1 :36"),
        (&["batch", "shop=4", "ad"], "admin=1 :36"),
        (&["batch", "-l", "a=b", ""], ":36"),
        (&["batch", "-f", ""], ":0"),
        (&["restore", ""], ":0"),
        (&["extend", "s"], "shop :36"),
        (&["cancel", "s"], "shop :36"),
        (&["history", "s"], "shop :36"),
        (&["context", "use", ""], "dev :36"),
        (&["list", "-o", "j"], "json :4"),
        (&["set", "--dry"], "--dry-run :4"),
        (&["get", "--ca", ""], ":0"),
        (&["get", "--context", "nowhere", ""], ":36"),
        (
            &[],
            "batch cancel context extend get history image leases list pause restart restore resume rollback set step wait watch whoami :4",
        ),
    ] {
        let output = called(&site, "kubectl_complete-headcount", words);
        let said = String::from_utf8_lossy(&output.stdout);
        let said: Vec<_> = said.lines().collect();
        assert_eq!(said.join(" "), expected, "{words:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_names_of_the_server_beside_its_own_words() {
    let site = Site::start().await;
    let script = site.folder.path().join("headcount.bash");
    std::fs::write(
        &script,
        site.says(&["completions", "bash"]).await.join("\n"),
    )
    .unwrap();
    let tab = r#"set -u
        source "$0"
        read -ra COMP_WORDS <<<"$1"
        COMP_WORDS[0]=$2
        [[ $1 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _headcount_names "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}""#;
    for (line, expected) in [
        ("headcount get ", "admin shop jobs/mailer"),
        ("headcount watch -n web s", "shop"),
        ("headcount list -n ", "jobs web"),
        ("headcount context use ", "dev"),
        ("headcount pki iss", "issue"),
        ("headcount list -o j", "json"),
        ("headcount wat", "watch"),
    ] {
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-c", tab])
            .arg(&script)
            .args([line, env!("CARGO_BIN_EXE_headcount")])
            .env(
                "HEADCOUNT_CONTEXTS",
                site.folder.path().join("contexts.yaml"),
            )
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{line}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), expected, "{line}");
    }
    // Nobody waits long for a server that isn't there, or reads of it.
    let gone = site
        .run(&["complete", "--", "get", "--server=https://127.0.0.1:1", ""])
        .await;
    assert_eq!(
        (gone.code, gone.stdout.len(), gone.stderr.len()),
        (Some(0), 0, 0),
        "{gone:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_itself_finds_the_plugin() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    symlink(
        env!("CARGO_BIN_EXE_headcount"),
        folder.path().join("kubectl-headcount"),
    )
    .unwrap();
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = Command::new("kubectl");
    command.env("PATH", path).env(
        "HEADCOUNT_CONTEXTS",
        site.folder.path().join("contexts.yaml"),
    );
    let Ok(output) = command
        .args(["headcount", "get", "shop", "-o", "name"])
        .output()
    else {
        return crate::support::skipped("kubectl doesn't call the plugin, because it is missing");
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web/shop\n");
}
