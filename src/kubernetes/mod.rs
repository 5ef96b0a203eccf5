//! All that talks to Kubernetes: lists, watches and probes for the informer, writes, reads of what the store doesn't hold, and
//! SubjectAccessReviews.
//!
//! Nothing outside this module holds a client. What reads of counts show never comes from here; whether a caller may see it
//! does, where the cluster decides that.

mod access_review;
mod autoscalers;
mod backoff;
mod buffered;
mod calls;
mod circuit;
mod connect;
mod credentials;
#[doc(hidden)]
pub mod decoding;
mod details;
mod election;
mod events;
mod field_manager;
mod follower;
mod informer;
mod learned_labels;
mod leases;
mod own_rights;
mod patch;
mod pool;
mod probe;
mod relist;
mod retry_budget;
mod revisions;
mod scale;
mod setters;
mod settle;
mod status;
mod unanswered;
mod unreadable;
mod wire;
mod write;

pub use access_review::{AccessReview, AccessReviewError, AccessReviews, Verdict};
pub use autoscalers::{Autoscaler, AutoscalerKind, Autoscalers, Autoscaling};
pub use circuit::Circuit;
pub use connect::{ClusterConfig, ConnectError, client, connection};
pub use details::{Condition, Container, Details, Manager, ReadError, Status};
pub use election::{Election, Won};
pub use events::{EventMetrics, Events, NOT_REVERTED, Told};
pub use field_manager::{FieldOwner, field_manager, new_mark};
pub use informer::Informer;
pub use learned_labels::{LearnedLabels, MOST_OF_ONE};
pub use leases::{Clock, KnownLeases, LeaseError, LeaseObjects, LeaseRules};
pub use own_rights::{About, HeldRule, HeldRules, NoAnswer, OwnRights, Right};
pub use revisions::Revision;
pub use scale::Exactly;
pub use settle::{Found, Settled, There, Unsettled};
pub use status::{Connection, InformerStatus};
pub use write::{Deployments, WriteError, WriteRequest, Written};

use calls::Calls;

use crate::selector::{LabelSelector, Labels};

/// What the server manages: some namespaces or all, and within them what a label selector matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managed {
    /// The namespaces; none means all.
    pub namespaces: Vec<String>,
    /// A label selector in Kubernetes' syntax: the API server judges what is listed and watched by it, and this server what it
    /// reads on demand.
    pub label_selector: Option<String>,
}

impl Managed {
    /// Whether the selector matches what has these labels; one that can't be read matches nothing.
    fn selects(&self, labels: &dyn Labels) -> bool {
        let selector = self.label_selector.as_deref();
        selector.is_none_or(|text| {
            text.parse()
                .is_ok_and(|selector: LabelSelector| selector.selects(labels))
        })
    }
}
