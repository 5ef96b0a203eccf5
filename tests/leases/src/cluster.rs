//! What Kubernetes does: conditional writes, and who owns a count.

use std::collections::{BTreeMap, BTreeSet};

use headcount::leases::{Lease, Seen};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{Defect, Scene, World, returns_from};

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Deployment {
    /// Which it is.
    pub uid: Uuid,
    /// Its resourceVersion.
    pub version: u64,
    /// Its count.
    pub replicas: i32,
    /// The marks of those who own the count.
    pub owners: BTreeSet<Option<String>>,
    /// The mark of the lease whose count it is, if it is one's: who decided last. Nobody in the model sees it.
    pub decided: Option<String>,
}

impl Deployment {
    pub(crate) fn new(uid: u128, version: u64, replicas: i32) -> Self {
        Self {
            uid: Uuid::from_u128(uid),
            version,
            replicas,
            owners: [None].into(),
            decided: None,
        }
    }

    /// As a reading shows it.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            uid: self.uid,
            version: self.version,
            replicas: self.replicas,
            owners: self.owners.iter().cloned().collect(),
        }
    }

    fn set(&mut self, replicas: i32, mark: Option<String>, version: u64) {
        if self.replicas != replicas {
            self.owners.clear();
        }
        self.owners.insert(mark);
        self.replicas = replicas;
        self.version = version;
    }
}

/// The Lease object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseObject {
    /// Its resourceVersion.
    pub version: u64,
    /// What it says.
    pub lease: Lease,
}

/// What a write is to do; most on a condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Create the lease.
    Create(Text),
    /// Replace it.
    Replace(Option<u64>, Text),
    /// Delete it; and whether its count was to be kept.
    Delete(Option<u64>, bool),
    /// Set the count of the Deployment with this mark.
    Count(Option<u64>, i32, Option<String>),
}

/// A lease that can be put into an order: by all that it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(pub Lease);

impl Text {
    fn key(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A write on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// The server that waits for its answer, if one still does.
    pub by: Option<usize>,
    /// What it does.
    pub what: What,
}

/// What was done and promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// By mark, the count that was there before a lease's first.
    pub before: BTreeMap<String, i32>,
    /// How often each lease was gone back from.
    pub returned: BTreeMap<String, u8>,
    /// Leases whose counts were to stay.
    pub kept: BTreeSet<String>,
    /// What a caller was told last: until when which lease holds.
    pub promised: Option<(String, Timestamp)>,
    /// A lease was extended.
    pub extended: bool,
    /// What should never have happened.
    pub wrong: Option<&'static str>,
    /// The marks of all leases that there were, with what goes back from them.
    pub leases: BTreeMap<String, Lease>,
}

impl World {
    /// Somebody else sets the count, or applies the one that is there.
    pub(crate) fn set_by_others(&mut self, to: i32) {
        self.version += 1;
        self.deployment.set(to, None, self.version);
        self.deployment.decided = None;
    }

    /// A write arrives: what it is answered.
    pub(crate) fn arrive(&mut self, scene: &Scene, write: Write) {
        self.sent.remove(&write);
        let done = self.carry_out(&write);
        if let Some(by) = write.by {
            self.answered(scene, by, &write.what, done);
        }
    }

    /// Carries a write out, if its condition holds; the version that it made.
    pub(crate) fn carry_out(&mut self, write: &Write) -> Result<u64, ()> {
        let known = self.object.as_ref().map(|object| object.version);
        let holds = |condition: &Option<u64>| match (condition, known) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(known)) => *wanted == known,
        };
        match &write.what {
            What::Create(text) if known.is_none() => self.put(&text.0),
            What::Replace(condition, text) if holds(condition) => self.put(&text.0),
            What::Delete(condition, keep) if holds(condition) => {
                if let Some(object) = self.object.take()
                    && *keep
                {
                    self.told.kept.insert(object.lease.mark);
                }
                self.version += 1;
                Ok(self.version)
            }
            What::Count(condition, replicas, mark)
                if condition.is_none_or(|wanted| wanted == self.deployment.version) =>
            {
                self.judge(*replicas, mark.as_deref());
                self.version += 1;
                self.deployment.set(*replicas, mark.clone(), self.version);
                Ok(self.version)
            }
            _ => Err(()),
        }
    }

    fn put(&mut self, lease: &Lease) -> Result<u64, ()> {
        self.version += 1;
        self.told.leases.insert(lease.mark.clone(), lease.clone());
        self.object = Some(LeaseObject {
            version: self.version,
            lease: lease.clone(),
        });
        Ok(self.version)
    }

    /// What a count that is about to be set means.
    fn judge(&mut self, replicas: i32, mark: Option<&str>) {
        let Some(mark) = mark else {
            return;
        };
        let now = self.now();
        let deployment = &mut self.deployment;
        let told = &mut self.told;
        let all = told.leases.values();
        if let Some(lease) = all.clone().find(|lease| returns_from(mark, lease)) {
            let from = lease.mark.clone();
            let changes = deployment.replicas != replicas;
            let times = told.returned.entry(from.clone()).or_default();
            // To write once more what is there is nothing that anybody would notice.
            *times += u8::from(changes);
            let early = matches!(&told.promised, Some((promised, until)) if *promised == from && now < *until);
            told.wrong = if changes && deployment.decided.as_deref() != Some(&*from) {
                Some("it was gone back from a count that wasn't the lease's")
            } else if *times > 1 {
                Some("it was gone back twice")
            } else if told.before.get(&from) != Some(&replicas) {
                Some("it was gone back to another count than there was before")
            } else if early {
                Some("it was gone back before the time that was promised")
            } else {
                told.wrong
            };
            deployment.decided = None;
        } else {
            if deployment.decided.as_deref() != Some(mark) {
                told.before.insert(mark.to_owned(), deployment.replicas);
            }
            deployment.decided = Some(mark.to_owned());
        }
    }

    /// What a reading shows, as this defect would take it.
    pub(crate) fn seen(&self, defect: Option<Defect>, lease: Option<&Lease>) -> Seen {
        let mut seen = self.deployment.seen();
        if let (Some(Defect::ByCountAlone), Some(lease)) = (defect, lease)
            && lease.replicas == seen.replicas
        {
            seen.owners = vec![Some(lease.mark.clone())];
        }
        seen
    }
}
