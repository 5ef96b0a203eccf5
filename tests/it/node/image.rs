//! What the image has, as deploy/Dockerfile says it, with the program that these tests are built with.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Where the program is in the image, and what it is started with.
pub(super) struct Image {
    entrypoint: Vec<String>,
    command: Vec<String>,
}

impl Image {
    /// The last stage's words.
    pub(super) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/Dockerfile");
        let text = std::fs::read_to_string(path).unwrap();
        let words = |instruction: &str| {
            let mut lines = text.lines().rev();
            let found = lines.find_map(|line| line.strip_prefix(instruction));
            found.map_or(vec![], |words| serde_json::from_str(words).unwrap())
        };
        Self {
            entrypoint: words("ENTRYPOINT "),
            command: words("CMD "),
        }
    }

    /// Where the program is.
    pub(super) fn program(&self) -> &str {
        &self.entrypoint[0]
    }

    /// What a container runs: its own words in the place of the image's, where it has some.
    pub(super) fn words(
        &self,
        command: Option<Vec<String>>,
        args: Option<Vec<String>>,
    ) -> Vec<String> {
        match (command, args) {
            (Some(command), args) => [command, args.unwrap_or_default()].concat(),
            (None, Some(args)) => [self.entrypoint.clone(), args].concat(),
            (None, None) => [self.entrypoint.clone(), self.command.clone()].concat(),
        }
    }
}

/// The program as it was built for these tests.
pub(super) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_headcount")
}

/// `setpriv`, which the sandbox ends with.
pub(super) fn setpriv() -> String {
    let found = Command::new("sh")
        .args(["-c", "command -v setpriv"])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

/// The shared libraries of programs: an image has the program linked statically, or these beside it.
pub(super) fn libraries(programs: &[&str]) -> Vec<PathBuf> {
    let told = Command::new("ldd").args(programs).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let paths = told
        .lines()
        .filter(|line| line.starts_with('\t'))
        .flat_map(|line| {
            let path = line.split_whitespace().find(|word| word.starts_with('/'));
            path.map(PathBuf::from)
        });
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths.dedup();
    paths
}
