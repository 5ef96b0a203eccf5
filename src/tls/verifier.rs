//! Who is let in: webpki builds and verifies paths, our checks judge each of them, and the first that passes is the client's.
//!
//! Owns the verdict on a chain and how long it lasts. Reads no file, and never proves possession of a key by memory.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt, iter,
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
    time::Duration,
};

use rustls::ExtendedKeyPurpose;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tracing::{info, warn};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use super::{
    bound::Bound,
    checks::{CheckFailed, Checks, ExpiredCrl},
    deny_list::{CertificateFacts, DenyList},
    expiry::{Expiring, Expiry},
    facts::{Facts, system_time},
    remembered::{Remembered, hash},
    revocation::{List, Revocation},
    shown::Shown,
};

/// Certificates looked at besides the client's own: as many as webpki takes into a path. The search for one grows with their factorial,
/// and it is made for whoever connects: 190 that are chosen well keep it busy for seconds.
const MOST_INTERMEDIATES: usize = 6;

/// Verifies clients' chains against one generation of CAs, lists and settings.
pub struct Verifier {
    roots: Vec<Arc<Root>>,
    /// What webpki knows of each root, in the same order.
    anchors: Vec<TrustAnchor<'static>>,
    subjects: Vec<DistinguishedName>,
    checks: Checks,
    revocation: Revocation,
    deny_list: DenyList,
    algorithms: WebPkiSupportedAlgorithms,
    remembered: Remembered,
}

/// A CA whose clients are let in.
#[derive(Debug, PartialEq, Eq)]
pub struct Root {
    /// The file that it came from.
    bundle: PathBuf,
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

/// That a client is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The first second in which everything on the path is valid.
    pub valid_from: UnixTime,
    /// The last second of it: the earliest end of the path's certificates and of the revocation lists that were asked. After it the
    /// chain is to be judged anew: there may be another path, or a newer list.
    pub valid_until: UnixTime,
    /// Whose end that is.
    pub bound: Bound,
    /// The root of the path, by which names can be bound to CAs.
    pub root: Arc<Root>,
}

impl Root {
    /// Reads a CA's certificate; the error is a sentence's second half.
    pub(crate) fn read(
        bundle: &Path,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, String> {
        Facts::read(&certificate).map_err(str::to_owned)?;
        let anchor = anchor_from_trusted_cert(&certificate)
            .map_err(|error| error.to_string())?
            .to_owned();
        Ok(Self {
            bundle: bundle.to_owned(),
            certificate,
            anchor,
        })
    }

    /// The file that it came from.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Whether both are certificates of one CA: of the same name and key.
    #[must_use]
    pub fn is_same_authority(&self, other: &Self) -> bool {
        self.anchor.subject == other.anchor.subject
            && self.anchor.subject_public_key_info == other.anchor.subject_public_key_info
    }

    /// The CA's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn facts(&self) -> Result<Facts<'_>, CheckFailed> {
        Facts::read(&self.certificate).map_err(CheckFailed::Unreadable)
    }
}

impl Verdict {
    /// One on a path of no root that there is.
    #[cfg(test)]
    pub(super) fn lasting(valid_from: UnixTime, valid_until: UnixTime) -> Self {
        let certificate = CertificateDer::from(Vec::new());
        let anchor = TrustAnchor {
            subject: Vec::new().into(),
            subject_public_key_info: Vec::new().into(),
            name_constraints: None,
        };
        Self {
            valid_from,
            valid_until,
            bound: Bound::Certificate,
            root: Arc::new(Root {
                bundle: PathBuf::new(),
                certificate,
                anchor,
            }),
        }
    }

    /// Whether it still is the verdict.
    #[must_use]
    pub fn holds(&self, now: UnixTime) -> bool {
        (self.valid_from..=self.valid_until).contains(&now)
    }
}

