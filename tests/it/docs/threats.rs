//! docs/threat-model.md: the tests that it names are there.

use std::{collections::BTreeSet, process::Command};

use super::page::project;

#[test]
fn every_threat_names_tests_that_exist_and_run() {
    let listed = |flags: &[&str]| -> BTreeSet<String> {
        let mut list = Command::new(std::env::current_exe().unwrap());
        let output = list
            .args(["--list", "--format", "terse"])
            .args(flags)
            .output()
            .unwrap();
        let names = String::from_utf8(output.stdout).unwrap();
        names
            .lines()
            .filter_map(|line| Some(format!("it::{}", line.strip_suffix(": test")?)))
            .collect()
    };
    let exists = &listed(&[]) - &listed(&["--ignored"]);
    let page = std::fs::read_to_string(project("docs/threat-model.md")).unwrap();
    let (_, table) = page
        .split_once("| threat | what stands against it | tests |")
        .unwrap();
    let rows: Vec<_> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= 15, "{}", rows.len());
    for row in rows {
        let tests = row.split(" | ").nth(2).unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            let there = exists.contains(name) || project(name).exists();
            assert!(there, "there is no test {name}");
        }
    }
}
