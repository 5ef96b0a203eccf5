//! The steps of a lease that is over, carried out: each on the condition of what it was decided on.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{
    Deployments, Details, FieldOwner, LeaseError, LeaseObjects, WriteError, WriteRequest, Written,
    details::read, field_manager, field_manager::of_return, scale::Exactly,
};
use crate::{
    leases::{End, Lease, Seen, State, Step, Stored, Why, settle},
    limits::CallerId,
};

/// More steps than any lease takes: then others change it all the time.
const MOST_STEPS: usize = 12;
/// How long whoever was overtaken waits before it looks again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one lease may take.
const TOGETHER: Duration = Duration::from_secs(30);

/// What a consistent reading finds of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is there, and managed.
    Managed(Box<Details>),
    /// It isn't managed by this server, whether it is there or not.
    Unmanaged,
    /// It isn't there.
    Gone,
}

impl Details {
    /// What decisions on leases look at.
    pub fn seen(&self) -> Seen {
        Seen {
            uid: self.uid,
            version: self.resource_version,
            replicas: self.replicas,
            owners: self.marks.clone(),
        }
    }
}

/// What is there once a lease has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// The Deployment's version.
    pub version: u64,
    /// Its count.
    pub replicas: i32,
    /// Who set that, where it wasn't the lease.
    pub by: Option<FieldOwner>,
}

impl There {
    /// Of the lease's Deployment as it was read.
    pub fn of(lease: &Lease, details: &Details) -> Self {
        let by = details.last_set_by.as_ref();
        let by = by.filter(|owner| owner.mark.as_ref() != Some(&lease.mark));
        Self {
            version: details.resource_version,
            replicas: details.replicas,
            by: by.cloned(),
        }
    }
}

/// What a lease has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Nothing is to be done before this time.
    Waits(Timestamp),
    /// It has ended, and its object is gone. The Deployment, if it is there.
    Ended(End, Option<There>),
    /// It may not go back, for this reason, and has ended all the same.
    Refused(String),
    /// Its Deployment isn't managed by this server, and it is left as it is.
    Unmanaged,
    /// Somebody else has changed or ended it: read it anew.
    Changed,
}

/// Why it isn't known what a lease has come to; the next one to settle it goes on from where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unsettled {
    /// In words.
    pub why: String,
    /// Whether a step was made, or may have been.
    pub made: bool,
}

impl Unsettled {
    /// This reason, before any step.
    pub fn of(why: impl std::fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            made: false,
        }
    }
}

impl From<LeaseError> for Unsettled {
    fn from(error: LeaseError) -> Self {
        Self {
            made: matches!(error, LeaseError::Unknown(_)),
            ..Self::of(error)
        }
    }
}

impl Deployments {
    /// The Deployment as it is in the cluster now.
    ///
    /// # Errors
    ///
    /// It isn't known.
    pub async fn look(&self, (namespace, name): (&str, &str)) -> Result<Found, super::ReadError> {
        let namespaces = &self.managed.namespaces;
        if !namespaces.is_empty() && !namespaces.iter().any(|own| own == namespace) {
            return Ok(Found::Unmanaged);
        }
        self.api_server.admit()?;
        let key = (namespace.to_owned(), name.to_owned());
        match read(&self.api_server, &key).await {
            Ok(object) => {
                let details = Details::from(object);
                Ok(if self.managed.selects(&details.labels) {
                    Found::Managed(Box::new(details))
                } else {
                    Found::Unmanaged
                })
            }
            Err(super::ReadError::NotFound) => Ok(Found::Gone),
            Err(error) => Err(error),
        }
    }

