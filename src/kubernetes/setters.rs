//! Changes of counts as the informer sees them: when, and who set them.

use bytes::Bytes;
use jiff::Timestamp;

use super::{FieldOwner, wire::owner};
use crate::store::{CountChange, CountSetter, Deployment, Store, Transition};

/// Deployments as events had them, by version: who set a count is read out of them only if it changed.
#[derive(Debug, Default)]
pub(super) struct Objects(Vec<(u64, Bytes)>);

impl Objects {
    pub(super) fn push(&mut self, version: u64, object: Bytes) {
        self.0.push((version, object));
    }

    pub(super) fn owner(&self, now: &Deployment) -> Option<FieldOwner> {
        let mut objects = self.0.iter();
        let (_, object) = objects.find(|(version, _)| *version == now.resource_version)?;
        owner(object)
    }
}

/// Remembers the counts that changed.
pub(super) fn remember(
    store: &Store,
    transitions: &[Transition],
    owner: impl Fn(&Deployment) -> Option<FieldOwner>,
) {
    let mut changes = transitions
        .iter()
        .filter_map(|transition| match transition {
            Transition::Changed { from, to } if *from != to.replicas => Some((*from, to)),
            _ => None,
        });
    // Most events change none.
    let Some(first) = changes.next() else { return };
    let at = Timestamp::now();
    store.remember(
        [first]
            .into_iter()
            .chain(changes)
            .map(|(from, now)| CountChange {
                at,
                namespace: now.namespace.clone(),
                name: now.name.clone(),
                uid: now.uid,
                from,
                to: now.replicas,
                by: owner(now).map(|owner| CountSetter {
                    ends_lease: owner.ends_lease,
                    manager: owner.manager.into(),
                    principal: owner.principal.map(Into::into),
                }),
                resource_version: now.resource_version,
            }),
    );
}
