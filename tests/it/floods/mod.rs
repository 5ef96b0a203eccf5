//! Attacks on the real program: while each goes on, another caller's requests are answered; behind it nothing is left of it.

mod connections;
mod costs;
mod documented;
mod frames;
mod handshakes;
mod http1;
mod http2;
mod streams;

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use crate::support::{Client, SimCluster, program::Serving};

/// What one attack may cost of memory, in bytes.
const MEMORY: usize = 32 << 20;
/// How long another caller's request may take in the middle of an attack: loose, since tests share their processors.
const SANE: Duration = Duration::from_secs(5);
/// How long an attack may last.
const PATIENCE: Duration = Duration::from_secs(20);

const COUNT: &str = "/namespaces/web/deployments/shop/replicas";

/// The program under attack.
struct Attacked {
    serving: Serving,
    cluster: SimCluster,
    config: tempfile::TempDir,
}

/// How another caller fared.
#[derive(Debug)]
struct Fared {
    requests: usize,
    p99: Duration,
}

impl Attacked {
    /// One with the limits that it has by itself.
    async fn new() -> Self {
        Self::limited("").await
    }

    /// One with these settings under `limits`, in YAML's flow style.
    async fn limited(limits: &str) -> Self {
        Self::with(limits, 1).await
    }

    /// The same with so many Deployments.
    async fn with(limits: &str, deployments: usize) -> Self {
        let cluster = SimCluster::start().await;
        cluster.create("web", "shop", 3);
        for number in 1..deployments {
            cluster.create("web", &format!("shop-{number:05}"), 3);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = configured(&folder, limits);
        let flag = format!("--config={}", path.display());
        let serving = Serving::healthy(cluster.kubeconfig(), &[&flag]).await;
        let attacked = Self {
            serving,
            cluster,
            config: folder,
        };
        // What the first of everything costs is none of the attack's.
        for _ in 0..20 {
            for protocol in ["http/1.1", "h2"] {
                let client = attacked.client(protocol);
                assert_eq!(client.get(COUNT).await.status, 200);
            }
        }
        attacked
    }

    /// Puts other limits into the file.
    fn rewrite(&self, limits: &str) {
        configured(&self.config, limits);
    }

    fn client(&self, protocol: &str) -> Client {
        self.serving.client.alpn(&[protocol])
    }

    async fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.serving.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp
    }

    /// A connection of a caller who is let in.
    async fn connect(&self, protocol: &str) -> TlsStream<TcpStream> {
        self.client(protocol).connect().await.unwrap()
    }

    /// Attacks while another caller asks for a count again and again; memory, the other's answers, and those behind the attack are
    /// looked at.
    #[allow(clippy::print_stdout, reason = "figures, for whoever asks for them")]
    async fn withstands(&self, attack: impl Future<Output = ()>) {
        let before = self.serving.program.resident();
        self.serving.program.forget_peak();
        let over = Arc::new(Notify::new());
        let bystander = self.bystander(Arc::clone(&over));
        let attacking = async {
            timeout(PATIENCE, attack).await.expect("the attack ends");
            over.notify_one();
        };
        let (fared, ()) = tokio::join!(bystander, attacking);
        let grown = self.serving.program.peak().saturating_sub(before);
        assert!(grown < MEMORY, "{} KiB more memory", grown >> 10);
        assert!(fared.p99 < SANE, "{fared:?}");
        let began = Instant::now();
        for protocol in ["http/1.1", "h2"] {
            self.answers(protocol).await;
        }
        assert!(
            began.elapsed() < SANE,
            "slow behind it: {:?}",
            began.elapsed()
        );
        let panicked = |line: &String| line.contains("panicked");
        assert!(!self.serving.program.stderr().iter().any(panicked));
        let Fared { requests, p99 } = fared;
        println!(
            "{} KiB more memory; {requests} requests of another caller, p99 {p99:?}",
            grown >> 10
        );
    }

    /// Asserts that a new connection is served.
    async fn answers(&self, protocol: &str) {
        let client = self.client(protocol);
        let request = client.request(Method::GET, COUNT, &[], "");
        let answer = client.try_send(request).await;
        let said = self.serving.program.stderr();
        let last = &said[said.len().saturating_sub(20)..];
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {last:#?}"));
        assert_eq!(answer.status, 200);
    }

    async fn bystander(&self, over: Arc<Notify>) -> Fared {
        let client = self.client("http/1.1");
        let opened = client.open().await;
        let mut connection =
            opened.unwrap_or_else(|e| panic!("{e}: {:#?}", self.serving.program.stderr()));
        let mut times = Vec::new();
        let over = over.notified();
        tokio::pin!(over);
        loop {
            let began = Instant::now();
            let request = client.request(Method::GET, COUNT, &[], "");
            let answer = connection.send(request).await;
            assert_eq!(answer.expect("the other is answered").status, 200);
            times.push(began.elapsed());
            tokio::select! {
                () = &mut over => break,
                () = sleep(Duration::from_millis(5)) => {}
            }
        }
        times.sort_unstable();
        Fared {
            requests: times.len(),
            p99: times[(times.len() - 1) * 99 / 100],
        }
    }

    /// How often a limit was reached.
    async fn reached(&self, limit: &str) -> u64 {
        let metrics = self.serving.metrics().await;
        let line = format!("headcount_limits_reached_total{{limit=\"{limit}\"}} ");
        let count = metrics.lines().find_map(|l| l.strip_prefix(&line));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// Waits until a limit has been reached, and for the line that names it.
    async fn names(&self, limit: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.reached(limit).await == 0 {
            if Instant::now() >= deadline {
                let metrics = self.serving.metrics().await;
                let reached = |line: &&str| line.starts_with("headcount_limits_reached");
                panic!(
                    "{limit} isn't counted: {:#?}",
                    metrics.lines().filter(reached).collect::<Vec<_>>()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        let line = self.serving.program.line("limit.reached", 1).await;
        let lines = self.serving.program.lines("limit.reached");
        assert!(
            lines.iter().any(|line| line.text("limit") == limit),
            "{line:?}"
        );
    }
}

fn configured(folder: &tempfile::TempDir, limits: &str) -> PathBuf {
    let text =
        format!("apiVersion: headcount/v1alpha1\nkind: Configuration\nlimits: {{{limits}}}\n");
    let (path, new) = (folder.path().join("config.yaml"), folder.path().join("new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, &path).unwrap();
    path
}

/// Sends pieces until the server closes; what came, if it does within some seconds behind the last.
async fn flood(
    stream: &mut TlsStream<TcpStream>,
    pieces: impl IntoIterator<Item = Vec<u8>>,
) -> Option<Vec<u8>> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = async {
        for piece in pieces {
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        sleep(Duration::from_secs(5)).await;
    };
    let mut came = Vec::new();
    let reading = async { while reader.read_buf(&mut came).await.is_ok_and(|read| read > 0) {} };
    let closed = tokio::select! {
        () = writing => false,
        () = reading => true,
    };
    closed.then_some(came)
}

/// All that comes until the server closes.
async fn rest(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset after the bytes is an end like another.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .expect("the server closes");
    all
}
