//! PEM files → server configuration, in two steps: all bytes are read once, and then judged together. What was read can be compared
//! with what was read before, and nothing is made of a mixture of old and new files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use ::aws_lc_rs::digest;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime, pem, pem::PemObject as _},
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use tracing::warn;
use zeroize::Zeroizing;

use super::{
    CipherSuite, Group,
    checks::Checks,
    deny_list::{DenyList, DenyListError},
    expiry::{Expiring, Expiry},
    facts::Facts,
    revocation::List,
    verifier::{Root, Verifier},
};

/// No file is longer, in bytes: the largest revocation lists of public CAs have a few million bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Where the server's certificate and its key are, the CAs of its clients, and what says who is let in no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain, leaf first.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Bundles of the CAs whose clients are let in; at least one.
    pub client_ca: Vec<PathBuf>,
    /// Revocation lists of the CAs and of intermediates, PEM or DER.
    pub client_crl: Vec<PathBuf>,
    /// The deny list (YAML).
    pub deny_list: Option<PathBuf>,
}

/// What handshakes are made with and clients are judged by, besides the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The checks of clients' certificates.
    pub checks: Checks,
    /// The cipher suites; at least one.
    pub cipher_suites: Vec<CipherSuite>,
    /// The key-exchange groups; at least one.
    pub groups: Vec<Group>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            checks: Checks::default(),
            cipher_suites: CipherSuite::all(),
            groups: Group::usual(),
        }
    }
}

/// The contents of all files, read once.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsMaterial {
    cert: Content,
    key: Content,
    client_ca: Vec<Content>,
    client_crl: Vec<Content>,
    deny_list: Option<Content>,
}

/// One file's; overwritten when it is dropped, since it may be a key.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

/// What serving needs of one generation of files.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// What handshakes are made with; it verifies clients by `verifier`.
    pub server: Arc<ServerConfig>,
    /// Who is let in, for judging open connections anew.
    pub verifier: Arc<Verifier>,
    /// When what is in the files expires.
    pub expiries: Vec<Expiry>,
}

