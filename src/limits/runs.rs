//! Which of a peer's tasks stand in the runtime's queue: a few at once, so that a peer with hundreds that are ready has no
//! hundreds before the one of somebody else.
//!
//! Reads are nothing but CPU, and the runtime's queue is first come, first served. So what wakes a task of a peer, its socket
//! for example, wakes it only if few of the peer's are awake; otherwise the task stands in the peer's own line until one of
//! those has been polled.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use hyper::rt::Executor;

/// The tasks of one peer.
pub(crate) struct Runs {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many are awake: in the runtime's queue, or being polled.
    awake: usize,
    /// Those that are ready beside them. As long as there are any, no more can be awake.
    line: VecDeque<Arc<Task>>,
}

/// A task. Its state is looked at in that of its peer, but for its own polls.
struct Task {
    of: Arc<Runs>,
    state: Mutex<TaskState>,
}

struct TaskState {
    phase: Phase,
    /// The runtime's.
    waker: Waker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has never been polled.
    New,
    /// Nothing has woken it since it was polled.
    Asleep,
    /// It stands in line.
    Ready,
    /// It is about to be polled.
    Awake,
    /// It is being polled.
    Polled,
    /// It was woken meanwhile.
    PolledAgain,
    Done,
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs").field("most", &self.most).finish()
    }
}

impl Runs {
    /// So many may be awake at once.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { most, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of those that were awake isn't any more.
    fn pass_on(&self, state: &mut State) {
        state.awake -= 1;
        while let Some(next) = state.line.pop_front() {
            let mut next = next.state();
            // Who has left the line is still in it.
            if next.phase == Phase::Ready {
                state.awake += 1;
                next.phase = Phase::Awake;
                next.waker.wake_by_ref();
                return;
            }
        }
    }
}

impl Task {
    fn state(&self) -> MutexGuard<'_, TaskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it polled: now if there is a run for it, when it is its turn otherwise.
    fn get_up(self: &Arc<Self>, peer: &mut State, me: &mut TaskState) {
        if peer.awake < self.of.most {
            peer.awake += 1;
            me.phase = Phase::Awake;
        } else {
            me.phase = Phase::Ready;
            peer.line.push_back(Arc::clone(self));
        }
    }

    /// It has been polled.
    fn polled(self: &Arc<Self>, done: bool) {
        let mut peer = self.of.state();
        let mut me = self.state();
        let again = me.phase == Phase::PolledAgain && !done;
        me.phase = match (done, again) {
            (true, _) => Phase::Done,
            (false, true) => Phase::Ready,
            (false, false) => Phase::Asleep,
        };
        drop(me);
        if again {
            peer.line.push_back(Arc::clone(self));
        }
        self.of.pass_on(&mut peer);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut peer = self.of.state();
        let mut me = self.state();
        match me.phase {
            Phase::Asleep => {
                self.get_up(&mut peer, &mut me);
                drop(peer);
                if me.phase == Phase::Awake {
                    me.waker.wake_by_ref();
                }
            }
            Phase::Polled => me.phase = Phase::PolledAgain,
            Phase::New | Phase::Ready | Phase::Awake | Phase::PolledAgain | Phase::Done => {}
        }
    }
}

/// What polls the future of one task of a peer.
pub(crate) struct Runner {
    task: Arc<Task>,
    waker: Waker,
}

impl Runner {
    pub(crate) fn new(of: Arc<Runs>) -> Self {
        let state = TaskState {
            phase: Phase::New,
            waker: Waker::noop().clone(),
        };
        let task = Arc::new(Task {
            of,
            state: Mutex::new(state),
        });
        Self {
            waker: Waker::from(Arc::clone(&task)),
            task,
        }
    }

    /// Polls a future, always the same one, if something has woken it and it is its turn.
    pub(crate) fn poll<F: Future + ?Sized>(
        &mut self,
        future: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let task = &self.task;
        let mut me = task.state();
        if !me.waker.will_wake(context.waker()) {
            me.waker = context.waker().clone();
        }
        if me.phase == Phase::New {
            drop(me);
            let mut peer = task.of.state();
            me = task.state();
            task.get_up(&mut peer, &mut me);
        }
        if me.phase != Phase::Awake {
            return Poll::Pending;
        }
        me.phase = Phase::Polled;
        drop(me);
        let polled = future.poll(&mut Context::from_waker(&self.waker));
        task.polled(polled.is_ready());
        polled
    }

    /// Has the future polled again although nothing wakes it.
    pub(crate) fn wake(&self) {
        self.task.wake_by_ref();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let mut peer = self.task.of.state();
        let mut me = self.task.state();
        let phase = std::mem::replace(&mut me.phase, Phase::Done);
        drop(me);
        if matches!(phase, Phase::Awake | Phase::Polled | Phase::PolledAgain) {
            self.task.of.pass_on(&mut peer);
        }
    }
}

/// A future as a task of a peer.
pub(crate) async fn in_runs<F: Future>(of: Arc<Runs>, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut runner = Runner::new(of);
    poll_fn(|context| runner.poll(future.as_mut(), context)).await
}

/// Runs the requests of one HTTP/2 connection beside each other, each a task of its peer.
#[derive(Clone)]
pub(crate) struct InRuns(pub(crate) Arc<Runs>);

impl<F> Executor<F> for InRuns
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(in_runs(Arc::clone(&self.0), future));
    }
}

#[cfg(test)]
mod tests;
