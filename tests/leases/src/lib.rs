//! A model of leases: callers that take, extend and cancel one, servers that end it, others who set the count too, writes that arrive
//! late or never, servers that die. Whatever the program decides is decided here by its own code
//! ([`headcount::leases`]); the model only carries it out, in every order.
#![allow(clippy::unwrap_used, reason = "a model that can't go on says where")]

mod cluster;
mod properties;
mod servers;

use std::collections::BTreeSet;

use headcount::leases::{Lease, Wanted};
use jiff::Timestamp;
use stateright::{Model, Property};

pub use cluster::{Deployment, LeaseObject, Told, What, Write};
pub use properties::NEVER;
pub use servers::{Doing, Server};

/// The seconds at which something may happen: leases are of a minute.
pub const TIMES: [i64; 4] = [0, 31, 61, 122];
/// The count before.
pub const BEFORE: i32 = 3;
/// The count of others.
pub const OTHERS: i32 = 7;
/// The count of leases.
pub const LEASED: i32 = 10;

/// What a caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// So many replicas for a minute.
    Take(i32),
    /// A minute from now on.
    Extend,
    /// An end now, going back.
    Cancel,
    /// An end now, with the count as it is.
    Keep,
}

/// A part of the protocol that is left out, to see whether that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The count is written, and then the lease.
    CountFirst,
    /// A lease is gone back from without being claimed.
    NoClaim,
    /// A lease whose count isn't there is deleted at once.
    NoFence,
    /// Going back has no condition.
    ReturnUnconditional,
    /// A lease is deleted, and then gone back from.
    DeleteFirst,
    /// A lease is deleted whatever it has become.
    DeleteUnconditional,
    /// A renewal goes back to the count of the lease that it renews.
    RenewalForgets,
    /// A count is a lease's if it is as large.
    ByCountAlone,
    /// An extension is written whatever the lease has become.
    ExtendUnconditional,
}

/// What takes part, and how often something may happen.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// One caller each, of a server each.
    pub callers: Vec<Operation>,
    /// Servers that end leases at the same time: more than one, as when an election is late.
    pub reverters: usize,
    /// How often others set the count.
    pub changes: u8,
    /// How often the Deployment gets another version.
    pub touches: u8,
    /// How often it is deleted and created anew.
    pub recreations: u8,
    /// How often a server gives up waiting, or dies.
    pub losses: u8,
    /// What is left out.
    pub defect: Option<Defect>,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Which of [`TIMES`] it is.
    pub time: usize,
    /// The one Deployment.
    pub deployment: Deployment,
    /// Its lease, if it has one.
    pub object: Option<LeaseObject>,
    /// The newest resourceVersion.
    pub version: u64,
    /// Callers' servers, and then those that end leases.
    pub servers: Vec<Server>,
    /// Writes that were sent and haven't arrived.
    pub sent: BTreeSet<Write>,
    /// What may still happen: changes, touches, recreations, losses.
    pub left: [u8; 4],
    /// What was done and told, which nobody in the model looks at.
    pub told: Told,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A server goes on by itself.
    Go(usize),
    /// A write arrives, and whoever waits for it is answered.
    Arrive(Box<Write>),
    /// A server doesn't wait any longer; a caller's is done, as when it dies.
    GiveUp(usize),
    /// A caller stops trying, and its server takes back what it wrote.
    TakeBack(usize),
    /// Somebody else sets the count.
    Change(i32),
    /// The Deployment's status changes.
    Touch,
    /// The Deployment is deleted, and another one created.
    Recreate,
    /// Time goes on.
    Tick,
}

impl World {
    fn new(scene: &Scene) -> Self {
        let callers = scene.callers.iter().map(|wanted| Server {
            wanted: Some(*wanted),
            doing: Doing::Begins,
        });
        let reverter = Server {
            wanted: None,
            doing: Doing::Begins,
        };
        Self {
            time: 0,
            deployment: Deployment::new(1, 1, BEFORE),
            object: None,
            version: 1,
            servers: callers.chain(vec![reverter; scene.reverters]).collect(),
            sent: BTreeSet::new(),
            left: [
                scene.changes,
                scene.touches,
                scene.recreations,
                scene.losses,
            ],
            told: Told::default(),
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(TIMES[self.time]).unwrap()
    }

    fn take_one(&mut self, of: usize) -> bool {
        let left = self.left[of] > 0;
        self.left[of] = self.left[of].saturating_sub(1);
        left
    }
}

/// What caller `server` wants to lease.
fn wanted(server: usize, replicas: i32) -> Wanted {
    Wanted {
        namespace: "web".into(),
        name: "shop".into(),
        replicas,
        seconds: 60,
        reason: None,
        holder: String::new(),
        mark: format!("{:016x}", server + 1),
    }
}

/// Whether this is the mark of the write that goes back from a lease.
fn returns_from(mark: &str, lease: &Lease) -> bool {
    lease.mark_of_return() == mark
}

impl Model for Scene {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (at, server) in world.servers.iter().enumerate() {
            if server.goes_on() {
                actions.push(Action::Go(at));
            }
            if server.waits() && world.left[3] > 0 {
                actions.push(Action::GiveUp(at));
            }
            if server.may_take_back() {
                actions.push(Action::TakeBack(at));
            }
        }
        let sent = world.sent.iter().cloned();
        actions.extend(sent.map(|write| Action::Arrive(Box::new(write))));
        if world.left[0] > 0 {
            // To another count, and to the one that a lease sets.
            actions.extend([OTHERS, LEASED].map(Action::Change));
        }
        if world.left[1] > 0 {
            actions.push(Action::Touch);
        }
        if world.left[2] > 0 {
            actions.push(Action::Recreate);
        }
        if world.time + 1 < TIMES.len() {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Go(at) => world.go(self, at),
            Action::Arrive(write) => world.arrive(self, *write),
            Action::GiveUp(at) => {
                world.take_one(3);
                world.give_up(at);
            }
            Action::TakeBack(at) => world.take_back(at),
            Action::Change(to) => {
                world.take_one(0);
                world.set_by_others(to);
            }
            Action::Touch => {
                world.take_one(1);
                world.version += 1;
                world.deployment.version = world.version;
            }
            Action::Recreate => {
                world.take_one(2);
                world.version += 1;
                let uid = world.deployment.uid.as_u128() + 1;
                world.deployment = Deployment::new(uid, world.version, BEFORE);
            }
            Action::Tick => world.time += 1,
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
