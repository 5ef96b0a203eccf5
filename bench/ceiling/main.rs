//! The ceiling: the libraries that headcount serves with, and constant bodies. What any server that is made of them can reach.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, version::TLS13};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const COUNT: &[u8] = br#"{"namespace":"team-004","name":"identity-api-000004","replicaCount":4}"#;

/// Answers every request with a constant body over mutual TLS 1.3.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long)]
    tls_cert: PathBuf,
    #[arg(long)]
    tls_key: PathBuf,
    #[arg(long)]
    client_ca: PathBuf,
    /// Size of the answer to a path that ends with /deployments; all others are one count
    #[arg(long, default_value_t = 0)]
    list_bytes: usize,
}

/// The two answers.
#[derive(Clone)]
struct Bodies {
    list: Bytes,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let tls = TlsAcceptor::from(Arc::new(configuration(&arguments)?));
    let bodies = Bodies {
        list: Bytes::from(vec![b' '; arguments.list_bytes]),
    };
    let listener = TcpListener::bind(arguments.listen).await?;
    writeln!(std::io::stderr(), "listening at {}", listener.local_addr()?)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(serve(tcp, tls.clone(), bodies.clone()));
    }
}

/// As headcount's: TLS 1.3 alone, a client certificate, full handshakes only.
fn configuration(arguments: &Arguments) -> Result<ServerConfig, Box<dyn Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&arguments.client_ca)? {
        roots.add(certificate?)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let chain =
        CertificateDer::pem_file_iter(&arguments.tls_cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&arguments.tls_key)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn serve(tcp: TcpStream, tls: TlsAcceptor, bodies: Bodies) {
    let _ = tcp.set_nodelay(true);
    let Ok(mut stream) = tls.accept(tcp).await else {
        return;
    };
    stream.get_mut().1.set_buffer_limit(Some(32 * 1024));
    let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let body = if request.uri().path().ends_with("/deployments") {
            bodies.list.clone()
        } else {
            Bytes::from_static(COUNT)
        };
        let mut response = Response::new(Full::new(body));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        async move { Ok::<_, Infallible>(response) }
    });
    // A client that goes away is no failure of the ceiling.
    if multiplexed {
        let _ = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(256)
            .serve_connection(io, service)
            .await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}
