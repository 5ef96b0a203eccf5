//! One consistent state of the store, which no later change alters.

use std::sync::Arc;

use super::{
    attributes::LabelKeys,
    list::{ListBody, list_len},
    record::Key,
    segment::Record,
    tree::Tree,
};

/// One state of the store.
#[derive(Debug)]
pub struct Snapshot {
    tree: Tree,
    scopes: Vec<ScopeState>,
}

#[derive(Debug, Clone)]
struct ScopeState {
    /// `None`: all namespaces.
    namespace: Option<Arc<str>>,
    /// How far the scope's list and watch have come; 0 before the first complete list.
    version: u64,
    /// The labels that every record of the scope was read with.
    labels: Arc<LabelKeys>,
}

impl Snapshot {
    pub(super) fn empty(namespaces: &[String]) -> Self {
        let scope = |namespace: Option<Arc<str>>| ScopeState {
            namespace,
            version: 0,
            labels: Arc::default(),
        };
        let mut scopes: Vec<_> = namespaces
            .iter()
            .map(|n| scope(Some(n.as_str().into())))
            .collect();
        if scopes.is_empty() {
            scopes.push(scope(None));
        }
        Self {
            tree: Tree::default(),
            scopes,
        }
    }

    pub(super) fn next(&self, tree: Tree, scope: usize, version: u64) -> Self {
        let mut scopes = self.scopes.clone();
        scopes[scope].version = version;
        Self { tree, scopes }
    }

    pub(super) fn keeps_labels(&mut self, scope: usize, labels: Arc<LabelKeys>) {
        self.scopes[scope].labels = labels;
    }

    /// The keys of the labels that a scope's records have.
    pub(super) fn labels_of(&self, scope: usize) -> &LabelKeys {
        &self.scopes[scope].labels
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn scope_namespaces(&self) -> impl Iterator<Item = Option<&str>> {
        self.scopes.iter().map(|s| s.namespace.as_deref())
    }

    pub(super) fn namespace_of(&self, scope: usize) -> Option<&str> {
        self.scopes[scope].namespace.as_deref()
    }

    pub(super) fn version_of(&self, scope: usize) -> u64 {
        self.scopes[scope].version
    }

    /// Whether every scope has been listed completely once: before that an absent Deployment may well exist.
    pub fn synced(&self) -> bool {
        self.scopes.iter().all(|s| s.version > 0)
    }

    /// The resourceVersion that the whole snapshot has reached: with several namespaces, the least of theirs.
    pub fn resource_version(&self) -> u64 {
        self.scopes.iter().map(|s| s.version).min().unwrap_or(0)
    }

    /// The greatest resourceVersion that any of its scopes has reached.
    pub fn newest_resource_version(&self) -> u64 {
        self.scopes.iter().map(|s| s.version).max().unwrap_or(0)
    }

    /// The resourceVersion that one namespace has reached; 0 for a namespace that isn't managed.
    pub fn resource_version_in(&self, namespace: &str) -> u64 {
        self.scope_of(namespace).map_or(0, |s| s.version)
    }

    /// Whether the labels of all these keys are known of every Deployment in a namespace: those of keys that are new, only
    /// once it was listed with them. Before that a label that a record doesn't have may well be there.
    pub fn has_labels(&self, namespace: &str, keys: &LabelKeys) -> bool {
        self.scope_of(namespace)
            .is_none_or(|s| s.labels.include(keys))
    }

    /// Whether [`Snapshot::has_labels`] holds for every namespace that is managed.
    pub fn has_labels_everywhere(&self, keys: &LabelKeys) -> bool {
        self.scopes.iter().all(|s| s.labels.include(keys))
    }

    fn scope_of(&self, namespace: &str) -> Option<&ScopeState> {
        self.scopes
            .iter()
            .find(|s| s.namespace.as_deref().is_none_or(|n| n == namespace))
    }

    /// The Deployment of that name, if the snapshot has it.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Record<'_>> {
        self.tree.get(Key::new(namespace, name))
    }

    /// How many Deployments there are.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All Deployments, by namespace, then name.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.tree.records()
    }

    /// The Deployments of one namespace, by name.
    pub fn namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = Record<'a>> {
        self.tree
            .records_from(Key::new(namespace, ""))
            .take_while(move |r| r.namespace() == namespace)
    }

    /// The Deployments that come after this key, by namespace, then name, without a walk over those before it.
    pub fn after<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = Record<'a>> {
        let key = Key::new(namespace, name);
        let records = self.tree.records_from(key);
        records.skip_while(move |r| r.key() == key)
    }

    /// A number that changes with the names, uids and counts of the list, and with nothing else.
    pub fn fingerprint(&self) -> u64 {
        self.tree.fingerprint()
    }

    /// The length of the list response in bytes.
    pub fn list_len(&self) -> usize {
        list_len(self.tree.text_len())
    }

    /// About how much memory its records take, in bytes: their text, and half as much again for what is beside it.
    pub fn size(&self) -> usize {
        self.list_len() / 2 * 3
    }

    /// The list response: a chain of the segments' texts, which keeps the snapshot as long as it is being sent.
    pub fn list(self: Arc<Self>) -> ListBody {
        let length = self.list_len();
        ListBody::new(self, None, length)
    }
}
