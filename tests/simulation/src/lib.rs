//! Drives the informer that the server runs through random schedules of changes and faults, on virtual time.
//!
//! ```text
//! seed ─▶ schedule ─▶ simulated cluster ─▶ network ─▶ informer ─▶ store
//!                       │                    │                     │
//!                       └─▶ history (model)  └─▶ traffic           └─▶ witness: can this state be?
//! ```
//!
//! One seed is one schedule, and one schedule has one outcome: time is tokio's and paused, there is one thread, and all
//! chance comes from the seed.

mod cluster;
mod history;
mod network;
mod observer;
mod run;
mod schedule;
mod search;
mod shrink;
mod witness;

pub use run::{Outcome, Trace, run};
pub use schedule::{Action, Pieces, Place, Schedule, Setup, Step};
pub use search::{Found, Searched, search};
pub use shrink::shrink;
