//! Who a caller is and what it may do: certificate → principal, and (principal, verb, object) → decision.
//!
//! Never talks to a caller and knows no HTTP: the API turns decisions into answers.

mod principal;

pub use principal::{IdentityRules, NameKind, NoPrincipal, Principal};
