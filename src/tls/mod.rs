//! Mutual TLS 1.3: PEM files → server configuration, who is let in, and who a verified client is.
//!
//! No resumption and no 0-RTT: each would let a client in without its certificate being verified now.

mod algorithms;
mod bound;
mod checks;
mod constraints;
pub mod deny_list;
mod expiry;
mod facts;
mod files;
mod identity;
mod own_chain;
mod refusal;
mod remembered;
mod revocation;
mod shown;
mod verifier;

pub use algorithms::{CipherSuite, Group, UnknownAlgorithm};
pub use bound::Bound;
pub use checks::{CheckFailed, Checks, ExpiredCrl, Hash, RsaBits};
pub(crate) use expiry::at;
pub use expiry::{Expiring, Expiry, ExpiryWatch};
pub use files::{TlsConfig, TlsError, TlsFiles, TlsMaterial, TlsSettings};
pub use identity::{Identity, IdentityError};
pub(crate) use own_chain::OwnChain;
pub use refusal::Refusal;
pub(crate) use refusal::in_words;
pub(crate) use revocation::List;
pub use shown::Shown;
pub use verifier::{Root, Verdict, Verifier};
