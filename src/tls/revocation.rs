//! Revocation lists (RFC 5280, 5) of the issuers on a path: read from files, found for an issuer, and their verdict.
//!
//! Lists are complete and direct: each speaks for the one issuer that signed it. webpki judges their form. Which list is an issuer's
//! is decided here, by name and by signature, because CAs of the same name with keys of their own stand side by side while one takes
//! the other's place, and webpki takes the first list of a name.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    CertificateError, Error,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateRevocationListDer, UnixTime, pem::PemObject as _},
};
use webpki::OwnedCertRevocationList;
use x509_parser::{
    asn1_rs::{Any, FromDer as _},
    extensions::{DistributionPointName, GeneralName, IssuingDistributionPoint},
    num_bigint::BigUint,
    prelude::{CertificateRevocationList, ParsedExtension},
    x509::SubjectPublicKeyInfo,
};

use super::{
    checks::{CheckFailed, Checks, ExpiredCrl},
    facts::{Facts, unix_time},
};

/// Keys remembered at most for a list; then all are forgotten. Only a CA can make there be more of its name.
const MOST_KEYS: usize = 64;

/// How far a CA's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// The lists of one generation.
#[derive(Debug, Default)]
pub(super) struct Revocation {
    lists: Vec<List>,
}

/// One issuer's list.
#[derive(Debug)]
pub(crate) struct List {
    pub(super) path: PathBuf,
    der: CertificateRevocationListDer<'static>,
    /// The issuer's name in DER.
    issuer: Vec<u8>,
    /// Which key of the issuer's it is signed with, if it says so.
    key_id: Option<Vec<u8>>,
    /// The root's public key by which the signature was verified. The keys of intermediates come with the clients.
    signed_by: Option<Vec<u8>>,
    /// Whether these public keys signed it. Whoever has a copy of a chain could have a large list hashed with every handshake.
    signers: Mutex<HashMap<Vec<u8>, bool>>,
    scope: Scope,
    /// Serial numbers as they are in DER.
    revoked: HashSet<Box<[u8]>>,
    pub(super) this_update: UnixTime,
    pub(super) next_update: UnixTime,
    number: BigUint,
}

/// The list that counts, and when another one will.
struct Found<'a> {
    list: &'a List,
    newer_from: Option<UnixTime>,
}

/// Which of its issuer's certificates a list speaks of.
#[derive(Debug, Default)]
struct Scope {
    leaves_only: bool,
    cas_only: bool,
    /// The addresses and directory names that it is published at; a certificate that names others has its entry in another list.
    published_at: Option<Vec<String>>,
}

