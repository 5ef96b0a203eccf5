//! Asks the cluster whether somebody may do something: one SubjectAccessReview (authorization.k8s.io/v1) a question.
//!
//! Remembers nothing and has no opinion of its own.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use kube::client::Body;
use serde::{Deserialize, Serialize};

use super::{
    Circuit,
    calls::{ApiServer, CallError, small_body},
    circuit::Away,
};
use crate::limits::NoTurn;

const API_VERSION: &str = "authorization.k8s.io/v1";
const KIND: &str = "SubjectAccessReview";
const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Asks by SubjectAccessReview.
#[derive(Clone)]
pub struct AccessReviews {
    api_server: ApiServer,
}

/// Who wants to do what to Deployments, in RBAC's terms.
#[derive(Debug, Clone, Copy)]
pub struct AccessReview<'a> {
    /// The user, as roles are bound to it.
    pub user: &'a str,
    /// The groups.
    pub groups: &'a [String],
    /// RBAC's verb.
    pub verb: &'a str,
    /// A subresource; empty for the Deployment itself.
    pub subresource: &'a str,
    /// The namespace; without one it is asked of all namespaces.
    pub namespace: Option<&'a str>,
    /// The Deployment; without one it is asked of all in the namespace.
    pub name: Option<&'a str>,
}

/// What the cluster decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in the words of the cluster's authorizers; often empty.
    pub reason: String,
    /// What the authorizers stumbled over, such as a bound role that doesn't exist; often empty.
    pub evaluation_error: String,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessReviewError {
    /// The cluster refuses this server; its words name the server's account and are for the log alone.
    #[error("the cluster refuses this server's own credentials")]
    Credentials {
        /// The API server's words.
        words: String,
    },
    /// Too many others were asked for too long.
    #[error(transparent)]
    NoTurn(NoTurn),
    /// The question wasn't answered.
    #[error("{why}")]
    Unanswered {
        /// What happened instead.
        why: String,
        /// How long the API server asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is a yes and a no.
    #[error("the Kubernetes API's answer contradicts itself: it is both allowed and denied")]
    Contradictory,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    user: &'a str,
    groups: &'a [String],
    resource_attributes: ResourceAttributes<'a>,
}

#[derive(Serialize)]
struct ResourceAttributes<'a> {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'a str,
    verb: &'a str,
    /// Empty means all.
    namespace: &'a str,
    name: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: String,
    kind: String,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    allowed: bool,
    #[serde(default)]
    denied: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    evaluation_error: String,
}

impl AccessReview<'_> {
    /// The question as it is sent. Equal questions are equal bytes.
    pub fn to_bytes(&self) -> Bytes {
        let question = Question {
            api_version: API_VERSION,
            kind: KIND,
            spec: Spec {
                user: self.user,
                groups: self.groups,
                resource_attributes: ResourceAttributes {
                    group: "apps",
                    version: "v1",
                    resource: "deployments",
                    subresource: self.subresource,
                    verb: self.verb,
                    namespace: self.namespace.unwrap_or_default(),
                    name: self.name.unwrap_or_default(),
                },
            },
        };
        // Strings, lists and structs of them always have a JSON form.
        serde_json::to_vec(&question).unwrap_or_default().into()
    }
}

impl AccessReviews {
    /// Asks through `client`, unless `circuit` is open.
    pub fn new(client: kube::Client, circuit: &Arc<Circuit>) -> Self {
        Self {
            api_server: ApiServer::new(client, circuit),
        }
    }

    /// Sends the bytes of an [`AccessReview`]; the API server has the time `within` to begin an answer, and again for each piece.
    ///
    /// # Errors
    ///
    /// Whatever isn't one clear verdict.
    pub async fn ask(
        &self,
        question: Bytes,
        within: Duration,
    ) -> Result<Verdict, AccessReviewError> {
        self.api_server.admit()?;
        let answer = match self.post(question.clone(), within).await {
            // An API server that restarts closes idle connections; asking twice does no harm.
            Err(CallError::Broken(_)) => self.post(question, within).await,
            other => other,
        };
        read(&answer?)
    }

    async fn post(&self, question: Bytes, within: Duration) -> Result<Bytes, CallError> {
        let mut post = Request::new(Body::from(question.to_vec()));
        *post.method_mut() = Method::POST;
        *post.uri_mut() = http::Uri::from_static(PATH);
        for name in [header::CONTENT_TYPE, header::ACCEPT] {
            post.headers_mut()
                .insert(name, HeaderValue::from_static("application/json"));
        }
        let mut response = self.api_server.send(post, within).await?;
        small_body(response.body_mut(), within).await
    }
}

impl From<Away> for AccessReviewError {
    fn from(Away { why, retry_after }: Away) -> Self {
        Self::Unanswered {
            why,
            retry_after: Some(retry_after),
        }
    }
}

impl From<CallError> for AccessReviewError {
    fn from(error: CallError) -> Self {
        match error.code() {
            401 | 403 => Self::Credentials {
                words: error.to_string(),
            },
            _ => Self::Unanswered {
                why: error.to_string(),
                retry_after: error.retry_after(),
            },
        }
    }
}

fn read(answer: &[u8]) -> Result<Verdict, AccessReviewError> {
    let unreadable = |why: String| AccessReviewError::Unanswered {
        why: format!("the Kubernetes API answered what can't be read: {why}"),
        retry_after: None,
    };
    let answer: Answer = serde_json::from_slice(answer).map_err(|e| unreadable(e.to_string()))?;
    if (&*answer.api_version, &*answer.kind) != (API_VERSION, KIND) {
        return Err(unreadable(format!("it isn't a {KIND}")));
    }
    let status = answer.status;
    if status.allowed && status.denied {
        return Err(AccessReviewError::Contradictory);
    }
    // An evaluation error beside a yes leaves it a yes, as in the API server's own filter: other authorizers' faults are named in it.
    Ok(Verdict {
        allowed: status.allowed,
        reason: status.reason,
        evaluation_error: status.evaluation_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn while_the_circuit_is_open_nobody_is_asked() {
        let cluster = simkube::Cluster::new(simkube::Options::default());
        let circuit = Arc::<Circuit>::default();
        circuit.probe_unanswered("silence");
        let reviews = AccessReviews::new(kube::Client::new(cluster.service(), "d"), &circuit);
        let answer = reviews.ask(Bytes::new(), Duration::from_secs(1)).await;
        let unanswered = AccessReviewError::Unanswered {
            why: "silence".into(),
            retry_after: Some(Duration::from_secs(1)),
        };
        assert_eq!(answer, Err(unanswered));
        assert_eq!(cluster.counts().reviews, 0);
    }
}
