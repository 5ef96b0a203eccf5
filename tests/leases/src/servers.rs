//! What servers do: they read, decide by the program's own code, and write.

use headcount::leases::{End, Lease, State, Step, Take, Taken, cancel, extend, settle, take};

use crate::{
    Defect, LeaseObject, Operation, Scene, World,
    cluster::{Text, What, Write},
    wanted,
};

/// A server that works for one caller, or that ends leases.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// What its caller wants, if it has one.
    pub wanted: Option<Operation>,
    /// How far it is.
    pub doing: Doing,
}

/// How far a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doing {
    /// It reads the lease next.
    Begins,
    /// It tries again, having written this lease at this version in the place of that one.
    BeginsAgain(Former),
    /// It has read the lease, and reads the Deployment next.
    HasRead(Option<LeaseObject>, Option<Former>),
    /// It waits for the lease to be written.
    Takes(Taken, Option<Lease>, u64),
    /// It waits for the count to be written.
    Counts(Taken, Former),
    /// It waits for the lease to be written as held.
    Holds(Lease),
    /// It waits for the lease to be extended.
    Extends(Lease),
    /// It waits for a step, and settles anew then.
    Steps,
    /// Its caller has an answer, or will never have one.
    Done,
}

/// What a server has written, and what was there before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Former {
    version: u64,
    before: Option<Lease>,
}

impl Server {
    /// Whether it goes on by itself.
    pub fn goes_on(&self) -> bool {
        matches!(
            self.doing,
            Doing::Begins | Doing::BeginsAgain(_) | Doing::HasRead(..)
        )
    }

    /// Whether it waits for an answer.
    pub fn waits(&self) -> bool {
        !self.goes_on() && self.doing != Doing::Done
    }

    /// Whether it may stop trying and take back what it wrote.
    pub fn may_take_back(&self) -> bool {
        matches!(self.doing, Doing::BeginsAgain(_))
    }
}

impl World {
    fn send(&mut self, by: usize, what: What) {
        self.sent.insert(Write { by: Some(by), what });
    }

    fn becomes(&mut self, at: usize, doing: Doing) {
        self.servers[at].doing = doing;
    }

    pub(crate) fn go(&mut self, scene: &Scene, at: usize) {
        match self.servers[at].doing.clone() {
            Doing::Begins => self.becomes(at, Doing::HasRead(self.object.clone(), None)),
            Doing::BeginsAgain(former) => {
                self.becomes(at, Doing::HasRead(self.object.clone(), Some(former)));
            }
            Doing::HasRead(object, former) => match (self.servers[at].wanted, object) {
                (Some(Operation::Take(count)), object) => {
                    self.takes(scene, at, count, object, former);
                }
                (Some(_), None) => self.becomes(at, Doing::Done),
                (Some(Operation::Extend), Some(object)) => self.extends(scene, at, &object),
                (Some(operation), Some(object)) => {
                    self.cancels(scene, at, &object, operation == Operation::Keep);
                }
                (None, None) => self.becomes(at, Doing::Begins),
                (None, Some(object)) => {
                    let seen = self.seen(scene.defect, Some(&object.lease));
                    let step = settle(&object.lease, Some(&seen), self.now());
                    self.steps(scene, at, &object, step);
                }
            },
            _ => {}
        }
    }

    fn takes(
        &mut self,
        scene: &Scene,
        at: usize,
        count: i32,
        object: Option<LeaseObject>,
        former: Option<Former>,
    ) {
        let lease = object.as_ref().map(|object| &object.lease);
        let seen = self.seen(scene.defect, lease);
        let again = match former {
            Some(former) => Doing::BeginsAgain(former),
            None => Doing::Begins,
        };
        let taken = match take(lease, &seen, wanted(at, count), self.now()) {
            Take::Wait => return self.becomes(at, again),
            Take::Fence => {
                self.send(at, What::Count(Some(seen.version), seen.replicas, None));
                return self.becomes(at, Doing::Steps);
            }
            Take::New(taken) => taken,
            Take::Renewal(mut taken) => {
                if scene.defect == Some(Defect::RenewalForgets) {
                    taken.lease.previous = seen.replicas;
                }
                taken
            }
        };
        let before = lease.cloned();
        if scene.defect == Some(Defect::CountFirst) && object.is_none() {
            let count = What::Count(
                Some(seen.version),
                taken.lease.replicas,
                Some(taken.lease.mark.clone()),
            );
            self.send(at, count);
            let former = Former { version: 0, before };
            return self.becomes(at, Doing::Counts(taken, former));
        }
        let text = Text(taken.lease.clone());
        let what = match object {
            None => What::Create(text),
            Some(object) => What::Replace(Some(object.version), text),
        };
        self.send(at, what);
        self.becomes(at, Doing::Takes(taken, before, seen.version));
    }

    fn extends(&mut self, scene: &Scene, at: usize, object: &LeaseObject) {
        let seen = self.seen(scene.defect, Some(&object.lease));
        match extend(&object.lease, Some(&seen), 60, self.now()) {
            Err(_) => self.becomes(at, Doing::Done),
            Ok(lease) => {
                let condition = match scene.defect {
                    Some(Defect::ExtendUnconditional) => None,
                    _ => Some(object.version),
                };
                self.send(at, What::Replace(condition, Text(lease.clone())));
                self.becomes(at, Doing::Extends(lease));
            }
        }
    }

