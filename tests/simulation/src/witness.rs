//! The oracle: looks at every state that a reader could see, and says which of them can't be.
//!
//! A snapshot says of each scope which version it has reached. Its records must then be the cluster's at that version: the
//! same names, uids, counts, versions, labels and bounds, nothing more and nothing less. Only an object of which a fault lost
//! an event, or an item of a list, may be in an older state of its own, or missing, until the next event or list; and even it
//! never goes back. A version goes back only where the cluster's own did.

use std::{collections::BTreeMap, sync::Arc};

use headcount::store::{LabelKeys, Record, Snapshot};
use simkube::Loss;

use crate::{
    history::{History, Item, Key, Timeline, known_namespace},
    schedule::{LABELS, Setup},
};

/// What readers have seen so far of one scope.
#[derive(Debug, Default)]
struct ScopeSeen {
    /// `None`: all namespaces.
    namespace: Option<String>,
    version: u64,
    timeline: usize,
    /// Objects of which something was lost.
    lossy: BTreeMap<Key, Lost>,
    /// Which of an object's entries was seen last.
    entries: BTreeMap<Key, usize>,
}

/// What was lost of an object.
#[derive(Debug)]
struct Lost {
    /// At which version first, and at which last.
    first: u64,
    last: u64,
    /// Whether some of it was without the informer being able to know.
    silent: bool,
}

/// Looks at snapshots.
#[derive(Debug)]
pub(crate) struct Witness {
    selector: bool,
    scopes: Vec<ScopeSeen>,
    last: Option<Arc<Snapshot>>,
    synced: bool,
}

impl Witness {
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut namespaces: Vec<_> = setup.namespaces.iter().cloned().map(Some).collect();
        if namespaces.is_empty() {
            namespaces.push(None);
        }
        let scope = |namespace| ScopeSeen {
            namespace,
            ..ScopeSeen::default()
        };
        Self {
            selector: setup.selector,
            scopes: namespaces.into_iter().map(scope).collect(),
            last: None,
            synced: false,
        }
    }

    /// Faults kept these from the informer.
    pub(crate) fn lost(&mut self, losses: &[Loss]) {
        for loss in losses {
            let Some(namespace) = known_namespace(&loss.namespace) else {
                continue;
            };
            for scope in &mut self.scopes {
                if scope.namespace.as_deref().is_none_or(|n| n == namespace) {
                    let key = (namespace, loss.name.clone());
                    let lost = scope.lossy.entry(key).or_insert(Lost {
                        first: loss.version,
                        last: loss.version,
                        silent: false,
                    });
                    lost.first = loss.version.min(lost.first);
                    lost.last = loss.version.max(lost.last);
                    lost.silent |= loss.silent;
                }
            }
        }
    }

    /// Of how many objects something was lost that the informer can't know of, and that hasn't been made good since.
    pub(crate) fn misses(&self) -> usize {
        let lost = self.scopes.iter().flat_map(|s| s.lossy.values());
        lost.filter(|lost| lost.silent).count()
    }

    /// Whether something was lost and hasn't been made good since.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.scopes.iter().any(|scope| !scope.lossy.is_empty())
    }

    /// The version that readers have seen of each scope, in the order of the setup.
    pub(crate) fn versions(&self) -> Vec<u64> {
        self.scopes.iter().map(|s| s.version).collect()
    }

    /// The greatest version that readers have seen.
    pub(crate) fn version(&self) -> u64 {
        self.scopes.iter().map(|s| s.version).max().unwrap_or(0)
    }

    /// Whether this state can be.
    ///
    /// # Errors
    ///
    /// Why it can't.
    pub(crate) fn look(
        &mut self,
        snapshot: &Arc<Snapshot>,
        history: &History,
    ) -> Result<bool, String> {
        if self.last.as_ref().is_some_and(|l| Arc::ptr_eq(l, snapshot)) {
            return Ok(false);
        }
        self.last = Some(Arc::clone(snapshot));
        let mut records = 0;
        let mut synced = true;
        for scope in &mut self.scopes {
            let namespace = scope.namespace.clone();
            let version = match &namespace {
                None => snapshot.resource_version(),
                Some(namespace) => snapshot.resource_version_in(namespace),
            };
            let shown: Vec<Record<'_>> = match &namespace {
                None => snapshot.records().collect(),
                Some(namespace) => snapshot.namespace(namespace).collect(),
            };
            records += shown.len();
            synced &= version > 0;
            if version == 0 {
                if scope.version > 0 || !shown.is_empty() {
                    return Err(format!(
                        "{} Deployments are shown before the first complete list",
                        shown.len()
                    ));
                }
                continue;
            }
            scope.judge(version, &shown, snapshot, history, self.selector)?;
        }
        if records != snapshot.len() || records != snapshot.records().count() {
            return Err("there are Deployments of namespaces that aren't managed".into());
        }
        if snapshot.synced() != synced {
            return Err(format!(
                "the copy says that it is{} synced, and is{}",
                if snapshot.synced() { "" } else { " not" },
                if synced { "" } else { " not" }
            ));
        }
        if self.synced && !synced {
            return Err("the copy was synced before, and isn't any more".into());
        }
        self.synced = synced;
        Ok(true)
    }

    /// Whether the copy is the cluster as it is now.
    ///
    /// # Errors
    ///
    /// What differs.
    pub(crate) fn is_present(
        &self,
        snapshot: &Snapshot,
        history: &History,
        wanted: &LabelKeys,
    ) -> Result<(), String> {
        if !snapshot.synced() {
            return Err("the copy isn't synced".into());
        }
        if !snapshot.has_labels_everywhere(wanted) {
            return Err("wanted labels aren't there".into());
        }
        for scope in &self.scopes {
            let namespace = scope.namespace.as_deref();
            let shown: Vec<Record<'_>> = match namespace {
                None => snapshot.records().collect(),
                Some(namespace) => snapshot.namespace(namespace).collect(),
            };
            let present = history.present();
            let matched = matches(
                present,
                u64::MAX,
                namespace,
                &shown,
                snapshot,
                self.selector,
                &mut |_, _, why| Err(why),
            );
            matched?;
        }
        Ok(())
    }
}

