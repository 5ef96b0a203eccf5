//! The certificates that a server presents in a TLS 1.3 handshake, taken as they come: nothing is decided by them here.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs as _},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};

/// How long connecting and the handshake may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why no certificates were seen.
#[derive(Debug, thiserror::Error)]
pub enum PresentedError {
    /// It isn't HOST:PORT.
    #[error("{0:?} is neither a file nor HOST:PORT")]
    Target(String),
    /// The host has no address, or nobody answers there.
    #[error("failed to connect to {target}: {source}")]
    Connect {
        /// HOST:PORT.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// The handshake ended before the server's certificate came.
    #[error("failed to get a certificate from {target}: {why}")]
    Handshake {
        /// HOST:PORT.
        target: String,
        /// Why.
        why: String,
    },
}

/// What a server presented.
#[derive(Debug)]
pub struct Presented {
    /// Its chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The name that it was asked for.
    pub name: ServerName<'static>,
    /// How the handshake went after that; an error when the server couldn't show that the key is its own, for example.
    pub handshake: Result<(), String>,
}

/// Connects to `HOST:PORT`, without a client certificate, and takes the chain that comes; 10 s at most.
///
/// # Errors
/// When it can't be reached, or no certificate comes, for example because it doesn't speak TLS 1.3.
pub fn presented_by(target: &str) -> Result<Presented, PresentedError> {
    let wrong = || PresentedError::Target(target.to_owned());
    let (host, port) = target.rsplit_once(':').ok_or_else(wrong)?;
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connect(host, port, deadline).map_err(|source| PresentedError::Connect {
        target: target.to_owned(),
        source,
    })?;
    let failed = |why| PresentedError::Handshake {
        target: target.to_owned(),
        why,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let seen = Arc::new(Seen {
        provider: Arc::clone(&provider),
        chain: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name.clone())
        .map_err(|error| failed(error.to_string()))?;
    let handshake = shake_hands(&mut connection, &mut stream, deadline);
    let chain = seen
        .chain
        .lock()
        .map(|mut chain| std::mem::take(&mut *chain));
    match (chain.unwrap_or_default(), handshake) {
        (chain, Err(why)) if chain.is_empty() => Err(failed(why)),
        (chain, handshake) => Ok(Presented {
            chain,
            name,
            handshake,
        }),
    }
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A time-out of zero would mean none.
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    }
    Ok(left)
}

fn shake_hands(
    connection: &mut ClientConnection,
    stream: &mut TcpStream,
    deadline: Instant,
) -> Result<(), String> {
    let words = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    };
    loop {
        while connection.wants_write() {
            let wait = left(deadline).map_err(words)?;
            stream.set_write_timeout(Some(wait)).map_err(words)?;
            connection.write_tls(stream).map_err(words)?;
        }
        if !connection.is_handshaking() {
            return Ok(());
        }
        let wait = left(deadline).map_err(words)?;
        stream.set_read_timeout(Some(wait)).map_err(words)?;
        if connection.read_tls(stream).map_err(words)? == 0 {
            return Err("the server closed the connection".into());
        }
        connection
            .process_new_packets()
            .map_err(|error| match error {
                TlsError::AlertReceived(alert) => {
                    format!("the server refused with the alert {alert:?}")
                }
                TlsError::InvalidMessage(_) => "it doesn't speak TLS".into(),
                TlsError::DecryptError | TlsError::InvalidCertificate(_) => {
                    "the server couldn't show that the certificate's key is its own".into()
                }
                other => other.to_string(),
            })?;
    }
}

/// Keeps the chain and takes every one; that the server has the leaf's key is verified all the same.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if let Ok(mut chain) = self.chain.lock() {
            *chain = std::iter::once(end_entity)
                .chain(intermediates)
                .map(|certificate| certificate.clone().into_owned())
                .collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
