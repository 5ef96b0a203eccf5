//! The documentation: its commands do what it says, its YAML is taken, its links lead somewhere.

mod links;
mod page;
pub(crate) mod rights;
mod script;
mod stage;
mod threats;
mod yaml;

use crate::chart::in_a_world;
use page::{Note, Page};
use script::Script;
use stage::Stage;

/// What a fenced block may be.
const LANGUAGES: [&str; 6] = ["sh", "console", "yaml", "json", "promql", "text"];
/// What commands begin with.
const PROGRAMS: [&str; 7] = [
    "$ ", "curl ", "kubectl ", "helm ", "make ", "docker ", "cd ",
];
/// More than these would mean that nobody tries what is written.
const MOST_NOT_RUN: usize = 8;

#[test]
fn every_block_says_what_it_is_and_commands_are_marked_as_such() {
    for block in Page::all().iter().flat_map(|page| &page.blocks) {
        let (place, language) = (&block.place, block.language.as_str());
        assert!(
            LANGUAGES.contains(&language),
            "{place}: ```{language} is none of {LANGUAGES:?}"
        );
        let command = block
            .text
            .lines()
            .find(|line| PROGRAMS.iter().any(|program| line.starts_with(program)));
        assert!(
            block.is_commands() || command.is_none(),
            "{place}: mark commands with sh or console, so that they are run: {command:?}"
        );
        if language == "json" {
            for line in block.text.split("\n{") {
                let line = if line.starts_with('{') {
                    line.to_owned()
                } else {
                    format!("{{{line}")
                };
                let read: Result<serde_json::Value, _> = serde_json::from_str(&line);
                assert!(read.is_ok(), "{place}: {read:?}");
            }
        }
    }
}

#[test]
fn few_commands_are_not_run_and_each_says_why() {
    let pages = Page::all();
    let not_run: Vec<_> = pages
        .iter()
        .flat_map(|page| &page.blocks)
        .filter_map(|block| match &block.note {
            Note::NotRun(reason) => Some((&block.place, reason)),
            _ => None,
        })
        .collect();
    for (place, reason) in &not_run {
        assert!(
            reason.split(' ').count() >= 3,
            "{place}: that is no reason: {reason}"
        );
    }
    assert!(not_run.len() <= MOST_NOT_RUN, "{not_run:#?}");
}

/// One page after another on one cluster, which each leaves as it was. `DOCS_PAGE=docs/pki.md` runs one alone and shows what it
/// writes.
#[test]
fn the_commands_of_every_page_do_what_it_says() {
    in_a_world(|world| async {
        let mut wrong = yaml::objects(&world).await;
        let stage = Stage::set(world).await;
        let only = std::env::var("DOCS_PAGE").ok();
        for page in Page::all() {
            if only.as_ref().is_some_and(|only| *only != page.path) {
                continue;
            }
            let Some(script) = Script::of(&page) else {
                continue;
            };
            let begun = std::time::Instant::now();
            match stage.run(&script).await {
                Ok(written) if only.is_some() => println!("{written}"),
                Ok(_) => {}
                Err(why) => wrong.push(why),
            }
            stage.clear().await;
            println!("{}: {:.1} s", page.path, begun.elapsed().as_secs_f32());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}
