//! Where a request is told that its caller, or this server, has enough: 429, and 503 for want of a turn.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Api, ApiError};
use crate::{
    access::Caller,
    limits::{Allowance, Budget, Charge, Limit, OverBudget, Turn},
};

/// What a change of Pods is charged for.
const MINUTE: Duration = Duration::from_secs(60);

/// Whether the caller's rate of reads, or of writes, lets one more come.
pub(super) fn within_rate(caller: &Caller, writes: bool) -> Result<(), ApiError> {
    let (bucket, limit) = if writes {
        (&caller.allowance.writes, Limit::WriteRate)
    } else {
        (&caller.allowance.reads, Limit::ReadRate)
    };
    match bucket {
        None => Ok(()),
        Some(bucket) => bucket.take().map_err(|wait| ApiError::TooOften {
            limit,
            rate: bucket.rate(),
            wait,
        }),
    }
}

/// A turn for a request that waits for something.
pub(super) async fn turn(api: &Api, caller: &Caller) -> Result<Turn, ApiError> {
    let requests = &api.deployments.limiter.requests;
    Ok(requests.take(caller.allowance.id()).await?)
}

/// The Pods that the writes of one dry run would have been charged so far.
#[derive(Clone, Default)]
pub(super) struct Planned(Arc<Mutex<u64>>);

/// The Pods that one write is charged for, until it is known what became of it.
#[derive(Default)]
pub(super) struct Charged {
    charge: Mutex<Option<(Arc<Allowance>, Charge)>>,
    /// Of a dry run of several writes: all of theirs, and which of them are this one's.
    planned: Option<(Planned, Mutex<u64>)>,
}

impl Charged {
    /// One of several writes that are a dry run together.
    pub(super) fn in_plan(planned: Planned) -> Self {
        Self {
            charge: Mutex::default(),
            planned: Some((planned, Mutex::default())),
        }
    }

    /// Charges an attempt, in place of the one before; a dry run is only told whether it would be.
    pub(super) fn charge(&self, caller: &Caller, pods: u64, dry_run: bool) -> Result<(), ApiError> {
        let mut charged = locked(&self.charge);
        let earlier = match charged.take() {
            // A reload may have given the caller another budget.
            Some((of, charge)) if !Arc::ptr_eq(&of, &caller.allowance) => {
                settle(&of, charge, 0);
                None
            }
            earlier => earlier.map(|(_, charge)| charge),
        };
        let Some(budget) = &caller.allowance.pods else {
            return Ok(());
        };
        let over = |why| {
            let per_minute = budget.per_minute();
            match why {
                OverBudget::For(wait) => ApiError::OverBudget {
                    pods,
                    per_minute,
                    wait,
                },
                OverBudget::Ever => ApiError::LargerThanBudget { pods, per_minute },
            }
        };
        if dry_run {
            budget.fits(pods).map_err(over)?;
            return self.plan(budget, pods).map_err(over);
        }
        let charge = budget.charge(pods, earlier).map_err(over)?;
        *charged = Some((Arc::clone(&caller.allowance), charge));
        Ok(())
    }

    /// Whether it fits beside what the same dry run has planned already.
    fn plan(&self, budget: &Budget, pods: u64) -> Result<(), OverBudget> {
        let Some((Planned(all), own)) = &self.planned else {
            return Ok(());
        };
        let (mut all, mut own) = (locked(all), locked(own));
        *all -= std::mem::take(&mut *own);
        match budget.fits(*all + pods) {
            // Made for real, the others would be charged for a minute.
            Err(OverBudget::Ever) => return Err(OverBudget::For(MINUTE)),
            fits => fits?,
        }
        (*all, *own) = (*all + pods, pods);
        Ok(())
    }

    /// The write changed so many Pods, none if it didn't happen.
    pub(super) fn settle(&self, pods: u64) {
        if let Some((of, charge)) = locked(&self.charge).take() {
            settle(&of, charge, pods);
        }
        if let Some((Planned(all), own)) = &self.planned {
            let (mut all, mut own) = (locked(all), locked(own));
            let given_back = own.saturating_sub(pods);
            (*all, *own) = (*all - given_back, *own - given_back);
        }
    }
}

/// A panic elsewhere leaves it whole, so poison is ignored.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settle(of: &Allowance, charge: Charge, pods: u64) {
    if let Some(budget) = &of.pods {
        budget.settle(charge, pods);
    }
}
