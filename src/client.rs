//! A client of the API: HTTP/1.1 over mutual TLS 1.3.

mod address;
pub mod contexts;
mod error;
mod events;
mod files;
mod session;
mod stream;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use self::{
    address::{NotAnAddress, ServerAddress},
    error::{ANSWERED, ClientError},
    events::{Event, Events, TooLong},
    files::{ClientFiles, FilesError},
    session::{Answer, Call, Session},
    stream::{Followed, Stream},
};

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
    /// As [`Session::send`].
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.session()
            .send(&Call::get(path.to_owned()), self.patience)
            .await
    }

    /// Calls that share a connection. Nothing is sent yet.
    #[must_use]
    pub fn session(&self) -> Session<'_> {
        Session {
            client: self,
            open: None,
        }
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
