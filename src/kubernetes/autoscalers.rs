//! HorizontalPodAutoscalers: who else sets the counts of Deployments, and within which bounds.
//!
//! Listed and watched beside the Deployments, as JSON, since they are few; what isn't known is told as unknown. Failures here
//! are nobody else's: reads and writes of counts go on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, header};
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::{
    InformerStatus,
    backoff::Backoff,
    calls::{ApiServer, CallError, next_chunk, small_body},
    wire::{DecodeError, Status},
};
use crate::name;

/// Autoscalers in one page, which together are far below the bound of a small answer.
const PAGE: usize = 250;
/// A list of more pages has no end.
const MOST_PAGES: usize = 1000;
/// How long the API server may take until it answers, and between two pieces of an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a whole page may take.
const WHOLE_PAGE: Duration = Duration::from_secs(60);
/// The API server ends a watch after so many seconds, and one that goes on for longer is cut: its connection is half-open.
const WATCH_SECONDS: u64 = 60;
const OVERTIME: Duration = Duration::from_secs(3);
/// A watch that ends sooner has failed, however cleanly it ends.
const SHORT: Duration = Duration::from_secs(1);
/// One event of a watch is no longer.
const LONGEST_EVENT: usize = 4 << 20;
/// Rights and APIs change rarely: whoever was refused asks again after this time.
const REFUSED: Duration = Duration::from_secs(60);
/// Lists that follow each other faster than this wait longer and longer.
const RELIST_PACE: Duration = Duration::from_secs(10);

/// What sets the count of a Deployment, beside those who call this API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autoscaler {
    /// The object that people edit.
    pub kind: AutoscalerKind,
    /// Its name, a subdomain; it is in the Deployment's namespace.
    pub name: Box<str>,
    /// The least count that it sets, 0 or more.
    pub min: i32,
    /// The largest count that it sets.
    pub max: i32,
}

/// The kinds of autoscalers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoscalerKind {
    /// Kubernetes' own (`autoscaling/v2`).
    HorizontalPodAutoscaler,
    /// KEDA's, which keeps a HorizontalPodAutoscaler of its own. The bounds are that one's, whose least count is never 0.
    ScaledObject,
}

impl AutoscalerKind {
    /// The kind, as its objects have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
        }
    }
}

/// By the name of their Deployment, in the order of their own names; by namespace first.
type Known = HashMap<Box<str>, HashMap<Box<str>, Vec<Autoscaler>>>;

/// The autoscalers that are known; looking one up asks nobody and waits for nothing.
#[derive(Debug)]
pub struct Autoscalers {
    /// By scope of the store, in its order, with the namespace of each.
    scopes: Vec<(Option<String>, ArcSwapOption<Known>)>,
}

impl Autoscalers {
    /// Nothing is known of these scopes yet.
    pub(super) fn unknown(scopes: impl IntoIterator<Item = Option<String>>) -> Self {
        let scopes = scopes.into_iter();
        Self {
            scopes: scopes.map(|scope| (scope, None.into())).collect(),
        }
    }

    /// The autoscalers of one Deployment; `None` if they aren't known.
    pub fn of(&self, namespace: &str, name: &str) -> Option<Vec<Autoscaler>> {
        let mut scopes = self.scopes.iter();
        let (_, known) =
            scopes.find(|(scope, _)| scope.as_deref().is_none_or(|own| own == namespace))?;
        let known = known.load();
        let found = known.as_ref()?.get(namespace).and_then(|n| n.get(name));
        Some(found.cloned().unwrap_or_default())
    }
}

/// Keeps [`Autoscalers`] like the cluster. [`Autoscaling::run`] never returns.
pub struct Autoscaling {
    client: kube::Client,
    status: Arc<InformerStatus>,
}

impl Autoscaling {
    /// Follows the autoscalers in the managed namespaces, for whoever has this status.
    pub fn new(client: kube::Client, status: Arc<InformerStatus>) -> Self {
        Self { client, status }
    }

