//! Leases of counts: so many replicas for so long, and then back to what was.
//!
//! The state of each is a Lease object of Kubernetes (coordination.k8s.io), of which a Deployment has one at most. A lease is a mark
//! for life: every count that is written under it has that mark in the name of its field manager, so whether a count is a lease's
//! is seen on the Deployment itself. Here are the decisions alone, without I/O and without a clock: who makes them carries
//! each out on the condition that nothing has changed since what it was made on, and decides anew if that doesn't hold.

mod object;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use object::{KIND_LABEL, NotALease, Stored, object_name};

/// The shortest lease, in seconds.
pub const SHORTEST: u32 = 10;
/// How long the count of a lease may take until it is there: longer than any write of it that is still waited for.
pub const SETTLED: SignedDuration = SignedDuration::from_secs(30);
/// How long whoever finds another's lease half taken leaves it alone.
const YOUNG: SignedDuration = SignedDuration::from_secs(1);

/// A lease of one Deployment's count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
    /// The Deployment's uid: of another one by this name it says nothing.
    pub uid: Uuid,
    /// What tells its counts from all others: 16 hexadecimal digits.
    pub mark: String,
    /// The count that is leased, 0 or more.
    pub replicas: i32,
    /// The count to go back to, 0 or more.
    pub previous: i32,
    /// How far it is.
    pub state: State,
    /// Why it was taken, in its holder's words.
    pub reason: Option<String>,
    /// The principal that took or renewed it last; empty for one without a name.
    pub holder: String,
    /// The principal that ended it by hand, while the count before is brought back; empty for one without a name.
    pub ended_by: Option<Box<str>>,
    /// When it was taken.
    pub taken: Timestamp,
    /// When it was taken, renewed or extended last.
    pub renewed: Timestamp,
    /// For how long from then, in seconds.
    pub seconds: u32,
}

/// How far a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its count is about to be written, on the condition that the Deployment has this version, or was, or never will be.
    Pending {
        /// The resourceVersion.
        version: u64,
    },
    /// Its count was there.
    Held,
    /// It is over, and somebody goes back to the count before. Nothing makes another state of it.
    Ending,
}

impl State {
    /// The state's name in objects and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Held => "held",
            Self::Ending => "ending",
        }
    }
}

/// A Deployment as a consistent reading shows it, begun after the lease was read that is judged by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its uid.
    pub uid: Uuid,
    /// Its resourceVersion.
    pub version: u64,
    /// Its count.
    pub replicas: i32,
    /// Those who own its count by managed fields: the mark of the write of each, if it has one.
    pub owners: Vec<Option<String>>,
}

impl Seen {
    fn has(&self, mark: &str) -> bool {
        let mut marks = self.owners.iter().flatten();
        marks.any(|owner| owner == mark)
    }

    /// Whether nobody but writes with this mark has set the count, to the same or another.
    fn only(&self, mark: &str) -> bool {
        let own = |owner: &Option<String>| owner.as_deref() == Some(mark);
        !self.owners.is_empty() && self.owners.iter().all(own)
    }
}

impl Lease {
    /// When it is over.
    pub fn until(&self) -> Timestamp {
        let length = SignedDuration::from_secs(self.seconds.into());
        saturating(self.renewed, length)
    }

    /// Whether the object and its count are the lease's: nobody else has set the count since.
    pub fn holds(&self, seen: &Seen) -> bool {
        seen.uid == self.uid && (seen.only(&self.mark) || self.changes_nothing(seen))
    }

    /// Whether a count that somebody sets ends it: not if its own isn't there any more, which has ended it before, nor if the count stays
    /// as it is and is the one that it goes back to.
    pub fn ends_by(&self, uid: Uuid, from: i32, to: i32) -> bool {
        uid == self.uid && from == self.replicas && (from != to || to != self.previous)
    }

    /// Whether it is of the count that was there beforehand, and still is: whoever has set that, there is nothing to go back to.
    fn changes_nothing(&self, seen: &Seen) -> bool {
        self.replicas == self.previous && seen.replicas == self.previous
    }

    /// The mark of the write that goes back: known beforehand, so that whoever comes later sees that it was made.
    pub fn mark_of_return(&self) -> String {
        let mark = u64::from_str_radix(&self.mark, 16).unwrap_or_default();
        format!("{:016x}", mark ^ 0x7265_7665_7274_6564)
    }

    /// When it has to be looked at, if nothing changes until then.
    pub fn due(&self) -> Timestamp {
        match self.state {
            State::Pending { .. } => self.until().min(self.settled()),
            State::Held => self.until(),
            State::Ending => Timestamp::MIN,
        }
    }

