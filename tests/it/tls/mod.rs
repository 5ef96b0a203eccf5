//! The server and clients of every kind: who is let in, who is refused, and what the log says of it.

mod accepted;
mod algorithms;
mod certificates;
mod chains;
mod comparison;
mod connections;
mod der;
mod expiry;
mod matrix;
mod reloading;
mod rows;
mod rsa;
mod sender;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use headcount::{
    Headcount,
    config::Config,
    pki::{Authority, Issued, Leaf},
    tls::{TlsFiles, TlsSettings},
};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    lines::{Captured, Line},
    write_kubeconfig,
};

/// A request that every accepted client gets an answer to, whatever the cluster does.
const REQUEST: &[u8] = b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A server whose cluster never answers: this is about connections alone.
struct Served {
    address: SocketAddr,
    admin_address: SocketAddr,
    /// Signs the server's certificate and no client's.
    server_authority: Authority,
    log: Captured,
    running: JoinHandle<()>,
    _cluster: TcpSocket,
    folder: TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// What a server judges its clients by.
#[derive(Default)]
struct Trusted {
    /// Bundles of CAs, each a file.
    bundles: Vec<String>,
    /// Revocation lists, each a file.
    crls: Vec<Vec<u8>>,
    deny_list: Option<String>,
    settings: TlsSettings,
    /// A cluster that answers.
    kubeconfig: Option<PathBuf>,
}

/// How a client was refused.
#[derive(Debug)]
struct Refused {
    /// What the client was told, if it was told anything.
    alert: Option<AlertDescription>,
    line: Line,
}

impl Served {
    /// One that lets in the clients of the authorities in these bundles, each a file.
    async fn with(bundles: &[String]) -> Self {
        let authority = Authority::new("server CA").unwrap();
        let server = authority.issue(&Leaf::server(&["127.0.0.1"])).unwrap();
        Self::with_pair(authority, &server, bundles).await
    }

    /// One that lets in the clients of one authority.
    async fn trusting(authority: &Authority) -> Self {
        Self::with(&[authority.certificate_pem()]).await
    }

    async fn with_pair(server_authority: Authority, server: &Issued, bundles: &[String]) -> Self {
        let trusted = Trusted {
            bundles: bundles.to_vec(),
            ..Trusted::default()
        };
        Self::start(server_authority, server, trusted).await
    }

    /// One that judges clients by these files and settings.
    async fn judging(trusted: Trusted) -> Self {
        let authority = Authority::new("server CA").unwrap();
        let server = authority.issue(&Leaf::server(&["127.0.0.1"])).unwrap();
        Self::start(authority, &server, trusted).await
    }

    async fn start(server_authority: Authority, server: &Issued, trusted: Trusted) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let files = |kind: &str, contents: &[Vec<u8>]| {
            let each = contents.iter().enumerate();
            each.map(|(i, content)| file(&format!("{kind}{i}"), content))
                .collect()
        };
        let bundles: Vec<_> = trusted
            .bundles
            .into_iter()
            .map(String::into_bytes)
            .collect();
        let config = Config {
            kubeconfig: trusted.kubeconfig,
            tls_settings: trusted.settings,
            ..Config::of(TlsFiles {
                cert: file("server.crt", server.chain_pem.as_bytes()),
                key: file("server.key", server.key_pem.as_bytes()),
                client_ca: files("ca", &bundles),
                client_crl: files("crl", &trusted.crls),
                deny_list: trusted
                    .deny_list
                    .map(|text| file("deny.yaml", text.as_bytes())),
            })
        };
        Self::with_config(server_authority, config, folder).await
    }

    /// One whose certificate and key are in a volume.
    async fn from_volume(server_authority: Authority, volume: &Path, clients: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca0");
        std::fs::write(&ca, clients.certificate_pem()).unwrap();
        let config = Config::of(TlsFiles {
            cert: volume.join("tls.crt"),
            key: volume.join("tls.key"),
            client_ca: vec![ca],
            ..TlsFiles::default()
        });
        Self::with_config(server_authority, config, folder).await
    }

    async fn with_config(server_authority: Authority, config: Config, folder: TempDir) -> Self {
        let log = Captured::start();
        // Bound and not listening: nobody else gets the port, and every connection is refused.
        let cluster = TcpSocket::new_v4().unwrap();
        cluster.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        write_kubeconfig(
            &kubeconfig,
            &format!("http://{}", cluster.local_addr().unwrap()),
        );
        let config = Config {
            kubeconfig: config.kubeconfig.or(Some(kubeconfig)),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ..config
        };
        let headcount = Headcount::bind(config).await.unwrap();
        let (address, admin_address) = (headcount.address(), headcount.admin_address());
        let running = tokio::spawn(async { headcount.run(std::future::pending()).await.unwrap() });
        Self {
            address,
            admin_address,
            server_authority,
            log,
            running,
            _cluster: cluster,
            folder,
        }
    }

