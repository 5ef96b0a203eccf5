//! A client of the API: HTTP/1.1 over mutual TLS 1.3, a connection a request.

mod address;
mod error;
mod files;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use self::{
    address::{NotAnAddress, ServerAddress},
    error::ClientError,
    files::{ClientFiles, FilesError},
};

/// No answer is longer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Asks one server.
#[derive(Clone)]
pub struct Client {
    server: ServerAddress,
    tls: Arc<ClientConfig>,
    patience: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, whole.
    pub body: Bytes,
}

impl Client {
    /// A client of `server` that waits `patience` for each answer, connecting included. Nothing is sent yet.
    ///
    /// # Errors
    /// Says which of the files is missing or can't be used.
    pub fn new(
        server: ServerAddress,
        files: &ClientFiles,
        patience: Duration,
    ) -> Result<Self, FilesError> {
        Ok(Self {
            server,
            tls: Arc::new(files.load()?),
            patience,
        })
    }

    /// `GET` of a path, on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer in time: the server can't be reached, isn't trusted, or doesn't let this client in.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.patience;
        let stream = self.connect(deadline).await?;
        self.within(deadline, "answered", self.ask(stream, path))
            .await
    }

    /// A connection after its handshake, whose verdict on the client comes with the first bytes read.
    async fn connect(&self, deadline: Instant) -> Result<TlsStream<TcpStream>, ClientError> {
        let server = &self.server;
        let name = (server.host(), server.port());
        let found = self
            .within(deadline, "been found by its name", async {
                lookup_host(name).await.map_err(|source| ClientError::Name {
                    server: server.clone(),
                    source,
                })
            })
            .await?;
        let tcp = self.reach(found.collect(), deadline).await?;
        // The request is small, and is waited for.
        let _ = tcp.set_nodelay(true);
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        self.within(deadline, "shaken hands", async {
            connector
                .connect(server.name(), tcp)
                .await
                .map_err(|error| ClientError::of(server, &error))
        })
        .await
    }

    /// The first of the addresses that takes a connection; each has its share of the time that is left.
    async fn reach(
        &self,
        addresses: Vec<SocketAddr>,
        deadline: Instant,
    ) -> Result<TcpStream, ClientError> {
        let mut failed = None;
        let mut untried = addresses.len() as u32;
        for address in addresses {
            let now = Instant::now();
            let until = now + deadline.saturating_duration_since(now) / untried;
            untried -= 1;
            match timeout_at(until, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(source)) => failed = Some(source),
                Err(_elapsed) => {}
            }
        }
        Err(match failed {
            Some(source) => ClientError::Connect {
                server: self.server.clone(),
                source,
            },
            None => self.late("taken a connection"),
        })
    }

    async fn ask(&self, stream: TlsStream<TcpStream>, path: &str) -> Result<Answer, ClientError> {
        let failed = |error: hyper::Error| ClientError::of(&self.server, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let request = Request::get(path)
            .header(header::HOST, self.server.authority())
            .header(
                header::USER_AGENT,
                concat!("headcount/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::<Bytes>::new())
            .map_err(|error| ClientError::of(&self.server, &error))?;
        // Owns the sender: with it the connection ends.
        let asked = async move {
            let (parts, body) = sender
                .send_request(request)
                .await
                .map_err(failed)?
                .into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await;
            Ok(Answer {
                status: parts.status,
                body: body
                    .map_err(|error| ClientError::of(&self.server, &*error))?
                    .to_bytes(),
            })
        };
        // The connection's own error says more than that of the request which it took along.
        let (answer, ended) = tokio::join!(asked, connection);
        match (answer, ended) {
            (Err(_), Err(ended)) => Err(failed(ended)),
            (answer, _) => answer,
        }
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        what: &'static str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_elapsed| Err(self.late(what)))
    }

    fn late(&self, what: &'static str) -> ClientError {
        ClientError::Late {
            server: self.server.clone(),
            what,
            patience: self.patience,
        }
    }
}
