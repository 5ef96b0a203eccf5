//! Any bytes as a client's certificate: whom it names, and what the deny list looks at.

use headcount::{
    access::IdentityRules,
    tls::{Identity, deny_list::CertificateFacts},
};
use rustls::pki_types::CertificateDer;

pub(crate) fn run(bytes: &[u8]) {
    let der = CertificateDer::from(bytes);
    if let Ok(principal) = IdentityRules::default().principal(&der) {
        assert!(!principal.name.trim().is_empty());
        assert!(!principal.name.chars().any(char::is_control));
    }
    let _ = Identity::read(&[der]);
    let _ = CertificateFacts::read(bytes);
}
