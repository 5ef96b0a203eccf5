//! What happens in a run, and when: all of it follows from the seed.

use std::{fmt, time::Duration};

use fastrand::Rng;
use simkube::{Fault, On};

/// The namespaces of the simulated cluster.
pub(crate) const NAMESPACES: [&str; 3] = ["db", "ops", "web"];
/// How many names there are in each of them.
const NAMES: u8 = 6;
/// The keys of the labels that Deployments have.
pub(crate) const LABELS: [&str; 2] = ["team", "tier"];
/// The label selector of the runs that have one.
pub(crate) const SELECTOR: &str = "team=web";
/// Faults that last until they are lifted, at once.
const SLOTS: u8 = 4;

/// A seed, and what follows from it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The seed, from which chance within the run follows too: jitter, and where bodies are cut.
    pub seed: u64,
    /// What the run starts with.
    pub setup: Setup,
    /// What happens then.
    pub steps: Vec<Step>,
}

/// What a run starts with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The namespaces that are managed; none for all.
    pub namespaces: Vec<String>,
    /// Whether only what a label selector selects is managed.
    pub selector: bool,
    /// How many objects the API server puts into a page, from 2 on.
    pub page: usize,
    /// How many events the API server keeps.
    pub history: usize,
    /// How many Deployments there are at first.
    pub deployments: u8,
    /// How answers arrive.
    pub pieces: Pieces,
}

/// How the body of an answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// As it was sent.
    AsSent,
    /// All that is there at once.
    Merged,
    /// Cut at random places.
    Cut,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub struct Step {
    /// How long after the one before it.
    pub after: Duration,
    /// What it is.
    pub action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{} ms: {:?}", self.after.as_millis(), self.action)
    }
}

/// The place of a Deployment: its namespace and the number in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub &'static str, pub u8);

impl Place {
    /// The Deployment's name.
    pub fn name(self) -> String {
        format!("app-{}", self.1)
    }
}

/// What can happen. What makes no sense at that moment (the deletion of what isn't there) does nothing, so that a schedule
/// stays one when steps are taken out of it.
#[derive(Debug, Clone)]
pub enum Action {
    /// A Deployment is created.
    Create {
        /// Where.
        at: Place,
        /// Its count; `None` leaves the field out.
        count: Option<i32>,
        /// Its labels.
        labels: Vec<(&'static str, &'static str)>,
        /// Whether a finalizer holds it when it is deleted.
        finalizer: bool,
    },
    /// Its count changes.
    Scale(Place, Option<i32>),
    /// Its status changes.
    Touch(Place),
    /// Its labels change.
    Label(Place, Vec<(&'static str, &'static str)>),
    /// Its annotations change: least count, largest count, protection.
    Annotate(Place, Option<&'static str>, Option<&'static str>, bool),
    /// It is deleted, or marked so while there is a finalizer.
    Delete(Place),
    /// It is deleted, and another one of its name created at once.
    Recreate(Place, i32),
    /// Its finalizers are removed.
    Release(Place),
    /// Other resources are written: the version grows without an event.
    Advance(u64),
    /// Somebody waits so long for what was written last to arrive.
    Await(Duration),
    /// The labels of these keys are wanted from now on.
    WantLabels(&'static [&'static str]),
    /// A fault that happens so many times, to what comes.
    Few(On, Fault, u64),
    /// A fault that lasts until its slot is lifted.
    Lasting(u8, On, Fault),
    /// The API server is a replica that lags so many versions behind, until the slot is lifted.
    StaleReplica(u8, u64),
    /// Lists, or probes, come so many times from a server that lags so many versions behind, even those that ask for the latest.
    Behind(On, u64, u64),
    /// The fault of this slot ends.
    Lift(u8),
    /// Open watches end or break.
    Cut(Fault),
    /// Open watches go silent and stay so: nobody serves them any more.
    HalfOpen,
    /// Open watches go silent until the slot is lifted.
    Stall(u8),
    /// The API server is away until the slot is lifted; then it remembers no history.
    Restart(u8),
    /// History is forgotten.
    Compact,
    /// Continue tokens expire.
    ExpireTokens,
    /// A backup is made.
    Backup,
    /// The cluster goes back to the backup.
    Restore,
}

impl Action {
    /// The slot that it fills.
    fn slot(&self) -> Option<u8> {
        match self {
            Self::Lasting(slot, ..)
            | Self::StaleReplica(slot, _)
            | Self::Stall(slot)
            | Self::Restart(slot) => Some(*slot),
            _ => None,
        }
    }
}

/// Groups of faults, of which each schedule has only some: what is rare beside everything else is frequent there.
#[derive(Clone, Copy)]
enum Group {
    Cuts,
    HalfOpen,
    Stalls,
    ListFaults,
    MidList,
    WatchStarts,
    Events,
    Disorder,
    Losses,
    ProbeFaults,
    Outages,
    Stale,
    Restarts,
    Restores,
    Labels,
}

