//! The programs that are measured, built; and the machine and versions that figures belong to.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// Builds headcount as `make build` does, the ceiling and the Go programs; gives the folder that they are in.
pub(crate) fn build() -> Result<PathBuf, Error> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let root = root();
    for (package, program) in [("headcount", "headcount"), ("bench", "ceiling")] {
        let mut command = Command::new(&cargo);
        command
            .current_dir(&root)
            .args(["build", "--release", "--locked", "--quiet"])
            .args(["-p", package, "--bin", program]);
        succeed(&mut command, program)?;
    }
    let program = env::current_exe().map_err(Error::io("find this program"))?;
    let folder = program.parent().unwrap_or(Path::new(".")).to_owned();
    let mut command = Command::new("go");
    command
        .args(["build", "-C"])
        .arg(root.join("bench/go"))
        .args(["-mod=readonly", "-buildvcs=false", "-o"])
        .arg(folder.join("bench-go"))
        .arg(".")
        .env("GOWORK", "off");
    succeed(&mut command, "the Go peer")?;
    Ok(folder)
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

fn succeed(command: &mut Command, what: &str) -> Result<(), Error> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(Error::io(format!("build {what}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Unexpected(format!(
        "building {what} ended with {status}; it says why above"
    )))
}

/// Machine and versions, as lines of a Markdown list.
pub(crate) async fn conditions() -> Result<String, Error> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or_else(|| "unknown".to_owned(), |(_, value)| value.to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let apiserver = controlplane::binaries().await?.join("kube-apiserver");
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(root())
            .output();
        output.map_or_else(
            |_| "unknown".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    Ok(format!(
        "- {}, on {cores} cores of {}, Linux {}, shared by servers, drivers and the cluster\n- headcount {} at commit {}; {}; {}; {}\n",
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        field("model name"),
        said("uname", &["-r"]),
        env!("CARGO_PKG_VERSION"),
        said("git", &["describe", "--always", "--dirty"]),
        said("rustc", &["--version"]),
        said("go", &["version"]),
        said(&apiserver.display().to_string(), &["--version"]),
    ))
}
