//! `headcount policy` as its users see it: its words, its exit codes, and the page that documents it.

mod checking;
mod documented;
mod testing;

use std::fs;

use tempfile::TempDir;

use crate::support::program::headcount;

const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";

/// A folder with a configuration file.
struct Desk(TempDir);

/// What a command did.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    /// One whose configuration file has these lines behind its head.
    fn with(configuration: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("headcount.yaml", &format!("{HEAD}{configuration}"));
        desk
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Runs `headcount policy COMMAND --config headcount.yaml …`.
    fn run(&self, command: &str, args: &[&str]) -> Done {
        let mut program = headcount(["policy", command, "--config", "headcount.yaml"]);
        let output = program
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command that says something on stdout and ends with this code.
    fn said(&self, command: &str, args: &[&str], code: i32) -> String {
        let done = self.run(command, args);
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(code), ""),
            "{args:?}: {done:#?}"
        );
        done.stdout
    }

    /// Runs a command that has no answer; its sentence.
    fn refused(&self, command: &str, args: &[&str]) -> String {
        let done = self.run(command, args);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(64), ""),
            "{args:?}: {done:#?}"
        );
        assert_eq!(done.stderr.lines().count(), 1, "{done:#?}");
        done.stderr
    }
}
