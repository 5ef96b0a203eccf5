//! A program whose clocks do what a test says.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

const SOURCE: &str = include_str!("clock.c");

/// Linux's numbers of them.
const REALTIME: u8 = 0;
const MONOTONIC: u8 = 1;

/// The clocks of a program that is started with them.
pub(crate) struct Clock {
    folder: TempDir,
}

impl Clock {
    /// As they are, until it is said otherwise.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("clock.c");
        std::fs::write(&source, SOURCE).unwrap();
        let library = folder.path().join("clock.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .stderr(Stdio::inherit())
            .status();
        assert!(compiled.unwrap().success());
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives them to a program that is about to be started.
    pub(crate) fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", self.file("clock.so"))
            .env("CLOCK_AHEAD", self.file("ahead"))
            .env("CLOCK_FAILS", self.file("fails"));
    }

    fn say(&self, name: &str, what: &str) {
        let next = self.file("next");
        std::fs::write(&next, what).unwrap();
        std::fs::rename(next, self.file(name)).unwrap();
    }

    /// The wall clock jumps to so many seconds from now; the others go on.
    pub(crate) fn jump(&self, seconds: i64) {
        self.say("ahead", &seconds.to_string());
    }

    /// The next look at the steady clock in a thread of this name panics.
    pub(crate) fn panic_in(&self, thread: &str) {
        self.say("fails", &format!("{thread} {MONOTONIC}"));
    }

    /// The next look at the wall clock there.
    pub(crate) fn panic_at_the_date_in(&self, thread: &str) {
        self.say("fails", &format!("{thread} {REALTIME}"));
    }
}
