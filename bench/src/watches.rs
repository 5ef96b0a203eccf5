//! Watches of callers: what a delivery costs the server, and what a watch that waits takes of its memory.

use std::fs;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use simkube::{Cluster, NewDeployment, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::error::Error;
use crate::figures::{Aim, Figures, Side};
use crate::measure::write_kubeconfig;
use crate::server::{Place, Server};
use crate::sizes::Sizes;

const NAMESPACE: &str = "web";
const DEPLOYMENTS: u32 = 200;
/// Streams of one HTTP/2 connection: as many as the server takes.
const STREAMS: u32 = 100;
const SETTLE: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(60);
const EVENT: &[u8] = b"event: changed\n";
/// One caller has as many watches as the limits let it, on connections or streams of its own.
const LIMITS: &str = "limits:
  connections: {perAddress: 16384, perIdentity: 16384}
  http2: {streamsPerCaller: 8192}
";

/// How changes come.
const LOADS: [(&str, u32, u32); 3] = [
    ("one a second", 4, 1),
    ("40 a second", 120, 40),
    ("200 at once", 200, 0),
];

/// CPU of the server for one change that one watch is told of, and memory of a watch, with `sizes.watches` of them.
pub(crate) async fn run(place: &Place, sizes: &Sizes, figures: &mut Figures) -> Result<(), Error> {
    let cluster = Cluster::new(Options::default());
    for i in 0..DEPLOYMENTS {
        cluster.create(NewDeployment::new(NAMESPACE, name(i)).replicas(1));
    }
    let failed = || Error::io("listen");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    let serving = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.serve(listener, pending()).await }
    });
    let kubeconfig = write_kubeconfig(&place.folder, &format!("http://{address}"))?;
    let config = place.folder.join("watches.yaml");
    fs::write(&config, LIMITS).map_err(Error::file(&config))?;
    let mut count = 1;
    for protocol in ["HTTP/1.1", "HTTP/2"] {
        for _ in 0..sizes.rounds.min(2) {
            let server = place.configured(&kubeconfig, &config)?;
            sleep(SETTLE).await;
            let before = server.proc().resident()?;
            let n = sizes.watches;
            crate::say(&format!("{n} watches over {protocol}"));
            let watchers = Watchers::open(place, &server, n, protocol).await?;
            sleep(SETTLE).await;
            let each = (server.proc().resident()? - before) * 1e6 / f64::from(n) / 1024.0;
            let title = format!("{n} watches over {protocol}: memory of each");
            figures.note(&title, "KiB", &[], Side::Headcount, each);
            for (load, changes, rate) in LOADS {
                count += 1;
                let used = server.proc().cpu(None)?;
                let (told, begun) = (watchers.told(), Instant::now());
                for i in 0..changes {
                    if rate > 0 {
                        let due = begun + Duration::from_secs(1) * i / rate;
                        sleep(due.saturating_duration_since(Instant::now())).await;
                    }
                    cluster.scale(
                        NAMESPACE,
                        &name(i % DEPLOYMENTS),
                        count + (i / DEPLOYMENTS) as i32,
                    );
                }
                let deliveries = u64::from(n) * u64::from(changes);
                watchers.wait(told + deliveries).await?;
                let each = (server.proc().cpu(None)? - used) * 1e6 / deliveries as f64;
                let title = format!("{n} watches over {protocol}, {load}: CPU of a delivery");
                figures.note(&title, "µs", &[Aim::AtMost(4.0)], Side::Headcount, each);
            }
            let most = (server.proc().peak()? - before) * 1e6 / f64::from(n) / 1024.0;
            let title = format!("{n} watches over {protocol}: most memory of each");
            figures.note(&title, "KiB", &[], Side::Headcount, most);
        }
    }
    serving.abort();
    Ok(())
}

fn name(i: u32) -> String {
    format!("orders-api-{i:05}")
}

/// Those who watch, and how many changes all of them were told of.
struct Watchers {
    told: Arc<AtomicU64>,
    _reading: JoinSet<()>,
}

