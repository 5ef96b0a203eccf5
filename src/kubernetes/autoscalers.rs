//! HorizontalPodAutoscalers: who else sets the counts of Deployments, and within which bounds.
//!
//! Listed and watched beside the Deployments, as JSON, since they are few; what isn't known is told as unknown. Failures here
//! are nobody else's: reads and writes of counts go on.

mod object;

use std::{collections::HashMap, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};
use futures_util::future::join_all;
use tracing::{info, warn};

use super::{
    InformerStatus,
    calls::{ApiServer, CallError},
    follower::{Followed, Follower, refused},
};
use object::{Namespaces, Object, Objects, Target};

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
            let followed = Scope {
                namespace: namespace.as_deref().unwrap_or("all"),
                known,
                objects: Objects::new(),
                changed: Namespaces::new(),
            };
            let restores = self.status.restores.subscribe();
            Follower::new(api_server.clone(), collection, "", restores, followed).run()
        });
        join_all(follow).await;
    }
}

/// The autoscalers of one scope.
struct Scope<'a> {
    /// As the log has it: `all` for all.
    namespace: &'a str,
    known: &'a ArcSwapOption<Known>,
    objects: Objects,
    /// Where something has changed that isn't made known yet.
    changed: Namespaces,
}

impl Scope<'_> {
    /// Makes known what there is in these namespaces, beside what is known already.
    fn make_known(&self, mut known: Known, changed: Namespaces) {
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
}

impl Followed for Scope<'_> {
    type Object = Object;
    const WHAT: &'static str = "autoscalers";

    fn version(object: &Object) -> &str {
        object.version()
    }

    fn listed(&mut self, all: Vec<Object>, _: u64) {
        let targets = all.into_iter().filter_map(Object::target);
        self.objects = targets
            .map(|(key, target)| (key, Arc::new(target)))
            .collect();
        let all = self.objects.keys().map(|(namespace, _)| namespace.clone());
        let all = all.collect();
        self.changed.clear();
        self.make_known(Known::new(), all);
    }

    fn changed(&mut self, object: Object, deleted: bool) {
        let namespace = object::apply(&mut self.objects, object, deleted);
        self.changed.extend(namespace);
    }

    fn publish(&mut self, _: u64) {
        if self.changed.is_empty() {
            return;
        }
        let known = self.known.load();
        let known = known.as_deref().cloned();
        let changed = std::mem::take(&mut self.changed);
        self.make_known(known.unwrap_or_default(), changed);
    }

    fn forget(&mut self) {
        self.objects.clear();
        self.known.store(None);
    }

    fn followed(&self) {
        info!(name: "autoscalers.followed", namespace = %self.namespace, count = self.objects.len(),
            "{} HorizontalPodAutoscalers of Deployments are known", self.objects.len());
    }

    fn lost(&self, error: &CallError) {
        if refused(error) {
            warn!(name: "autoscalers.lost", namespace = %self.namespace, error = %error,
                "whether autoscalers set counts isn't known: let this server's account list and watch horizontalpodautoscalers, or set autoscalers to false");
        } else {
            warn!(name: "autoscalers.lost", namespace = %self.namespace, error = %error,
                "autoscalers aren't followed for now; what was known of them stays in use");
        }
    }
}