impl Revocation {
    /// Takes lists, and finds out which of these roots signed which.
    pub(super) fn new(
        mut lists: Vec<List>,
        roots: &[Facts<'_>],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Self {
        for list in &mut lists {
            let signer = roots.iter().find(|root| {
                root.certificate.subject().as_raw() == list.issuer
                    && list.is_signed_by(root, algorithms)
            });
            list.signed_by = signer.map(|root| root.public_key().to_vec());
        }
        Self { lists }
    }

    /// Judges every certificate of a verified path, and says when the answer ends, if it does. An issuer without a list is taken at its
    /// word unless the checks demand one.
    pub(super) fn judge(
        &self,
        path: &[Facts<'_>],
        root: &Facts<'_>,
        checks: &Checks,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, Error> {
        let issuers = path.iter().skip(1).chain([root]);
        let mut until = None;
        for (position, (certificate, issuer)) in path.iter().zip(issuers).enumerate() {
            let found = self.find(certificate, position > 0, issuer, algorithms, now)?;
            let Some(Found { list, newer_from }) = found else {
                if checks.require_crl {
                    return Err(CertificateError::UnknownRevocationStatus.into());
                }
                continue;
            };
            until = until.into_iter().chain(newer_from).min();
            if checks.expired_crl == ExpiredCrl::Refuse {
                let next_update = list.next_update;
                if now >= next_update {
                    let time = now;
                    return Err(CertificateError::ExpiredRevocationListContext {
                        time,
                        next_update,
                    }
                    .into());
                }
                until = until.into_iter().chain([next_update]).min();
            }
            if list
                .revoked
                .contains(in_der(certificate.certificate.raw_serial()))
            {
                return Err(CertificateError::Revoked.into());
            }
        }
        Ok(until)
    }

    /// The newest list in effect that says whether this issuer has revoked this certificate.
    ///
    /// A list of the issuer's name that nobody is known to have signed might be the issuer's, damaged: that is an error. So is it when
    /// all of its lists are of the future: this machine's clock may be slow, and whom they revoke would be let in.
    fn find(
        &self,
        certificate: &Facts<'_>,
        ca: bool,
        issuer: &Facts<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Result<Option<Found<'_>>, CheckFailed> {
        let candidates: Vec<_> = self
            .lists
            .iter()
            .filter(|list| list.issuer == certificate.certificate.issuer().as_raw())
            .filter(|list| list.may_be_of(issuer) && list.scope.includes(certificate, ca))
            .collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        if issuer.key_usage.is_some_and(|usage| !usage.crl_sign) {
            return Err(CheckFailed::CrlInvalid(
                "isn't the issuer's to sign: its key usage has no cRLSign",
            ));
        }
        let (in_effect, of_the_future): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .filter(|list| list.signed_by.is_some() || list.is_signed_by(issuer, algorithms))
            .partition(|list| list.is_in_effect(now));
        let newest = in_effect
            .into_iter()
            .min_by_key(|list| Reverse((list.this_update, &list.number)));
        let newer_from = of_the_future.iter().map(|list| list.in_effect_from()).min();
        match newest {
            Some(list) => Ok(Some(Found { list, newer_from })),
            None if newer_from.is_some() => Err(CheckFailed::CrlInvalid(
                "isn't in effect yet: its thisUpdate is in the future, or this machine's clock is slow",
            )),
            None => Err(CheckFailed::CrlInvalid("isn't signed by the issuer")),
        }
    }

    pub(super) fn lists(&self) -> &[List] {
        &self.lists
    }
}

impl List {
    /// The lists in a file, at least one: PEM, or one in DER. The error is a sentence's second half.
    pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Self>, String> {
        // DER begins with a SEQUENCE, and no text with a zero.
        let ders = if bytes.first() == Some(&0x30) {
            vec![CertificateRevocationListDer::from(bytes.to_vec())]
        } else {
            CertificateRevocationListDer::pem_slice_iter(bytes)
                .collect::<Result<_, _>>()
                .map_err(|error| {
                    format!(
                        "its PEM is damaged ({}); fetch it again",
                        crate::pem::fault(&error)
                    )
                })?
        };
        if ders.is_empty() {
            return Err(
                "it holds no revocation list, neither as PEM (BEGIN X509 CRL) nor as DER".into(),
            );
        }
        ders.into_iter()
            .map(|der| Self::parse(path.to_owned(), der))
            .collect()
    }

    fn parse(path: PathBuf, der: CertificateRevocationListDer<'static>) -> Result<Self, String> {
        let damaged = |why: &str| format!("its list is damaged ({why}); fetch it again");
        let parsed = match CertificateRevocationList::from_der(&der) {
            Ok(([], list)) => list,
            Ok(_) => return Err(damaged("bytes follow it")),
            Err(_) => return Err(damaged("it is no revocation list")),
        };
        let Some(next_update) = parsed.next_update() else {
            return Err("its list has no nextUpdate, so nobody can tell when it is too old; let the CA set it".into());
        };
        if parsed.version().is_none() {
            return Err(
                "its list is of version 1; let the CA write version 2, with a list's number".into(),
            );
        }
        OwnedCertRevocationList::from_der(&der).map_err(|error| match error {
            webpki::Error::UnsupportedDeltaCrl => {
                "its list is a delta, which says only what has changed; give the complete list".into()
            }
            webpki::Error::UnsupportedIndirectCrl => {
                "its list is an indirect one, which speaks for other CAs; give each CA's own list".into()
            }
            webpki::Error::UnsupportedRevocationReasonsPartitioning => {
                "its list is for some reasons of revocation only; give the list for all".into()
            }
            webpki::Error::UnsupportedCrlIssuingDistributionPoint => {
                "its list's issuing distribution point has no address; give a list for all certificates of the CA".into()
            }
            webpki::Error::UnsupportedCriticalExtension => {
                "its list has a critical extension that isn't understood".into()
            }
            other => damaged(&other.to_string()),
        })?;
        let (mut key_id, mut scope) = (None, Scope::default());
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                ParsedExtension::IssuingDistributionPoint(point) => {
                    scope = Scope::of(point);
                    // It would match no certificate that says where its list is, and let in whom it revokes.
                    if scope.published_at.as_ref().is_some_and(Vec::is_empty) {
                        return Err("its list's issuing distribution point has neither an address nor a directory name; give a list for all certificates of the CA".into());
                    }
                }
                ParsedExtension::ParseError { .. } => {
                    return Err(damaged("an extension can't be read"));
                }
                _ => {}
            }
        }
        Ok(Self {
            path,
            issuer: parsed.issuer().as_raw().to_vec(),
            key_id,
            signed_by: None,
            signers: Mutex::default(),
            scope,
            revoked: parsed
                .iter_revoked_certificates()
                .map(|entry| in_der(entry.raw_serial()).into())
                .collect(),
            this_update: unix_time(parsed.last_update()),
            next_update: unix_time(next_update),
            number: parsed.crl_number().cloned().unwrap_or_default(),
            der,
        })
    }

    /// Whether its thisUpdate has come.
    pub(super) fn is_in_effect(&self, now: UnixTime) -> bool {
        now >= self.in_effect_from()
    }

    fn in_effect_from(&self) -> UnixTime {
        let this_update = Duration::from_secs(self.this_update.as_secs());
        UnixTime::since_unix_epoch(this_update.saturating_sub(CLOCK_SKEW))
    }

    /// Whether it isn't known to be the list of another issuer of the same name.
    fn may_be_of(&self, issuer: &Facts<'_>) -> bool {
        match (&self.signed_by, &self.key_id, issuer.key_id) {
            (Some(key), ..) => key == issuer.public_key(),
            (None, Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        }
    }

    fn is_signed_by(&self, issuer: &Facts<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let key = issuer.public_key();
        // Held meanwhile: others would do the same work.
        let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = signers.get(key) {
            return *signed;
        }
        let signed = verified(&self.der, issuer.certificate.public_key(), algorithms).is_some();
        if signers.len() >= MOST_KEYS {
            signers.clear();
        }
        signers.insert(key.to_vec(), signed);
        signed
    }

    /// Whether one of the roots signed it; else it is an intermediate's, or damaged.
    pub(super) fn is_attributed(&self) -> bool {
        self.signed_by.is_some()
    }

    /// Whether it is the list of a CA of this name.
    pub(super) fn names(&self, issuer: &Facts<'_>) -> bool {
        self.issuer == issuer.certificate.subject().as_raw()
    }
}

impl Scope {
    fn of(point: &IssuingDistributionPoint<'_>) -> Self {
        Self {
            leaves_only: point.only_contains_user_certs,
            cas_only: point.only_contains_ca_certs,
            published_at: point
                .distribution_point
                .as_ref()
                .map(|point| places(point).unwrap_or_default()),
        }
    }

    fn includes(&self, certificate: &Facts<'_>, ca: bool) -> bool {
        if self.leaves_only && ca || self.cas_only && !ca {
            return false;
        }
        let points = certificate
            .certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => Some(points),
                _ => None,
            });
        match (&self.published_at, points) {
            (Some(published_at), Some(points)) => points.iter().any(|point| {
                let places = point.distribution_point.as_ref().and_then(places);
                // A place that can't be read may be any.
                places.is_none_or(|places| places.iter().any(|place| published_at.contains(place)))
            }),
            _ => true,
        }
    }
}

