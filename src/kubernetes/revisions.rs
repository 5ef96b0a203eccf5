//! The revisions of a Deployment: the Pod templates that its ReplicaSets keep.

use std::{collections::BTreeMap, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Deployments, Details, ReadError, details::ask, write::WriteRequest};

/// Where a Deployment's controller numbers its templates, on ReplicaSets and on the Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// What the controller adds to a ReplicaSet's template and to no Deployment's.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A Pod template that a Deployment had.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Its number; greater ones are newer, and one that is rolled back to gets a new number.
    pub number: u64,
    /// The Deployment's uid.
    pub owner: Uuid,
    /// The template, as Kubernetes has it.
    pub template: Value,
}

impl Revision {
    /// The images of its containers, init containers included.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let pod = &self.template["spec"];
        let lists = ["containers", "initContainers"].map(|list| pod[list].as_array());
        let all = lists.into_iter().flatten().flatten();
        all.filter_map(|container| container["image"].as_str())
    }
}

/// ReplicaSets that are asked for at once, and how often: a Deployment keeps ten old ones unless it says otherwise, and what its
/// labels select may be others' too.
const PAGE: usize = 100;
const PAGES: usize = 20;
/// How long all pages together may take.
const ALL: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct ReplicaSets {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<ReplicaSet>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    /// Where the next page begins; empty on the last.
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct ReplicaSet {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
struct OwnerReference {
    uid: Uuid,
    #[serde(default)]
    controller: bool,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    template: Value,
}

impl ReplicaSet {
    /// The revision that it keeps, if it is this Deployment's.
    fn revision(mut self, of: Uuid) -> Option<Revision> {
        let mut owners = self.metadata.owner_references.iter();
        owners.find(|owner| owner.controller && owner.uid == of)?;
        let number = self.metadata.annotations.get(REVISION)?.parse().ok()?;
        if let Some(labels) = self.spec.template["metadata"]["labels"].as_object_mut() {
            labels.remove(TEMPLATE_HASH);
        }
        Some(Revision {
            number,
            owner: of,
            template: self.spec.template,
        })
    }
}

impl Details {
    /// The number of its present revision; `None` until its controller has seen it.
    pub fn revision(&self) -> Option<u64> {
        self.annotations.get(REVISION)?.parse().ok()
    }
}

impl Deployments {
    /// The revisions of a Deployment that are kept, oldest first.
    ///
    /// # Errors
    ///
    /// When the API server doesn't tell; nothing was changed.
    pub async fn revisions(
        &self,
        request: &WriteRequest,
        deployment: &Details,
    ) -> Result<Vec<Revision>, ReadError> {
        self.api_server.admit()?;
        let turns = &self.limiter.container_reads;
        let _turn = turns
            .take(&request.caller)
            .await
            .map_err(ReadError::NoTurn)?;
        let all = self.all_revisions(&request.namespace, deployment);
        let mut revisions = timeout(ALL, all).await.unwrap_or_else(|_| {
            let why = format!("it told no ReplicaSets within {} s", ALL.as_secs());
            Err(ReadError::Unavailable(why, None))
        })?;
        revisions.sort_by_key(|revision| revision.number);
        Ok(revisions)
    }

    /// Page by page, all of one state of the cluster.
    async fn all_revisions(
        &self,
        namespace: &str,
        deployment: &Details,
    ) -> Result<Vec<Revision>, ReadError> {
        let mut uri = format!("/apis/apps/v1/namespaces/{namespace}/replicasets?limit={PAGE}");
        let selector = selector(&deployment.selector);
        if !selector.is_empty() {
            uri = format!("{uri}&labelSelector={selector}");
        }
        let mut revisions = Vec::new();
        let mut next = String::new();
        for _ in 0..PAGES {
            let page: ReplicaSets = ask(&self.api_server, &format!("{uri}{next}")).await?;
            let all = page.items.into_iter();
            revisions.extend(all.filter_map(|set| set.revision(deployment.uid)));
            if page.metadata.next.is_empty() {
                return Ok(revisions);
            }
            let token = utf8_percent_encode(&page.metadata.next, NON_ALPHANUMERIC);
            next = format!("&continue={token}");
        }
        let why = format!(
            "the Deployment's labels select more than {} ReplicaSets, which is more than are looked through for its revisions",
            PAGE * PAGES
        );
        Err(ReadError::Unavailable(why, None))
    }
}

/// The labels of a Deployment's Pods, and so of its ReplicaSets, as a query has them.
fn selector(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| {
            utf8_percent_encode(&format!("{key}={value}"), NON_ALPHANUMERIC).to_string()
        })
        .collect();
    pairs.join("%2C")
}
