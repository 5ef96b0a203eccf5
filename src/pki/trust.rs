//! Whether a chain leads to a CA that is trusted, as rustls sees it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};

use super::{
    CertificateError,
    certificate::{content, parse, read_certificates, read_file},
    revocation::list_der,
};

/// CAs that are trusted, and their revocation lists.
#[derive(Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Trust {
    /// Reads a bundle of CAs and any number of revocation lists, each PEM or DER.
    ///
    /// # Errors
    /// When a file can't be read or isn't what it should be.
    pub fn load(bundle: &Path, lists: &[PathBuf]) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(bundle)? {
            roots.add(certificate).map_err(|error| {
                content(bundle)(format!("it can't be trusted as a CA ({error})"))
            })?;
        }
        let lists = lists
            .iter()
            .map(|path| {
                list_der(&read_file(path)?).map_err(|error| content(path)(error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            roots: Arc::new(roots),
            lists,
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
        let roots = Arc::clone(&self.roots);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let now = UnixTime::now();
        let verdict = match server {
            Some(name) => WebPkiServerVerifier::builder_with_provider(roots, provider)
                .with_crls(self.lists.iter().cloned())
                .allow_unknown_revocation_status()
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| error.to_string())?
                .verify_server_cert(leaf, others, name, &[], now)
                .map(|_| ()),
            None => WebPkiClientVerifier::builder_with_provider(roots, provider)
                .with_crls(self.lists.iter().cloned())
                .allow_unknown_revocation_status()
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| error.to_string())?
                .verify_client_cert(leaf, others, now)
                .map(|_| ()),
        };
        verdict.map_err(|error| match error {
            rustls::Error::InvalidCertificate(why) => why.to_string(),
            other => other.to_string(),
        })
    }
}
