//! What a watch shows to its caller, and whether that is still so.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::super::{Api, ApiError, authorization};
use crate::{
    access::{Caller, Verb, Visible as Allowed},
    kubernetes::Managed,
    selector::Labels,
    store::{Deployment, ListBody, News, Record, Shown, Snapshot, Visible},
};

/// What is shown: of which namespace, and what of it may be seen.
#[derive(Debug)]
pub(super) struct Sight {
    /// Tells apart what servers manage; `None`: everything.
    managed: Option<u64>,
    namespace: Option<Box<str>>,
    shown: Shown,
    granted: Granted,
}

#[derive(Debug)]
enum Granted {
    All,
    /// What the policy's rules say of each.
    Rules(Arc<Caller>),
    /// What the cluster said of each namespace that it was asked about.
    Namespaces {
        seen: BTreeSet<String>,
        asked: HashSet<String>,
    },
}

struct LabelsOf<'a>(&'a Deployment);

impl Labels for LabelsOf<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.attributes.label(key)
    }
}

impl Sight {
    /// What this caller may watch now. The cluster is asked about the namespaces that are `known`, too, whatever is in them.
    pub(super) async fn of(
        api: &Api,
        caller: &Arc<Caller>,
        (namespace, shown): (Option<&str>, Shown),
        known: &BTreeSet<String>,
    ) -> Result<Self, ApiError> {
        authorization::authorize_list(caller, Verb::Watch)?;
        let snapshot = api.status.store().snapshot();
        let granted = if let Some(reviewer) = &caller.rules.reviewer {
            let mut asked: HashSet<_> = known.iter().cloned().collect();
            match namespace {
                Some(namespace) => drop(asked.insert(namespace.to_owned())),
                None => drop(snapshot.view(|namespace| {
                    asked.insert(namespace.to_owned());
                    Visible::<fn(&Record<'_>) -> bool>::None
                })),
            }
            let allowed = authorization::watchable(reviewer, caller, asked.iter().cloned());
            match allowed.await? {
                Allowed::All => Granted::All,
                Allowed::Namespaces(seen) => Granted::Namespaces { seen, asked },
            }
        } else if caller.permissions.sees_everything(Verb::Watch) {
            Granted::All
        } else {
            if caller.permissions.looks_at_labels()
                && !snapshot.has_labels_everywhere(&caller.rules.labels)
            {
                return Err(ApiError::NotSynced);
            }
            Granted::Rules(Arc::clone(caller))
        };
        Ok(Self {
            managed: print_of(api.deployments.managed()),
            namespace: namespace.map(Into::into),
            shown,
            granted,
        })
    }

    /// The same by what may be seen now; an error if that is nothing any more.
    ///
    /// A namespace that was seen isn't lost because it is empty now, and those of the `news` may be gone already.
    pub(super) async fn anew(
        &self,
        api: &Api,
        caller: &Arc<Caller>,
        news: Option<&News>,
    ) -> Result<Self, ApiError> {
        let mut known = match &self.granted {
            Granted::Namespaces { seen, .. } => seen.clone(),
            _ => BTreeSet::new(),
        };
        let steps = news.into_iter().flat_map(|news| &news.steps);
        for change in steps.flat_map(|step| step.changes()) {
            if self.of_namespace(&change.deployment.namespace) {
                known.insert(change.deployment.namespace.to_string());
            }
        }
        let asked = (self.namespace.as_deref(), self.shown);
        Self::of(api, caller, asked, &known).await
    }

    /// Whether the cluster has to be asked before this is shown, since some of it is of a namespace that is new.
    pub(super) fn is_unsure_of(&self, news: &News) -> bool {
        let Granted::Namespaces { asked, .. } = &self.granted else {
            return false;
        };
        let mut changes = news.steps.iter().flat_map(|step| step.changes());
        changes.any(|change| {
            // What moved stayed in its namespace.
            let namespace = &*change.deployment.namespace;
            self.of_namespace(namespace) && !asked.contains(namespace)
        })
    }

    /// Whether answers of the cluster decide, which age.
    pub(super) fn ages(&self, caller: &Caller) -> bool {
        caller.rules.reviewer.is_some()
    }

    /// What is shown of each Deployment.
    pub(super) fn shown(&self) -> Shown {
        self.shown
    }

    /// Whether every Deployment is shown.
    pub(super) fn is_whole(&self) -> bool {
        matches!((&self.namespace, &self.granted), (None, Granted::All))
    }

    fn of_namespace(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|n| n == namespace)
    }

    /// Whether a Deployment is shown.
    pub(super) fn sees(&self, deployment: &Deployment) -> bool {
        let (namespace, name) = (&*deployment.namespace, &*deployment.name);
        self.of_namespace(namespace)
            && match &self.granted {
                Granted::All => true,
                Granted::Rules(caller) => {
                    let labels = LabelsOf(deployment);
                    let decided =
                        caller
                            .permissions
                            .decide(Verb::Watch, namespace, name, Some(&labels));
                    decided.is_allowed()
                }
                Granted::Namespaces { seen, .. } => seen.contains(namespace),
            }
    }

    /// What is shown of a snapshot.
    pub(super) fn list(&self, snapshot: &Arc<Snapshot>) -> ListBody {
        match self.shown {
            Shown::Count => self.counts(snapshot),
            Shown::Status => self.counts(snapshot).with_status(),
        }
    }

    fn counts(&self, snapshot: &Arc<Snapshot>) -> ListBody {
        if self.is_whole() {
            return Arc::clone(snapshot).list();
        }
        let view = snapshot.view(|namespace| {
            if !self.of_namespace(namespace) {
                return Visible::None;
            }
            let all = match &self.granted {
                Granted::All => Some(true),
                Granted::Rules(caller) => caller.permissions.sees_namespace(Verb::Watch, namespace),
                Granted::Namespaces { seen, .. } => Some(seen.contains(namespace)),
            };
            match all {
                Some(true) => Visible::All,
                Some(false) => Visible::None,
                None => Visible::Each(|record: &Record<'_>| self.sees(&record.to_deployment())),
            }
        });
        view.list()
    }

    /// Tells sights apart, at every server alike; `None`: everything is managed, and all of it seen, without the status.
    pub(super) fn print(&self) -> Option<u32> {
        let mut print = DefaultHasher::new();
        self.managed.hash(&mut print);
        self.namespace.hash(&mut print);
        let plain = match self.shown {
            Shown::Count => true,
            Shown::Status => {
                "status".hash(&mut print);
                false
            }
        };
        match &self.granted {
            Granted::All if plain && self.namespace.is_none() && self.managed.is_none() => {
                return None;
            }
            Granted::All => {}
            Granted::Rules(caller) => format!("{:?}", caller.permissions).hash(&mut print),
            Granted::Namespaces { seen, .. } => seen.hash(&mut print),
        }
        Some(print.finish() as u32)
    }
}

fn print_of(managed: &Managed) -> Option<u64> {
    let mut print = DefaultHasher::new();
    (&managed.namespaces, &managed.label_selector).hash(&mut print);
    let everything = managed.namespaces.is_empty() && managed.label_selector.is_none();
    (!everything).then(|| print.finish())
}
