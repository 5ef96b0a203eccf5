//! HorizontalPodAutoscalers: who else sets the counts of Deployments, and within which bounds.
//!
//! Listed and watched beside the Deployments, as JSON, since they are few; what isn't known is told as unknown. Failures here
//! are nobody else's: reads and writes of counts go on.

mod object;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, header};
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    InformerStatus,
    backoff::Backoff,
    calls::{ApiServer, CallError, next_chunk, small_body},
    wire::DecodeError,
};
use object::{List, Namespaces, Object, Objects, Target, read};

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
    /// Whether it may raise a count below `max`: not if `behavior.scaleUp` is `Disabled`.
    pub raises: bool,
    /// Whether it may lower a count above `min`: not if `behavior.scaleDown` is `Disabled`.
    pub lowers: bool,
}

impl Autoscaler {
    /// Whether it changes this count by itself. KEDA may do so with any; Kubernetes' own leaves 0 alone, unless 0 is its least, and
    /// brings what is out of its bounds back, however it behaves within them.
    pub fn acts_on(&self, count: i32) -> bool {
        self.kind == AutoscalerKind::ScaledObject
            || (count > 0 || self.min == 0)
                && (count < self.min
                    || count > self.max
                    || self.raises && count < self.max
                    || self.lowers && count > self.min)
    }
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

/// Those of each namespace, by the names of their Deployments and then by their own.
type Known = HashMap<Box<str>, Arc<[Arc<Target>]>>;

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

    /// Tells of each autoscaler of one Deployment that is known.
    pub fn each_of(&self, namespace: &str, name: &str, tell: impl FnMut(&Autoscaler)) {
        let known = self.known_in(namespace);
        let targets = known.as_ref().and_then(|known| known.get(namespace));
        let Some(targets) = targets else { return };
        let first = targets.partition_point(|target| *target.deployment < *name);
        let found = targets[first..].iter();
        let found = found.take_while(|target| *target.deployment == *name);
        found.map(|target| &target.autoscaler).for_each(tell);
    }

    /// Whether those of a namespace are known.
    pub fn are_known(&self, namespace: &str) -> bool {
        self.known_in(namespace).is_some()
    }

    fn known_in(&self, namespace: &str) -> Guard<Option<Arc<Known>>> {
        let mut scopes = self.scopes.iter();
        let scope = scopes.find(|(scope, _)| scope.as_deref().is_none_or(|own| own == namespace));
        scope.map_or_else(|| Guard::from_inner(None), |(_, known)| known.load())
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
                restores: self.status.restores.subscribe(),
                objects: Objects::new(),
                backoff: Backoff::default(),
                told: None,
            };
            follower.run()
        });
        join_all(follow).await;
    }
}

struct Follower<'a> {
    api_server: ApiServer,
    collection: String,
    /// As the log has it: `all` for all.
    namespace: &'a str,
    known: &'a ArcSwapOption<Known>,
    /// Moves when the cluster was recognised as restored from an older state.
    restores: watch::Receiver<u64>,
    objects: Objects,
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
    async fn watch_from(&mut self, mut version: u64) {
        let mut restores = self.restores.clone();
        restores.mark_unchanged();
        loop {
            let end = tokio::select! {
                biased;
                // What is older now was newer before: versions say nothing.
                Ok(()) = restores.changed() => return,
                end = self.watch(&mut version) => end,
            };
            match end {
                Ok(()) => self.followed(),
                Err(End::Expired) => return,
                Err(End::Failed(error)) => {
                    self.failed(&error).await;
                    // It answers, and not what was asked for: perhaps it can't go on from this version.
                    if error.code() != 0 {
                        return;
                    }
                }
            }
        }
    }

    /// Lists all of them, and publishes them when they are complete; the version that the list shows.
    async fn list(&mut self) -> Result<u64, CallError> {
        let mut objects = Objects::new();
        let mut token = String::new();
        for _ in 0..MOST_PAGES {
            let page: List = timeout(WHOLE_PAGE, self.page(&token))
                .await
                .unwrap_or(Err(CallError::Silent(WHOLE_PAGE)))?;
            let targets = page.items.into_iter().filter_map(Object::target);
            objects.extend(targets.map(|(key, target)| (key, Arc::new(target))));
            token = page.metadata.continue_token;
            if token.is_empty() {
                let all = objects.keys().map(|(namespace, _)| namespace.clone());
                let all = all.collect();
                self.objects = objects;
                self.publish(Known::new(), all);
                let version = page.metadata.resource_version.parse();
                return version.map_err(|_| DecodeError::Envelope.into());
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

    async fn watch(&mut self, version: &mut u64) -> Result<(), End> {
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

    /// Takes what has come of a watch.
    fn take(&mut self, lines: &mut Vec<u8>, chunk: &Bytes, version: &mut u64) -> Result<(), End> {
        lines.extend_from_slice(chunk);
        let mut changed = Namespaces::new();
        let end = object::apply(&mut self.objects, lines, version, &mut changed);
        if !changed.is_empty() {
            let known = self.known.load();
            let known = known.as_deref().cloned();
            self.publish(known.unwrap_or_default(), changed);
        }
        end?;
        if lines.len() > LONGEST_EVENT {
            return Err(End::Failed(
                DecodeError::TooLarge(lines.len() as u64).into(),
            ));
        }
        Ok(())
    }

    /// Makes known what there is in these namespaces, beside what is known already.
    fn publish(&self, mut known: Known, changed: Namespaces) {
        for namespace in changed {
            let mut targets = object::of_namespace(&self.objects, &namespace);
            targets.sort_by(|a, b| a.deployment.cmp(&b.deployment));
            if targets.is_empty() {
                known.remove(&namespace);
            } else {
                known.insert(namespace, targets.into());
            }
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
