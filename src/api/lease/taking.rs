//! The order of writes by which a lease is taken or renewed: first its object, then the count, each on the condition of what was read.

use super::{
    super::{
        ApiError, replicas,
        write::{Write, log_write},
    },
    Count, Retries, ended, judge_brought_back,
    take::LeasedReplicas,
    there,
};
use crate::{
    kubernetes::{
        Details, Exactly, LeaseError, LeaseObjects, Settled, There, WriteError, WriteRequest,
        Written, new_mark,
    },
    leases::{Lease, Step, Stored, Take, Taken, Wanted, settle, take},
};

/// One request for a lease.
pub(super) struct Taking<'a> {
    write: &'a Write<LeasedReplicas>,
    leases: &'a LeaseObjects,
    retries: Retries,
    /// What it has sent of the lease's object: whichever of it is found there is its own.
    sent: Vec<Lease>,
    /// Whether the last of that may have been carried out unanswered.
    unanswered: bool,
    /// The object as it has written it.
    own: Option<Stored>,
    /// The lease that was there before it wrote anything.
    before: Option<Lease>,
}

impl<'a> Taking<'a> {
    pub(super) fn new(write: &'a Write<LeasedReplicas>, leases: &'a LeaseObjects) -> Self {
        Self {
            write,
            leases,
            retries: Retries::begin(),
            sent: Vec::new(),
            unanswered: false,
            own: None,
            before: None,
        }
    }

    /// Makes attempts until one comes to something; what was refused leaves the lease before.
    pub(super) async fn run(mut self) -> Result<Written<Count>, WriteError<ApiError>> {
        loop {
            let refused = match self.attempt().await {
                Ok(Some(written)) => return Ok(written),
                Ok(None) => match self.retries.again().await {
                    Ok(()) => continue,
                    Err(_) if self.unanswered => {
                        WriteError::Unavailable("it doesn't answer".into(), None)
                    }
                    Err(late) => late,
                },
                // The object stays: its count may yet arrive.
                Err(unknown @ WriteError::Unknown(_)) => return Err(unknown),
                Err(refused) => refused,
            };
            return Err(match self.undo().await {
                Ok(()) => refused,
                Err(why) => WriteError::Unknown(why),
            });
        }
    }

    /// Makes what was written of the object undone; whatever else of it stays is settled later.
    ///
    /// # Errors
    ///
    /// A lease that was there before may have been renewed all the same.
    async fn undo(&mut self) -> Result<(), String> {
        let names @ (namespace, name) = self.write.request.names();
        let undone = match self.found_own(names).await {
            Err(error) => Err(error),
            Ok(()) => match (self.own.take(), &self.before) {
                (None, _) => Ok(()),
                (Some(own), Some(before)) => self.leases.replace(&own, before).await.map(drop),
                (Some(own), None) => self.leases.delete(&own).await,
            },
        };
        // Somebody else's change of it stands.
        let Some(error) = undone.err().filter(|error| *error != LeaseError::Changed) else {
            return Ok(());
        };
        log_write!(warn, "lease.unsettled", self.write.origin, (namespace, name),
            { error = %error }, "a lease that was refused is there still; it is settled in half a minute");
        match &self.before {
            Some(_) => Err(format!(
                "whether the lease that was there was renewed isn't known: {error}"
            )),
            None => Ok(()),
        }
    }

    /// Looks for what was written of the object without an answer.
    async fn found_own(&mut self, (namespace, name): (&str, &str)) -> Result<(), LeaseError> {
        if self.unanswered {
            let there = self.leases.read(namespace, name).await?;
            self.is_there(there.as_ref());
            if self.unanswered {
                return Err(LeaseError::Unknown("a write of it wasn't answered".into()));
            }
        }
        Ok(())
    }

    /// Recognises its own object in what was read.
    fn is_there(&mut self, there: Option<&Stored>) {
        let own = there.filter(|there| self.sent.contains(&there.lease));
        if let Some(own) = own {
            (self.own, self.unanswered) = (Some(own.clone()), false);
        }
    }

