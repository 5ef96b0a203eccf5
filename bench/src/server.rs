//! The servers under test: started, waited for, ended.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headcount::pki::DemoFiles;

use crate::error::Error;
use crate::figures::Side;
use crate::proc::Proc;

/// A million Deployments of a simulated cluster included.
const SYNC_DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);

/// Becomes the program and keeps its process id. What is left behind kills it when this process is gone: the end of its stdin
/// tells, and a line beforehand that it needn't.
const GUARDED: &str =
    r#"exec 3<&0; (read -r _ <&3 || kill -9 $$) >/dev/null 2>&1 & exec "$0" "$@" </dev/null 3<&-"#;

/// Where programs, certificates and logs are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The folder of built programs.
    pub(crate) programs: PathBuf,
    pub(crate) certificates: DemoFiles,
    /// Files of this run.
    pub(crate) folder: PathBuf,
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) side: Side,
    child: Child,
    guard: Option<ChildStdin>,
    log: PathBuf,
    started: Instant,
    address: String,
}

/// What a sync took, the program's start included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sync {
    pub(crate) seconds: f64,
    /// CPU time, in seconds.
    pub(crate) cpu: f64,
}

impl Place {
    /// Starts headcount or the peer on a cluster and waits until it has a copy of it.
    pub(crate) fn synced(&self, side: Side, kubeconfig: &Path) -> Result<(Server, Sync), Error> {
        let serve: &[&str] = &["serve", "--admin-listen", "127.0.0.1:0"];
        let (program, command, marker) = match side {
            Side::Headcount => ("headcount", serve, "informer.synced"),
            Side::Peer => ("bench-go", ["peer"].as_slice(), "msg=synced"),
            Side::Limit => return Err(Error::Unexpected("the ceiling has no cluster".into())),
        };
        let kubeconfig = kubeconfig.display().to_string();
        let listen = ["--listen", "127.0.0.1:0", "--kubeconfig", &kubeconfig];
        let arguments = [command, &listen].concat();
        let server = self.start(side, program, &arguments)?;
        server.logged(marker)?;
        // The line may stand there a moment before it is seen: at most the pause between two looks.
        let seconds = server.started.elapsed().as_secs_f64();
        let cpu = server.proc().cpu(None)?;
        Ok((server.with_address()?, Sync { seconds, cpu }))
    }

    /// Starts headcount with nothing in its log but warnings.
    pub(crate) fn synced_quietly(&self, kubeconfig: &Path) -> Result<Server, Error> {
        let kubeconfig = kubeconfig.display().to_string();
        let arguments = [
            "serve",
            "--admin-listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
            "--kubeconfig",
            &kubeconfig,
            "--log-level",
            "warn",
        ];
        let server = self.start(Side::Headcount, "headcount", &arguments)?;
        while !server.idles()? {
            sleep(POLL * 100);
        }
        Ok(server)
    }

    /// Starts headcount with a configuration file and waits until it has a copy of the cluster.
    pub(crate) fn configured(&self, kubeconfig: &Path, file: &Path) -> Result<Server, Error> {
        let [kubeconfig, file] = [kubeconfig, file].map(|path| path.display().to_string());
        let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let files = ["--kubeconfig", &kubeconfig, "--config", &file];
        let arguments = [["serve"].as_slice(), &listen, &files].concat();
        let server = self.start(Side::Headcount, "headcount", &arguments)?;
        server.logged("informer.synced")?;
        server.with_address()
    }

    /// Starts the ceiling, whose list is so large.
    pub(crate) fn ceiling(&self, list_bytes: usize) -> Result<Server, Error> {
        let arguments = ["--list-bytes", &list_bytes.to_string()];
        self.start(Side::Limit, "ceiling", &arguments)?
            .with_address()
    }

    fn start(&self, side: Side, program: &str, arguments: &[&str]) -> Result<Server, Error> {
        let log = self.folder.join(format!("{side:?}.log"));
        let file = fs::File::create(&log).map_err(Error::file(&log))?;
        let program = self.programs.join(program);
        let files = &self.certificates;
        let started = Instant::now();
        let mut child = Command::new("/bin/sh")
            .args(["-c", GUARDED])
            .arg(&program)
            .args(arguments)
            .arg("--tls-cert")
            .arg(&files.server.certificate)
            .arg("--tls-key")
            .arg(&files.server.key)
            .arg("--client-ca")
            .arg(&files.ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(Error::io(format!("start {}", program.display())))?;
        Ok(Server {
            side,
            guard: child.stdin.take(),
            child,
            log,
            started,
            address: String::new(),
        })
    }
}

impl Server {
    pub(crate) fn proc(&self) -> Proc {
        Proc {
            pid: self.child.id(),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// How many lines of the log contain a text.
    pub(crate) fn lines_with(&self, text: &str) -> Result<usize, Error> {
        let log = fs::read_to_string(&self.log).map_err(Error::file(&self.log))?;
        Ok(log.lines().filter(|line| line.contains(text)).count())
    }

    fn with_address(mut self) -> Result<Self, Error> {
        let marker = "listening at ";
        let line = self.logged(marker)?;
        self.address = line
            .split_once(marker)
            .map(|(_, rest)| rest.trim_matches(|c: char| c == '"' || c.is_whitespace()))
            .and_then(|rest| rest.split(|c: char| c == '"' || c.is_whitespace()).next())
            .unwrap_or_default()
            .to_owned();
        Ok(self)
    }

    /// Whether it has begun to work, and used next to no CPU for half a second.
    fn idles(&self) -> Result<bool, Error> {
        let before = self.proc().cpu(None)?;
        sleep(Duration::from_millis(500));
        let now = self.proc().cpu(None)?;
        Ok(now > 0.005 && now - before < 0.003)
    }

    /// Waits for a whole line with this text and gives it.
    fn logged(&self, text: &str) -> Result<String, Error> {
        loop {
            let log = fs::read_to_string(&self.log).map_err(Error::file(&self.log))?;
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            let ended = !PathBuf::from(format!("/proc/{}/task", self.child.id())).exists();
            if ended || self.started.elapsed() > SYNC_DEADLINE {
                let end: Vec<_> = log.lines().rev().take(5).collect();
                return Err(Error::Unexpected(format!(
                    "{:?} never said {text:?}; the end of its log, backwards: {end:?}",
                    self.side
                )));
            }
            sleep(POLL);
        }
    }

    /// Waits until a log line with this text has come so many times.
    pub(crate) fn logged_times(&self, text: &str, times: usize) -> Result<(), Error> {
        let begun = Instant::now();
        while self.lines_with(text)? < times {
            if begun.elapsed() > SYNC_DEADLINE {
                return Err(Error::Unexpected(format!(
                    "{:?} didn't say {text:?} {times} times",
                    self.side
                )));
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good. The line tells the guard that there is nobody left to kill.
        let _ = self.child.kill();
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.write_all(b"\n");
        }
        let _ = self.child.wait();
    }
}