    /// Follows them in every scope, for ever.
    pub async fn run(self) {
        let api_server = ApiServer::new(self.client, self.status.circuit());
        let scopes = self.status.autoscalers().scopes.iter();
        let follow = scopes.map(|(namespace, known)| {
            let collection = match namespace {
                Some(namespace) => {
                    format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
                }
                None => "/apis/autoscaling/v2/horizontalpodautoscalers".into(),
            };
            let follower = Follower {
                api_server: api_server.clone(),
                collection,
                namespace: namespace.as_deref().unwrap_or("all"),
                known,
                objects: BTreeMap::new(),
                backoff: Backoff::default(),
                told: None,
            };
            follower.run()
        });
        join_all(follow).await;
    }
}

/// Namespace and name of a HorizontalPodAutoscaler.
type Key = (Box<str>, Box<str>);

/// What is kept of a HorizontalPodAutoscaler.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    deployment: Box<str>,
    autoscaler: Autoscaler,
}

struct Follower<'a> {
    api_server: ApiServer,
    collection: String,
    /// As the log has it: `all` for all.
    namespace: &'a str,
    known: &'a ArcSwapOption<Known>,
    /// Those that scale something else than Deployments aren't kept.
    objects: BTreeMap<Key, Target>,
    backoff: Backoff,
    /// Whether the log's last word was that they are followed.
    told: Option<bool>,
}

/// Why a watch can't go on.
enum End {
    /// It was too old: everything is listed anew.
    Expired,
    Failed(CallError),
}

