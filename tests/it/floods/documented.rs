//! docs/limits.md, held to the program.

use headcount::limits::{Limit, Limits};

const PAGE: &str = include_str!("../../../docs/limits.md");

#[test]
fn the_page_names_every_limit() {
    for limit in Limit::ALL {
        let name = format!("`{}`", limit.name());
        assert!(PAGE.contains(&name), "docs/limits.md doesn't have {name}");
    }
}

#[test]
fn the_defaults_on_the_page_are_those_of_the_program_and_complete() {
    let (_, block) = PAGE.split_once("```yaml\nlimits:\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let told: Limits = serde_saphyr::from_str(block).unwrap();
    assert_eq!(told, Limits::default());
    // Every field is there by its name: what stands before a colon in the program's own words.
    let fields = format!("{:?}", Limits::default());
    for field in fields.split(": ").filter_map(|before| {
        let name = before.rsplit([' ', '{']).next()?;
        name.starts_with(|c: char| c.is_ascii_lowercase())
            .then_some(name)
    }) {
        let words = field
            .split('_')
            .enumerate()
            .map(|(place, word)| match place {
                0 => word.to_owned(),
                _ => word[..1].to_uppercase() + &word[1..],
            });
        let setting = format!("{}:", words.collect::<String>());
        assert!(block.contains(&setting), "docs/limits.md has no {setting}");
    }
}
