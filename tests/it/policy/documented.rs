//! docs/policy.md: its example is a policy, and what it says of it is so.

use super::Desk;

/// The fenced block of the page that begins like this, without its fence.
fn block(start: &str) -> &'static str {
    let page = include_str!("../../../docs/policy.md");
    let mut blocks = page.split("```").skip(1).step_by(2);
    let block = blocks.find_map(|block| {
        let (_language, text) = block.split_once('\n')?;
        text.starts_with(start).then_some(text)
    });
    block.unwrap()
}

#[test]
fn the_example_does_what_its_expectations_say() {
    let desk = Desk::with("");
    desk.write(
        "headcount.yaml",
        block("apiVersion: headcount/v1alpha1\nkind: Configuration"),
    );
    let tests = block("apiVersion: headcount/v1alpha1\nkind: PolicyTest");
    desk.write("expectations.yaml", tests);
    let said = desk.said("test", &["expectations.yaml"], 0);
    let count = tests.matches("expect:").count();
    assert!(count > 5);
    assert_eq!(said, format!("{count} passed, 0 failed\n"));
}

#[test]
fn the_explanation_shown_is_the_programs() {
    let desk = Desk::with("");
    desk.write(
        "headcount.yaml",
        block("apiVersion: headcount/v1alpha1\nkind: Configuration"),
    );
    let shown = block("$ headcount policy check");
    let (command, words) = shown.split_once("\ndenied").unwrap();
    let args: Vec<_> = command
        .split_whitespace()
        .filter(|word| *word != "\\")
        .skip_while(|word| *word != "--subject")
        .collect();
    assert_eq!(desk.said("check", &args, 3), format!("denied{words}"));
}
