//! What the kernel says of a process: CPU time by thread, memory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;

/// A process of this machine, seen through /proc.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proc {
    pub(crate) pid: u32,
}

impl Proc {
    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// CPU time of all present threads, or of those with this name, in seconds.
    pub(crate) fn cpu(self, thread: Option<&str>) -> Result<f64, Error> {
        let folder = self.file("task");
        let mut nanoseconds = 0;
        for task in fs::read_dir(&folder).map_err(Error::file(&folder))? {
            let task = task.map_err(Error::file(&folder))?.path();
            if let Some(name) = thread
                && fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() != name)
            {
                continue;
            }
            // A thread that has just ended counts nothing.
            let ran = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            nanoseconds += ran
                .split(' ')
                .next()
                .and_then(|ran| ran.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    fn status(self, field: &str) -> Result<f64, Error> {
        let file = self.file("status");
        let status = fs::read_to_string(&file).map_err(Error::file(&file))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .map(|kib| kib * 1024.0 / 1e6)
            .ok_or_else(|| Error::Unexpected(format!("no {field} in {}", file.display())))
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub(crate) fn signal(self, name: &str) -> Result<(), Error> {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid.to_string()])
            .status()
            .map_err(Error::io("send a signal"))?;
        if sent.success() {
            Ok(())
        } else {
            Err(Error::Unexpected(format!("SIG{name} was not taken")))
        }
    }

    /// Resident memory, in MB.
    pub(crate) fn resident(self) -> Result<f64, Error> {
        self.status("VmRSS")
    }

    /// The most that was ever resident, in MB.
    pub(crate) fn peak(self) -> Result<f64, Error> {
        self.status("VmHWM")
    }

    /// Lets the peak begin anew from what is resident now.
    pub(crate) fn reset_peak(self) -> Result<(), Error> {
        let file = self.file("clear_refs");
        fs::write(&file, "5").map_err(Error::file(&file))
    }
}
