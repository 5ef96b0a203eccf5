//! What a client showed in a handshake that failed, for the log: rustls keeps its errors, and not the certificate.

use std::cell::RefCell;

use rustls::pki_types::CertificateDer;

use super::{Identity, deny_list::CertificateFacts};

/// What the log keeps of each of them, in characters.
const LONGEST: usize = 512;

tokio::task_local! {
    static SHOWN: RefCell<Option<Shown>>;
}

/// Whose certificate it says that it is. Nothing of it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The subject.
    pub subject: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The issuer.
    pub issuer: String,
    /// Common names, DNS names and URIs, with commas between them.
    pub names: String,
}

impl Shown {
    /// Runs a handshake, and tells what was refused in it.
    pub async fn watching<T>(handshake: impl Future<Output = T>) -> (T, Option<Self>) {
        let watched = async {
            let done = handshake.await;
            (done, SHOWN.with(RefCell::take))
        };
        SHOWN.scope(RefCell::new(None), watched).await
    }

    /// Remembers the certificate that is being refused, if somebody watches.
    pub(super) fn note(certificate: &CertificateDer<'_>) {
        let _ = SHOWN.try_with(|shown| {
            shown.replace(Self::read(certificate));
        });
    }

    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let Identity {
            subject,
            serial,
            issuer,
            ..
        } = Identity::read(std::slice::from_ref(certificate)).ok()?;
        let facts = CertificateFacts::read(certificate);
        let names = facts.map_or_else(String::new, |facts| facts.names.join(", "));
        // Anybody can send a long one.
        let [subject, serial, issuer, names] =
            [subject, serial, issuer, names].map(|text| text.chars().take(LONGEST).collect());
        Some(Self {
            subject,
            serial,
            issuer,
            names,
        })
    }
}