    fn cancels(&mut self, scene: &Scene, at: usize, object: &LeaseObject, keep: bool) {
        let seen = self.seen(scene.defect, Some(&object.lease));
        match cancel(&object.lease, Some(&seen), keep) {
            Err(_) => self.becomes(at, Doing::Done),
            // What the others do with it from then on.
            Ok(step) => self.steps(scene, at, object, step),
        }
    }

    /// Carries out a step about a lease.
    fn steps(&mut self, scene: &Scene, at: usize, object: &LeaseObject, step: Step) {
        let version = self.deployment.version;
        let lease = &object.lease;
        let of_lease =
            Some(object.version).filter(|_| scene.defect != Some(Defect::DeleteUnconditional));
        let back = |version| What::Count(version, lease.previous, Some(lease.mark_of_return()));
        let what = match step {
            Step::Wait(_) => return self.becomes(at, Doing::Begins),
            Step::Replace(next)
                if next.state == State::Ending && scene.defect == Some(Defect::NoClaim) =>
            {
                back(Some(version))
            }
            Step::Replace(next) => What::Replace(Some(object.version), Text(next)),
            Step::Return => match scene.defect {
                Some(Defect::ReturnUnconditional) => back(None),
                Some(Defect::DeleteFirst) => {
                    self.send(at, What::Delete(of_lease, false));
                    back(Some(version))
                }
                _ => back(Some(version)),
            },
            Step::Fence if scene.defect == Some(Defect::NoFence) => What::Delete(of_lease, false),
            Step::Fence => What::Count(Some(version), self.deployment.replicas, None),
            Step::End(end) => What::Delete(of_lease, end == End::Kept),
        };
        self.send(at, what);
        self.becomes(at, Doing::Steps);
    }

    /// A server has the answer that it waited for.
    pub(crate) fn answered(
        &mut self,
        scene: &Scene,
        at: usize,
        what: &What,
        done: Result<u64, ()>,
    ) {
        let is_caller = self.servers[at].wanted.is_some();
        let next = match (self.servers[at].doing.clone(), done) {
            (Doing::Takes(taken, before, seen), Ok(version)) => {
                self.told.promised = None;
                if taken.writes {
                    let (count, mark) = (taken.lease.replicas, taken.lease.mark.clone());
                    self.send(at, What::Count(Some(seen), count, Some(mark)));
                    Doing::Counts(taken, Former { version, before })
                } else {
                    self.promise(&taken.lease);
                    Doing::Done
                }
            }
            (Doing::Takes(..), Err(())) => Doing::Begins,
            (Doing::Counts(taken, _), Ok(_)) if scene.defect == Some(Defect::CountFirst) => {
                let held = taken.held();
                self.send(at, What::Create(Text(held.clone())));
                Doing::Holds(held)
            }
            (Doing::Counts(taken, former), Ok(_)) => {
                let held = taken.held();
                self.send(at, What::Replace(Some(former.version), Text(held.clone())));
                Doing::Holds(held)
            }
            (Doing::Counts(_, former), Err(())) => Doing::BeginsAgain(former),
            // Whoever was faster has made it held, or has taken it over.
            (Doing::Holds(held), _) => {
                self.promise(&held);
                Doing::Done
            }
            (Doing::Extends(lease), Ok(_)) => {
                self.told.promised = None;
                self.told.extended = true;
                self.promise(&lease);
                Doing::Done
            }
            (Doing::Extends(_), Err(())) => Doing::Begins,
            (Doing::Steps, Ok(_)) if is_caller => {
                // A caller's cancellation takes back what others were promised.
                if matches!(what, What::Replace(..)) {
                    self.told.promised = None;
                }
                match self.servers[at].wanted {
                    Some(Operation::Take(_)) => Doing::Begins,
                    _ => Doing::Done,
                }
            }
            (Doing::Steps, _) => Doing::Begins,
            (other, _) => other,
        };
        self.becomes(at, next);
    }

    /// Its caller is told until when a lease holds, which it does if nobody has changed or ended it since.
    fn promise(&mut self, lease: &Lease) {
        // Whoever cancels goes back before.
        let cancels = |server: &Server| server.wanted == Some(Operation::Cancel);
        if self.servers.iter().any(cancels) {
            return;
        }
        let object = self.object.as_ref().map(|object| &object.lease);
        let stands = object.is_some_and(|now| {
            now.state != State::Ending
                && (&now.mark, now.renewed, now.seconds)
                    == (&lease.mark, lease.renewed, lease.seconds)
        });
        if stands {
            self.told.promised = Some((lease.mark.clone(), lease.until()));
        }
    }

    /// A server doesn't wait any longer: what it sent may still arrive.
    pub(crate) fn give_up(&mut self, at: usize) {
        let own: Vec<_> = self
            .sent
            .iter()
            .filter(|w| w.by == Some(at))
            .cloned()
            .collect();
        for write in own {
            self.sent.remove(&write);
            self.sent.insert(Write { by: None, ..write });
        }
        let caller = self.servers[at].wanted.is_some();
        self.becomes(at, if caller { Doing::Done } else { Doing::Begins });
    }

    /// A caller's count was refused for good: its server takes back the lease that it wrote.
    pub(crate) fn take_back(&mut self, at: usize) {
        let Doing::BeginsAgain(former) = self.servers[at].doing.clone() else {
            return;
        };
        let condition = Some(former.version);
        let what = match former.before {
            None => What::Delete(condition, false),
            Some(before) => What::Replace(condition, Text(before)),
        };
        self.sent.insert(Write { by: None, what });
        self.becomes(at, Doing::Done);
    }
}
