//! Links between pages, and to files of the project.

use std::{collections::BTreeSet, fs, path::Path};

use super::page::{Page, project};

/// The targets of a page's links, those in blocks left out.
fn targets(page: &Page) -> Vec<String> {
    let mut text = page.text.clone();
    for block in &page.blocks {
        text = text.replace(&block.text, "");
    }
    let links = text.split("](").skip(1);
    links
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// What headings are linked to by, as GitHub makes it of their words.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    anchors
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        let folder = Path::new(&page.path).parent().unwrap();
        for target in targets(&page) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() {
                Path::new(&page.path).to_owned()
            } else {
                folder.join(file)
            };
            let path = project(path.to_str().unwrap());
            let there = path.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&path).unwrap()).contains(anchor));
            if !there {
                wrong.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_index_names_every_page() {
    let pages = Page::all();
    let index = pages
        .iter()
        .find(|page| page.path == "docs/README.md")
        .unwrap();
    let targets = targets(index);
    for page in &pages {
        let Some(name) = page.path.strip_prefix("docs/") else {
            continue;
        };
        assert!(
            name == "README.md" || targets.iter().any(|target| target == name),
            "docs/README.md lacks {name}"
        );
    }
}
