//! The image: what is in it is enough for the program and nothing more, and `make image` says what it lacks.

mod building;
mod root;

use std::path::Path;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The instructions of a Dockerfile's stages: each a word and the rest, continued lines joined.
fn stages(dockerfile: &str) -> Vec<Vec<(String, String)>> {
    let joined = dockerfile.replace("\\\n", " ");
    let instructions = joined
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(word, rest)| {
            let rest: Vec<_> = rest.split_whitespace().collect();
            (word.to_owned(), rest.join(" "))
        });
    let mut stages: Vec<Vec<_>> = Vec::new();
    for instruction in instructions {
        if instruction.0 == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap().push(instruction);
    }
    stages
}

/// What follows an instruction, as often as it is there.
fn all<'a>(stage: &'a [(String, String)], word: &str) -> Vec<&'a str> {
    let found = stage.iter().filter(|(w, _)| w == word);
    found.map(|(_, rest)| rest.as_str()).collect()
}
