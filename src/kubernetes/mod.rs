//! All that talks to Kubernetes: lists, watches and probes for the informer, writes of the `scale` subresource,
//! SubjectAccessReviews.
//!
//! Nothing outside this module holds a client. What the API's reads show never comes from here; whether a caller may see it
//! does, where the cluster decides that.

mod access_review;
mod buffered;
mod calls;
mod connect;
mod informer;
mod scale;
mod selector;
mod status;
mod wire;

pub use access_review::{AccessReview, AccessReviewError, AccessReviews, Verdict};
pub use connect::{ConnectError, client, connection};
pub use informer::Informer;
pub use scale::{ScaleError, ScaleRequest, Scaled, Scaler};
pub use selector::is_label_selector;
pub use status::{Connection, InformerStatus};

use calls::Calls;

/// What the server manages: some namespaces or all, and within them what a label selector matches.
#[derive(Debug, Clone, Default)]
pub struct Managed {
    /// The namespaces; none means all.
    pub namespaces: Vec<String>,
    /// A label selector in Kubernetes' syntax, judged by the API server.
    pub label_selector: Option<String>,
}
