//! Where a request is told that its caller, or this server, has enough: 429, and 503 for want of a turn.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Api, ApiError};
use crate::{
    access::Caller,
    limits::{Allowance, Charge, Limit, OverBudget, Turn},
};

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

/// The Pods that one write is charged for, until it is known what became of it.
#[derive(Default)]
pub(super) struct Charged(Mutex<Option<(Arc<Allowance>, Charge)>>);

impl Charged {
    /// Charges an attempt, in place of the one before; a dry run is only told whether it would be.
    pub(super) fn charge(&self, caller: &Caller, pods: u64, dry_run: bool) -> Result<(), ApiError> {
        let mut charged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
            return budget.fits(pods).map_err(over);
        }
        let charge = budget.charge(pods, earlier).map_err(over)?;
        *charged = Some((Arc::clone(&caller.allowance), charge));
        Ok(())
    }

    /// The write changed so many Pods, none if it didn't happen.
    pub(super) fn settle(&self, pods: u64) {
        let charged = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((of, charge)) = charged {
            settle(&of, charge, pods);
        }
    }
}

fn settle(of: &Allowance, charge: Charge, pods: u64) {
    if let Some(budget) = &of.pods {
        budget.settle(charge, pods);
    }
}