    fn settled(&self) -> Timestamp {
        saturating(self.renewed, SETTLED)
    }
}

/// What to do about a lease next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    Wait(Timestamp),
    /// Replace the lease by this one, on the condition that its object wasn't changed.
    Replace(Lease),
    /// Write the [previous](Lease::previous) count with the [mark of the return](Lease::mark_of_return), though it may be there
    /// already, on the condition that the Deployment has the version that was seen.
    Return,
    /// Write the count that is there once more, without a mark, on the condition that the Deployment has the version that was seen: an
    /// earlier write on that condition is refused from then on.
    Fence,
    /// Delete the lease, on the condition that its object wasn't changed.
    End(End),
}

/// Why a count is brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The time of the lease is over: the count is its holder's.
    TimeOver,
    /// Somebody ended the lease by hand, and set the count by that.
    ByHand,
}

/// How a lease has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The count is what it was before.
    Returned,
    /// Somebody else has set the count, and it was left alone.
    Overtaken,
    /// The Deployment isn't there any more; another by its name may be.
    Gone,
    /// Its count was never written, and never will be.
    NeverTaken,
    /// Its holder wished that its count stay.
    Kept,
}

/// What to do about a lease whose Deployment was read: `None` if there is none. After each step that was carried out, and after each
/// whose condition didn't hold, both are read and settled anew.
pub fn settle(lease: &Lease, seen: Option<&Seen>, now: Timestamp) -> Step {
    let Some(seen) = seen.filter(|seen| seen.uid == lease.uid) else {
        return Step::End(End::Gone);
    };
    if seen.has(&lease.mark_of_return()) {
        return Step::End(End::Returned);
    }
    if !lease.holds(seen) {
        return match lease.state {
            State::Pending { .. } if now < lease.settled() => Step::Wait(lease.settled()),
            // Its write may still arrive.
            State::Pending { version } if version == seen.version => Step::Fence,
            State::Pending { .. } => Step::End(End::NeverTaken),
            State::Held | State::Ending => Step::End(End::Overtaken),
        };
    }
    let replaced = |state| Lease {
        state,
        replicas: seen.replicas,
        ..lease.clone()
    };
    match lease.state {
        State::Held | State::Ending if lease.changes_nothing(seen) && now >= lease.due() => {
            Step::End(End::Returned)
        }
        // Before anything is written, so that no extension is promised meanwhile.
        State::Held | State::Pending { .. } if now >= lease.until() => {
            Step::Replace(replaced(State::Ending))
        }
        State::Pending { .. } if now < lease.settled() => Step::Wait(lease.due()),
        State::Pending { .. } => Step::Replace(replaced(State::Held)),
        State::Held if lease.replicas != seen.replicas => Step::Replace(replaced(State::Held)),
        State::Held => Step::Wait(lease.until()),
        State::Ending => Step::Return,
    }
}

/// A lease as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
    /// The count, 0 or more.
    pub replicas: i32,
    /// For how long, in seconds.
    pub seconds: u32,
    /// Why.
    pub reason: Option<String>,
    /// Who asks.
    pub holder: String,
    /// The mark of a new lease, which no other has.
    pub mark: String,
}

/// How a lease is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// Another is being taken or is ending: read both anew in a moment.
    Wait,
    /// Write the count that is there once more, as [`Step::Fence`] does, then read both anew.
    Fence,
    /// Write this object first, as a new one or in place of the one that was read, on the condition that it wasn't changed; then the
    /// count with its mark, if it [writes](Taken::writes) one, on the condition that the Deployment has the version that was seen;
    /// then [held](Taken::held).
    New(Taken),
    /// The same, of a lease that was there: it keeps its mark and what it goes back to.
    Renewal(Taken),
}

/// A lease that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Taken {
    /// As it is written first.
    pub lease: Lease,
    /// Whether a count is to be written at all.
    pub writes: bool,
}

impl Taken {
    /// As it is written once its count is there.
    pub fn held(&self) -> Lease {
        Lease {
            state: State::Held,
            ..self.lease.clone()
        }
    }
}

