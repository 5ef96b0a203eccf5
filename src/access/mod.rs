//! Who a caller is and what it may do: certificate → principal, and (principal, verb, object) → decision.
//!
//! Never talks to a caller and knows no HTTP: the API turns decisions into answers.

mod authorization;
mod bounds;
mod caller;
mod images;
mod policy;
mod principal;
mod review;
mod verb;

pub use authorization::{Authorization, AuthorizationFile, KubernetesNames, PolicyError};
pub use bounds::{Bounds, BoundsViolation, SetBy};
pub use caller::{Caller, Rules, WriteRules};
pub use images::{Digest, ImageRules, ImageViolation};
pub(crate) use policy::Subject;
pub use policy::{
    Decision, Effect, Explanation, Mismatch, Permissions, Policy, Rule, RuleSummary, Unreachable,
};
pub use principal::{
    AuthorityRule, GroupSource, IdentityRules, NameKind, NoPrincipal, NotVouchedFor, Principal,
};
pub use review::{Denied, Reviewer, Visible};
pub use verb::{NotAVerb, Verb, Verbs};