/// Files that no server can be made of.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or unreadable.
    #[error("failed to read the {what} from {path:?}: {source}")]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is readable and isn't PEM.
    #[error("failed to read the {what} from {path:?}: {why}")]
    Pem {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
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
    #[error("failed to use certificate {position} of the client CA bundle {path:?}: {why}")]
    Authority {
        /// The bundle.
        path: PathBuf,
        /// The certificate's position in it, from 1.
        position: usize,
        /// Why.
        why: String,
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
    /// A file of revocation lists has none that can be used.
    #[error("failed to use the revocation list {path:?}: {why}")]
    Crl {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The deny list isn't one.
    #[error("failed to use the deny list {path:?}: {source}")]
    DenyList {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DenyListError,
    },
}

impl TlsFiles {
    /// Where the files are.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let lists = self.client_ca.iter().chain(&self.client_crl);
        let all = [&self.cert, &self.key].into_iter().chain(lists);
        all.chain(&self.deny_list).map(PathBuf::as_path)
    }

    /// Reads all files, each once.
    ///
    /// # Errors
    /// Says which file is missing or unreadable.
    pub fn read(&self) -> Result<TlsMaterial, TlsError> {
        let Self {
            cert,
            key,
            client_ca,
            client_crl,
            deny_list,
        } = self;
        Ok(TlsMaterial {
            cert: Content::read("server certificate", cert)?,
            key: Content::read("private key", key)?,
            client_ca: client_ca
                .iter()
                .map(|path| Content::read("client CA bundle", path))
                .collect::<Result<_, _>>()?,
            client_crl: client_crl
                .iter()
                .map(|path| Content::read("revocation list", path))
                .collect::<Result<_, _>>()?,
            deny_list: deny_list
                .as_ref()
                .map(|path| Content::read("deny list", path))
                .transpose()?,
        })
    }

    /// Reads the files and makes a server configuration of them.
    ///
    /// # Errors
    /// Says which file is missing, unreadable or doesn't fit.
    pub fn load(&self, settings: &TlsSettings) -> Result<TlsConfig, TlsError> {
        self.read()?.build(settings)
    }
}

impl TlsMaterial {
    /// Adds all contents, and where they are, to a hash: two materials of the same hash are the same.
    pub fn add_to(&self, context: &mut digest::Context) {
        let Self {
            cert,
            key,
            client_ca,
            client_crl,
            deny_list,
        } = self;
        for content in [cert, key]
            .into_iter()
            .chain(client_ca)
            .chain(client_crl)
            .chain(deny_list)
        {
            for part in [content.path.as_os_str().as_encoded_bytes(), &content.bytes] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
    }

    /// Makes a server configuration of it. No file is read, and nothing is remembered of earlier ones.
    ///
    /// # Errors
    /// Says which file's content doesn't fit.
    pub fn build(&self, settings: &TlsSettings) -> Result<TlsConfig, TlsError> {
        let provider = CryptoProvider {
            cipher_suites: settings
                .cipher_suites
                .iter()
                .map(CipherSuite::implementation)
                .collect(),
            kx_groups: settings.groups.iter().map(Group::implementation).collect(),
            ..aws_lc_rs::default_provider()
        };
        let verifier = Arc::new(Verifier::new(
            self.roots()?,
            self.lists()?,
            self.deny_list()?,
            settings.checks.clone(),
            provider.signature_verification_algorithms,
        ));
        let chain = self.server_certificates()?;
        let mut expiries = verifier.expiries();
        expiries.extend(chain.first().and_then(|leaf| {
            let facts = Facts::read(leaf).ok()?;
            Some(facts.expiry(Expiring::Server))
        }));
        let key = crate::pem::private_key(&self.key.bytes)
            .map_err(|source| self.key.no_pem("private key", source))?;
        let pair = |error: rustls::Error| TlsError::Pair {
            cert: self.cert.path.clone(),
            key: self.key.path.clone(),
            why: match error {
                rustls::Error::InconsistentKeys(_) => "the key isn't the certificate's".into(),
                other => other.to_string(),
            },
        };
        // Lent: who is given a key to keep drops it as it is.
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(pair)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(pair)?;
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(pair)?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        verifier.warn(UnixTime::now());
        warn_of_open_key(&self.key.path);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsConfig {
            server: Arc::new(server),
            verifier,
            expiries,
        })
    }

    /// The chain in the server's certificate file, leaf first; at least one.
    pub(crate) fn server_certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.cert.certificates("server certificate")
    }

    fn roots(&self) -> Result<Vec<Root>, TlsError> {
        let mut roots = Vec::new();
        for bundle in &self.client_ca {
            for (certificate, position) in bundle
                .certificates("client CA bundle")?
                .into_iter()
                .zip(1..)
            {
                let root =
                    Root::read(&bundle.path, certificate).map_err(|why| TlsError::Authority {
                        path: bundle.path.clone(),
                        position,
                        why,
                    })?;
                roots.push(root);
            }
        }
        Ok(roots)
    }

    fn lists(&self) -> Result<Vec<List>, TlsError> {
        let mut lists = Vec::new();
        for Content { path, bytes } in &self.client_crl {
            let read = List::read(path, bytes).map_err(|why| TlsError::Crl {
                path: path.clone(),
                why,
            })?;
            lists.extend(read);
        }
        Ok(lists)
    }

    fn deny_list(&self) -> Result<DenyList, TlsError> {
        let Some(Content { path, bytes }) = &self.deny_list else {
            return Ok(DenyList::default());
        };
        let text = str::from_utf8(bytes).map_err(|_| DenyListError {
            line: None,
            why: "it isn't UTF-8".into(),
        });
        text.and_then(DenyList::parse)
            .map_err(|source| TlsError::DenyList {
                path: path.clone(),
                source,
            })
    }
}

impl Content {
    fn read(what: &'static str, path: &Path) -> Result<Self, TlsError> {
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(path)
            .and_then(|file| {
                // Room for all of it at once: a buffer that grows leaves copies behind.
                let length = file.metadata()?.len().min(LONGEST);
                bytes.reserve_exact(length as usize + 1);
                file.take(LONGEST + 1).read_to_end(&mut bytes)
            })
            .and_then(|read| {
                if read as u64 > LONGEST {
                    return Err(io::Error::other("it is longer than 64 MiB"));
                }
                Ok(())
            })
            .map_err(|source| TlsError::Read {
                what,
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
        })
    }

    /// The certificates in it, at least one.
    fn certificates(&self, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found = CertificateDer::pem_slice_iter(&self.bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| self.no_pem(what, source))?;
        if found.is_empty() {
            return Err(self.no_pem(what, pem::Error::NoItemsFound));
        }
        Ok(found)
    }

    fn no_pem(&self, what: &'static str, source: pem::Error) -> TlsError {
        let path = self.path.clone();
        match source {
            pem::Error::NoItemsFound => TlsError::Empty { what, path },
            error => TlsError::Pem {
                what,
                path,
                why: crate::pem::fault(&error),
            },
        }
    }
}

fn warn_of_open_key(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // A Secret volume is 0644 by default: nothing to refuse, and worth a word.
    let mode = std::fs::metadata(path).map_or(0, |m| m.permissions().mode());
    if mode & 0o004 != 0 {
        warn!(name: "tls.key.exposed", path = %path.display(), "everyone on this machine can read the private key: chmod 0600 it, or set the volume's defaultMode to 0440");
    }
}

#[cfg(test)]
mod tests;
