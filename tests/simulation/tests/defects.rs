//! Whether the simulation would notice: a copy of the server's source with defects in it, chosen when it runs, is driven through
//! the same schedules, and each defect must be found.
//!
//! The source itself knows nothing of this. A replacement that no longer fits says so, and is to be adapted.
#![allow(clippy::unwrap_used, reason = "a test that can't go on says where")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

/// A defect: its name, and what of which file it replaces by what. `DEFECT` stands for whether it is switched on.
struct Defect {
    name: &'static str,
    replacements: &'static [(&'static str, &'static str, &'static str)],
}

const INFORMER: &str = "src/kubernetes/informer.rs";
const PROBE: &str = "src/kubernetes/probe.rs";
const STATUS: &str = "src/kubernetes/status.rs";
const STORE: &str = "src/store/mod.rs";
const RECORD: &str = "src/store/record.rs";
const SNAPSHOT: &str = "src/store/snapshot.rs";

const DEFECTS: &[Defect] = &[
    Defect {
        name: "a 410 in the middle of a list is ignored",
        replacements: &[
            (
                INFORMER,
                "let mut token = String::new();",
                "let mut token = String::new(); let mut listed = 0;",
            ),
            (
                INFORMER,
                "let page = self.calls.page(&token, &labels, compared).await?;",
                "let page = match self.calls.page(&token, &labels, compared).await {
                    Err(error) if DEFECT && error.code() == 410 && !token.is_empty() => break listed,
                    page => page?,
                };
                listed = version(&page.metadata.resource_version).unwrap_or(0);",
            ),
        ],
    },
    Defect {
        name: "an older version is applied",
        replacements: &[
            (
                INFORMER,
                "Ok(Some(Frame::Upsert(deployment))) if deployment.resource_version >= *seen => {",
                "Ok(Some(Frame::Upsert(deployment))) if deployment.resource_version >= *seen || DEFECT => {",
            ),
            (
                RECORD,
                "let news = known.is_none_or(|k| event",
                "let news = known.is_none_or(|k| DEFECT || event",
            ),
        ],
    },
    Defect {
        name: "a deletion is missed on relist",
        replacements: &[(
            STORE,
            "let gone = self.base.unset(&self.seen);",
            "if DEFECT { return self.tree; }
            let gone = self.base.unset(&self.seen);",
        )],
    },
    Defect {
        name: "a duplicate is taken as new",
        replacements: &[(
            INFORMER,
            "Ok(Some(Frame::Upsert(_) | Frame::Delete(_) | Frame::Bookmark(_))) => {",
            "Ok(Some(Frame::Upsert(deployment)))
                    if DEFECT
                        && self
                            .store()
                            .snapshot()
                            .get(&deployment.namespace, &deployment.name)
                            .is_none() =>
                {
                    self.add(&mut batch, Event::Upsert(deployment));
                }
                Ok(Some(Frame::Upsert(_) | Frame::Delete(_) | Frame::Bookmark(_))) => {",
        )],
    },
    Defect {
        name: "readiness comes too early",
        replacements: &[(
            SNAPSHOT,
            "self.scopes.iter().all(|s| s.version > 0)",
            "self.scopes.iter().all(|s| s.version > 0) || DEFECT && self.scopes.iter().any(|s| s.version > 0)",
        )],
    },
    Defect {
        name: "a list from a stale server is accepted",
        replacements: &[(
            INFORMER,
            "if reached < known && why != Relist::Restored {",
            "if reached < known && why != Relist::Restored && !DEFECT {",
        )],
    },
    Defect {
        name: "a restored cluster isn't recognised",
        replacements: &[(
            PROBE,
            "if behind == PROBES_BEFORE_RESTORE {",
            "if behind == PROBES_BEFORE_RESTORE && !DEFECT {",
        )],
    },
    Defect {
        name: "only the scope that is furthest behind tells of a restore",
        replacements: &[(
            PROBE,
            "let known = status.store().snapshot().newest_resource_version();",
            "let known = if DEFECT { status.store().snapshot().resource_version() } else {
                status.store().snapshot().newest_resource_version()
            };",
        )],
    },
    Defect {
        name: "a half-open watch is never cut",
        replacements: &[(
            INFORMER,
            "let cut = Duration::from_secs(seconds) + OVERTIME;",
            "let cut = Duration::from_secs(seconds) + OVERTIME * if DEFECT { 1000 } else { 1 };",
        )],
    },
    Defect {
        name: "a watch whose start isn't answered counts as one",
        replacements: &[(
            INFORMER,
            "self.status.opening_watch(self.position);",
            "if !DEFECT { self.status.opening_watch(self.position); }",
        )],
    },
    Defect {
        name: "health tells of the first scope alone",
        replacements: &[(
            STATUS,
            "state.watchless.iter().flatten().min_by_key(|(at, _)| *at);",
            "if DEFECT { state.watchless.iter().flatten().next() } else {
                state.watchless.iter().flatten().min_by_key(|(at, _)| *at)
            };",
        )],
    },
    Defect {
        name: "labels are said to be known before they are",
        replacements: &[(
            SNAPSHOT,
            ".is_none_or(|s| s.labels.include(keys))",
            ".is_none_or(|s| DEFECT || s.labels.include(keys))",
        )],
    },
    Defect {
        name: "what can't be read is never listed anew",
        replacements: &[(
            INFORMER,
            "if self.unreadable.is_due() {",
            "if self.unreadable.is_due() && !DEFECT {",
        )],
    },
];