impl Watchers {
    /// Opens so many watches, each of which has had its snapshot.
    async fn open(place: &Place, server: &Server, n: u32, protocol: &str) -> Result<Self, Error> {
        let two = protocol == "HTTP/2";
        let tls = TlsConnector::from(Arc::new(client(place, two)?));
        let (told, open) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut reading = JoinSet::new();
        let (mut left, begun) = (n, Instant::now());
        while left > 0 {
            let streams = if two { left.min(STREAMS) } else { 1 };
            let stream = connect(&tls, server.address()).await?;
            let (told, open) = (Arc::clone(&told), Arc::clone(&open));
            if two {
                reading.spawn(streamed(stream, streams, told, open));
            } else {
                reading.spawn(connected(stream, told, open));
            }
            left -= streams;
        }
        while open.load(Relaxed) < u64::from(n) {
            if begun.elapsed() > DEADLINE {
                let opened = open.load(Relaxed);
                return Err(Error::Unexpected(format!("{opened} of {n} watches opened")));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self {
            told,
            _reading: reading,
        })
    }

    fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }

    async fn wait(&self, all: u64) -> Result<(), Error> {
        let begun = Instant::now();
        while self.told() < all {
            if begun.elapsed() > DEADLINE {
                let missing = all - self.told();
                return Err(Error::Unexpected(format!(
                    "{missing} deliveries are missing"
                )));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn client(place: &Place, two: bool) -> Result<ClientConfig, Error> {
    let files = &place.certificates;
    let unusable = |error: String| Error::Unexpected(format!("the certificates: {error}"));
    let certificates = |path: &Path| {
        let read =
            CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
        read.collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(error.to_string()))
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&files.ca)?);
    let key = PrivateKeyDer::from_pem_file(&files.client.key);
    let key = key.map_err(|error| unusable(error.to_string()))?;
    let own = certificates(&files.client.certificate)?;
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = config
        .with_client_auth_cert(own, key)
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = vec![if two {
        b"h2".to_vec()
    } else {
        b"http/1.1".to_vec()
    }];
    Ok(config)
}

async fn connect(tls: &TlsConnector, address: &str) -> Result<TlsStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(Error::io("connect"))?;
    let name = ServerName::from(std::net::Ipv4Addr::LOCALHOST);
    let stream = tls.connect(name.into(), stream).await;
    stream.map_err(Error::io("shake hands"))
}

/// One watch over HTTP/1.1; it counts what it is told until it is dropped.
async fn connected(mut stream: TlsStream<TcpStream>, told: Arc<AtomicU64>, open: Arc<AtomicU64>) {
    let request = b"GET /api/v1/deployments?watch HTTP/1.1\r\nhost: localhost\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return;
    }
    let mut heard = Heard::new(told, open);
    let mut piece = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        heard.hear(&piece[..length]);
    }
}

/// Watches that share one connection over HTTP/2.
async fn streamed(
    stream: TlsStream<TcpStream>,
    streams: u32,
    told: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
) {
    let shaken = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let Ok((sender, connection)) = shaken.handshake(TokioIo::new(stream)).await else {
        return;
    };
    let mut watches = JoinSet::new();
    for _ in 0..streams {
        let (mut sender, mut heard) = (
            sender.clone(),
            Heard::new(Arc::clone(&told), Arc::clone(&open)),
        );
        watches.spawn(async move {
            let uri = "https://localhost/api/v1/deployments?watch";
            let Ok(request) = http::Request::get(uri).body(Empty::<Bytes>::new()) else {
                return;
            };
            if let Ok(mut answer) = sender.send_request(request).await {
                while let Some(Ok(frame)) = answer.frame().await {
                    if let Ok(piece) = frame.into_data() {
                        heard.hear(&piece);
                    }
                }
            }
        });
    }
    let _ = connection.await;
}

/// What one watch has heard.
struct Heard {
    told: Arc<AtomicU64>,
    open: Option<Arc<AtomicU64>>,
    /// How much of `EVENT` the last piece ended with.
    matched: usize,
}

impl Heard {
    fn new(told: Arc<AtomicU64>, open: Arc<AtomicU64>) -> Self {
        Self {
            told,
            open: Some(open),
            matched: 0,
        }
    }

    fn hear(&mut self, piece: &[u8]) {
        let mut events = 0;
        for byte in piece {
            // No prefix of it comes again inside of it.
            self.matched = match *byte == EVENT[self.matched] {
                true => self.matched + 1,
                false => usize::from(*byte == EVENT[0]),
            };
            if self.matched == EVENT.len() {
                (self.matched, events) = (0, events + 1);
            }
        }
        if events > 0 {
            self.told.fetch_add(events, Relaxed);
        }
        // The snapshot is one line, behind which is nothing.
        if piece.ends_with(b"]\n\n") || piece.ends_with(b"]\n\n\r\n") {
            if let Some(open) = self.open.take() {
                open.fetch_add(1, Relaxed);
            }
        }
    }
}
