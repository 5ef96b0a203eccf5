//! Watches on a simulated cluster: what a delivery costs, and what a watcher holds, over HTTP/1.1 and HTTP/2.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use simkube::{Cluster, NewDeployment, Options};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::figures::{Aim, Figures, Side};
use crate::server::{Place, Server};
use crate::simulated::serve;
use crate::sizes::Sizes;

/// One caller's watches come over so many streams of a connection, under the server's bound of 128.
const STREAMS: usize = 125;
/// Connections that are being made at once.
const AT_ONCE: usize = 32;
const SETTLE: Duration = Duration::from_secs(2);
/// For all that was sent to arrive.
const PATIENCE: Duration = Duration::from_secs(120);
/// What every event of the load has in it once.
const MARK: &[u8] = b"event: changed";
const DEPLOYMENTS: u32 = 1000;
/// Readers that take nothing.
const STALLED: usize = 100;
/// All connections are of one identity and address here, which is more than anybody may have by default.
const CONFIGURATION: &str = "apiVersion: headcount/v1alpha1
kind: Configuration
limits:
  connections: {perAddress: 16384, perIdentity: 16384}
  http2: {streamsPerCaller: 8192}
  watches: {total: 10000, perCaller: 10000}
  times: {stalled: 5m}
";

/// How changes come: so many at once, so often, with a pause before each time.
struct Load {
    name: &'static str,
    burst: u32,
    times: u32,
    pause: Duration,
}

const LOADS: [Load; 3] = [
    Load {
        name: "a change a second",
        burst: 1,
        times: 5,
        pause: Duration::from_secs(1),
    },
    Load {
        name: "10 changes a second",
        burst: 1,
        times: 50,
        pause: Duration::from_millis(100),
    },
    Load {
        name: "200 changes at once",
        burst: 200,
        times: 3,
        pause: Duration::from_secs(2),
    },
];

type Open = Result<Incoming, Error>;

/// Delivers changes to so many watchers, and weighs them.
pub(crate) async fn run(place: &Place, sizes: &Sizes, figures: &mut Figures) -> Result<(), Error> {
    let cluster = Cluster::new(Options::default());
    for i in 0..DEPLOYMENTS {
        cluster.create(NewDeployment::new("team", format!("orders-api-{i:04}")).replicas(1));
    }
    let (serving, kubeconfig) = serve(&cluster, place).await?;
    let configuration = place.folder.join("watchers.yaml");
    fs::write(&configuration, CONFIGURATION).map_err(Error::file(&configuration))?;
    for protocol in ["http/1.1", "h2"] {
        crate::say(&format!("{} watchers over {protocol}", sizes.watchers));
        let server = place.configured(&kubeconfig, &configuration)?;
        deliver(place, &server, &cluster, sizes, figures, protocol).await?;
    }
    serving.abort();
    Ok(())
}