    /// Takes the steps that a lease needs now, from `first` on if that was decided already, until there are none. `may` judges the
    /// count that it goes back to, `recorded` puts on record what is about to be done to the Deployment, before the first such step.
    ///
    /// # Errors
    ///
    /// A step failed; all before it were made, and whoever settles it next goes on from there.
    pub async fn settle<R: Future<Output = Result<(), String>>>(
        &self,
        leases: &LeaseObjects,
        stored: Stored,
        first: Option<Step>,
        may: impl Fn(&Details) -> Result<(), String>,
        recorded: impl Fn() -> R,
    ) -> Result<Settled, Unsettled> {
        let mut made = false;
        let steps = self.steps(leases, stored, first, may, recorded, &mut made);
        let settled = steps.await;
        settled.map_err(|Unsettled { why, made: last }| Unsettled {
            why,
            made: made || last,
        })
    }

    async fn steps<R: Future<Output = Result<(), String>>>(
        &self,
        leases: &LeaseObjects,
        mut stored: Stored,
        first: Option<Step>,
        may: impl Fn(&Details) -> Result<(), String>,
        recorded: impl Fn() -> R,
        made: &mut bool,
    ) -> Result<Settled, Unsettled> {
        let mut on_record = false;
        let deadline = Instant::now() + TOGETHER;
        let mut decided = first;
        for _ in 0..MOST_STEPS {
            if Instant::now() > deadline {
                break;
            }
            let lease = stored.lease.clone();
            let names = (&*lease.namespace, &*lease.name);
            let found = match self.look(names).await.map_err(Unsettled::of)? {
                Found::Managed(details) => Some(details),
                Found::Unmanaged => return Ok(Settled::Unmanaged),
                Found::Gone => None,
            };
            let seen = found.as_deref().map(Details::seen);
            let step = decided
                .take()
                .unwrap_or_else(|| settle(&lease, seen.as_ref(), leases.now()));
            let there = found.as_deref().map(|details| There::of(&lease, details));
            if let (Step::Return, Some(details)) = (&step, &found)
                && let Err(why) = may(details)
            {
                return ended(leases, &stored, Settled::Refused(why)).await;
            }
            let bookkeeping = match &step {
                Step::Wait(_) | Step::End(_) => true,
                Step::Replace(next) => next.state != State::Ending,
                Step::Return | Step::Fence => false,
            };
            if !bookkeeping && !on_record {
                recorded().await.map_err(Unsettled::of)?;
                on_record = true;
            }
            match (step, &found) {
                (Step::Wait(until), _) => return Ok(Settled::Waits(until)),
                (Step::Replace(next), _) => match leases.replace(&stored, &next).await {
                    Ok(next) => (stored, *made) = (next, true),
                    Err(LeaseError::Changed) => return Ok(Settled::Changed),
                    Err(error) => return Err(error.into()),
                },
                (Step::End(end), _) => {
                    return ended(leases, &stored, Settled::Ended(end, there)).await;
                }
                (Step::Return, Some(details)) => {
                    match self.go_back(&lease, details).await {
                        Err(WriteError::Refused(why)) => {
                            return ended(leases, &stored, Settled::Refused(why)).await;
                        }
                        done => went(done).await?,
                    }
                    *made = true;
                }
                (Step::Fence, Some(details)) => {
                    self.fence(names, details).await?;
                }
                // It went meanwhile.
                (Step::Return | Step::Fence, None) => {}
            }
        }
        Err(Unsettled::of(
            "others kept changing the Deployment or its lease",
        ))
    }