impl ScopeSeen {
    fn judge(
        &mut self,
        version: u64,
        shown: &[Record<'_>],
        snapshot: &Snapshot,
        history: &History,
        selector: bool,
    ) -> Result<(), String> {
        let back = version < self.version;
        // Only a cluster that went back itself explains it.
        let first = self.timeline + usize::from(back);
        let mut why = None;
        for (position, timeline) in history.timelines().iter().enumerate().skip(first) {
            if timeline.end.is_some_and(|end| version > end) {
                continue;
            }
            match self.in_timeline(timeline, position, version, shown, snapshot, selector) {
                Ok(seen) => {
                    if position > self.timeline {
                        // What was lost of a past that never was doesn't matter any more.
                        self.lossy.retain(|_, lost| {
                            lost.last = version.min(lost.last);
                            lost.first <= version
                        });
                    }
                    // Seen whole, and behind all that was lost: from now on nothing excuses it any more. At the very version
                    // the list that lacks it may be on its way, and a past that was undone may look like the present.
                    let present = position + 1 == history.timelines().len();
                    self.lossy.retain(|key, lost| {
                        !present || version <= lost.last || seen.excused.contains(key)
                    });
                    self.version = version;
                    self.timeline = position;
                    self.entries = seen.entries;
                    return Ok(());
                }
                Err(error) => why = why.or(Some(error)),
            }
        }
        let place = self.namespace.as_deref().unwrap_or("the cluster");
        Err(match why {
            _ if back && history.timelines().len() <= first => format!(
                "{place} went from version {} back to {version}, though the cluster didn't",
                self.version
            ),
            Some(why) => format!("{place} at version {version}: {why}"),
            None => format!("{place} is at version {version}, at which the cluster never was"),
        })
    }

    fn in_timeline(
        &self,
        timeline: &Timeline,
        position: usize,
        version: u64,
        shown: &[Record<'_>],
        snapshot: &Snapshot,
        selector: bool,
    ) -> Result<Seen, String> {
        let same = position == self.timeline;
        let mut seen = Seen {
            entries: if same {
                self.entries.clone()
            } else {
                BTreeMap::new()
            },
            excused: Vec::new(),
        };
        let (entries, excused) = (&mut seen.entries, &mut seen.excused);
        matches(
            timeline,
            version,
            self.namespace.as_deref(),
            shown,
            snapshot,
            selector,
            &mut |key, record, why| {
                let lossy = self
                    .lossy
                    .get(key)
                    .is_some_and(|lost| version >= lost.first);
                if !lossy {
                    return Err(why);
                }
                excused.push(key.clone());
                let Some(record) = record else { return Ok(()) };
                let since = entries.get(key).copied().unwrap_or(0);
                let all = timeline.entries(key).iter().enumerate().skip(since);
                let mut earlier = all.take_while(|(_, (at, _))| *at <= version);
                let found = earlier.find(|(_, (_, item))| {
                    item.as_ref()
                        .is_some_and(|item| difference(item, record, snapshot).is_none())
                });
                match found {
                    Some((position, _)) => {
                        entries.insert(key.clone(), position);
                        Ok(())
                    }
                    None => Err(format!("{why}, nor what it was since it was last seen")),
                }
            },
        )?;
        for key in timeline.keys(self.namespace.as_deref()) {
            if seen.excused.contains(key) {
                continue;
            }
            let before = timeline
                .entries(key)
                .partition_point(|(at, _)| *at <= version);
            if before > 0 {
                seen.entries.insert(key.clone(), before - 1);
            }
        }
        Ok(seen)
    }
}

/// What a snapshot shows of a scope's objects.
struct Seen {
    entries: BTreeMap<Key, usize>,
    /// Those that are as they are because something was lost.
    excused: Vec<Key>,
}

/// What becomes of a difference: nothing, or the reason why the state can't be.
type Excuse<'a> = dyn FnMut(&Key, Option<&Record<'_>>, String) -> Result<(), String> + 'a;

/// Compares what is shown with the timeline at `version`; each difference goes to `excuse`.
fn matches(
    timeline: &Timeline,
    version: u64,
    namespace: Option<&str>,
    shown: &[Record<'_>],
    snapshot: &Snapshot,
    selector: bool,
    excuse: &mut Excuse<'_>,
) -> Result<(), String> {
    let mut shown = shown.iter().peekable();
    let mut last = None;
    for key in timeline.keys(namespace) {
        let item = timeline.at(key, version).map(|(_, item)| item);
        let item = item.filter(|i| !selector || i.labels.get("team") == Some(&"web"));
        let record = shown.next_if(|r| (r.namespace(), r.name()) == (key.0, key.1.as_str()));
        if let Some(record) = record {
            if last.is_some_and(|last| last >= record.key()) {
                return Err(format!("{}/{} is out of order", key.0, key.1));
            }
            last = Some(record.key());
        }
        let (place, name) = (key.0, &key.1);
        match (item, record) {
            (None, None) => {}
            (Some(item), None) => excuse(
                key,
                None,
                format!(
                    "{place}/{name} is missing, which was there as {}",
                    told(item)
                ),
            )?,
            (None, Some(record)) => excuse(
                key,
                Some(record),
                format!(
                    "{place}/{name} is shown as {}, which wasn't there",
                    shown_as(record)
                ),
            )?,
            (Some(item), Some(record)) => {
                if let Some(what) = difference(item, record, snapshot) {
                    let why = format!(
                        "{place}/{name} is shown as {}, which was {}: another {what}",
                        shown_as(record),
                        told(item)
                    );
                    excuse(key, Some(record), why)?;
                }
            }
        }
    }
    match shown.next() {
        None => Ok(()),
        Some(record) => Err(format!(
            "{}/{} is shown, which never was, twice, or out of order",
            record.namespace(),
            record.name()
        )),
    }
}

/// In what a record isn't this item.
fn difference(item: &Item, record: &Record<'_>, snapshot: &Snapshot) -> Option<&'static str> {
    if record.uid() != item.uid {
        return Some("uid");
    }
    if record.resource_version() != item.version {
        return Some("version");
    }
    if record.replicas() != item.count {
        return Some("count");
    }
    if record.deleting() != item.deleting {
        return Some("deletion");
    }
    if record.annotation_bounds() != item.bounds {
        return Some("bound");
    }
    let differs = LABELS.into_iter().any(|label| {
        let keys = [label].into_iter().collect();
        snapshot.has_labels(record.namespace(), &keys)
            && record.label(label) != item.labels.get(label).copied()
    });
    differs.then_some("label")
}

fn told(item: &Item) -> String {
    format!("{} × {} at {}", item.uid, item.count, item.version)
}

fn shown_as(record: &Record<'_>) -> String {
    format!(
        "{} × {} at {}",
        record.uid(),
        record.replicas(),
        record.resource_version()
    )
}
