//! The cluster's objects and their one version counter. No I/O, no async; whoever holds the lock may change it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use crate::history::{Event, History};
use crate::object::{EncodedLen, NewDeployment, Object, Pairs, Rollout, SetBy, Spec};
use crate::revision::Revisions;

/// A namespace. Namespaces come into being with their first Deployment, too.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) uid: Uuid,
    pub(crate) resource_version: u64,
    pub(crate) created: i64,
    /// How many Deployments are in it.
    pub(crate) deployments: usize,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<Arc<str>, Arc<Object>>,
    pub(crate) namespaces: HashMap<String, Namespace>,
    pub(crate) version: u64,
    pub(crate) history: History,
    pub(crate) revisions: Revisions,
    /// Continue tokens of earlier epochs are expired.
    pub(crate) token_epoch: u64,
    /// Watches of earlier epochs end: the API server was restarted on a restored etcd.
    pub(crate) watch_epoch: u64,
    random: u64,
}

/// A piece of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    /// The key of the last object, if there is more after it.
    pub(crate) last: Option<Arc<str>>,
}

impl State {
    pub(crate) fn new(version: u64, history: usize, seed: u64, now: i64) -> Self {
        let mut state = Self {
            objects: BTreeMap::new(),
            namespaces: HashMap::new(),
            version: 0,
            history: History::new(version, history),
            revisions: Revisions::default(),
            token_epoch: 0,
            watch_epoch: 0,
            random: seed,
        };
        // Every cluster has these; they are older than its first version.
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            state.ensure_namespace(name, now);
        }
        state.version = version;
        state
    }

    /// A UUID of version 4 that depends on the seed alone.
    fn uuid(&mut self) -> Uuid {
        let bytes = (u128::from(self.random()) << 64 | u128::from(self.random())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// SplitMix64: the whole state is one number.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Makes sure that a namespace exists.
    pub(crate) fn ensure_namespace(&mut self, name: &str, now: i64) {
        if !self.namespaces.contains_key(name) {
            self.version += 1;
            let new = Namespace {
                uid: self.uuid(),
                resource_version: self.version,
                created: now,
                deployments: 0,
            };
            self.namespaces.insert(name.to_owned(), new);
        }
    }

    /// What a new Deployment would be stored as, without storing it.
    pub(crate) fn draft(&mut self, new: &NewDeployment, now: i64) -> Object {
        let mut object = Object {
            key: format!("{}/{}", new.namespace, new.name).into(),
            uid: self.uuid(),
            resource_version: 0,
            generation: 1,
            revision: 1,
            set_by: Arc::default(),
            created: now,
            deleted: None,
            replicas: new.replicas,
            labels: new.labels.clone(),
            annotations: new.annotations.clone(),
            finalizers: new.finalizers.clone(),
            spec: Spec::Plain {
                image: new.image.clone(),
            },
            status: Rollout::default(),
            encoded_len: EncodedLen::default(),
        };
        if new.ready {
            object.status = object.settled();
        }
        object
    }

    /// Stores a new object; `None` if its key is taken.
    pub(crate) fn insert(&mut self, object: Object, now: i64) -> Option<Arc<Object>> {
        if self.objects.contains_key(&object.key) {
            return None;
        }
        self.ensure_namespace(object.namespace(), now);
        if let Some(namespace) = self.namespaces.get_mut(object.namespace()) {
            namespace.deployments += 1;
        }
        Some(self.commit(object, None))
    }

    /// Stores a changed object in place of `before`. A deleted object without finalizers goes away for good.
    pub(crate) fn replace(&mut self, mut object: Object, before: Arc<Object>) -> Arc<Object> {
        if object.deleted.is_some() && object.finalizers.is_empty() {
            return self.remove(before);
        }
        self.revisions.number(&mut object, &before);
        self.commit(object, Some(before))
    }

    fn commit(&mut self, mut object: Object, before: Option<Arc<Object>>) -> Arc<Object> {
        self.version += 1;
        object.resource_version = self.version;
        let object = Arc::new(object);
        self.objects.insert(object.key.clone(), object.clone());
        self.history.push(Event::new(object.clone(), before, false));
        object
    }

    /// Removes an object; what is returned carries the deletion's version.
    pub(crate) fn remove(&mut self, before: Arc<Object>) -> Arc<Object> {
        self.version += 1;
        self.objects.remove(&before.key);
        self.revisions.forget(before.uid);
        if let Some(namespace) = self.namespaces.get_mut(before.namespace()) {
            namespace.deployments -= 1;
        }
        let mut last = Object::clone(&before);
        last.resource_version = self.version;
        let last = Arc::new(last);
        self.history
            .push(Event::new(last.clone(), Some(before), true));
        last
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects
            .get(format!("{namespace}/{name}").as_str())
            .cloned()
    }

    /// Deletes, or marks as deleted while there are finalizers. The answer is what is left.
    pub(crate) fn delete(&mut self, object: Arc<Object>, now: i64) -> Arc<Object> {
        if object.finalizers.is_empty() {
            return self.remove(object);
        }
        if object.deleted.is_some() {
            return object;
        }
        let mut marked = Object::clone(&object);
        marked.deleted = Some(now);
        marked.generation += 1;
        self.commit(marked, Some(object))
    }

    /// Sets `spec.replicas`, whatever it was; who applies what is there already owns it too.
    pub(crate) fn scale(
        &mut self,
        object: Arc<Object>,
        replicas: Option<i32>,
        by: Option<SetBy>,
    ) -> Arc<Object> {
        let mut scaled = Object::clone(&object);
        if object.replicas == replicas {
            let known = |by: &SetBy| {
                let mut owners = object.set_by.iter();
                owners.any(|own| own.applied && own.manager == by.manager)
            };
            let Some(by) = by.filter(|by| by.applied && !known(by)) else {
                return object;
            };
            // One owner more is another version, of the same generation.
            scaled.set_by = object.set_by.iter().cloned().chain([by]).collect();
            return self.commit(scaled, Some(object));
        }
        scaled.replicas = replicas;
        scaled.set_by = by.into_iter().collect();
        scaled.generation += 1;
        self.commit(scaled, Some(object))
    }

    /// Sets the status; no event if it is what it was.
    pub(crate) fn set_status(&mut self, object: Arc<Object>, status: Rollout) -> Arc<Object> {
        if object.status == status {
            return object;
        }
        let mut changed = Object::clone(&object);
        changed.status = status;
        self.commit(changed, Some(object))
    }

    pub(crate) fn set_labels(&mut self, object: Arc<Object>, labels: Pairs) -> Arc<Object> {
        if object.labels == labels {
            return object;
        }
        let mut changed = Object::clone(&object);
        changed.labels = labels;
        self.commit(changed, Some(object))
    }

    pub(crate) fn set_annotations(
        &mut self,
        object: Arc<Object>,
        annotations: Pairs,
    ) -> Arc<Object> {
        if object.annotations == annotations {
            return object;
        }
        let mut changed = Object::clone(&object);
        changed.annotations = annotations;
        self.commit(changed, Some(object))
    }

    /// How many Deployments there were at `version`; `None` if that is no longer known.
    pub(crate) fn count_at(&mut self, version: u64, scope: &Scope) -> Option<usize> {
        let present = match scope.namespace() {
            None => self.objects.len(),
            Some(namespace) => self.namespaces.get(namespace).map_or(0, |n| n.deployments),
        };
        if version >= self.version {
            return Some(present);
        }
        let past = self.history.past(version)?;
        let (mut gone, mut new) = (0, 0);
        for (key, was) in past.range::<str, _>(scope.range(None)) {
            match (was.is_some(), self.objects.contains_key(key)) {
                (true, false) => gone += 1,
                (false, true) => new += 1,
                _ => {}
            }
        }
        Some(present + gone - new)
    }

    /// The objects after `after` as they were at `version`, at most `limit` of those that `matches` lets through;
    /// `None` if that version is no longer known.
    pub(crate) fn page_at(
        &mut self,
        version: u64,
        scope: &Scope,
        after: Option<&str>,
        limit: Option<usize>,
        matches: impl Fn(&Object) -> bool,
    ) -> Option<Page> {
        let range = scope.range(after);
        if version >= self.version {
            return Some(Page::fill(
                self.objects
                    .range::<str, _>(range)
                    .map(|(_, object)| object),
                limit,
                matches,
            ));
        }
        let past = self.history.past(version)?;
        let mut present = self.objects.range::<str, _>(range).peekable();
        let mut past = past.range::<str, _>(range).peekable();
        // Merges both in key order; where both have a key, what was there at the version counts.
        let merged = std::iter::from_fn(move || {
            loop {
                let from_past = match (past.peek(), present.peek()) {
                    (None, None) => return None,
                    (Some((was, _)), Some((is, _))) if was == is => {
                        present.next();
                        true
                    }
                    (Some((was, _)), Some((is, _))) => was < is,
                    (was, _) => was.is_some(),
                };
                if !from_past {
                    return present.next().map(|(_, object)| object);
                }
                if let Some((_, Some(object))) = past.next() {
                    return Some(object);
                }
            }
        });
        Some(Page::fill(merged, limit, matches))
    }
}

impl Page {
    fn fill<'a>(
        objects: impl Iterator<Item = &'a Arc<Object>>,
        limit: Option<usize>,
        matches: impl Fn(&Object) -> bool,
    ) -> Self {
        let mut page = Self::default();
        for object in objects {
            if page.objects.len() == limit.unwrap_or(usize::MAX) {
                page.last = page.objects.last().map(|object| object.key.clone());
                break;
            }
            if matches(object) {
                page.objects.push(object.clone());
            }
        }
        page
    }
}

