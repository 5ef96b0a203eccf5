//! Runs one path under callgrind and reads what was counted.

use std::{
    fs,
    path::Path as File,
    process::{Command, Stdio},
};

use crate::paths::{Failure, Path};

/// Where counting starts and where it ends. Two functions, because valgrind takes one such option for a function.
const START: &str = "*instructions::paths::measured*";
const END: &str = "*instructions::paths::counted*";

/// The instructions of one iteration of `path`, on all threads. The profile stays in `folder`, as `PATH.1`.
///
/// # Errors
///
/// When valgrind can't be started, or the path fails in it.
pub fn count(path: Path, folder: &File) -> Result<u64, Failure> {
    let profile = folder.join(path.name);
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(format!("--zero-before={START}"))
        .arg(format!("--dump-after={END}"))
        .arg(std::env::current_exe()?)
        .args(["--run", path.name])
        // What else is in the environment moves the stack, and with it what is aligned.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed under valgrind:\n{words}", path.name).into());
    }
    // The first dump is the one that was made when the function was left.
    let dumped = fs::read_to_string(folder.join(format!("{}.1", path.name)))?;
    let total = totals(&dumped).ok_or("callgrind told no total")?;
    Ok(total / path.iterations as u64)
}

/// valgrind's version, such as `valgrind-3.19.0`.
///
/// # Errors
///
/// When valgrind isn't there.
pub fn version() -> Result<String, Failure> {
    let output = Command::new("valgrind").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

fn totals(profile: &str) -> Option<u64> {
    let line = |name| profile.lines().find_map(|l| l.strip_prefix(name));
    line("totals: ").or(line("summary: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_out_of_a_profile() {
        let profile = "# callgrind format\nversion: 1\nevents: Ir\nsummary: 1234\n\nfn=(1)\n1 2\n\ntotals: 1230\n";
        assert_eq!(totals(profile), Some(1230));
        assert_eq!(totals("events: Ir\nsummary: 7\n"), Some(7));
        assert_eq!(totals("events: Ir\n"), None);
    }
}
