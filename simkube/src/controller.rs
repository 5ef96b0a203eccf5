//! The controller: lets status follow spec in three steps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cluster::{Shared, lock};
use crate::object::{Object, Rollout};

/// Switched on and off by the time that a rollout takes.
#[derive(Debug, Default)]
pub(crate) struct Controller {
    rollout: Mutex<Option<Duration>>,
    /// Set once the task runs; it ends when this goes away with the cluster.
    queue: OnceLock<mpsc::UnboundedSender<Unsettled>>,
}

/// A generation of an object whose status is behind.
#[derive(Debug)]
struct Unsettled {
    key: Arc<str>,
    generation: i64,
}

/// When which step of which generation is due; the earliest comes first.
type Due = Reverse<(Instant, u32, i64, Arc<str>)>;

const STEPS: u32 = 3;

impl Controller {
    pub(crate) fn set(shared: &Arc<Shared>, time: Option<Duration>) {
        let controller = &shared.controller;
        *lock(&controller.rollout) = time;
        if time.is_none() {
            return;
        }
        let queue = controller.queue.get_or_init(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(run(Arc::downgrade(shared), receiver));
            sender
        });
        let state = shared.state();
        for object in state
            .objects
            .values()
            .filter(|object| object.status != object.settled())
        {
            let _ = queue.send(Unsettled {
                key: object.key.clone(),
                generation: object.generation,
            });
        }
    }

    fn rollout(&self) -> Option<Duration> {
        *lock(&self.rollout)
    }

    /// Takes note of an object that was written; only a new generation means work.
    pub(crate) fn notice(&self, object: &Arc<Object>) {
        let seen = object.status.observed_generation == object.generation;
        if seen || object.deleted.is_some() || self.rollout().is_none() {
            return;
        }
        if let Some(queue) = self.queue.get() {
            let _ = queue.send(Unsettled {
                key: object.key.clone(),
                generation: object.generation,
            });
        }
    }
}

async fn run(shared: Weak<Shared>, mut queue: mpsc::UnboundedReceiver<Unsettled>) {
    let mut due: BinaryHeap<Due> = BinaryHeap::new();
    loop {
        let next = due.peek().map(|Reverse((at, ..))| *at);
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            unsettled = queue.recv() => {
                let (Some(Unsettled { key, generation }), Some(shared)) = (unsettled, shared.upgrade()) else { return };
                let Some(time) = shared.controller.rollout() else { continue };
                let now = Instant::now();
                for step in 1..=STEPS {
                    due.push(Reverse((now + time * step / STEPS, step, generation, key.clone())));
                }
            }
            () = wait => {
                let Some(shared) = shared.upgrade() else { return };
                if let Some(Reverse((_, step, generation, key))) = due.pop() {
                    take_step(&shared, &key, generation, step);
                }
            }
        }
    }
}

/// A step of an overtaken generation, or one that is due after the controller was switched off, does nothing.
fn take_step(shared: &Shared, key: &str, generation: i64, step: u32) {
    if shared.controller.rollout().is_none() {
        return;
    }
    let mut state = shared.state();
    let Some(object) = state.objects.get(key).cloned() else {
        return;
    };
    if object.generation != generation || object.deleted.is_some() {
        return;
    }
    let desired = object.desired();
    let ready = match step {
        1 => object.status.ready.min(desired),
        2 => i32::midpoint(object.status.ready, desired),
        _ => desired,
    };
    let status = Rollout {
        ready,
        available: ready,
        ..object.settled()
    };
    state.set_status(object, status);
    drop(state);
    shared.changed.send_replace(());
}