/// What of the workspace the program is built from.
const COPIED: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "simkube",
    "bench",
    "benches",
    "fuzz",
    "tests",
];
const MANIFEST: &str = "tests/simulation/Cargo.toml";
const VERSION: &str = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
const COPY_VERSION: &str = "version = \"0.0.0-defects\"";
const PROGRAM: &str = "simulation-with-defects";

#[test]
fn every_seeded_defect_is_found_within_ten_thousand_schedules() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("defects");
    // The same one as everything else: what the copy depends on has been compiled.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut kept = BTreeSet::new();
    for part in COPIED {
        copy_tree(&workspace, Path::new(part), &copy, &mut kept);
    }
    remove_others(&copy, Path::new(""), &kept);

    let start = Instant::now();
    // The other programs of the workspace decide which features its dependencies have, and dev-dependencies do, too.
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--offline", "--locked", "--workspace", "--quiet"]);
    build.args(["--bin", PROGRAM, "--test", "variety"]);
    build.current_dir(&copy).env("CARGO_TARGET_DIR", target);
    succeed("the build with defects", &build.output().unwrap());
    println!("built after {:.1} s", start.elapsed().as_secs_f64());

    let program = target.join("debug").join(PROGRAM);
    let run = |defect: &str, seeds: &str| {
        let mut command = Command::new(&program);
        command.args(["--brief", "--seeds", seeds]);
        command.env("DEFECT", defect).output().unwrap()
    };
    // The copy itself is no worse than the source.
    succeed("the copy without a defect", &run("", "0..300"));
    let mut missed = Vec::new();
    for defect in DEFECTS {
        let start = Instant::now();
        let output = run(defect.name, "0..10000");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{} ({seconds:.1} s):\n  {}",
            defect.name,
            said.replace('\n', "\n  ")
        );
        if output.status.success() || !said.starts_with("seed ") {
            missed.push(defect.name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

fn succeed(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies what differs, so that what doesn't need not be compiled again.
fn copy_tree(from: &Path, part: &Path, to: &Path, kept: &mut BTreeSet<PathBuf>) {
    let source = from.join(part);
    if source.is_dir() {
        for entry in fs::read_dir(&source).unwrap() {
            let name = entry.unwrap().file_name();
            if name != "target" {
                copy_tree(from, &part.join(name), to, kept);
            }
        }
        return;
    }
    let mut content = fs::read(&source).unwrap();
    if let Ok(text) = String::from_utf8(content.clone()) {
        content = with_defects(part, text).into_bytes();
    }
    let destination = to.join(part);
    fs::create_dir_all(destination.parent().unwrap()).unwrap();
    if fs::read(&destination).ok().as_deref() != Some(&content) {
        fs::write(&destination, content).unwrap();
    }
    kept.insert(part.to_owned());
}

fn remove_others(root: &Path, part: &Path, kept: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(root.join(part)).unwrap() {
        let part = part.join(entry.unwrap().file_name());
        if root.join(&part).is_dir() {
            remove_others(root, &part, kept);
        } else if !kept.contains(&part) {
            fs::remove_file(root.join(part)).unwrap();
        }
    }
}

/// A file of the copy: that of the source with all defects in it.
fn with_defects(part: &Path, mut text: String) -> String {
    if part == Path::new(MANIFEST) {
        text = replaced(
            part,
            &text,
            "publish.workspace = true",
            &format!(
                "publish.workspace = true\nautobins = false\n\n[[bin]]\nname = \"{PROGRAM}\"\npath = \"src/main.rs\""
            ),
        );
    }
    // Of another version, or cargo takes one for the other: where a workspace lies makes no difference to it.
    if part == Path::new("Cargo.toml") {
        text = replaced(part, &text, VERSION, COPY_VERSION);
    }
    if part == Path::new("Cargo.lock") {
        let packages: Vec<_> = text
            .split("[[package]]")
            .map(|package| match package.contains("\nsource = ") {
                true => package.to_owned(),
                false => package.replace(&format!("\n{VERSION}\n"), &format!("\n{COPY_VERSION}\n")),
            })
            .collect();
        text = packages.join("[[package]]");
    }
    if part == Path::new("src/lib.rs") {
        text.push_str(
            "\n/// Whether this defect is switched on.\npub(crate) fn defect(name: &str) -> bool {
    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var(\"DEFECT\").unwrap_or_default()) == name
}\n",
        );
    }
    for defect in DEFECTS {
        let on = format!("crate::defect({:?})", defect.name);
        for (file, from, to) in defect.replacements {
            if part == Path::new(file) {
                text = replaced(part, &text, from, &to.replace("DEFECT", &on));
            }
        }
    }
    text
}

fn replaced(part: &Path, text: &str, from: &str, to: &str) -> String {
    assert_eq!(
        text.matches(from).count(),
        1,
        "{part:?} has changed, and the defect must be adapted: {from:?} should be there once"
    );
    text.replacen(from, to, 1)
}
