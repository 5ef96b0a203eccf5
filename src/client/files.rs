//! The files of a client: the CAs that it trusts, its certificate and its key.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use zeroize::Zeroizing;

use crate::{
    pem,
    pki::{CertificateError, read_certificates},
};

/// No key is longer, in bytes.
const LONGEST_KEY: u64 = 1024 * 1024;

/// Files that no client can be made of.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Certificates are missing, unreadable or damaged.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The key is missing, unreadable or damaged.
    #[error("failed to read the private key from {}: {why}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A CA can't be used.
    #[error("failed to use {} as the server's CA: {why}", path.display())]
    Ca {
        /// The bundle.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The certificate and the key don't belong together, or one of them can't be used.
    #[error("failed to use the client certificate {} with the key {}: {why}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
}

/// Whom a client trusts and what it shows, as PEM files.
#[derive(Debug, Clone)]
pub struct ClientFiles {
    /// The CAs that the server's certificate may come from.
    pub ca: PathBuf,
    /// The client's certificate chain, leaf first.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

impl ClientFiles {
    /// Reads the files: what handshakes are made with.
    pub(super) fn load(&self) -> Result<ClientConfig, FilesError> {
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.ca)? {
            roots.add(certificate).map_err(|error| FilesError::Ca {
                path: self.ca.clone(),
                why: error.to_string(),
            })?;
        }
        let pair = |error: rustls::Error| FilesError::Pair {
            cert: self.cert.clone(),
            key: self.key.clone(),
            why: match error {
                rustls::Error::InconsistentKeys(_) => "the key isn't the certificate's".into(),
                other => other.to_string(),
            },
        };
        let chain = read_certificates(&self.cert)?;
        let key = private_key(&self.key)?;
        // Lent: who is given a key to keep drops it as it is.
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(pair)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(pair)?;
        let own: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .map_err(pair)?
                .with_root_certificates(roots)
                .with_client_cert_resolver(own);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn private_key(path: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, FilesError> {
    let unusable = |why| FilesError::Key {
        path: path.to_owned(),
        why,
    };
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| {
            // Room for all of it at once: a buffer that grows leaves copies behind.
            let length = file.metadata()?.len().min(LONGEST_KEY);
            text.reserve_exact(length as usize + 1);
            file.take(LONGEST_KEY + 1).read_to_end(&mut text)
        })
        .and_then(|read| match read as u64 > LONGEST_KEY {
            true => Err(io::Error::other("it is longer than 1 MiB")),
            false => Ok(()),
        })
        .map_err(|error| unusable(error.to_string()))?;
    pem::private_key(&text).map_err(|error| unusable(pem::fault(&error)))
}
