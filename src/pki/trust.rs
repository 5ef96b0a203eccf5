//! Whether a chain leads to a CA that is trusted: a server's as rustls sees it, a client's as `headcount serve` judges it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
};

use super::{
    CertificateError,
    certificate::{content, parse, read_certificates, read_file},
    revocation::list_der,
};
use crate::tls::{Checks, List, Root, Verifier, deny_list::DenyList, in_words};

/// CAs that are trusted, and their revocation lists.
#[derive(Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    clients: Verifier,
}

impl Trust {
    /// Reads a bundle of CAs and any number of revocation lists, each PEM or DER.
    ///
    /// # Errors
    /// When a file can't be read or isn't what it should be.
    pub fn load(bundle: &Path, lists: &[PathBuf]) -> Result<Self, CertificateError> {
        let (mut roots, mut clients_roots) = (RootCertStore::empty(), Vec::new());
        for certificate in read_certificates(bundle)? {
            let untrusted =
                |why: String| content(bundle)(format!("it can't be trusted as a CA ({why})"));
            clients_roots.push(Root::read(bundle, certificate.clone()).map_err(untrusted)?);
            roots
                .add(certificate)
                .map_err(|error| untrusted(error.to_string()))?;
        }
        let (mut ders, mut clients_lists) = (Vec::new(), Vec::new());
        for path in lists {
            let bytes = read_file(path)?;
            let der = list_der(&bytes).map_err(|error| content(path)(error.to_string()))?;
            ders.push(der);
            clients_lists.extend(List::read(path, &bytes).map_err(content(path))?);
        }
        Ok(Self {
            roots: Arc::new(roots),
            lists: ders,
            clients: Verifier::new(
                clients_roots,
                clients_lists,
                DenyList::default(),
                Checks::default(),
                aws_lc_rs::default_provider().signature_verification_algorithms,
            ),
        })
    }

    /// Judges a chain, leaf first: as a server's of this name if there is one, else as a client's. A CA without a list is
    /// taken at its word; a list that has expired is not. The error is a sentence's second half.
    ///
    /// # Errors
    /// Says what is wrong with the chain.
    pub fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        server: Option<&ServerName<'_>>,
    ) -> Result<(), String> {
        let (leaf, others) = chain.split_first().ok_or("there is no certificate")?;
        if parse(leaf).is_ok_and(|leaf| leaf.is_ca()) {
            return Err(
                "the first certificate is a CA's own, and only what CAs issue is verified".into(),
            );
        }
        let now = UnixTime::now();
        let verdict = match server {
            Some(name) => {
                let provider = Arc::new(aws_lc_rs::default_provider());
                WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider)
                    .with_crls(self.lists.iter().cloned())
                    .allow_unknown_revocation_status()
                    .enforce_revocation_expiration()
                    .build()
                    .map_err(|error| error.to_string())?
                    .verify_server_cert(leaf, others, name, &[], now)
                    .map(|_| ())
            }
            None => self.clients.judge(chain, now).map(|_| ()),
        };
        verdict.map_err(|error| {
            let words = in_words(&error);
            let words = words.strip_prefix("invalid peer certificate: ");
            words.map_or_else(|| error.to_string(), str::to_owned)
        })
    }
}