/// A serial number as DER has it, without zeros that say nothing (X.690, 8.3.2): `ff 01` is negative, and another than `00 ff 01`.
fn in_der(mut serial: &[u8]) -> &[u8] {
    while let [0, next, ..] = serial
        && next & 0x80 == 0
    {
        serial = &serial[1..];
    }
    serial
}

/// The addresses and directory names among a point's names (RFC 5280, 4.2.1.13), in which the encoding of text makes no difference;
/// `None` for a name that is relative to the issuer's, which x509-parser takes for an explicit tag.
fn places(point: &DistributionPointName<'_>) -> Option<Vec<String>> {
    let DistributionPointName::FullName(names) = point else {
        return None;
    };
    let places = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::DirectoryName(name) => Some(name.to_string()),
        _ => None,
    });
    Some(places.collect())
}

/// `Some` when the list's signature is the key's, by an algorithm that certificates may be signed with too.
fn verified(
    list: &[u8],
    key: &SubjectPublicKeyInfo<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<()> {
    let (_, list) = Any::from_der(list).ok()?;
    let (rest, _) = Any::from_der(list.data).ok()?;
    let signed = &list.data[..list.data.len() - rest.len()];
    let (rest, signature_algorithm) = Any::from_der(rest).ok()?;
    let (_, signature) = Any::from_der(rest).ok()?;
    let [0, signature @ ..] = signature.data else {
        return None;
    };
    let (_, info) = Any::from_der(key.raw).ok()?;
    let (_, key_algorithm) = Any::from_der(info.data).ok()?;
    algorithms
        .all
        .iter()
        .filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == signature_algorithm.data
                && algorithm.public_key_alg_id().as_ref() == key_algorithm.data
        })
        .find_map(|algorithm| {
            let key = &key.subject_public_key.data;
            algorithm.verify_signature(key, signed, signature).ok()
        })
}