    /// One attempt on what is read anew; nothing if another has to be made.
    async fn attempt(&mut self) -> Result<Option<Written<Count>>, WriteError<ApiError>> {
        let write = self.write;
        let names @ (namespace, name) = write.request.names();
        let deployments = &write.api.deployments;
        // Nothing is sent for what isn't managed.
        deployments
            .stored_version(names)
            .ok_or(WriteError::NotFound)?;
        let mut existing = self.leases.read(namespace, name).await?;
        self.is_there(existing.as_ref());
        let details = there(deployments.look(names).await?).ok_or(WriteError::NotFound)?;
        let wanted = Wanted {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            replicas: write.wish.replicas,
            seconds: write.wish.seconds,
            reason: write.origin.reason().map(str::to_owned),
            holder: write.origin.caller.name().to_owned(),
            mark: new_mark(),
        };
        let lease = existing.as_ref().map(|stored| &stored.lease);
        let way = take(lease, &details.seen(), wanted, self.leases.now());
        let renewed = match &way {
            // Of its own first attempt it is the one that was there before.
            _ if self.own.is_some() && self.own == existing => self.before.clone(),
            Take::Renewal(_) => lease.cloned(),
            Take::Wait | Take::Fence | Take::New(_) => None,
        };
        if !self.judged(&details, renewed.as_ref()).await? {
            return Ok(None);
        }
        let (taken, new) = match way {
            Take::Wait => return Ok(None),
            Take::Fence if write.request.dry_run => return Ok(None),
            Take::Fence => {
                let fenced = deployments.fence(names, &details).await;
                fenced.map_err(|why| WriteError::Unavailable(why.why, None))?;
                return Ok(None);
            }
            Take::New(taken) => (taken, true),
            Take::Renewal(taken) => (taken, false),
        };
        let known = self.leases.known();
        let known = known.ok_or(WriteError::Judged(ApiError::LeasesUnknown))?;
        let most = self.leases.rules().most;
        if existing.is_none() && known.len() >= most {
            return Err(WriteError::Judged(ApiError::TooManyLeases { most }));
        }
        if write.request.dry_run {
            let written = if taken.writes {
                self.write_count(&taken.lease, &details).await?
            } else {
                Some(unchanged(&details))
            };
            return Ok(written.map(|written| with_lease(written, renewed, taken.held())));
        }
        if new && let Some(ended) = existing.take_if(|it| self.own.as_ref() != Some(it)) {
            existing = match self.end(ended, &details).await {
                Err(LeaseError::Changed) => return Ok(None),
                left => left?,
            };
        }
        let Some(stored) = self.write_object(existing, &details, &taken.lease).await? else {
            return Ok(None);
        };
        self.finish(stored, taken, &details).await
    }

    /// Judges the write on the record of exactly the version that was read; `false` if the store has another one.
    async fn judged(
        &self,
        details: &Details,
        renewed: Option<&Lease>,
    ) -> Result<bool, WriteError<ApiError>> {
        let write = self.write;
        let (namespace, name) = write.request.names();
        let status = &write.api.status;
        let version = details.resource_version;
        let caught_up = status.wait_until(self.retries.until, |now| {
            now.get(namespace, name)
                .is_none_or(|record| record.resource_version() >= version)
        });
        caught_up.await;
        let snapshot = status.store().snapshot();
        let record = snapshot.get(namespace, name).ok_or(WriteError::NotFound)?;
        if record.resource_version() < version {
            return Err(WriteError::Unavailable(
                "it doesn't tell this server of its changes".into(),
                None,
            ));
        }
        if record.resource_version() != version || record.uid() != details.uid {
            return Ok(false);
        }
        let wanted = write.wish.replicas;
        replicas::judge(write, &record, wanted).map_err(WriteError::Judged)?;
        if let Some(lease) = renewed {
            // Its new holder may end it.
            let judged = judge_brought_back(write, details, lease, wanted);
            judged.map_err(WriteError::Judged)?;
        }
        Ok(true)
    }

    /// Ends the lease that this one doesn't renew, and tells of it, so that it isn't forgotten.
    async fn end(&self, stored: Stored, details: &Details) -> Result<Option<Stored>, LeaseError> {
        let lease = &stored.lease;
        let Step::End(end) = settle(lease, Some(&details.seen()), self.leases.now()) else {
            // Its count was never written, and won't be: whoever takes it knows.
            return Ok(Some(stored));
        };
        self.leases.delete(&stored).await?;
        let there = (lease.uid == details.uid).then(|| There::of(lease, details));
        let (api, settled) = (&self.write.api, Settled::Ended(end, there));
        ended::tell(
            &api.deployments,
            &api.audit,
            &api.metrics.leases,
            lease,
            &settled,
        );
        Ok(None)
    }