    /// Ends the lease of a Deployment if somebody else has set its count: which one it was, and what is there. Nothing if it
    /// hasn't ended, or another server was faster.
    ///
    /// # Errors
    ///
    /// It isn't known whether it has ended; whoever settles it next finds out.
    pub async fn end_overtaken(
        &self,
        leases: &LeaseObjects,
        (namespace, name): (&str, &str),
    ) -> Result<Option<(Lease, There)>, Unsettled> {
        for _ in 0..MOST_STEPS {
            let Some(stored) = leases.read(namespace, name).await? else {
                return Ok(None);
            };
            let found = self.look((namespace, name)).await.map_err(Unsettled::of)?;
            let Found::Managed(details) = found else {
                return Ok(None);
            };
            let step = settle(&stored.lease, Some(&details.seen()), leases.now());
            if step != Step::End(End::Overtaken) {
                return Ok(None);
            }
            match leases.delete(&stored).await {
                Ok(()) => {
                    let there = There::of(&stored.lease, &details);
                    return Ok(Some((stored.lease, there)));
                }
                Err(LeaseError::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Tries to go back without changing anything; the count that it would be.
    ///
    /// # Errors
    ///
    /// As writes have them, and never [`WriteError::Unknown`].
    pub async fn try_return<E>(
        &self,
        lease: &Lease,
        details: &Details,
    ) -> Result<i32, WriteError<E>> {
        let request = WriteRequest {
            dry_run: true,
            ..return_of(lease)
        };
        let on = Exactly::of(details);
        match self.scale_exactly(&request, on, lease.previous).await {
            Ok(written) => Ok(written.now),
            // A webhook with side effects isn't asked by a dry run: that is no refusal.
            Err(WriteError::Refused(why)) if why.contains("does not support dry run") => {
                Ok(lease.previous)
            }
            Err(WriteError::Unknown(why)) => Err(WriteError::Unavailable(
                format!("{why}; nothing was changed"),
                None,
            )),
            Err(error) => Err(error),
        }
    }

    /// Writes the count that is there once more, so that an earlier write that was judged at its version is refused.
    ///
    /// # Errors
    ///
    /// It isn't known whether that was done.
    pub async fn fence(
        &self,
        (namespace, name): (&str, &str),
        details: &Details,
    ) -> Result<(), Unsettled> {
        let request = own_request(namespace, name, field_manager(""), None);
        let written = self.scale_exactly(&request, Exactly::of(details), details.replicas);
        went(written.await).await
    }

    async fn go_back(
        &self,
        lease: &Lease,
        details: &Details,
    ) -> Result<Written<i32>, WriteError<std::convert::Infallible>> {
        let on = Exactly::of(details);
        self.scale_exactly(&return_of(lease), on, lease.previous)
            .await
    }
}

/// What became of a write that is looked for on the Deployment itself next.
async fn went(
    outcome: Result<Written<i32>, WriteError<std::convert::Infallible>>,
) -> Result<(), Unsettled> {
    match outcome {
        Ok(_) | Err(WriteError::NotFound) => Ok(()),
        Err(WriteError::Conflict | WriteError::Unknown(_)) => {
            sleep(PAUSE).await;
            Ok(())
        }
        Err(error) => Err(Unsettled::of(error)),
    }
}

async fn ended(
    leases: &LeaseObjects,
    stored: &Stored,
    settled: Settled,
) -> Result<Settled, Unsettled> {
    match leases.delete(stored).await {
        Ok(()) => Ok(settled),
        Err(LeaseError::Changed) => Ok(Settled::Changed),
        Err(error) => Err(error.into()),
    }
}

/// The write that goes back once a lease has ended.
fn return_of(lease: &Lease) -> WriteRequest {
    let (who, why) = match &lease.ended_by {
        Some(by) => (&**by, Why::ByHand),
        None => (&*lease.holder, Why::TimeOver),
    };
    let mark = of_return(&lease.mark_of_return(), why);
    let manager = field_manager(who);
    own_request(&lease.namespace, &lease.name, manager, Some(mark))
}

/// A write that this server makes by itself.
fn own_request(
    namespace: &str,
    name: &str,
    field_manager: String,
    mark: Option<String>,
) -> WriteRequest {
    WriteRequest {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dry_run: false,
        conditional: true,
        caller: CallerId::new("leases of this server"),
        field_manager,
        mark,
    }
}

impl Exactly {
    /// The Deployment as it was read.
    pub fn of(details: &Details) -> Self {
        Self {
            uid: details.uid,
            version: details.resource_version,
            replicas: details.replicas,
        }
    }
}