/// How to take or renew a lease: `existing` is the Deployment's, if it has one.
pub fn take(existing: Option<&Lease>, seen: &Seen, wanted: Wanted, now: Timestamp) -> Take {
    let state = State::Pending {
        version: seen.version,
    };
    let half_taken = existing.filter(|lease| lease.state == state);
    let patient = half_taken.is_some_and(|other| now < saturating(other.renewed, YOUNG));
    let new = Lease {
        namespace: wanted.namespace,
        name: wanted.name,
        uid: seen.uid,
        mark: wanted.mark,
        replicas: wanted.replicas,
        previous: seen.replicas,
        state,
        reason: wanted.reason,
        holder: wanted.holder,
        ended_by: None,
        taken: now,
        renewed: now,
        seconds: wanted.seconds,
    };
    match existing.filter(|lease| lease.holds(seen)) {
        // Somebody goes back at this version; the next one is nobody's.
        Some(lease) if lease.state == State::Ending => Take::Wait,
        Some(_) if patient => Take::Wait,
        Some(lease) => {
            // A write of the one that is replaced must not arrive after this.
            let writes = wanted.replicas != seen.replicas || half_taken.is_some();
            let renewed = Lease {
                mark: lease.mark.clone(),
                previous: lease.previous,
                taken: lease.taken,
                state: if writes { state } else { State::Held },
                ..new
            };
            Take::Renewal(Taken {
                lease: renewed,
                writes,
            })
        }
        None if patient => Take::Wait,
        // It would be forgotten what that one goes back to, and its write may still arrive.
        None if half_taken.is_some_and(|other| other.uid == seen.uid) => Take::Fence,
        None => {
            // Whoever applies what is there is one owner more of it, until another count is set.
            let writes = new.replicas != seen.replicas;
            let state = if writes { state } else { State::Held };
            let lease = Lease { state, ..new };
            Take::New(Taken { lease, writes })
        }
    }
}

/// Why a lease isn't extended or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is being taken at this moment.
    BeingTaken,
    /// It is over, and the count before is on its way.
    Ending,
    /// The count isn't the lease's any more.
    Overtaken,
    /// The count before is there again.
    Returned,
}

/// The lease with so many seconds from now on, to be written on the condition that its object wasn't changed.
///
/// # Errors
///
/// It can't be extended any more, or not yet.
pub fn extend(
    lease: &Lease,
    seen: Option<&Seen>,
    seconds: u32,
    now: Timestamp,
) -> Result<Lease, Refusal> {
    let seen = ours(lease, seen)?;
    if lease.state == State::Ending {
        return Err(Refusal::Ending);
    }
    if lease.state
        == (State::Pending {
            version: seen.version,
        })
    {
        return Err(Refusal::BeingTaken);
    }
    Ok(Lease {
        state: State::Held,
        replicas: seen.replicas,
        renewed: now,
        seconds,
        ..lease.clone()
    })
}

/// What ends a lease now, to be carried out as steps are: claimed first and then [settled](settle), or with its count kept.
///
/// # Errors
///
/// It can't be cancelled yet, or its count can't be kept any more.
pub fn cancel(lease: &Lease, seen: Option<&Seen>, keep: bool) -> Result<Step, Refusal> {
    let seen = match ours(lease, seen) {
        Ok(seen) => seen,
        Err(Refusal::Overtaken) => return Ok(Step::End(End::Overtaken)),
        Err(Refusal::Returned) => return Ok(Step::End(End::Returned)),
        Err(refusal) => return Err(refusal),
    };
    match (lease.state, keep) {
        (State::Ending, true) => Err(Refusal::Ending),
        (State::Ending, false) if !lease.changes_nothing(seen) => Ok(Step::Return),
        // What is written next would have nothing to end it.
        (State::Pending { version }, true) if version == seen.version => Err(Refusal::BeingTaken),
        (_, true) => Ok(Step::End(End::Kept)),
        (State::Held | State::Ending, false) if lease.changes_nothing(seen) => {
            Ok(Step::End(End::Returned))
        }
        (_, false) => Ok(Step::Replace(Lease {
            state: State::Ending,
            replicas: seen.replicas,
            ..lease.clone()
        })),
    }
}

fn ours<'a>(lease: &Lease, seen: Option<&'a Seen>) -> Result<&'a Seen, Refusal> {
    let there = seen.filter(|seen| seen.uid == lease.uid);
    match (there.filter(|seen| lease.holds(seen)), lease.state) {
        (Some(seen), _) => Ok(seen),
        (None, _) if there.is_some_and(|seen| seen.has(&lease.mark_of_return())) => {
            Err(Refusal::Returned)
        }
        (None, State::Pending { .. }) if there.is_some() => Err(Refusal::BeingTaken),
        (None, _) => Err(Refusal::Overtaken),
    }
}

fn saturating(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
