//! Mutual TLS 1.3: PEM files → server configuration, and who a verified client is.
//!
//! No resumption and no 0-RTT: each would let a client in without its certificate being verified now.

pub mod deny_list;
mod identity;
mod refusal;
mod remembered;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use tracing::warn;

pub use identity::{Identity, IdentityError};
pub use refusal::Refusal;
use remembered::Remembered;

/// Where the server's certificate, its key and the CAs of its clients are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain, leaf first.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Bundles of the CAs whose clients are let in; at least one.
    pub client_ca: Vec<PathBuf>,
}

/// Files that no server can be made of.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, unreadable or not PEM.
    #[error("failed to read the {what} from {path:?}: {source}")]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file is readable and has none of what it should have.
    #[error("failed to find a {what} in {path:?}: it has no such PEM section")]
    Empty {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A CA certificate can't be used.
    #[error("failed to use certificate {position} of the client CA bundle {path:?}: {source}")]
    Authority {
        /// The bundle.
        path: PathBuf,
        /// The certificate's position in it, from 1.
        position: usize,
        /// Why.
        source: rustls::Error,
    },
    /// The certificate and the key don't belong together, or one of them can't be used.
    #[error("failed to use the server certificate {cert:?} with the key {key:?}: {why}")]
    Pair {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// The verifier can't be made.
    #[error("failed to set up the verification of client certificates: {0}")]
    Verifier(String),
}

impl TlsFiles {
    /// Reads the files and makes a server configuration of them.
    ///
    /// # Errors
    ///
    /// Says which file is missing, unreadable or doesn't fit.
    fn load_both(&self) -> Result<(Arc<ServerConfig>, Arc<Verifier>), TlsError> {
        let Self {
            cert,
            key,
            client_ca,
        } = self;
        let mut roots = RootCertStore::empty();
        for path in client_ca {
            for (certificate, position) in
                certificates("client CA bundle", path)?.into_iter().zip(1..)
            {
                roots
                    .add(certificate)
                    .map_err(|source| TlsError::Authority {
                        path: path.clone(),
                        position,
                        source,
                    })?;
            }
        }
        let chain = certificates("server certificate", cert)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|source| match source {
            rustls::pki_types::pem::Error::NoItemsFound => TlsError::Empty {
                what: "private key",
                path: key.clone(),
            },
            source => TlsError::Read {
                what: "private key",
                path: key.clone(),
                source,
            },
        })?;
        let pair = |error: rustls::Error| TlsError::Pair {
            cert: cert.clone(),
            key: key.clone(),
            why: match error {
                rustls::Error::InconsistentKeys(_) => "the key isn't the certificate's".into(),
                other => other.to_string(),
            },
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|e| TlsError::Verifier(e.to_string()))?;
        let verifier: Arc<dyn rustls::server::danger::ClientCertVerifier> =
            Arc::new(Remembered::new(verifier));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(pair)?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(chain, private)
            .map_err(pair)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        warn_of_open_key(key);
        Ok((Arc::new(config), Arc::new(Verifier(verifier))))
    }
}

// SHIM
#[derive(Debug)]
pub struct Verifier(Arc<dyn rustls::server::danger::ClientCertVerifier>);
pub struct Verdict {
    pub valid_until: std::time::SystemTime,
}
impl Verifier {
    pub fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: std::time::SystemTime,
    ) -> Result<Verdict, rustls::Error> {
        let now = rustls::pki_types::UnixTime::since_unix_epoch(
            now.duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default(),
        );
        self.0.verify_client_cert(&chain[0], &chain[1..], now)?;
        Ok(Verdict {
            valid_until: std::time::SystemTime::now() + std::time::Duration::from_secs(1 << 33),
        })
    }
}
pub struct TlsMaterial(TlsFiles, Vec<u8>);
impl TlsMaterial {
    pub fn hash(&self, c: &mut ::aws_lc_rs::digest::Context) {
        c.update(&self.1)
    }
    pub fn build(&self) -> Result<(Arc<ServerConfig>, Arc<Verifier>), TlsError> {
        self.0.load_both()
    }
}
impl TlsFiles {
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key]
            .into_iter()
            .chain(&self.client_ca)
            .map(PathBuf::as_path)
    }
    pub fn read(&self) -> Result<TlsMaterial, TlsError> {
        self.load()?;
        let mut all = Vec::new();
        for f in self.files() {
            all.extend(std::fs::read(f).unwrap_or_default());
        }
        Ok(TlsMaterial(self.clone(), all))
    }
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        Ok(self.load_both()?.0)
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() {
        return Err(TlsError::Empty {
            what,
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn warn_of_open_key(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // A Secret volume is 0644 by default: nothing to refuse, and worth a word.
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o004 != 0 {
        warn!(name: "tls.key.exposed", path = %path.display(), "everyone on this machine can read the private key: chmod 0600 it, or set the volume's defaultMode to 0440");
    }
}
