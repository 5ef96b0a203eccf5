//! An authority's revocation list (RFC 5280, 5): read back, extended, signed anew.
//!
//! Nothing that stands in a list is ever dropped; one that says more than can be written again is refused.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use x509_parser::{
    prelude::{CertificateRevocationList, FromDer, ParsedExtension, X509Certificate},
    revocation_list::RevokedCertificate,
};

use super::{
    Authority, CLOCK_SKEW,
    certificate::{bare_serial, is_der, parse, system_time},
};

/// A list that can't be extended, or not be signed.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// It isn't a revocation list.
    #[error("it is no certificate revocation list in PEM (BEGIN X509 CRL) or DER: {0}")]
    Form(String),
    /// Another authority signed it.
    #[error("it was not signed by {0:?}, so it is not this authority's list")]
    Foreign(String),
    /// It says something that would be lost.
    #[error("it has {0}, which can't be kept; extend it with the program that wrote it")]
    Unknown(String),
    /// The list couldn't be signed.
    #[error("the list can't be signed: {0}")]
    Sign(#[from] rcgen::Error),
}

/// Why a certificate is revoked (RFC 5280, 5.3.1); those that only a hold or a delta list needs aren't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Reason {
    /// No reason is given.
    #[default]
    Unspecified,
    /// Somebody else has, or may have, the private key.
    KeyCompromise,
    /// Somebody else has, or may have, the authority's private key.
    CaCompromise,
    /// Its subject's name or organization has changed.
    AffiliationChanged,
    /// A newer certificate takes its place.
    Superseded,
    /// It isn't needed any more.
    CessationOfOperation,
    /// What it allowed is not allowed any more.
    PrivilegeWithdrawn,
}

/// A revoked certificate in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number, big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// When its authority revoked it, in whole seconds.
    pub at: SystemTime,
    /// Why, by the number of RFC 5280, 5.3.1; `None` when the list doesn't say.
    pub reason: Option<u8>,
    /// Since when the key is suspected to be in other hands.
    pub invalid_since: Option<SystemTime>,
}

/// What an authority has revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The number of the last list that was signed, big-endian; each list's is one higher than its predecessor's.
    number: Vec<u8>,
    entries: Vec<Revoked>,
}

impl RevocationList {
    /// A list that says nothing yet; the first one signed has the number after `number`.
    #[must_use]
    pub fn empty(number: u64) -> Self {
        Self {
            number: bare_serial(&number.to_be_bytes()).to_vec(),
            entries: Vec::new(),
        }
    }

    /// Reads the list of an authority, whose signature is verified.
    ///
    /// # Errors
    /// When it is damaged, another authority's, or has parts that couldn't be written again.
    pub fn read(bytes: &[u8], authority: &[u8]) -> Result<Self, RevocationError> {
        let der = list_der(bytes)?;
        let list = parse_list(&der)?;
        let authority = parse(authority).map_err(RevocationError::Form)?;
        judge(&list, &authority)?;
        let number = list
            .crl_number()
            .ok_or_else(|| RevocationError::Unknown("no number".into()))?
            .to_bytes_be();
        let entries = list
            .iter_revoked_certificates()
            .map(entry)
            .collect::<Result<_, _>>()?;
        Ok(Self { number, entries })
    }

    /// The certificates in it, in the order of their revocation.
    #[must_use]
    pub fn entries(&self) -> &[Revoked] {
        &self.entries
    }

    /// The entry of a serial number, if it is revoked.
    #[must_use]
    pub fn find(&self, serial: &[u8]) -> Option<&Revoked> {
        let serial = bare_serial(serial);
        self.entries.iter().find(|entry| entry.serial == serial)
    }

    /// Adds a serial number at a time, of which whole seconds count; `false` when it stands there already, and then the entry stays as it was.
    pub fn revoke(&mut self, serial: &[u8], reason: Reason, at: SystemTime) -> bool {
        if self.find(serial).is_some() {
            return false;
        }
        self.entries.push(Revoked {
            serial: bare_serial(serial).to_vec(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds(at)),
            reason: Some(code(reason)).filter(|code| *code != 0),
            invalid_since: None,
        });
        true
    }