impl Verifier {
    /// One of these roots and lists, with nothing remembered.
    pub(crate) fn new(
        roots: Vec<Root>,
        lists: Vec<List>,
        deny_list: DenyList,
        checks: Checks,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let facts: Vec<_> = roots.iter().filter_map(|root| root.facts().ok()).collect();
        let revocation = Revocation::new(lists, &facts, &algorithms);
        drop(facts);
        let anchors: Vec<_> = roots.iter().map(|root| root.anchor.clone()).collect();
        let subjects = anchors
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject));
        Self {
            subjects: subjects.collect(),
            anchors,
            roots: roots.into_iter().map(Arc::new).collect(),
            checks,
            revocation,
            deny_list,
            algorithms,
            remembered: Remembered::default(),
        }
    }

    /// The CAs whose clients are let in.
    #[must_use]
    pub fn roots(&self) -> &[Arc<Root>] {
        &self.roots
    }

    /// When the CAs and the revocation lists expire.
    pub(super) fn expiries(&self) -> Vec<Expiry> {
        let roots = self.roots.iter().filter_map(|root| root.facts().ok());
        let roots = roots.map(|facts| facts.expiry(Expiring::ClientCa));
        let lists = self.revocation.lists().iter().map(|list| Expiry {
            what: Expiring::Crl,
            name: list.path.display().to_string(),
            from: system_time(list.this_update),
            until: system_time(list.next_update),
        });
        roots.chain(lists).collect()
    }

    /// Says in the log which files will get clients refused, for whoever wonders why.
    pub(super) fn warn(&self, now: UnixTime) {
        let mut subjects = HashSet::new();
        for facts in self.roots.iter().filter_map(|root| root.facts().ok()) {
            subjects.insert(facts.certificate.subject().to_string());
            let verdict = self.checks.judge_root(&facts, &[], now);
            if let Err(failed) = verdict.and_then(|()| self.checks.judge_key(facts.key())) {
                warn!(name: "tls.ca.unusable", subject = %facts.certificate.subject(), reason = failed.reason(), "no client of this CA is let in");
            }
        }
        for (issuer, serials) in self.deny_list.issuers() {
            if !subjects.contains(issuer) {
                warn!(name: "tls.deny_list.unknown_issuer", issuer, serials, "no client CA has the name under which the deny list has these serial numbers: unless it is an intermediate's, they deny nobody; write it as `headcount pki show` does");
            }
        }
        for list in self.revocation.lists() {
            let path = list.path.display();
            if now >= list.next_update && self.checks.expired_crl == ExpiredCrl::Refuse {
                warn!(name: "tls.crl.expired", path = %path, "a revocation list has expired: clients of its CA are refused until there is a newer one");
            }
            if !list.is_in_effect(now) {
                warn!(name: "tls.crl.future", path = %path, "a revocation list's thisUpdate is in the future: until then an older one counts, and without one its CA's clients are refused");
            }
            if list.is_attributed() {
                continue;
            }
            if self
                .roots
                .iter()
                .any(|root| root.facts().is_ok_and(|root| list.names(&root)))
            {
                warn!(name: "tls.crl.foreign", path = %path, "no client CA signed this revocation list, though one has the name of its issuer");
            } else {
                info!(name: "tls.crl.intermediate", path = %path, "this revocation list's issuer is no client CA: it counts for intermediates of that name");
            }
        }
    }

    /// Judges a chain, leaf first, as a handshake does, and as long as a verdict on the same bytes lasts by memory. It proves nothing
    /// about who has the key.
    ///
    /// # Errors
    /// Why the chain is refused; [`super::Refusal`] has a name for it.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Verdict, Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.judge_leaf(leaf, intermediates, now)
    }

    fn judge_leaf(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verdict, Error> {
        if intermediates.len() > MOST_INTERMEDIATES {
            return Err(CheckFailed::TooManyCertificates {
                found: intermediates.len(),
                most: MOST_INTERMEDIATES,
            }
            .into());
        }
        let hash = hash(leaf, intermediates);
        if let Some(verdict) = self.remembered.find(&hash, now) {
            return Ok(verdict);
        }
        let verdict = self.judge_anew(leaf, intermediates, now)?;
        self.remembered.remember(hash, verdict.clone());
        Ok(verdict)
    }

    fn judge_anew(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verdict, Error> {
        let certificate = EndEntityCert::try_from(leaf).map_err(in_rustls_words)?;
        let accepted = RefCell::new(None);
        let refused = RefCell::new(None);
        // webpki goes on to another path when this one is refused, as with cross-signed CAs.
        let judge_path = |path: &VerifiedPath<'_>| match self.judge_path(path, now) {
            Ok(verdict) => {
                accepted.replace(Some(verdict));
                Ok(())
            }
            Err(error) => {
                let mut refused = refused.borrow_mut();
                if refused.as_ref().is_none_or(CheckFailed::is_of_root) {
                    *refused = Some(error);
                }
                Err(webpki::Error::UnknownIssuer)
            }
        };
        let built = certificate.verify_for_usage(
            self.algorithms.all,
            &self.anchors,
            intermediates,
            now,
            KeyUsage::client_auth(),
            None,
            Some(&judge_path),
        );
        match (built, accepted.take(), refused.take()) {
            (Ok(_), Some(verdict), _) => Ok(verdict),
            // A path that was whole says more than the ends of others.
            (_, _, Some(error)) => Err(error),
            (Err(error), ..) => Err(self.explain(error, leaf, intermediates)),
            (Ok(_), None, None) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn judge_path(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<Verdict, Error> {
        let certificates: Vec<_> = iter::once(path.end_entity().der())
            .chain(path.intermediate_certificates().map(|issuer| issuer.der()))
            .collect();
        // By its address: another root may have the same name and key.
        let root = iter::zip(&self.anchors, &self.roots)
            .find(|(anchor, _)| ptr::eq(*anchor, path.anchor()))
            .map(|(_, root)| root)
            .ok_or(CertificateError::UnknownIssuer)?;
        let facts = certificates
            .iter()
            .map(|der| Facts::read(der))
            .collect::<Result<Vec<_>, _>>()
            .map_err(CheckFailed::Unreadable)?;
        let root_facts = root.facts()?;
        self.checks.judge(&facts, &root_facts, now)?;
        self.judge_names(certificates.iter().chain([&root.certificate]))?;
        let lists_end =
            self.revocation
                .judge(&facts, &root_facts, &self.checks, &self.algorithms, now)?;

        let root_validity = self.checks.root_validity.then(|| root_facts.validity());
        let validities = facts.iter().map(Facts::validity).chain(root_validity);
        let (from, to): (Vec<_>, Vec<_>) = validities.unzip();
        // A list isn't valid any more in the second of its nextUpdate.
        let lists_end = lists_end.map(|end| seconds(end.as_secs().saturating_sub(1)));
        let (valid_until, bound) = Bound::first(to, lists_end);
        Ok(Verdict {
            valid_from: from.into_iter().max().unwrap_or(seconds(0)),
            valid_until,
            bound,
            root: Arc::clone(root),
        })
    }

    /// The deny list's verdict on every certificate of a path.
    fn judge_names<'a>(
        &self,
        path: impl Iterator<Item = &'a CertificateDer<'a>>,
    ) -> Result<(), CheckFailed> {
        if self.deny_list.is_empty() {
            return Ok(());
        }
        for certificate in path {
            let facts = CertificateFacts::read(certificate)
                .ok_or(CheckFailed::Unreadable("it is no X.509 certificate"))?;
            if let Some(denial) = self.deny_list.denies(&facts) {
                return Err(CheckFailed::Denied(denial));
            }
        }
        Ok(())
    }

    /// Why there is no path, in more telling words where our own checks have them.
    fn explain(
        &self,
        error: webpki::Error,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Error {
        let presented: Vec<_> = iter::once(leaf)
            .chain(intermediates)
            .filter_map(|der| Facts::read(der).ok())
            .collect();
        match error {
            webpki::Error::UnknownIssuer
                if presented.first().is_some_and(Facts::is_self_issued) =>
            {
                CheckFailed::SelfSigned.into()
            }
            // A signature by a key that is too short is never verified.
            webpki::Error::InvalidSignatureForPublicKey => {
                let issuers = self.roots.iter().filter_map(|root| root.facts().ok());
                let named = issuers.filter(|root| {
                    let name = root.certificate.subject().as_raw();
                    presented
                        .iter()
                        .any(|c| c.certificate.issuer().as_raw() == name)
                });
                let mut keys = presented
                    .iter()
                    .skip(1)
                    .map(Facts::key)
                    .chain(named.map(|root| root.key()).collect::<Vec<_>>());
                let weak = keys.find_map(|key| {
                    self.checks
                        .judge_key(key)
                        .err()
                        .filter(|failed| matches!(failed, CheckFailed::WeakKey { .. }))
                });
                weak.map_or_else(|| in_rustls_words(error), Error::from)
            }
            error => in_rustls_words(error),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("roots", &self.roots.len())
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge_leaf(end_entity, intermediates, now)
            .inspect_err(|_| Shown::note(end_entity))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn seconds(since_1970: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(since_1970))
}

/// webpki's error as rustls has it, whose alert goes with it. What rustls has no word for keeps webpki's own.
fn in_rustls_words(error: webpki::Error) -> Error {
    use webpki::Error as Webpki;
    let error = match error {
        Webpki::BadDer | Webpki::BadDerTime | Webpki::TrailingData(_) => {
            CertificateError::BadEncoding
        }
        Webpki::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Webpki::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }
        }
        Webpki::InvalidCertValidity => CertificateError::Expired,
        Webpki::UnknownIssuer => CertificateError::UnknownIssuer,
        Webpki::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Webpki::UnsupportedSignatureAlgorithmContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: context.signature_algorithm_id,
                supported_algorithms: context.supported_algorithms,
            }
        }
        Webpki::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: context.signature_algorithm_id,
                public_key_algorithm_id: context.public_key_algorithm_id,
            }
        }
        Webpki::RequiredEkuNotFoundContext(context) => CertificateError::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ClientAuth,
            presented: context.present.into_iter().map(purpose).collect(),
        },
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    error.into()
}

fn purpose(number: Vec<usize>) -> ExtendedKeyPurpose {
    match &number[..] {
        KeyUsage::CLIENT_AUTH_REPR => ExtendedKeyPurpose::ClientAuth,
        KeyUsage::SERVER_AUTH_REPR => ExtendedKeyPurpose::ServerAuth,
        _ => ExtendedKeyPurpose::Other(number),
    }
}

#[cfg(test)]
mod tests;
