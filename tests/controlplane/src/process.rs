//! A server as a child process: its log, its signals, its end. It ends with this process, however this process ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::Error;

/// Becomes the server (so that its process id is the server's), and leaves a guard behind that reads from a pipe whose other
/// end only this process holds. A line means that all is well; the end of the pipe without one means that this process is
/// gone, and the guard kills the server. The id cannot belong to another process by then: this process collects the server's
/// exit status only after it has written the line.
const GUARDED: &str = r#"exec 3<&0; { read -r _ || kill -9 $$; } <&3 3<&- >/dev/null 2>&1 & exec "$0" "$@" </dev/null 3<&-"#;

const POLL: Duration = Duration::from_millis(20);
const KILL_DEADLINE: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 20;
const LOG_BYTES: u64 = 16 * 1024;

/// A running server. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    guard: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        log: PathBuf,
    ) -> Result<Self, Error> {
        let failed = || Error::io(format!("start {}", program.display()));
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Error::io(format!("write {}", log.display())))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", GUARDED])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(failed())?)
            .stderr(output)
            // A Ctrl-C at the terminal is for this process alone, which then ends its children in order.
            .process_group(0)
            .spawn()
            .map_err(failed())?;
        let guard = child.stdin.take();
        Ok(Self {
            name,
            child,
            guard,
            log,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| {
            Error::io(format!("send a signal to {}", self.name))(std::io::Error::from(error))
        })
    }

    /// Waits until `ready` says so, the process has ended, or `deadline` has passed.
    pub(crate) async fn ready(
        &mut self,
        deadline: Duration,
        ready: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        all_ready(std::slice::from_mut(self), deadline, ready).await
    }

    /// Kills the process and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<(), Error> {
        self.start_kill();
        let started = Instant::now();
        while self.ended()?.is_none() {
            if started.elapsed() > KILL_DEADLINE {
                return Err(Error::Deadline {
                    action: format!("{} did not go away after SIGKILL", self.name),
                    after: KILL_DEADLINE,
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Kills the process without waiting: for several that are to end together.
    pub(crate) fn start_kill(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        self.dismiss_guard();
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let failed = || Error::io(format!("wait for {}", self.name));
        let id = WaitId::Pid(Pid::from_child(&self.child));
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(id, look)
            .map_err(|error| failed()(error.into()))?
            .is_none()
        {
            return Ok(None);
        }
        let failed = failed();
        self.dismiss_guard();
        self.child.wait().map(Some).map_err(failed)
    }

    fn dismiss_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // A guard that is gone needs no line.
            let _ = guard.write_all(b"\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.start_kill();
        let _ = self.child.wait();
    }
}

/// Waits until `ready` says that `processes` do their work together, one of them has ended, or `deadline` has passed.
pub(crate) async fn all_ready(
    processes: &mut [Process],
    deadline: Duration,
    ready: impl AsyncFn() -> bool,
) -> Result<(), Error> {
    let wait = async {
        loop {
            for process in &mut *processes {
                if let Some(status) = process.ended()? {
                    return Err(Error::Ended {
                        program: process.name,
                        status,
                        log: tail(&process.log),
                    });
                }
            }
            if ready().await {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    if let Ok(outcome) = tokio::time::timeout(deadline, wait).await {
        return outcome;
    }
    let names: Vec<_> = processes.iter().map(|process| process.name).collect();
    let logs: Vec<_> = processes.iter().map(|process| tail(&process.log)).collect();
    Err(Error::NotReady {
        program: names.join(" or "),
        after: deadline,
        log: logs.join("\n\n"),
    })
}

/// The last lines of a log, or why there are none.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.is_empty() => "(empty)".to_owned(),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
        }
        Err(error) => format!("({}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Process {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Process::start("sh", Path::new("/bin/sh"), &arguments, folder.join("log")).unwrap()
    }

    fn within_seconds(mut condition: impl FnMut() -> bool) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if condition() {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }

    #[test]
    fn a_process_ends_when_its_owner_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(folder.path(), "sleep 1000");
        // What the kernel does when the owner is killed.
        drop(process.guard.take());
        assert!(within_seconds(|| process
            .child
            .try_wait()
            .unwrap()
            .is_some()));
    }

    #[test]
    fn a_stopped_process_ends_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell(folder.path(), "sleep 1000");
        let pid = Pid::from_child(&process.child);
        process.signal(Signal::STOP).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn the_process_id_is_the_servers_own() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell(folder.path(), "echo $$; exec sleep 1000");
        let expected = process.id().to_string();
        assert!(within_seconds(|| tail(&process.log) == expected));
    }

    #[tokio::test]
    async fn a_process_that_ends_at_once_is_reported_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(
            folder.path(),
            "for i in $(seq 50); do echo line $i; done; exit 3",
        );
        let error = process
            .ready(Duration::from_secs(10), async || false)
            .await
            .unwrap_err();
        let Error::Ended { status, log, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(status.code(), Some(3));
        assert!(log.starts_with("line 31\n") && log.ends_with("line 50"));
    }

    #[tokio::test]
    async fn a_process_that_never_becomes_ready_is_reported_after_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(folder.path(), "sleep 1000");
        let error = process
            .ready(Duration::from_millis(50), async || false)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NotReady { .. }));
        process.kill().await.unwrap();
    }
}