/// All namespaces or one.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The bounds of the namespace's keys: `namespace/` and `namespace0`, since `0` follows `/`.
    bounds: Option<(String, String)>,
}

impl Scope {
    pub(crate) fn new(namespace: Option<&str>) -> Self {
        Self {
            bounds: namespace.map(|namespace| (format!("{namespace}/"), format!("{namespace}0"))),
        }
    }

    fn namespace(&self) -> Option<&str> {
        self.bounds
            .as_ref()
            .map(|(first, _)| first.trim_end_matches('/'))
    }

    pub(crate) fn contains(&self, object: &Object) -> bool {
        self.namespace()
            .is_none_or(|namespace| object.namespace() == namespace)
    }

    fn range<'a>(&'a self, after: Option<&'a str>) -> (Bound<&'a str>, Bound<&'a str>) {
        let (first, end) = match &self.bounds {
            None => (Bound::Unbounded, Bound::Unbounded),
            Some((first, end)) => (
                Bound::Included(first.as_str()),
                Bound::Excluded(end.as_str()),
            ),
        };
        let after = after.filter(|after| {
            self.bounds
                .as_ref()
                .is_none_or(|(first, end)| first.as_str() <= *after && *after < end.as_str())
        });
        (after.map_or(first, Bound::Excluded), end)
    }
}