    /// Writes the object first: whatever happens then, somebody knows what to go back to.
    async fn write_object(
        &mut self,
        existing: Option<Stored>,
        details: &Details,
        lease: &Lease,
    ) -> Result<Option<Stored>, WriteError<ApiError>> {
        if self.own.is_none() || self.own != existing {
            let before = existing.as_ref().map(|existing| &existing.lease);
            self.before = before.filter(|lease| lease.holds(&details.seen())).cloned();
        }
        self.sent.push(lease.clone());
        let written = match &existing {
            None => self.leases.create(lease).await,
            Some(existing) => self.leases.replace(existing, lease).await,
        };
        match written {
            Ok(stored) => {
                (self.own, self.unanswered) = (Some(stored.clone()), false);
                Ok(Some(stored))
            }
            // Its own is found when all is read again.
            Err(LeaseError::Unknown(_)) => {
                self.unanswered = true;
                Ok(None)
            }
            Err(LeaseError::Changed) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the count, and says that it is there.
    async fn finish(
        &self,
        stored: Stored,
        taken: Taken,
        details: &Details,
    ) -> Result<Option<Written<Count>>, WriteError<ApiError>> {
        let written = if taken.writes {
            let Some(written) = self.write_count(&taken.lease, details).await? else {
                return Ok(None);
            };
            written
        } else {
            unchanged(details)
        };
        let held = Lease {
            // Admission may have changed it.
            replicas: written.now,
            ..taken.held()
        };
        if taken.writes {
            // If that fails it is found to be held when it is settled.
            let _ = self.leases.replace(&stored, &held).await;
        }
        Ok(Some(with_lease(written, self.before.clone(), held)))
    }

    /// Writes the count at exactly the version that was judged; nothing if it can't be any more.
    async fn write_count(
        &self,
        lease: &Lease,
        details: &Details,
    ) -> Result<Option<Written<i32>>, WriteError<ApiError>> {
        let write = self.write;
        let request = WriteRequest {
            conditional: true,
            mark: Some(lease.mark.clone()),
            ..write.request.clone()
        };
        let deployments = &write.api.deployments;
        let on = Exactly::of(details);
        let why = match deployments
            .scale_exactly(&request, on, lease.replicas)
            .await
        {
            Ok(written) => return Ok(Some(written)),
            Err(WriteError::Conflict) => return Ok(None),
            Err(WriteError::Unknown(why)) if !request.dry_run => why,
            Err(error) => return Err(error),
        };
        let unknown = || WriteError::Unknown(why.clone());
        let found = deployments.look(request.names()).await;
        let now = found.ok().and_then(there).ok_or_else(unknown)?;
        if now.uid != details.uid || now.resource_version == details.resource_version {
            return Err(unknown());
        }
        if now.replicas == lease.replicas && lease.holds(&now.seen()) {
            return Ok(Some(Written {
                uid: now.uid,
                previous: details.replicas,
                now: now.replicas,
                resource_version: now.resource_version,
                seen: true,
            }));
        }
        // Another version of the same wish: the write wasn't carried out, and never will be. Otherwise it may have been, and overtaken.
        if now.generation == details.generation && details.replicas != lease.replicas {
            return Ok(None);
        }
        Err(unknown())
    }
}

fn unchanged(details: &Details) -> Written<i32> {
    Written {
        uid: details.uid,
        previous: details.replicas,
        now: details.replicas,
        resource_version: details.resource_version,
        seen: true,
    }
}

fn with_lease(written: Written<i32>, before: Option<Lease>, lease: Lease) -> Written<Count> {
    Written {
        uid: written.uid,
        previous: Count {
            replicas: written.previous,
            lease: before,
        },
        now: Count {
            replicas: written.now,
            lease: Some(lease),
        },
        resource_version: written.resource_version,
        seen: written.seen,
    }
}
