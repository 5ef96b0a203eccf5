//! The model: what the cluster was at every version, and which of its pasts a restore has undone.

use std::{collections::BTreeMap, sync::Arc};

use headcount::store::AnnotationBounds;
use uuid::Uuid;

use crate::schedule::NAMESPACES;

/// Namespace and name.
pub(crate) type Key = (&'static str, String);

/// A Deployment at one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) uid: Uuid,
    pub(crate) count: i32,
    pub(crate) version: u64,
    pub(crate) deleting: bool,
    pub(crate) labels: BTreeMap<&'static str, &'static str>,
    pub(crate) bounds: AnnotationBounds,
}

/// What an object was from a version on; `None` when it wasn't there.
pub(crate) type Entry = (u64, Option<Arc<Item>>);

/// What the cluster was, version by version, since it was made; with a restore another one begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    objects: BTreeMap<Key, Vec<Entry>>,
    /// The last version, once a restore has ended it.
    pub(crate) end: Option<u64>,
}

impl Timeline {
    /// All that ever happened to one object.
    pub(crate) fn entries(&self, key: &Key) -> &[Entry] {
        self.objects.get(key).map_or(&[], Vec::as_slice)
    }

    /// What the object was at `version`: its place among the entries, and the object.
    pub(crate) fn at(&self, key: &Key, version: u64) -> Option<(usize, &Arc<Item>)> {
        let entries = self.entries(key);
        let next = entries.partition_point(|(at, _)| *at <= version);
        let (_, item) = entries.get(next.checked_sub(1)?)?;
        item.as_ref().map(|item| (next - 1, item))
    }

    /// The keys of all that ever was in these namespaces, in order.
    pub(crate) fn keys<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let fits = move |key: &&Key| namespace.is_none_or(|n| n == key.0);
        self.objects.keys().filter(fits)
    }
}

/// All timelines, the present one last.
#[derive(Debug)]
pub(crate) struct History {
    timelines: Vec<Timeline>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            timelines: vec![Timeline::default()],
        }
    }

    pub(crate) fn timelines(&self) -> &[Timeline] {
        &self.timelines
    }

    pub(crate) fn present(&self) -> &Timeline {
        &self.timelines[self.timelines.len() - 1]
    }

    fn present_mut(&mut self) -> &mut Timeline {
        let last = self.timelines.len() - 1;
        &mut self.timelines[last]
    }

    /// The present state of an object.
    pub(crate) fn now(&self, key: &Key) -> Option<&Arc<Item>> {
        let (_, item) = self.present().entries(key).last()?;
        item.as_ref()
    }

    /// The object became this, or went away, at `version`.
    pub(crate) fn record(&mut self, key: Key, version: u64, item: Option<Item>) {
        let entries = self.present_mut().objects.entry(key).or_default();
        if entries.last().is_none_or(|(at, _)| *at < version) {
            entries.push((version, item.map(Arc::new)));
        }
    }

    /// The cluster went from version `from` back to `to`.
    pub(crate) fn restore(&mut self, from: u64, to: u64) {
        let mut next = self.present().clone();
        self.present_mut().end = Some(from);
        for entries in next.objects.values_mut() {
            entries.retain(|(at, _)| *at <= to);
        }
        self.timelines.push(next);
    }
}

/// The namespace as the constant that it is.
pub(crate) fn known_namespace(name: &str) -> Option<&'static str> {
    NAMESPACES.into_iter().find(|known| *known == name)
}
