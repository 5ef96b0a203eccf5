//! A client that opens a connection for each request, so that every test sees the handshake's outcome too.

use std::{net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::documented;

/// Sends requests to one server with one certificate.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    /// What its kernel takes of an answer that isn't read, in bytes; `None`: as much as it likes, which is megabytes.
    receives: Option<u32>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The sentence of an error answer, whose form is checked on the way.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let object = json.as_object().unwrap();
        assert_eq!(object.len(), 1, "{json}");
        object["error"].as_str().unwrap().to_owned()
    }
}

/// Why there is no answer.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whether a request met the server's goodbye: it wasn't sent any more, or it comes after the last one that the server looked at (RFC 9113,
/// 6.8). Any client sends it again on another connection.
pub(crate) fn met_a_goodbye(failure: &Failure) -> bool {
    let unsent = failure
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_canceled);
    unsent || format!("{failure:?}").contains("GoAway(b\"\", NO_ERROR, Remote)")
}

/// An open connection.
pub(crate) struct Connection {
    sender: Sender,
    /// What becomes of it.
    pub(crate) ended: JoinHandle<hyper::Result<()>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Waits until it takes a request; whether it does, and hasn't ended.
    pub(crate) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request on it, once the one before it is over.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        self.ready().await;
        let (method, uri) = (request.method().clone(), request.uri());
        let path = uri
            .path_and_query()
            .map_or(String::new(), ToString::to_string);
        let response = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await?,
            Sender::Http2(sender) => sender.send_request(request).await?,
        };
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        };
        documented::check(&method, &path, &answer);
        Ok(answer)
    }
}

impl Client {
    /// A client that trusts `ca` and shows the certificate of `pair` (chain and key in PEM), if there is one.
    pub(crate) fn new(address: SocketAddr, ca: &str, pair: Option<(&str, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match pair {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                    .map(Result::unwrap)
                    .collect();
                builder
                    .with_client_auth_cert(
                        chain,
                        PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                    )
                    .unwrap()
            }
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            address,
            name: ServerName::IpAddress(address.ip().into()),
            tls: Arc::new(tls),
            receives: None,
        }
    }

    /// The same client with a small buffer: what it doesn't read waits at the server.
    pub(crate) fn reading_slowly(&self) -> Self {
        Self {
            receives: Some(16 * 1024),
            ..self.clone()
        }
    }

    /// The same client for a server whose certificate has this name, and not its address.
    pub(crate) fn naming(self, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self { name, ..self }
    }

    /// The same with files.
    pub(crate) fn with_files(address: SocketAddr, ca: &Path, chain: &Path, key: &Path) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        Self::new(address, &read(ca), Some((&read(chain), &read(key))))
    }

    /// The same client with other ALPN protocols; `h2` speaks HTTP/2.
    pub(crate) fn alpn(&self, protocols: &[&str]) -> Self {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Self {
            tls: Arc::new(tls),
            ..self.clone()
        }
    }

    /// What it shakes hands with.
    pub(crate) fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// A connection after the handshake (which the server may still refuse: its verdict comes with the first bytes read).
    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(bytes) = self.receives {
            socket.set_recv_buffer_size(bytes)?;
        }
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), tcp)
            .await
    }

    /// A connection that HTTP is spoken on.
    pub(crate) async fn open(&self) -> Result<Connection, Failure> {
        let stream = self.connect().await?;
        let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        Ok(if multiplexed {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            Connection {
                sender: Sender::Http2(sender),
                ended: tokio::spawn(connection),
            }
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            Connection {
                sender: Sender::Http1(sender),
                ended: tokio::spawn(connection),
            }
        })
    }

    /// Sends a request on a new connection.
    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        self.open().await?.send(request).await
    }

    /// A request to a path under `/api/v1`, in the form that this client's protocol has.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Request<Full<Bytes>> {
        // HTTP/2 takes scheme and authority from the URI, HTTP/1.1 the Host from the header.
        let multiplexed = self.tls.alpn_protocols == [b"h2"];
        let uri = if multiplexed {
            format!("https://{}/api/v1{path}", self.address)
        } else {
            format!("/api/v1{path}")
        };
        let mut request = Request::builder().method(method).uri(uri);
        if !multiplexed {
            request = request.header(header::HOST, self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::from(body.to_owned())).unwrap()
    }

    /// Sends a request that is answered.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_send(self.request(method, path, headers, body))
            .await
            .unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// `GET` of a path under `/api/v1`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// The count of one Deployment as the API tells it, or the status it answers instead.
    pub(crate) async fn count(&self, namespace: &str, name: &str) -> Result<i64, StatusCode> {
        let answer = self
            .get(&format!(
                "/namespaces/{namespace}/deployments/{name}/replicas"
            ))
            .await;
        if answer.status == StatusCode::OK {
            Ok(answer.json()["replicaCount"].as_i64().unwrap())
        } else {
            Err(answer.status)
        }
    }

    /// `PUT` of one count, with further headers.
    pub(crate) async fn scale(
        &self,
        namespace: &str,
        name: &str,
        count: i64,
        headers: &[(&str, &str)],
    ) -> Answer {
        let path = format!("/namespaces/{namespace}/deployments/{name}/replicas");
        let headers: Vec<_> = [("content-type", "application/json")]
            .iter()
            .chain(headers)
            .copied()
            .collect();
        self.send(
            Method::PUT,
            &path,
            &headers,
            &format!("{{\"replicaCount\":{count}}}"),
        )
        .await
    }
}
