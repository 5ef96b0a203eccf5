//! What this server's own account may do in the cluster, and what the API server tells of itself: `headcount doctor` asks it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use jiff::fmt::rfc2822::DateTimeParser;
use kube::client::Body;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Circuit,
    calls::{ApiServer, CallError, small_body},
};

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/";

/// Asks the API server about itself and about who asks.
#[derive(Clone)]
pub struct OwnRights {
    api_server: ApiServer,
}

/// A right, in RBAC's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// RBAC's verb.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// The subresource; empty for none.
    pub subresource: &'static str,
}

/// What the API server tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its version, like `v1.36.3`; `None` if it keeps that to itself.
    pub version: Option<String>,
    /// What its clock said when it answered, in whole seconds.
    pub date: Option<SystemTime>,
    /// What this machine's clock said in the middle of the call.
    pub here: SystemTime,
    /// How long the call took.
    pub took: Duration,
}

/// What an account may do in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRules {
    /// The rules.
    pub rules: Vec<HeldRule>,
    /// Whether the cluster says that there may be more.
    pub incomplete: bool,
}

/// One rule, as the cluster tells it; `*` stands for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeldRule {
    /// RBAC's verbs.
    pub verbs: Vec<String>,
    /// The API groups.
    pub api_groups: Vec<String>,
    /// The resources, with subresources after a slash.
    pub resources: Vec<String>,
    /// The objects' names; empty for all.
    pub resource_names: Vec<String>,
}

/// A question that the API server didn't answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NoAnswer {
    /// The HTTP status; 0 when there was none.
    pub code: i32,
    /// What happened.
    pub words: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

#[derive(Deserialize)]
struct Reviewed<T> {
    status: T,
}

#[derive(Deserialize)]
struct Allowed {
    allowed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    #[serde(default)]
    resource_rules: Vec<HeldRule>,
    #[serde(default)]
    incomplete: bool,
}

#[derive(Serialize)]
struct Attributes<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
}

impl Right {
    /// The resource with its subresource and group, as kubectl writes it: `deployments.apps/scale`.
    pub fn resource(&self) -> String {
        let (dot, slash) = (dash(self.group, "."), dash(self.subresource, "/"));
        format!(
            "{}{dot}{}{slash}{}",
            self.resource, self.group, self.subresource
        )
    }
}

fn dash(name: &str, sign: &'static str) -> &'static str {
    if name.is_empty() { "" } else { sign }
}

impl OwnRights {
    /// Asks through `client`.
    pub fn new(client: kube::Client) -> Self {
        Self {
            api_server: ApiServer::new(client, &Circuit::default().into()),
        }
    }

    /// Version and clock of the API server.
    ///
    /// # Errors
    ///
    /// When it doesn't answer, or refuses the credentials (401). That it keeps its version to itself is no error.
    pub async fn about(&self) -> Result<About, NoAnswer> {
        let (here, start) = (SystemTime::now(), Instant::now());
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static("/version");
        let answer = self.api_server.send(request, ANSWER).await;
        let took = start.elapsed();
        let here = here + took / 2;
        let (version, date) = match answer {
            Ok(mut response) => {
                let date = date(response.headers());
                let body = small_body(response.body_mut(), ANSWER).await?;
                let version = serde_json::from_slice(&body);
                (version.ok().map(|v: Version| v.git_version), date)
            }
            Err(error) if error.code() == 403 => (None, None),
            Err(error) => return Err(error.into()),
        };
        Ok(About {
            version,
            date,
            here,
            took,
        })
    }

    /// Whether this account has a right in a namespace, or without one in all of them (SelfSubjectAccessReview).
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn has(&self, right: Right, namespace: Option<&str>) -> Result<bool, NoAnswer> {
        let attributes = Attributes {
            verb: right.verb,
            group: right.group,
            resource: right.resource,
            subresource: right.subresource,
            namespace: namespace.unwrap_or_default(),
        };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        });
        let Allowed { allowed } = self.ask("selfsubjectaccessreviews", &review).await?;
        Ok(allowed)
    }

    /// All that this account may do in a namespace (SelfSubjectRulesReview).
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn rules(&self, namespace: &str) -> Result<HeldRules, NoAnswer> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": { "namespace": namespace },
        });
        let rules: Rules = self.ask("selfsubjectrulesreviews", &review).await?;
        Ok(HeldRules {
            rules: rules.resource_rules,
            incomplete: rules.incomplete,
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        kind: &str,
        review: &serde_json::Value,
    ) -> Result<T, NoAnswer> {
        let mut post = Request::new(Body::from(review.to_string().into_bytes()));
        *post.method_mut() = Method::POST;
        *post.uri_mut() = format!("{REVIEWS}{kind}").parse().unwrap_or_default();
        for name in [header::CONTENT_TYPE, header::ACCEPT] {
            post.headers_mut()
                .insert(name, HeaderValue::from_static("application/json"));
        }
        let mut response = self.api_server.send(post, ANSWER).await?;
        let body: Bytes = small_body(response.body_mut(), ANSWER).await?;
        let read = serde_json::from_slice::<Reviewed<T>>(&body);
        read.map(|review| review.status).map_err(|error| NoAnswer {
            code: 0,
            words: format!("the Kubernetes API answered what can't be read: {error}"),
        })
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.into())
}

impl From<CallError> for NoAnswer {
    fn from(error: CallError) -> Self {
        Self {
            code: error.code(),
            words: error.to_string(),
        }
    }
}
