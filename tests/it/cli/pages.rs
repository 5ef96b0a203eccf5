//! Completions and manual pages: whole, and taken by the programs that read them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{program::headcount, skipped};

fn written(arguments: &[&str]) -> String {
    let output = headcount(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every command, as a list of words, with the flags that its help names.
fn commands(above: &[&str]) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let help = written(&[above, &["--help"]].concat());
    let mut lines = help.lines();
    let words = |line: &str| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let flags: BTreeSet<_> = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.split([',', '[', '=']).next().unwrap().to_owned())
        .collect();
    let mut all = vec![(above.iter().map(ToString::to_string).collect(), flags)];
    if lines.any(|line| line == "Commands:") {
        for name in lines
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .map(words)
            .filter(|name| name != "help")
        {
            all.extend(commands(&[above, &[&name]].concat()));
        }
    }
    all
}

#[test]
fn every_command_and_flag_is_in_the_completions_of_each_shell() {
    let commands = commands(&[]);
    assert!(commands.len() > 15, "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = written(&["completions", shell]);
        for (command, flags) in &commands {
            for word in command.iter().chain(flags) {
                // fish has long options without their dashes.
                let word = match shell {
                    "fish" => word.trim_start_matches("--"),
                    _ => word,
                };
                assert!(script.contains(word), "{shell}: {command:?} {word}");
            }
        }
    }
}

#[test]
fn bash_takes_its_completions_and_completes_with_them() {
    let script = written(&["completions", "bash"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount");
    fs::write(&file, script).unwrap();
    // What bash itself does on a Tab after `headcount pki iss`.
    let tab = r#"set -eu
        source "$0"
        COMP_WORDS=(headcount pki iss) COMP_CWORD=2
        _headcount headcount iss pki
        printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-c", tab])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "issue\n");
}

#[test]
fn zsh_and_fish_take_theirs() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"] {
        let file = folder.path().join(shell);
        fs::write(&file, written(&["completions", shell])).unwrap();
        match Command::new(shell).arg("-n").arg(&file).output() {
            Ok(output) => {
                assert!(
                    output.status.success() && output.stderr.is_empty(),
                    "{output:?}"
                );
            }
            Err(_) => skipped(&format!(
                "{shell}'s completions are not read, because it is missing"
            )),
        }
    }
}

#[test]
fn there_is_a_manual_page_of_every_command_with_each_of_its_flags() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new/man1");
    let said = written(&["man", "--output", pages.to_str().unwrap()]);
    assert_eq!(said, "");
    let mut expected = BTreeSet::new();
    for (command, flags) in commands(&[]) {
        let name = [&["headcount".to_owned()][..], &command].concat().join("-") + ".1";
        let page = fs::read_to_string(pages.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let plain = page.replace("\\-", "-");
        for flag in flags {
            assert!(plain.contains(&flag), "{name}: {flag}");
        }
        expected.insert(name);
    }
    let found: BTreeSet<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        written(&["man"]),
        fs::read_to_string(pages.join("headcount.1")).unwrap()
    );
    formatted(&pages);
}

/// groff formats each page without a warning.
fn formatted(pages: &Path) {
    for page in fs::read_dir(pages).unwrap() {
        let page = page.unwrap().path();
        let run = Command::new("groff")
            .args(["-man", "-ww", "-Kutf8", "-Tutf8", "-P-cbou"])
            .arg(&page)
            .stdin(Stdio::null())
            .output();
        let Ok(output) = run else {
            return skipped("manual pages are not formatted, because groff is missing");
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{page:?}: {said}"
        );
        let text = String::from_utf8_lossy(&output.stdout);
        // Lines are broken and filled up as the page is wide.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("SYNOPSIS"), "{page:?}: {text}");
        assert!(!text.contains("EXTRA"), "{page:?}: {text}");
        if page.ends_with("headcount-set.1") {
            for part in [
                "COUNT [--current COUNT]",
                "EXIT STATUS",
                "ENVIRONMENT",
                "HEADCOUNT_CONTEXTS",
                "EXAMPLES",
                "headcount set shop 5 --wait",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_a_closed_stdout_is_none_of_its_business() {
    let output = headcount(["man", "--output", "/proc/nothing/man1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("error: failed to write manual pages into /proc/nothing/man1: "),
        "{said}"
    );
    for arguments in [&["man"][..], &["completions", "zsh"]] {
        let mut child = headcount(arguments.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}