async fn deliver(
    place: &Place,
    server: &Server,
    cluster: &Cluster,
    sizes: &Sizes,
    figures: &mut Figures,
    protocol: &'static str,
) -> Result<(), Error> {
    let n = sizes.watchers;
    let title = |what: &str| format!("{n} watchers, {protocol}: {what}");
    sleep(SETTLE).await;
    let alone = server.proc().resident()?;
    let told = Arc::new(AtomicUsize::new(0));
    let ready = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for body in open(place, server, protocol, n).await? {
        let (told, ready) = (Arc::clone(&told), Arc::clone(&ready));
        readers.push(tokio::spawn(read(body, told, ready)));
    }
    reached(&ready, n, "snapshots").await?;
    sleep(SETTLE).await;
    let held = server.proc().resident()? - alone;
    let each = held * 1e6 / 1024.0 / n as f64;
    figures.note(&title("memory each"), "KiB", &[], Side::Headcount, each);
    let mut count = 1;
    for load in &LOADS {
        told.store(0, Relaxed);
        let before = server.proc().cpu(None)?;
        let mut sent = 0;
        for _ in 0..load.times {
            sleep(load.pause).await;
            count += 1;
            for i in 0..load.burst {
                cluster.scale("team", &format!("orders-api-{i:04}"), count);
            }
            sent += load.burst as usize * n;
        }
        reached(&told, sent, "deliveries").await?;
        let used = server.proc().cpu(None)? - before;
        let what = title(&format!("a delivery, {}, server CPU", load.name));
        let aims = [Aim::AtMost(4.0)];
        figures.note(
            &what,
            "µs",
            &aims,
            Side::Headcount,
            used * 1e6 / sent as f64,
        );
    }
    // Some who never read hold no more than their connections' buffers while a burst goes to all.
    let _stalled = open(place, server, protocol, STALLED).await?;
    sleep(SETTLE).await;
    let resident = server.proc().resident()?;
    server.proc().reset_peak()?;
    told.store(0, Relaxed);
    let (bursts, burst) = (5, 400);
    for _ in 0..bursts {
        count += 1;
        for i in 0..burst {
            cluster.scale("team", &format!("orders-api-{i:04}"), count);
        }
        sleep(Duration::from_millis(500)).await;
    }
    reached(&told, bursts * burst as usize * n, "deliveries").await?;
    let most = server.proc().peak()? - resident;
    let what = format!(
        "{} changes, {STALLED} more that read nothing: memory at most above",
        bursts * burst as usize
    );
    figures.note(&title(&what), "MB", &[], Side::Headcount, most);
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// Waits until there are so many; an error if that takes too long.
async fn reached(counted: &AtomicUsize, wanted: usize, what: &str) -> Result<(), Error> {
    let begun = Instant::now();
    while counted.load(Relaxed) < wanted {
        if begun.elapsed() > PATIENCE {
            let counted = counted.load(Relaxed);
            return Err(Error::Unexpected(format!(
                "{counted} of {wanted} {what} came"
            )));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Opens so many watches; their answers have begun.
async fn open(
    place: &Place,
    server: &Server,
    protocol: &'static str,
    n: usize,
) -> Result<Vec<Incoming>, Error> {
    let connector = TlsConnector::from(Arc::new(tls(place, protocol)?));
    let each = if protocol == "h2" { STREAMS } else { 1 };
    let mut bodies = Vec::with_capacity(n);
    let mut left = n;
    while left > 0 {
        let mut opening = Vec::new();
        for _ in 0..AT_ONCE {
            let streams = each.min(left);
            left -= streams;
            if streams == 0 {
                break;
            }
            let (connector, address) = (connector.clone(), server.address().to_owned());
            opening.push(tokio::spawn(connection(connector, address, streams)));
        }
        for opened in opening {
            let opened = opened
                .await
                .map_err(|e| Error::Unexpected(e.to_string()))??;
            bodies.extend(opened);
        }
    }
    Ok(bodies)
}

async fn connection(
    connector: TlsConnector,
    address: String,
    streams: usize,
) -> Result<Vec<Incoming>, Error> {
    let unexpected = |error: hyper::Error| Error::Unexpected(format!("a watch: {error}"));
    let io = stream(&connector, &address)
        .await
        .map_err(Error::io("connect"))?;
    let multiplexed = io.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(io);
    let mut bodies = Vec::with_capacity(streams);
    if multiplexed {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .initial_connection_window_size(16_u32 << 20)
            .handshake(io);
        let (mut sender, connection) = handshake.await.map_err(unexpected)?;
        tokio::spawn(connection);
        for _ in 0..streams {
            bodies.push(answered(sender.send_request(request(&address)?).await)?);
        }
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(unexpected)?;
        tokio::spawn(connection);
        bodies.push(answered(sender.send_request(request(&address)?).await)?);
    }
    Ok(bodies)
}

fn answered(response: hyper::Result<http::Response<Incoming>>) -> Open {
    let response = response.map_err(|error| Error::Unexpected(format!("a watch: {error}")))?;
    if response.status() != 200 {
        let status = response.status();
        return Err(Error::Unexpected(format!(
            "a watch was answered with {status}"
        )));
    }
    Ok(response.into_body())
}

fn request(address: &str) -> Result<Request<Empty<Bytes>>, Error> {
    Request::get(format!("https://{address}/api/v1/deployments?watch"))
        .header("host", address)
        .body(Empty::new())
        .map_err(|error| Error::Unexpected(error.to_string()))
}

async fn stream(connector: &TlsConnector, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    connector.connect(name, tcp).await
}

fn tls(place: &Place, protocol: &str) -> Result<ClientConfig, Error> {
    let unexpected = |error: String| Error::Unexpected(format!("the demo's certificates: {error}"));
    let files = &place.certificates;
    let mut roots = RootCertStore::empty();
    for authority in
        CertificateDer::pem_file_iter(&files.ca).map_err(|e| unexpected(e.to_string()))?
    {
        let authority = authority.map_err(|e| unexpected(e.to_string()))?;
        roots
            .add(authority)
            .map_err(|e| unexpected(e.to_string()))?;
    }
    let chain = CertificateDer::pem_file_iter(&files.client.certificate)
        .and_then(Iterator::collect)
        .map_err(|e| unexpected(e.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.client.key).map_err(|e| unexpected(e.to_string()))?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| unexpected(e.to_string()))?;
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(config)
}

/// Counts the events of one watch, and first the end of its snapshot.
async fn read(mut body: Incoming, told: Arc<AtomicUsize>, ready: Arc<AtomicUsize>) {
    let (mut matched, mut last, mut begun) = (0, 0, false);
    let mut blocks = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let mut found = 0;
        for &byte in &data {
            matched = match byte == MARK[matched] {
                true => matched + 1,
                false => usize::from(byte == MARK[0]),
            };
            if matched == MARK.len() {
                (matched, found) = (0, found + 1);
            }
            blocks += usize::from(!begun && byte == b'\n' && last == b'\n');
            last = byte;
        }
        // `retry` is a block of its own.
        if !begun && blocks >= 2 {
            begun = true;
            ready.fetch_add(1, Relaxed);
        }
        if found > 0 {
            told.fetch_add(found, Relaxed);
        }
    }
}
