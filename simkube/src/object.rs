//! A Deployment as it is kept: slim, shared by reference, never changed in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use uuid::Uuid;

/// Sorted pairs of labels or annotations, shared between versions of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(Arc<[(Arc<str>, Arc<str>)]>);

impl Pairs {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (&**k, &**v))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same pairs without `key`.
    pub(crate) fn without(self, key: &str) -> Self {
        if self.get(key).is_none() {
            return self;
        }
        self.iter().filter(|(k, _)| *k != key).collect()
    }

    /// The same pairs with `key` set to `value`.
    pub(crate) fn with(&self, key: &str, value: &str) -> Self {
        let others = self.iter().filter(|(k, _)| *k != key);
        others.chain([(key, value)]).collect()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = pairs
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        pairs.sort();
        Self(pairs.into())
    }
}

/// `spec` without `replicas`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spec {
    /// What `NewDeployment` makes: one container of this image, rendered when it is sent.
    Plain { image: Arc<str> },
    /// What came over HTTP, kept as it was written.
    Given(Arc<Value>),
}

/// `status`, the part that a rollout moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) observed_generation: i64,
    /// The newest revision that the controller has numbered; 0 before the first.
    pub(crate) revision: u32,
    pub(crate) replicas: i32,
    pub(crate) updated: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    /// Counts the changes of status that move nothing else, as a condition's time would.
    pub(crate) touched: u32,
}

/// Who set a count, as managed fields say it.
#[derive(Clone, Debug)]
pub(crate) struct SetBy {
    pub(crate) manager: String,
    /// Whether it was applied.
    pub(crate) applied: bool,
    /// `scale`, or empty for a write of the Deployment itself.
    pub(crate) subresource: &'static str,
    /// Seconds since the epoch.
    pub(crate) at: i64,
}

impl SetBy {
    /// As managed fields call it.
    pub(crate) fn operation(&self) -> &'static str {
        if self.applied { "Apply" } else { "Update" }
    }
}

/// One version of a Deployment.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// `namespace/name`, the order of etcd.
    pub(crate) key: Arc<str>,
    pub(crate) uid: Uuid,
    pub(crate) resource_version: u64,
    pub(crate) generation: i64,
    /// The number of its Pod template among its revisions.
    pub(crate) revision: u32,
    /// Who set the count last over HTTP, and those who applied the same since.
    pub(crate) set_by: Arc<[SetBy]>,
    /// Seconds since the epoch.
    pub(crate) created: i64,
    /// Seconds since the epoch; set while finalizers hold the object.
    pub(crate) deleted: Option<i64>,
    pub(crate) replicas: Option<i32>,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
    pub(crate) finalizers: Arc<[Arc<str>]>,
    pub(crate) spec: Spec,
    pub(crate) status: Rollout,
    pub(crate) encoded_len: EncodedLen,
}

/// How long the object is in protobuf; measured once, forgotten by a clone because clones are changed.
#[derive(Debug, Default)]
pub(crate) struct EncodedLen(AtomicU32);

impl EncodedLen {
    pub(crate) fn get_or_measure(&self, measure: impl FnOnce() -> usize) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let len = measure();
                self.0
                    .store(u32::try_from(len).unwrap_or(0), Ordering::Relaxed);
                len
            }
            len => len as usize,
        }
    }
}

impl Clone for EncodedLen {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Object {
    pub(crate) fn namespace(&self) -> &str {
        self.key
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    pub(crate) fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }

    /// What the controller works towards: absent means 1.
    pub(crate) fn desired(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }

    /// The number of its newest revision that its controller has seen.
    pub(crate) fn numbered(&self) -> Option<u32> {
        (self.status.revision > 0).then_some(self.status.revision)
    }

    /// The status of a finished rollout.
    pub(crate) fn settled(&self) -> Rollout {
        let n = self.desired();
        Rollout {
            observed_generation: self.generation,
            revision: self.revision,
            replicas: n,
            updated: n,
            ready: n,
            available: n,
            touched: self.status.touched,
        }
    }

    /// Whether both are the same but for version and uid: writing one over the other is no write.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        self.replicas == other.replicas
            && self.labels == other.labels
            && self.annotations == other.annotations
            && self.finalizers == other.finalizers
            && self.spec == other.spec
            && self.status == other.status
            && self.deleted == other.deleted
    }

    pub(crate) fn view(&self) -> Deployment {
        Deployment {
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
            uid: self.uid.to_string(),
            replicas: self.replicas,
            resource_version: self.resource_version,
            generation: self.generation,
            observed_generation: self.status.observed_generation,
            ready_replicas: self.status.ready,
            deleting: self.deleted.is_some(),
        }
    }
}

/// A Deployment as [`Cluster::deployments`](crate::Cluster::deployments) shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deployment {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, a UUID of version 4.
    pub uid: String,
    /// `spec.replicas`; `None` where the field is absent, which Kubernetes takes for 1.
    pub replicas: Option<i32>,
    /// The version of its last change.
    pub resource_version: u64,
    /// Grows with every change of `spec`.
    pub generation: i64,
    /// The generation that the controller has seen.
    pub observed_generation: i64,
    /// `status.readyReplicas`.
    pub ready_replicas: i32,
    /// Whether it has a `deletionTimestamp`.
    pub deleting: bool,
}

/// A Deployment to create. Cloning one is cheap and shares labels, so that a cluster can be filled with a million.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) replicas: Option<i32>,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
    pub(crate) finalizers: Arc<[Arc<str>]>,
    pub(crate) image: Arc<str>,
    pub(crate) ready: bool,
}

impl NewDeployment {
    /// A Deployment of one replica, without labels, its rollout finished.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            replicas: Some(1),
            labels: Pairs::default(),
            annotations: Pairs::default(),
            finalizers: Arc::default(),
            image: "pause:3.10".into(),
            ready: true,
        }
    }

    /// The same with another name.
    #[must_use]
    pub fn named(mut self, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self.name = name.into();
        self
    }

    /// Sets `spec.replicas`: a number, or `None` to leave the field out.
    #[must_use]
    pub fn replicas(mut self, replicas: impl Into<Option<i32>>) -> Self {
        self.replicas = replicas.into();
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels = self.labels.with(key, value);
        self
    }

    /// Sets an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations = self.annotations.with(key, value);
        self
    }

    /// Adds a finalizer: a deletion then waits until it is removed.
    #[must_use]
    pub fn finalizer(mut self, name: &str) -> Self {
        self.finalizers = self
            .finalizers
            .iter()
            .cloned()
            .chain([name.into()])
            .collect();
        self
    }

    /// Sets the image of the one container.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = image.into();
        self
    }

    /// Whether its rollout is finished when it appears (the default). Otherwise its status is empty, and
    /// the controller, if it is on, starts to fill it.
    #[must_use]
    pub fn ready(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }
}