const GROUPS: [Group; 15] = [
    Group::Cuts,
    Group::HalfOpen,
    Group::Stalls,
    Group::ListFaults,
    Group::MidList,
    Group::WatchStarts,
    Group::Events,
    Group::Disorder,
    Group::Losses,
    Group::ProbeFaults,
    Group::Outages,
    Group::Stale,
    Group::Restarts,
    Group::Restores,
    Group::Labels,
];

impl Schedule {
    /// The schedule of this seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let setup = Setup::random(&mut rng);
        let count = rng.usize(1..=5);
        let mut groups = GROUPS.to_vec();
        rng.shuffle(&mut groups);
        groups.truncate(count);
        let mut steps = Vec::new();
        let mut slots = [false; SLOTS as usize];
        let mut stale_probe = false;
        for _ in 0..rng.usize(5..50) {
            let action = if rng.u8(..10) < 6 {
                change(&mut rng)
            } else {
                match fault(groups[rng.usize(..groups.len())], &mut rng, &slots) {
                    // A second one might come to the very next probe, and two in a row are how a restore looks.
                    Action::Behind(On::Probe, ..) if std::mem::replace(&mut stale_probe, true) => {
                        continue;
                    }
                    action => action,
                }
            };
            if let Some(slot) = action.slot() {
                slots[usize::from(slot)] = true;
            } else if let Action::Lift(slot) = action {
                slots[usize::from(slot)] = false;
            }
            // Most come close together, some after a while, few after a watch's whole life.
            let after = match rng.u8(..20) {
                0 => rng.u64(5_000..30_000),
                1..=4 => rng.u64(100..5_000),
                5..=11 => rng.u64(1..100),
                _ => 0,
            };
            // What is wrong with lists shows only where there is one, and often at once.
            let of_lists = matches!(&action, Action::Few(On::List | On::Page(_), ..));
            steps.push(Step {
                after: Duration::from_millis(after),
                action,
            });
            if of_lists && rng.bool() {
                let gone = Action::Few(On::Watch, Fault::status(410), 1);
                steps.extend([gone, Action::Cut(Fault::End)].map(|action| Step {
                    after: Duration::ZERO,
                    action,
                }));
            }
        }
        Self { seed, setup, steps }
    }
}

impl Setup {
    fn random(rng: &mut Rng) -> Self {
        let managed: &[&str] = match rng.u8(..6) {
            0 => &["db", "web"],
            1 => &["web"],
            _ => &[],
        };
        Self {
            namespaces: managed.iter().map(|n| (*n).to_owned()).collect(),
            selector: rng.u8(..4) == 0,
            page: [2, 3, 5, 2000][rng.usize(..4)],
            history: [3, 20, 100_000][rng.usize(..3)],
            deployments: rng.u8(..13),
            pieces: [Pieces::AsSent, Pieces::Merged, Pieces::Cut][rng.usize(..3)],
        }
    }
}

fn one_of<T: Clone>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.usize(..all.len())].clone()
}

fn place(rng: &mut Rng) -> Place {
    Place(one_of(rng, &NAMESPACES), rng.u8(..NAMES))
}

fn labels(rng: &mut Rng) -> Vec<(&'static str, &'static str)> {
    let mut labels = Vec::new();
    if rng.bool() {
        labels.push(("team", one_of(rng, &["web", "web", "ops"])));
    }
    if rng.bool() {
        labels.push(("tier", one_of(rng, &["front", "back"])));
    }
    labels
}

fn count(rng: &mut Rng) -> Option<i32> {
    if rng.u8(..10) == 0 {
        None
    } else {
        Some(rng.i32(0..9))
    }
}

/// A Deployment of the start, or one that a schedule creates.
pub(crate) fn creation(rng: &mut Rng) -> Action {
    Action::Create {
        at: place(rng),
        count: count(rng),
        labels: labels(rng),
        finalizer: rng.u8(..8) == 0,
    }
}

/// Something that happens to a cluster in good health.
fn change(rng: &mut Rng) -> Action {
    match rng.u8(..20) {
        0..=3 => creation(rng),
        4..=8 => Action::Scale(place(rng), count(rng)),
        9 => Action::Touch(place(rng)),
        10 => Action::Label(place(rng), labels(rng)),
        11 => {
            let value = [None, Some("0"), Some("7"), Some("two")];
            Action::Annotate(
                place(rng),
                one_of(rng, &value),
                one_of(rng, &value),
                rng.bool(),
            )
        }
        12..=14 => Action::Delete(place(rng)),
        15 => Action::Recreate(place(rng), rng.i32(0..9)),
        16 => Action::Release(place(rng)),
        17 => Action::Advance(rng.u64(1..10)),
        _ => Action::Await(Duration::from_millis(rng.u64(..8_000))),
    }
}

/// A status of a server in trouble.
fn trouble(rng: &mut Rng) -> Fault {
    match rng.u8(..8) {
        0 => Fault::retry_after(429, rng.u32(1..5)),
        1 => Fault::retry_after(503, rng.u32(1..5)),
        2 => Fault::status(500),
        3 => Fault::status(504),
        4 => Fault::Unauthorized,
        5 => Fault::Forbidden {
            user: "headcount".into(),
        },
        6 => Fault::status(502),
        _ => Fault::status(429),
    }
}

