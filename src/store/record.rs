//! What is known of one Deployment, and how it changes.

use std::sync::Arc;

use uuid::Uuid;

use super::{attributes::Attributes, segment::Record};

/// One Deployment as the API server showed it: the fields that are served or that a write is judged on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its namespace: an RFC 1123 label.
    pub namespace: Box<str>,
    /// Its name: an RFC 1123 subdomain.
    pub name: Box<str>,
    /// Its uid, which tells it from an earlier one of the same name.
    pub uid: Uuid,
    /// Desired replicas, 0 or more; a Deployment that doesn't say runs 1.
    pub replicas: i32,
    /// Pods that are ready, as its status says: 0 where that says nothing.
    pub ready: i32,
    /// The version of the object; versions of one resource type compare as numbers (KEP-5504).
    pub resource_version: u64,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// What is kept of its labels and annotations; a change of it comes with another version.
    pub attributes: Attributes,
}

impl Deployment {
    /// Where it stands in the store's order.
    pub fn key(&self) -> Key<'_> {
        Key::new(&self.namespace, &self.name)
    }

    /// About how many bytes it takes beside its own.
    pub(super) fn size(&self) -> usize {
        self.namespace.len() + self.name.len() + self.attributes.packed().bytes().len()
    }
}

/// The order of the store: by namespace, then by name, byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a> {
    // Bytes and not text: keys are compared all the time, and checking UTF-8 costs more than comparing.
    pub(super) namespace: &'a [u8],
    pub(super) name: &'a [u8],
}

impl<'a> Key<'a> {
    /// The key of the Deployment of this name in this namespace.
    pub fn new(namespace: &'a str, name: &'a str) -> Self {
        Self {
            namespace: namespace.as_bytes(),
            name: name.as_bytes(),
        }
    }
}

/// One change that the informer learnt of.
#[derive(Debug, Clone)]
pub enum Event {
    /// The object exists and looks like this.
    Upsert(Deployment),
    /// The object is gone; its resourceVersion is that of the deletion.
    Delete(Deployment),
}

impl Event {
    /// The object that it is about.
    pub fn deployment(&self) -> &Deployment {
        match self {
            Self::Upsert(deployment) | Self::Delete(deployment) => deployment,
        }
    }

    /// The object's key.
    pub fn key(&self) -> Key<'_> {
        self.deployment().key()
    }
}

/// What an event meant to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// A Deployment that wasn't there, or that was another one (another uid).
    Added(Arc<Deployment>),
    /// A known Deployment, with the count it had before (which may be the same).
    Changed {
        /// The count before.
        from: i32,
        /// What it is now.
        to: Arc<Deployment>,
    },
    /// A Deployment that is gone, as it was last seen.
    Deleted(Arc<Deployment>),
}

impl Transition {
    /// What `event` means to what is known, or nothing when it isn't news.
    pub(super) fn of(known: Option<Record<'_>>, event: &Event) -> Option<Self> {
        let news = known.is_none_or(|k| event.deployment().resource_version > k.resource_version());
        match event {
            Event::Upsert(deployment) if news => Self::between(known, deployment),
            Event::Delete(_) if news => known.map(|k| Self::Deleted(k.to_deployment().into())),
            _ => None,
        }
    }

    pub(super) fn between(before: Option<Record<'_>>, after: &Deployment) -> Option<Self> {
        match before {
            Some(b) if b.uid() != after.uid => Some(Self::Added(after.clone().into())),
            Some(b) if b.is(after) => None,
            Some(b) => Some(Self::Changed {
                from: b.replicas(),
                to: after.clone().into(),
            }),
            None => Some(Self::Added(after.clone().into())),
        }
    }
}
