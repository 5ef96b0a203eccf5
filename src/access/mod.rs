//! Who a caller is and what it may do: certificate → principal, and (principal, verb, object) → decision.
//!
//! Never talks to a caller and knows no HTTP: the API turns decisions into answers.

mod principal;
mod review;
mod verb;

pub use principal::{IdentityRules, NameKind, NoPrincipal, Principal};
pub use review::{Denied, KubernetesNames, Reviewer, Visible};
pub use verb::{NotAVerb, Verb, Verbs};
