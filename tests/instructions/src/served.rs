//! A whole server without a network: its store, its API, its TLS, and connections to it.

use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use headcount::{
    access::{Caller, IdentityRules, NameKind, Principal, Rules},
    api::Api,
    generation::{Generation, Generations, Session},
    kubernetes::{Deployments, InformerStatus, Managed},
    pki,
    server::{Server, drain::Step},
    store::{Deployment, Scope, Store},
    telemetry::metrics::Metrics,
    tls::{Bound, Identity, TlsFiles, TlsSettings},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::service_fn;

use crate::{
    connection::{self, CallerEnd},
    fixture,
    paths::Failure,
};

/// The header of a client that takes gzip.
pub const GZIP: &str = "Accept-Encoding: gzip\r\n";

/// A request as a usual client sends it; `headers` are lines of their own.
pub fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET /api/v1{path} HTTP/1.1\r\nHost: localhost:8443\r\nUser-Agent: caller/1.0\r\nAccept: */*\r\n{headers}\r\n").into_bytes()
}

/// A server with a synced store.
pub struct Served {
    store: Arc<Store>,
    scope: Scope,
    server: Arc<Server>,
    generations: Arc<Generations>,
    client: Arc<ClientConfig>,
}

impl Served {
    /// A server of `count` Deployments, with certificates of its own. Called within a runtime.
    ///
    /// # Errors
    ///
    /// When the certificates can't be made.
    pub fn new(count: usize) -> Result<Self, Failure> {
        let (generation, client) = certificates()?;
        let generations = Arc::new(Generations::new(generation));
        let store = fixture::store(count);
        let status = Arc::new(InformerStatus::new(Arc::clone(&store)));
        let metrics = Arc::new(Metrics::default());
        let refuse = service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(io::Error::other(
                "nothing is written here",
            ))
        });
        let api = Arc::new(Api::new(
            Arc::clone(&status),
            Deployments::new(
                kube::Client::new(refuse, "default"),
                status,
                Managed::default(),
            ),
            Arc::clone(&metrics),
            TaskTracker::new(),
        ));
        let server = Server::new(
            Arc::clone(&generations),
            api,
            metrics,
            watch::Sender::new(Step::Serving).subscribe(),
            TaskTracker::new(),
        );
        Ok(Self {
            scope: fixture::all(&store),
            store,
            server: Arc::new(server),
            generations,
            client: Arc::new(client),
        })
    }

    /// Serves a connection of somebody without TLS.
    pub fn plain(&self, name: &str) -> CallerEnd {
        let (caller, stream) = connection::plain();
        self.serve_as(stream, false, name);
        caller
    }

    /// Serves whatever is at the other end of a stream, in a task of its own; `multiplexed`: HTTP/2 was agreed on.
    pub fn serve<S>(&self, stream: S, multiplexed: bool) -> JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_as(stream, multiplexed, "alice")
    }

    fn serve_as<S>(&self, stream: S, multiplexed: bool, name: &str) -> JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = Arc::clone(&self.server);
        let identity = Identity {
            subject: format!("CN={name}"),
            serial: "2a".into(),
            issuer: "CN=demo".into(),
            not_before: SystemTime::UNIX_EPOCH,
            valid_until: SystemTime::now() + Duration::from_secs(24 * 60 * 60),
            bound: Bound::Certificate,
            not_after: SystemTime::now() + Duration::from_secs(24 * 60 * 60),
        };
        let generation = self.generations.current();
        let caller_of = Caller::new(
            identity,
            Ok(Principal {
                name: name.into(),
                kind: NameKind::CommonName,
                groups: Vec::new(),
            }),
            caller_address(),
            Arc::new(Rules::default()),
        );
        let limited = caller_of.limited(&generation.limiter, &generation.limits.rates);
        let session = Session::fixed(limited);
        drop(generation);
        tokio::spawn(async move { server.serve(stream, multiplexed, session).await })
    }

    /// Shakes hands and serves the connection.
    ///
    /// # Errors
    ///
    /// When the handshake fails.
    pub async fn over_tls(&self) -> Result<CallerEnd, Failure> {
        let name = ServerName::try_from("localhost")?;
        let client = ClientConnection::new(Arc::clone(&self.client), name)?;
        let (caller, stream) = connection::encrypted(client);
        let generation = Arc::clone(&self.generations.current());
        let stream = TlsAcceptor::from(Arc::clone(&generation.tls))
            .accept(stream)
            .await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.to_vec();
        let admitted = generation
            .admit(&chain, caller_address())
            .map_err(|refusal| refusal.detail)?;
        let generations = Arc::clone(&self.generations);
        let session = Session::new(chain, admitted, generations);
        let server = Arc::clone(&self.server);
        tokio::spawn(async move { server.serve(stream, false, session).await });
        Ok(caller)
    }

    /// For each change: applies it, and sends one request that is prepared.
    pub async fn change_and_send(
        &self,
        caller: &CallerEnd,
        changes: impl Iterator<Item = Deployment>,
    ) {
        for change in changes {
            fixture::apply(&self.store, self.scope, change);
            caller.send(1).await;
        }
    }
}

fn caller_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 40_000).into()
}

/// What a client reads in an answer that was encrypted for it.
///
/// # Errors
///
/// When it isn't the client's next answer.
pub fn decrypted(client: &mut ClientConnection, answer: &[u8]) -> Result<String, Failure> {
    let mut rest = answer;
    while !rest.is_empty() {
        client.read_tls(&mut rest)?;
        client.process_new_packets()?;
    }
    let mut text = vec![0; answer.len()];
    let read = client.reader().read(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..read]).into_owned())
}

fn certificates() -> Result<(Generation, ClientConfig), Failure> {
    let folder = tempfile::tempdir()?;
    let files = pki::write_demo(&folder.path().join("certificates"))?;
    let server = TlsFiles {
        cert: files.server.certificate.clone(),
        key: files.server.key.clone(),
        client_ca: vec![files.ca.clone()],
        ..TlsFiles::default()
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.ca)?)?;
    let chain =
        CertificateDer::pem_file_iter(&files.client.certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&files.client.key)?;
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = server.load(&TlsSettings::default())?;
    let generation = Generation {
        number: 1,
        tls: tls.server,
        verifier: tls.verifier,
        expiries: tls.expiries,
        identity: IdentityRules::default(),
        rules: Arc::new(Rules::default()),
        limits: Arc::default(),
        limiter: Arc::default(),
    };
    Ok((generation, client))
}
