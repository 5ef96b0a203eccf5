//! What must hold in every state, and what must be possible.

use headcount::leases::{End, Step, settle};
use jiff::Timestamp;
use stateright::Property;

use crate::{
    Scene, World,
    cluster::{LeaseObject, What, Write},
};

/// What is checked.
pub const NEVER: [&str; 3] = [
    "it is gone back once, from a lease's own count, to the one before, and not before the time that was promised",
    "no lease is forgotten",
    "no write that arrives late leaves a lease's count behind",
];

pub(crate) fn all() -> Vec<Property<Scene>> {
    vec![
        Property::always(NEVER[0], |_, world: &World| world.told.wrong.is_none()),
        Property::always(NEVER[1], |_, world| is_remembered(world)),
        Property::always(NEVER[2], |_, world| outlives_late_writes(world)),
        Property::sometimes("it is gone back", |scene: &Scene, world: &World| {
            !world.told.returned.is_empty() || scene.reverters == 0
        }),
    ]
}

/// What is left when nothing more arrives, everybody is dead but one server that ends leases, and time goes on for ever: `None` if
/// that server never comes to an end.
fn left_alone(world: &World) -> Option<World> {
    let mut world = world.clone();
    world.sent.clear();
    world.told.promised = None;
    for _ in 0..12 {
        let Some(LeaseObject { version, lease }) = world.object.clone() else {
            return Some(world);
        };
        let seen = world.deployment.seen();
        let at = Some(seen.version);
        let what = match settle(&lease, Some(&seen), Timestamp::MAX) {
            Step::Wait(_) => return None,
            Step::Replace(next) => What::Replace(Some(version), crate::cluster::Text(next)),
            Step::Return => What::Count(at, lease.previous, Some(lease.mark_of_return())),
            Step::Fence => What::Count(at, seen.replicas, None),
            Step::End(end) => What::Delete(Some(version), end == End::Kept),
        };
        world.carry_out(&Write { by: None, what }).ok()?;
    }
    None
}

/// Whether the count is nobody's lease's any more, or of one that was kept.
fn is_nobodys(world: &World) -> bool {
    let decided = world.deployment.decided.as_ref();
    decided.is_none_or(|mark| world.told.kept.contains(mark))
}

fn is_remembered(world: &World) -> bool {
    left_alone(world).is_some_and(|end| is_nobodys(&end) && end.told.wrong.is_none())
}

/// Whether each write that is under way may arrive at the end of all.
fn outlives_late_writes(world: &World) -> bool {
    let Some(end) = left_alone(world) else {
        // Told of elsewhere.
        return true;
    };
    world.sent.iter().all(|write| {
        let mut after = end.clone();
        let _ = after.carry_out(write);
        left_alone(&after).is_some_and(|end| is_nobodys(&end) && end.told.wrong.is_none())
    })
}
