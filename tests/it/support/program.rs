//! The real program as a child process: its output, its signals, its end.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use headcount::pki::{self, DemoFiles};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{Client, eventually, lines::Line, output};

/// How long a program may take for whatever a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines as they come.
type Output = Arc<Mutex<Vec<String>>>;

/// A running program; dropping it kills it.
pub(crate) struct Program {
    child: Child,
    stdout: Output,
    stderr: Output,
    readers: Vec<JoinHandle<()>>,
    /// Whether nobody reads stderr.
    stuck: Arc<AtomicBool>,
    /// Whether its stderr is a log, every line of which must be one of the catalogue.
    logs: bool,
}

/// How a program ended, and all that it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` after a signal that it didn't handle.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.logs && !thread::panicking() {
            // Whoever is killed may leave half a line.
            let lines = self.stderr();
            let whole = lines.len().saturating_sub(1);
            lines[..whole]
                .iter()
                .for_each(|line| drop(Line::read(line)));
        }
    }
}

/// The program with these arguments and an empty environment.
pub(crate) fn headcount<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command.env_clear().env("HOME", "/nonexistent").args(args);
    command
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        output::keep_secrets_of(&command);
        let logs = command
            .get_args()
            .any(|word| word == "serve" || word == "demo");
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Output::default(), Output::default());
        let stuck = Arc::default();
        let readers = vec![
            follow(child.stdout.take().unwrap(), &stdout, &Arc::default()),
            follow(child.stderr.take().unwrap(), &stderr, &stuck),
        ];
        Self {
            child,
            stdout,
            stderr,
            readers,
            stuck,
            logs,
        }
    }

    /// The process's.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether its stderr is read from now on.
    pub(crate) fn read_stderr(&self, read: bool) {
        self.stuck.store(!read, Ordering::Relaxed);
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// The lines of one event so far.
    pub(crate) fn lines(&self, event: &str) -> Vec<Line> {
        self.stderr()
            .iter()
            .map(|line| Line::read(line))
            .filter(|line| line.event == event)
            .collect()
    }

    /// Waits until there are `count` lines of an event, and returns the last of them.
    pub(crate) async fn line(&self, event: &str, count: usize) -> Line {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines(event);
            if lines.len() >= count {
                return lines[count - 1].clone();
            }
            assert!(
                Instant::now() < deadline,
                "no {event} ({count}): {:#?}",
                self.stderr()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends `TERM`, `INT`, …
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("/bin/sh")
            .args(["-c", r#"kill -s "$0" "$1""#, signal, &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// What the kernel says of it.
    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap()
    }

    /// What it has in memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        self.bytes("VmRSS:")
    }

    /// The most that it had in memory since that was forgotten.
    pub(crate) fn peak(&self) -> usize {
        self.bytes("VmHWM:")
    }

    pub(crate) fn forget_peak(&self) {
        let file = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(file, "5").unwrap();
    }

    fn bytes(&self, field: &str) -> usize {
        let status = self.status();
        let line = status.lines().find_map(|l| l.strip_prefix(field));
        let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kibibytes.parse::<usize>().unwrap() * 1024
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "it doesn't end: {:#?}",
                self.stderr()
            );
            sleep(Duration::from_millis(10)).await;
        };
        self.read_stderr(true);
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        if self.logs {
            self.stderr().iter().for_each(|line| drop(Line::read(line)));
        }
        Ended {
            code: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

fn follow(
    stream: impl Read + Send + 'static,
    output: &Output,
    stuck: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (output, stuck) = (Arc::clone(output), Arc::clone(stuck));
    thread::spawn(move || {
        let mut kept = output::of_program();
        for line in BufReader::new(stream).split(b'\n') {
            let line = line.unwrap();
            kept.write_all(&[&line, &b"\n"[..]].concat()).unwrap();
            while stuck.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            output
                .lock()
                .unwrap()
                .push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// `headcount serve` with these files, on free ports unless the flags say where, and without a wait before its end.
pub(crate) fn serve(files: &DemoFiles, kubeconfig: &Path, flags: &[&str]) -> Command {
    let mut command = headcount(["serve"]);
    let usual = [
        ("--listen", "127.0.0.1:0"),
        ("--admin-listen", "127.0.0.1:0"),
        ("--drain-delay", "0s"),
    ];
    for (flag, value) in usual {
        if !flags.iter().any(|f| f.starts_with(&format!("{flag}="))) {
            command.arg(format!("{flag}={value}"));
        }
    }
    command.arg("--kubeconfig").arg(kubeconfig);
    command
        .arg("--tls-cert")
        .arg(&files.server.certificate)
        .arg("--tls-key")
        .arg(&files.server.key);
    command.arg("--client-ca").arg(&files.ca).args(flags);
    command
}

/// `headcount serve` on free ports, with certificates of its own.
pub(crate) struct Serving {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
    /// Alice.
    pub(crate) client: Client,
    pub(crate) files: DemoFiles,
    _folder: TempDir,
}

impl Serving {
    /// Starts it for the cluster of a kubeconfig, with further flags.
    pub(crate) async fn start(kubeconfig: &Path, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::write_demo(folder.path()).unwrap();
        let command = serve(&files, kubeconfig, flags);
        Self::of(Program::start(command), files, folder).await
    }

    /// Starts it with these files, which others may use too.
    pub(crate) async fn with(files: &DemoFiles, kubeconfig: &Path, flags: &[&str]) -> Self {
        let command = serve(files, kubeconfig, flags);
        let folder = tempfile::tempdir().unwrap();
        Self::of(Program::start(command), files.clone(), folder).await
    }

    /// A started program that uses these files.
    pub(crate) async fn of(program: Program, files: DemoFiles, folder: TempDir) -> Self {
        let listening = program.line("server.listening", 1).await;
        let address: SocketAddr = listening.text("address").parse().unwrap();
        let admin_address = listening.text("admin_address").parse().unwrap();
        let client = Client::with_files(
            address,
            &files.ca,
            &files.client.certificate,
            &files.client.key,
        );
        Self {
            program,
            address,
            admin_address,
            client,
            files,
            _folder: folder,
        }
    }

    /// Starts it and waits until it is healthy.
    pub(crate) async fn healthy(kubeconfig: &Path, flags: &[&str]) -> Self {
        let serving = Self::start(kubeconfig, flags).await;
        let healthy = async || serving.client.get("/health").await.status == 200;
        eventually(PATIENCE, "health", healthy).await;
        serving
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn becomes_ready(&self) {
        eventually(PATIENCE, "readiness", async || {
            self.admin("GET", "/readyz").await.0 == 200
        })
        .await;
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        let (status, text) = self.admin("GET", "/metrics").await;
        assert_eq!(status, 200);
        text
    }

    /// Status and body of a request to the admin listener.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> (u16, String) {
        admin(self.admin_address, method, path).await
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn terminated(self) -> Ended {
        self.program.signal("TERM");
        self.program.ended().await
    }
}

/// Status and body of a request to an admin listener.
pub(crate) async fn admin(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let answer = try_admin(address, method, path).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

async fn try_admin(address: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Whether an admin listener is there and says that its server is ready.
pub(crate) async fn ready(address: SocketAddr) -> bool {
    let asked = try_admin(address, "GET", "/readyz").await;
    asked.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}