/// Something that goes wrong, or ends doing so.
fn fault(group: Group, rng: &mut Rng, filled: &[bool; SLOTS as usize]) -> Action {
    let free = filled.iter().position(|filled| !filled);
    let open: Vec<usize> = (0..filled.len()).filter(|slot| filled[*slot]).collect();
    let slot = match free {
        Some(slot) if open.is_empty() || rng.u8(..3) > 0 => slot as u8,
        _ => return Action::Lift(one_of(rng, &open) as u8),
    };
    let few = rng.u64(1..4);
    let answers = [
        Fault::Refuse,
        Fault::Hang,
        Fault::Garbage,
        Fault::Truncate,
        Fault::Break,
        Fault::WrongKind,
        Fault::Expired,
        Fault::TooLargeVersion,
        Fault::Delay(Duration::from_millis(rng.u64(1..9_000))),
    ];
    match group {
        Group::Cuts => Action::Cut(one_of(rng, &[Fault::End, Fault::Break])),
        Group::HalfOpen => match rng.u8(..4) {
            0 => Action::Few(On::Watch, Fault::Hang, 1),
            1 => Action::Few(On::List, Fault::Hang, 1),
            2 => Action::Few(On::Probe, Fault::Hang, few),
            _ => Action::HalfOpen,
        },
        Group::Stalls => Action::Stall(slot),
        Group::ListFaults => {
            let what = if rng.u8(..3) == 0 {
                trouble(rng)
            } else {
                one_of(rng, &answers)
            };
            let relist = Action::Few(On::Watch, Fault::status(410), 1);
            match rng.u8(..4) {
                0 => relist,
                1 => Action::Lasting(slot, On::List, what),
                _ => Action::Few(On::List, what, few),
            }
        }
        Group::MidList => match rng.u8(..9) {
            0 => Action::ExpireTokens,
            1 => Action::Compact,
            2..=4 => Action::Few(
                On::Watch,
                one_of(rng, &[Fault::Expired, Fault::status(410)]),
                1,
            ),
            5..=6 => Action::Few(On::Page(rng.u32(2..4)), Fault::Expired, few),
            7 => Action::Cut(Fault::Break),
            _ => Action::Few(On::Page(rng.u32(1..4)), one_of(rng, &answers), few),
        },
        Group::WatchStarts => match rng.u8(..4) {
            0 => Action::Few(On::Watch, trouble(rng), few),
            1 => Action::Lasting(slot, On::Watch, one_of(rng, &answers[..6])),
            2 => Action::Cut(one_of(rng, &[Fault::End, Fault::Break])),
            _ => Action::Few(On::Watch, one_of(rng, &answers), few),
        },
        Group::Events => {
            let spoilt = [
                Fault::Expired,
                Fault::TooLargeVersion,
                Fault::status(500),
                Fault::Garbage,
                Fault::Truncate,
                Fault::Break,
                Fault::Delay(Duration::from_millis(rng.u64(1..5_000))),
            ];
            Action::Few(On::Event, one_of(rng, &spoilt), few)
        }
        Group::Disorder => {
            let disorder = [Fault::Duplicate, Fault::Reorder, Fault::Replay];
            Action::Few(On::Event, one_of(rng, &disorder), few)
        }
        Group::Losses => match rng.u8(..4) {
            0 => Action::Few(On::List, Fault::BadObject, 1),
            1 => Action::Few(On::Event, Fault::BadObject, few),
            2 => Action::Few(On::Event, Fault::WrongKind, few),
            _ => Action::Few(On::Event, Fault::Drop, few),
        },
        Group::ProbeFaults => match rng.u8(..3) {
            0 => Action::Lasting(slot, On::Probe, trouble(rng)),
            1 => Action::Few(On::Probe, trouble(rng), few),
            _ => Action::Few(On::Probe, one_of(rng, &answers), few),
        },
        Group::Outages => {
            let what = [
                Fault::Refuse,
                Fault::Refuse,
                Fault::Hang,
                Fault::status(500),
                trouble(rng),
            ];
            Action::Lasting(slot, On::Any, one_of(rng, &what))
        }
        Group::Stale => match rng.u8(..4) {
            0 => Action::Behind(On::List, rng.u64(1..12), few),
            1 => Action::Behind(On::Probe, rng.u64(1..12), 1),
            2 => Action::Few(On::Watch, Fault::Expired, 1),
            _ => Action::StaleReplica(slot, rng.u64(..12)),
        },
        Group::Restarts => Action::Restart(slot),
        Group::Restores => match rng.u8(..2) {
            0 => Action::Backup,
            _ => Action::Restore,
        },
        Group::Labels => {
            let keys: [&[&str]; 4] = [&[], &["team"], &["tier"], &["team", "tier"]];
            Action::WantLabels(one_of(rng, &keys))
        }
    }
}
