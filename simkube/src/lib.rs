//! A simulated Kubernetes API that knows Deployments, with faults on demand.
//!
//! What it offers behaves as kube-apiserver does: paged lists from one version of the cluster, watches
//! with bookmarks, `410 Expired`, JSON and protobuf, the `scale` subresource with its preconditions,
//! one resourceVersion counter, reviews of access, Events that are written, ReplicaSets as far as they are
//! a Deployment's revisions. What it doesn't know is 404.
//!
//! ```text
//! tests ── Cluster::create, scale, delete … ─┐
//! kube::Client ── Cluster::service ──┐       ├─▶ state (objects, history) ──▶ open watches
//! kubectl ── Cluster::serve ─────────┴▶ http ┘            ▲
//!                                        ▲                └── controller: status follows spec
//!                                        └── Faults: what goes wrong, and when
//! ```
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
//!
//! let cluster = Cluster::new(Options::default());
//! cluster.create(NewDeployment::new("shop", "cart").replicas(3).label("team", "web"));
//! cluster.faults().add(Rule::new(On::Watch, Fault::status(503)).times(2));
//! let client = kube::Client::new(cluster.service(), "default");
//! # drop(client);
//! # }
//! ```

mod autoscaler;
mod body;
mod cluster;
mod controller;
mod discovery;
mod event;
mod faults;
mod history;
mod http;
mod json;
mod lease;
mod list;
mod log;
mod negotiate;
mod object;
mod objects;
mod own;
mod patch;
mod request;
mod review;
mod revision;
mod route;
mod scale;
mod selector;
mod serve;
mod state;
mod status;
mod watch;
mod wire;
mod write;

pub use body::{Body, BodyError};
pub use cluster::{Cluster, Options, Snapshot};
pub use faults::{Fault, Faults, On, Rule, RuleId};
pub use log::{Counts, Loss, SeenRequest};
pub use object::{Deployment, NewDeployment};
pub use own::OwnRule;
pub use review::{AccessReview, Verdict};
pub use serve::{ApiServer, TransportError};