impl Follower<'_> {
    async fn run(mut self) {
        let mut relists = Backoff::default();
        loop {
            let start = Instant::now();
            match self.list().await {
                Ok(version) => {
                    self.followed();
                    self.watch_from(version).await;
                }
                Err(error) => self.failed(&error).await,
            }
            // One relist is immediate, a row of them is paced.
            if start.elapsed() < RELIST_PACE {
                sleep(relists.next(None)).await;
            } else {
                relists.reset();
            }
        }
    }

    /// Watches, again and again, until everything has to be listed anew.
    async fn watch_from(&mut self, mut version: String) {
        loop {
            match self.watch(&mut version).await {
                Ok(()) => self.followed(),
                Err(End::Expired) => return,
                Err(End::Failed(error)) => {
                    self.failed(&error).await;
                    if refused(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// Lists all of them, and publishes them when they are complete; the version that the list shows.
    async fn list(&mut self) -> Result<String, CallError> {
        let mut objects = BTreeMap::new();
        let mut token = String::new();
        for _ in 0..MOST_PAGES {
            let page: List = timeout(WHOLE_PAGE, self.page(&token))
                .await
                .unwrap_or(Err(CallError::Silent(WHOLE_PAGE)))?;
            objects.extend(page.items.into_iter().filter_map(Object::target));
            token = page.metadata.continue_token;
            if token.is_empty() {
                self.objects = objects;
                self.publish();
                return Ok(page.metadata.resource_version);
            }
        }
        Err(DecodeError::NoLastPage(MOST_PAGES).into())
    }

    async fn page(&self, token: &str) -> Result<List, CallError> {
        let mut query = format!("limit={PAGE}");
        if !token.is_empty() {
            query = format!(
                "{query}&continue={}",
                utf8_percent_encode(token, NON_ALPHANUMERIC)
            );
        }
        let mut body = self.get(&query).await?;
        read(&small_body(&mut body, ANSWER).await?)
    }

    async fn watch(&mut self, version: &mut String) -> Result<(), End> {
        let query = format!(
            "watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        );
        let opened = Instant::now();
        let cut = Duration::from_secs(WATCH_SECONDS) + OVERTIME;
        let mut body = self.get(&query).await.map_err(End::of)?;
        let mut lines = Vec::new();
        let mut news = false;
        loop {
            let left = cut.saturating_sub(opened.elapsed());
            let Some(chunk) = next_chunk(&mut body, left).await.map_err(End::Failed)? else {
                if opened.elapsed() < SHORT && !news {
                    let why = "the watch of autoscalers ended as soon as it began";
                    return Err(End::Failed(CallError::Broken(why.into())));
                }
                return Ok(());
            };
            news = true;
            self.take(&mut lines, &chunk, version)?;
            self.backoff.reset();
        }
    }

    /// Applies the events that are whole.
    fn take(
        &mut self,
        lines: &mut Vec<u8>,
        chunk: &Bytes,
        version: &mut String,
    ) -> Result<(), End> {
        lines.extend_from_slice(chunk);
        let mut changed = false;
        let mut taken = 0;
        while let Some(length) = lines[taken..].iter().position(|byte| *byte == b'\n') {
            let line = &lines[taken..taken + length];
            taken += length + 1;
            if line.is_empty() {
                continue;
            }
            let Kind { kind } = read(line).map_err(End::Failed)?;
            if kind == "ERROR" {
                let Event::<Status> { object: status } = read(line).map_err(End::Failed)?;
                let retry_after = status.retry_after();
                return Err(End::of(CallError::Status {
                    status,
                    retry_after,
                }));
            }
            let Event::<Object> { object } = read(line).map_err(End::Failed)?;
            version.clone_from(&object.metadata.resource_version);
            changed |= match kind {
                "BOOKMARK" => false,
                "DELETED" => self.objects.remove(&object.key()).is_some(),
                _ => {
                    let key = object.key();
                    match object.target() {
                        // Their status changes all the time, which is no news here.
                        Some((_, target)) if self.objects.get(&key) == Some(&target) => false,
                        Some((_, target)) => self.objects.insert(key, target).is_none_or(|_| true),
                        None => self.objects.remove(&key).is_some(),
                    }
                }
            };
        }
        lines.drain(..taken);
        if changed {
            self.publish();
        }
        if lines.len() > LONGEST_EVENT {
            return Err(End::Failed(
                DecodeError::TooLarge(lines.len() as u64).into(),
            ));
        }
        Ok(())
    }

    fn publish(&self) {
        let mut known = Known::new();
        for ((namespace, _), target) in &self.objects {
            let namespace = known.entry(namespace.clone()).or_default();
            let found = namespace.entry(target.deployment.clone()).or_default();
            found.push(target.autoscaler.clone());
        }
        self.known.store(Some(Arc::new(known)));
    }

    async fn get(&self, query: &str) -> Result<Body, CallError> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("{}?{query}", self.collection)
            .parse()
            .unwrap_or_default();
        request
            .headers_mut()
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // It says nothing of whether writes can be sent.
        let answer = self.api_server.counted(request, ANSWER).await;
        Ok(answer?.into_body())
    }

    /// Says once that they are followed.
    fn followed(&mut self) {
        self.backoff.reset();
        if self.told.replace(true) != Some(true) {
            info!(name: "autoscalers.followed", namespace = %self.namespace, count = self.objects.len(),
                "{} HorizontalPodAutoscalers of Deployments are known", self.objects.len());
        }
    }

    /// Says once why they aren't, and waits. What was known stays, unless the cluster refuses to tell.
    async fn failed(&mut self, error: &CallError) {
        let refused = refused(error);
        if refused {
            self.objects.clear();
            self.known.store(None);
        }
        match self.told.replace(false) {
            Some(false) => {}
            _ if refused => {
                warn!(name: "autoscalers.lost", namespace = %self.namespace, error = %error,
                    "whether autoscalers set counts isn't known: let this server's account list and watch horizontalpodautoscalers, or set autoscalers to false");
            }
            _ => {
                warn!(name: "autoscalers.lost", namespace = %self.namespace, error = %error,
                    "autoscalers aren't followed for now; what was known of them stays in use");
            }
        }
        let wait = self.backoff.next(error.retry_after());
        sleep(if refused { REFUSED } else { wait }).await;
    }
}

impl End {
    fn of(error: CallError) -> Self {
        match error.code() {
            410 => Self::Expired,
            _ => Self::Failed(error),
        }
    }
}

/// Whether the account lacks the right, or the cluster the API: nothing that goes away soon.
fn refused(error: &CallError) -> bool {
    matches!(error.code(), 403 | 404)
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, CallError> {
    serde_json::from_slice(json)
        .map_err(|e| CallError::Broken(format!("it sent what can't be read: {e}")))
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    #[serde(default = "Vec::new", deserialize_with = "or_none")]
    items: Vec<Object>,
}

/// A list without items may have `null` in their place.
fn or_none<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: String,
}

/// What an event is, which says what its object is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Deserialize)]
struct Event<T> {
    object: T,
}

/// The fields of a HorizontalPodAutoscaler that are read.
#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    name: Box<str>,
    resource_version: String,
    #[serde(default)]
    owner_references: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: Reference,
    #[serde(default)]
    min_replicas: Option<i32>,
    max_replicas: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: Box<str>,
}

impl Reference {
    /// Whether it is of this group, in whichever version, and kind.
    fn is(&self, group: &str, kind: &str) -> bool {
        let version = self.api_version.strip_prefix(group);
        self.kind == kind && version.is_some_and(|version| version.starts_with('/'))
    }
}

impl Object {
    fn key(&self) -> Key {
        (self.metadata.namespace.clone(), self.metadata.name.clone())
    }

    /// What is kept of it, if it scales a Deployment.
    fn target(self) -> Option<(Key, Target)> {
        let key = self.key();
        let (metadata, spec) = (self.metadata, self.spec?);
        let target = spec.scale_target_ref;
        if !target.is("apps", "Deployment") {
            return None;
        }
        let mut owners = metadata.owner_references.into_iter();
        let scaled = owners.find(|owner| owner.is("keda.sh", "ScaledObject"));
        let (kind, own) = match scaled {
            Some(owner) => (AutoscalerKind::ScaledObject, owner.name),
            None => (AutoscalerKind::HorizontalPodAutoscaler, metadata.name),
        };
        // In headers and messages names stand as they are.
        if !name::is_deployment(&own) {
            return None;
        }
        let autoscaler = Autoscaler {
            kind,
            name: own,
            min: spec.min_replicas.unwrap_or(1),
            max: spec.max_replicas,
        };
        let deployment = target.name;
        Some((
            key,
            Target {
                deployment,
                autoscaler,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(change: impl FnOnce(&mut serde_json::Value)) -> Option<Target> {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": "cart-scaler", "resourceVersion": "7"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"},
                "minReplicas": 2, "maxReplicas": 10,
            },
            "status": {"currentReplicas": 3},
        });
        change(&mut object);
        let object: Object = serde_json::from_value(object).unwrap();
        object.target().map(|(_, target)| target)
    }

    #[test]
    fn only_what_scales_deployments_counts() {
        let target = object(|_| {}).unwrap();
        assert_eq!(&*target.deployment, "cart");
        assert_eq!(&*target.autoscaler.name, "cart-scaler");
        assert_eq!((target.autoscaler.min, target.autoscaler.max), (2, 10));
        for (key, other) in [
            ("kind", "StatefulSet"),
            ("apiVersion", "apps.example.org/v1"),
            ("apiVersion", "v1"),
        ] {
            let none = object(|o| o["spec"]["scaleTargetRef"][key] = other.into());
            assert_eq!(none, None, "{other}");
        }
    }

    #[test]
    fn without_a_least_count_it_is_one() {
        let target = object(|o| o["spec"]["minReplicas"] = serde_json::Value::Null).unwrap();
        assert_eq!(target.autoscaler.min, 1);
    }

    #[test]
    fn what_keda_keeps_is_known_by_its_scaled_object() {
        let owner = json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "orders", "uid": "1"}]);
        let target = object(|o| o["metadata"]["ownerReferences"] = owner).unwrap();
        assert_eq!(target.autoscaler.kind, AutoscalerKind::ScaledObject);
        assert_eq!(&*target.autoscaler.name, "orders");
        let other = json!([{"apiVersion": "example.org/v1", "kind": "ScaledObject", "name": "orders", "uid": "1"}]);
        let target = object(|o| o["metadata"]["ownerReferences"] = other).unwrap();
        assert_eq!(
            target.autoscaler.kind,
            AutoscalerKind::HorizontalPodAutoscaler
        );
    }
}