    /// Signs it with the next number, as PEM. It is to be replaced within `lifetime`, after which readers may refuse it.
    ///
    /// # Errors
    /// When the authority may not sign lists, or a time can't be expressed.
    pub fn sign(
        &mut self,
        authority: &Authority,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, RevocationError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let at = |time| epoch + Duration::from_secs(seconds(time));
        let revoked_certs = self
            .entries
            .iter()
            .map(|entry| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&entry.serial),
                revocation_time: at(entry.at),
                reason_code: entry.reason.and_then(reason_code),
                invalidity_date: entry.invalid_since.map(at),
            })
            .collect();
        let number = successor(&self.number);
        let list = CertificateRevocationListParams {
            // As certificates are: a peer whose clock is a little behind accepts it.
            this_update: at(now - CLOCK_SKEW),
            next_update: at(now + lifetime),
            crl_number: SerialNumber::from_slice(&number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: key_identifier(authority),
        };
        let pem = list.signed_by(&authority.issuer)?.pem()?;
        self.number = number;
        Ok(pem)
    }
}

/// A list's DER, whichever form the file has.
pub(super) fn list_der(
    bytes: &[u8],
) -> Result<CertificateRevocationListDer<'static>, RevocationError> {
    if is_der(bytes) {
        return Ok(bytes.to_vec().into());
    }
    CertificateRevocationListDer::from_pem_slice(bytes)
        .map_err(|error| RevocationError::Form(crate::pem::fault(&error)))
}

/// A whole list and nothing behind it.
pub(super) fn parse_list(der: &[u8]) -> Result<CertificateRevocationList<'_>, RevocationError> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) => Err(RevocationError::Form("bytes follow it".into())),
        Err(error) => Err(RevocationError::Form(error.to_string())),
    }
}

fn judge(
    list: &CertificateRevocationList<'_>,
    authority: &X509Certificate<'_>,
) -> Result<(), RevocationError> {
    let signed = list.issuer().as_raw() == authority.subject().as_raw()
        && list.verify_signature(authority.public_key()).is_ok();
    if !signed {
        return Err(RevocationError::Foreign(authority.subject().to_string()));
    }
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(_) | ParsedExtension::CRLNumber(_) => {}
            _ => {
                let what = format!("the extension {}", extension.oid);
                return Err(RevocationError::Unknown(what));
            }
        }
    }
    Ok(())
}

fn entry(revoked: &RevokedCertificate<'_>) -> Result<Revoked, RevocationError> {
    for extension in revoked.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::InvalidityDate(_) => {}
            ParsedExtension::ReasonCode(code) if reason_code(code.0).is_some() => {}
            _ => {
                let what = format!("the extension {} in an entry", extension.oid);
                return Err(RevocationError::Unknown(what));
            }
        }
    }
    Ok(Revoked {
        serial: bare_serial(revoked.raw_serial()).to_vec(),
        at: system_time(revoked.revocation_date),
        reason: revoked.reason_code().map(|(_, code)| code.0),
        invalid_since: revoked.invalidity_date().map(|(_, date)| system_time(date)),
    })
}

fn key_identifier(authority: &Authority) -> KeyIdMethod {
    let subject = parse(authority.certificate()).ok().and_then(|parsed| {
        parsed
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
    });
    subject.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
}

/// Whole seconds since 1970; none for times before it.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// One more, big-endian.
fn successor(number: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return bytes;
        }
    }
    bytes.insert(0, 1);
    bytes
}

fn code(reason: Reason) -> u8 {
    match reason {
        Reason::Unspecified => 0,
        Reason::KeyCompromise => 1,
        Reason::CaCompromise => 2,
        Reason::AffiliationChanged => 3,
        Reason::Superseded => 4,
        Reason::CessationOfOperation => 5,
        Reason::PrivilegeWithdrawn => 9,
    }
}

fn reason_code(code: u8) -> Option<RevocationReason> {
    Some(match code {
        0 => RevocationReason::Unspecified,
        1 => RevocationReason::KeyCompromise,
        2 => RevocationReason::CaCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        6 => RevocationReason::CertificateHold,
        8 => RevocationReason::RemoveFromCrl,
        9 => RevocationReason::PrivilegeWithdrawn,
        10 => RevocationReason::AaCompromise,
        _ => return None,
    })
}