    /// A client with a chain and a key in PEM, or with no certificate.
    fn client(&self, pair: Option<(&str, &str)>) -> ClientConfig {
        self.client_speaking(&TLS13, pair)
    }

    fn client_speaking(
        &self,
        version: &'static SupportedProtocolVersion,
        pair: Option<(&str, &str)>,
    ) -> ClientConfig {
        self.client_by(aws_lc_rs::default_provider(), version, pair)
    }

    fn client_by(
        &self,
        provider: CryptoProvider,
        version: &'static SupportedProtocolVersion,
        pair: Option<(&str, &str)>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let trusted = self.server_authority.certificate_pem();
        roots
            .add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let Some((chain, key)) = pair else {
            return builder.with_no_client_auth();
        };
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        // Not checked on this side, so that the server sees certificates that rustls as a client wouldn't send.
        let pair = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        builder.with_client_cert_resolver(Arc::new(pair))
    }

    /// A client with what an authority issued.
    fn client_with(&self, issued: &Issued) -> ClientConfig {
        self.client(Some((&issued.chain_pem, &issued.key_pem)))
    }

    async fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp
    }

    /// A connection on which the client has finished its part of the handshake.
    async fn connect(&self, client: &ClientConfig) -> TlsStream<TcpStream> {
        self.handshake(client, self.tcp().await).await.unwrap()
    }

    async fn handshake(
        &self,
        client: &ClientConfig,
        tcp: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(self.address.ip().into());
        TlsConnector::from(Arc::new(client.clone()))
            .connect(name, tcp)
            .await
    }

    /// The answer of one request on a connection of its own, and the client's end of that.
    async fn answer(&self, client: &ClientConfig) -> io::Result<(String, SocketAddr)> {
        let mut stream = self.handshake(client, self.tcp().await).await?;
        let peer = stream.get_ref().0.local_addr()?;
        stream.write_all(REQUEST).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok((answer, peer))
    }

    /// Whether this client gets an answer now.
    async fn lets_in(&self, client: &ClientConfig) -> bool {
        self.answer(client).await.is_ok()
    }

    /// The server's certificate as this client sees it.
    async fn presented(&self, client: &ClientConfig) -> Vec<u8> {
        let stream = self.connect(client).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// Asserts that this client gets an answer over HTTP/1.1; the log's line of its handshake.
    async fn accepts(&self, client: &ClientConfig) -> Line {
        let (answer, line) = self.answers(client).await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#"{"status":"unhealthy""#),
            "{answer}"
        );
        line
    }

    /// What an accepted client is answered, and the log's line of its handshake.
    async fn answers(&self, client: &ClientConfig) -> (String, Line) {
        let (answer, peer) = self.answer(client).await.unwrap();
        let line = self.log.first_about(peer).await;
        assert_eq!(
            (line.severity.as_str(), line.event.as_str()),
            ("INFO", "tls.client.accepted")
        );
        (answer, line)
    }

    /// Asserts that this client gets no byte of an answer.
    async fn refuses(&self, client: &ClientConfig) -> Refused {
        let tcp = self.tcp().await;
        let peer = tcp.local_addr().unwrap();
        let alert = match self.handshake(client, tcp).await {
            Err(error) => alert(&error),
            Ok(mut stream) => {
                // In TLS 1.3 the client is done before the server has judged it, so it may send already.
                let sent = stream.write_all(REQUEST).await;
                let mut answer = Vec::new();
                let ended = stream.read_to_end(&mut answer).await;
                assert_eq!(
                    String::from_utf8_lossy(&answer),
                    "",
                    "a refused client was answered"
                );
                ended.err().or(sent.err()).and_then(|error| alert(&error))
            }
        };
        let line = self.log.first_about(peer).await;
        assert_eq!(line.event, "tls.client.refused", "{line:?}");
        assert_eq!(self.log.about(peer).len(), 1);
        Refused { alert, line }
    }
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

impl Refused {
    /// Asserts the reason's name, the severity and the alert.
    fn because(&self, reason: &str, severity: &str, alert: AlertDescription) {
        let found = (
            self.line.text("reason"),
            self.line.severity.as_str(),
            self.alert,
        );
        assert_eq!(found, (reason, severity, Some(alert)), "{:?}", self.line);
    }
}
