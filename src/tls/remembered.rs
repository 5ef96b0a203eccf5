//! Chains that were verified before: verifying one again is an eighth of a handshake's cost.
//!
//! What a client sends is judged by its bytes alone, so the same bytes are judged the same while their certificates are
//! valid. That the client has the key is proved anew in every handshake.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_parser::parse_x509_certificate;

/// Chains remembered at most; then all are forgotten. Only clients that are let in can fill it (with certificates of no use in
/// their chains), and then handshakes cost what they cost without it.
const MOST: usize = 4096;

/// A verifier that asks another one once for each chain.
#[derive(Debug)]
pub(super) struct Remembered {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Until when each chain stays valid, by its hash.
    chains: RwLock<HashMap<[u8; 32], Validity>>,
}

/// When all certificates of a chain are valid, both ends included (RFC 5280, 4.1.2.5).
#[derive(Debug, Clone, Copy)]
struct Validity {
    from: UnixTime,
    to: UnixTime,
}

impl Validity {
    /// `None` when one of them can't be read: such a chain isn't remembered.
    fn of<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> Option<Self> {
        let mut all = Self {
            from: UnixTime::since_unix_epoch(Default::default()),
            to: UnixTime::since_unix_epoch(std::time::Duration::MAX),
        };
        for certificate in chain {
            let (_, read) = parse_x509_certificate(certificate).ok()?;
            let seconds = |time: x509_parser::time::ASN1Time| {
                let seconds = u64::try_from(time.timestamp()).ok()?;
                Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                    seconds,
                )))
            };
            all.from = all.from.max(seconds(read.validity().not_before)?);
            all.to = all.to.min(seconds(read.validity().not_after)?);
        }
        Some(all)
    }

    fn holds(&self, now: UnixTime) -> bool {
        (self.from..=self.to).contains(&now)
    }
}

impl Remembered {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        Self {
            verifier,
            chains: RwLock::default(),
        }
    }
}

/// The lengths are hashed too: the same bytes cut elsewhere are another chain.
fn hash(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in std::iter::once(end_entity).chain(intermediates) {
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

impl ClientCertVerifier for Remembered {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let hash = hash(end_entity, intermediates);
        let known = {
            let chains = self.chains.read().unwrap_or_else(PoisonError::into_inner);
            chains
                .get(&hash)
                .is_some_and(|validity| validity.holds(now))
        };
        if known {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now)?;
        let validity = Validity::of(std::iter::once(end_entity).chain(intermediates));
        if let Some(validity) = validity.filter(|validity| validity.holds(now)) {
            let mut chains = self.chains.write().unwrap_or_else(PoisonError::into_inner);
            if chains.len() >= MOST {
                chains.clear();
            }
            chains.insert(hash, validity);
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use rustls::{RootCertStore, crypto::aws_lc_rs, server::WebPkiClientVerifier};

    use super::*;
    use crate::pki::{Authority, Leaf};

    /// Counts how often it is asked.
    #[derive(Debug)]
    struct Counting {
        asked: AtomicUsize,
        verifier: Arc<dyn ClientCertVerifier>,
    }

    impl ClientCertVerifier for Counting {
        fn verify_client_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            now: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.verifier
                .verify_client_cert(end_entity, intermediates, now)
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.verifier
                .verify_tls12_signature(message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.verifier
                .verify_tls13_signature(message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.verifier.supported_verify_schemes()
        }

        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }
    }

    fn trusting(authority: &Authority) -> (Arc<Counting>, Remembered) {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = RootCertStore::empty();
        let pem = authority.certificate_pem();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let counting = Arc::new(Counting {
            asked: AtomicUsize::new(0),
            verifier,
        });
        let remembered = Remembered::new(Arc::clone(&counting) as Arc<dyn ClientCertVerifier>);
        (counting, remembered)
    }

    fn chain(leaf: &crate::pki::Issued) -> Vec<CertificateDer<'static>> {
        use rustls::pki_types::pem::PemObject as _;
        CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn a_chain_is_verified_once_while_it_is_valid_and_refused_when_it_is_not() {
        let authority = Authority::new("clients").unwrap();
        let (counting, remembered) = trusting(&authority);
        let alice = chain(&authority.issue(&Leaf::client("alice")).unwrap());
        let verify = |now| remembered.verify_client_cert(&alice[0], &alice[1..], now);
        let asked = || counting.asked.load(Ordering::Relaxed);
        let now = UnixTime::now();
        for _ in 0..3 {
            assert!(verify(now).is_ok());
        }
        assert_eq!(asked(), 1);
        let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + century);
        assert!(verify(later).is_err());
        assert!(verify(UnixTime::since_unix_epoch(Duration::ZERO)).is_err());
        assert_eq!(asked(), 3);
    }

    #[test]
    fn what_was_refused_is_judged_again_and_another_leaf_is_another_chain() {
        let authority = Authority::new("clients").unwrap();
        let (counting, remembered) = trusting(&authority);
        let foreign = chain(
            &Authority::new("clients")
                .unwrap()
                .issue(&Leaf::client("alice"))
                .unwrap(),
        );
        for asked in 1..=2 {
            let verified = remembered.verify_client_cert(&foreign[0], &[], UnixTime::now());
            assert!(verified.is_err());
            assert_eq!(counting.asked.load(Ordering::Relaxed), asked);
        }
        for name in ["alice", "bob"] {
            let leaf = chain(&authority.issue(&Leaf::client(name)).unwrap());
            let verified = remembered.verify_client_cert(&leaf[0], &leaf[1..], UnixTime::now());
            assert!(verified.is_ok());
        }
        assert_eq!(counting.asked.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn no_more_chains_are_remembered_than_there_is_room_for() {
        let authority = Authority::new("clients").unwrap();
        let (_, remembered) = trusting(&authority);
        let valid = Validity {
            from: UnixTime::now(),
            to: UnixTime::now(),
        };
        for i in 0..MOST as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&i.to_be_bytes());
            remembered.chains.write().unwrap().insert(hash, valid);
        }
        let alice = chain(&authority.issue(&Leaf::client("alice")).unwrap());
        remembered
            .verify_client_cert(&alice[0], &alice[1..], UnixTime::now())
            .unwrap();
        assert_eq!(remembered.chains.read().unwrap().len(), 1);
    }
}