/// A reason in words.
pub(super) fn reason_words(code: u8) -> &'static str {
    match code {
        1 => "key compromise",
        2 => "CA compromise",
        3 => "affiliation changed",
        4 => "superseded",
        5 => "cessation of operation",
        6 => "on hold",
        8 => "removed from the list",
        9 => "privilege withdrawn",
        10 => "attribute authority compromise",
        _ => "no reason given",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::pki::DAY;

    const MONTH: Duration = DAY.saturating_mul(30);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn numbers_grow_by_one_and_carry() {
        assert_eq!(successor(&[0]), [1]);
        assert_eq!(successor(&[0x12, 0xff]), [0x13, 0]);
        assert_eq!(successor(&[0xff, 0xff]), [1, 0, 0]);
    }

    #[test]
    fn a_list_keeps_every_entry_and_its_number_grows() {
        let authority = Authority::new("root").unwrap();
        let mut list = RevocationList::empty(0);
        let mut expected = Vec::new();
        for (serial, reason) in [
            (&[0x40, 1][..], Reason::Unspecified),
            (&[0, 0xff][..], Reason::KeyCompromise),
            (&[7][..], Reason::PrivilegeWithdrawn),
        ] {
            assert!(list.revoke(serial, reason, now()));
            assert!(!list.revoke(serial, Reason::Superseded, now() + DAY));
            let pem = list.sign(&authority, now(), MONTH).unwrap();
            expected.push(list.entries().last().unwrap().clone());
            list = RevocationList::read(pem.as_bytes(), authority.certificate()).unwrap();
            assert_eq!(list.entries(), expected);
        }
        assert_eq!(list.number, [3]);
        assert_eq!(list.find(&[0, 0, 0xff]).unwrap().reason, Some(1));
        assert_eq!(list.find(&[0x40, 1]).unwrap().reason, None);
        assert_eq!(list.find(&[8]), None);
    }

    #[test]
    fn a_list_of_another_authority_is_refused_even_with_the_same_name() {
        let (one, other) = (
            Authority::new("root").unwrap(),
            Authority::new("root").unwrap(),
        );
        let pem = RevocationList::empty(0).sign(&one, now(), MONTH).unwrap();
        let refused = RevocationList::read(pem.as_bytes(), other.certificate());
        assert!(
            matches!(refused, Err(RevocationError::Foreign(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn what_is_no_list_is_an_error_and_so_is_half_of_one() {
        let authority = Authority::new("root").unwrap();
        let pem = RevocationList::empty(0)
            .sign(&authority, now(), MONTH)
            .unwrap();
        let der = list_der(pem.as_bytes()).unwrap().to_vec();
        assert!(RevocationList::read(&der, authority.certificate()).is_ok());
        let longer = [&der[..], b"more"].concat();
        let certificate = authority.certificate_pem();
        for bad in [
            &b""[..],
            b"text",
            &der[..der.len() / 2],
            &longer,
            certificate.as_bytes(),
        ] {
            let refused = RevocationList::read(bad, authority.certificate());
            assert!(
                matches!(refused, Err(RevocationError::Form(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_list_with_parts_that_would_be_lost_is_refused_by_their_name() {
        let authority = Authority::new("root").unwrap();
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2027, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: Some(rcgen::CrlIssuingDistributionPoint {
                distribution_point: rcgen::CrlDistributionPoint {
                    uris: vec!["http://crl.example.org".into()],
                },
                scope: None,
            }),
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = params.signed_by(&authority.issuer).unwrap().pem().unwrap();
        let refused = RevocationList::read(pem.as_bytes(), authority.certificate());
        assert!(
            refused.unwrap_err().to_string().contains("2.5.29.28"),
            "the extension's number"
        );
    }

    proptest! {
        #[test]
        fn every_serial_number_comes_back_once(
            serials in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=20), 0..12),
        ) {
            let authority = Authority::new("root").unwrap();
            let mut list = RevocationList::empty(u64::MAX);
            let mut different = HashSet::new();
            for serial in &serials {
                let new = different.insert(bare_serial(serial).to_vec());
                prop_assert_eq!(list.revoke(serial, Reason::Superseded, now()), new);
            }
            let pem = list.sign(&authority, now(), MONTH).unwrap();
            let read = RevocationList::read(pem.as_bytes(), authority.certificate()).unwrap();
            prop_assert_eq!(&read, &list);
            prop_assert_eq!(read.entries().len(), different.len());
            prop_assert_eq!(&read.number, &[&[1][..], &[0; 8]].concat());
        }
    }
}
