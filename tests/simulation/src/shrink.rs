//! The shortest schedule that still goes wrong: what a person wants to read.

use std::time::Duration;

use crate::{
    run::{Trace, run},
    schedule::Schedule,
};

/// Takes away as many steps as can go while something is wrong, whatever it is.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let mut best = schedule.clone();
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < best.steps.len() {
            let mut shorter = best.clone();
            let end = (start + size).min(shorter.steps.len());
            let gone: Vec<_> = shorter.steps.drain(start..end).collect();
            // What comes after it still comes at the same time.
            if let Some(next) = shorter.steps.get_mut(start) {
                next.after += gone.iter().map(|step| step.after).sum::<Duration>();
            }
            if run(&shorter, Trace::No).wrong.is_some() {
                best = shorter;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    best
}
