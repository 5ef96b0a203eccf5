//! Makes the writes of a batch: some at once, no faster than the caller may write, and within a time.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use http::HeaderMap;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::error;

use super::{
    super::{
        Api, ApiError,
        lease::second,
        limits::{self, Charged, Planned},
        write::{Asked, Origin, Parameter, refused},
    },
    answer::Outcome,
    body::Names,
    snapshot::Before,
};
use crate::numbers::replicas;

/// Writes of one batch at once, unless `limits.writesAtOnce` gives a caller fewer.
const AT_ONCE: usize = 8;
/// How long the last one may wait for its beginning: a client waits for all of them, and a shutdown no longer than this.
const BEGUN_WITHIN: Duration = Duration::from_secs(20);

/// A parameter whose writes set counts, of which a batch may be.
pub(super) trait SetsCount: Parameter {
    /// The count that is asked for.
    fn asked(wish: &Self::Wish) -> i32;

    /// The count that there is.
    fn counted(state: &Self::State) -> i32;

    /// By what a write is recognised later that was `given` a mark; nothing where that isn't known.
    fn recognised(given: String, _: Option<&Self::State>) -> Option<String> {
        Some(given)
    }

    /// Until when the count was leased that is brought back, if it was.
    fn leased_until(&self) -> Option<&str> {
        None
    }

    /// How long the count is to stay.
    fn until(_: &Self::State) -> Option<String> {
        None
    }
}

/// One count of a batch.
pub(super) struct Item<P: Parameter> {
    pub(super) names: Names,
    pub(super) parameter: P,
    pub(super) wish: P::Wish,
    /// By what the write is recognised later.
    pub(super) mark: String,
}

/// What became of one.
pub(super) struct Done {
    pub(super) names: Names,
    pub(super) outcome: Outcome,
    /// What it was, if it was changed, or may have been.
    pub(super) before: Option<Before>,
}

/// One batch under way.
#[derive(Clone)]
pub(super) struct Run {
    api: Arc<Api>,
    origin: Origin,
    dry_run: bool,
    planned: Planned,
    deadline: Instant,
}

impl Run {
    pub(super) fn new(api: Arc<Api>, origin: Origin, dry_run: bool) -> Self {
        Self {
            api,
            origin,
            dry_run,
            planned: Planned::default(),
            deadline: Instant::now() + BEGUN_WITHIN,
        }
    }

    /// Makes all of them, and says what became of each, in their order.
    pub(super) async fn all<P: SetsCount>(self, items: Vec<Item<P>>) -> Vec<Done> {
        let limits = &self.origin.caller.rules.limits;
        // More than its share would stand in its own way.
        let at_once = AT_ONCE.min(limits.writes_at_once.get() / 4).max(1);
        let (mut under_way, mut done) = (JoinSet::new(), Vec::with_capacity(items.len()));
        for (at, item) in items.into_iter().enumerate() {
            match self.place(at, at_once, &mut under_way, &mut done).await {
                Ok(()) => {
                    let (this, ids) = (self.clone(), self.origin.ids.clone());
                    let made = async move { (at, this.make(item).await) };
                    under_way.spawn(ids.scope(made));
                }
                Err(error) => done.push((at, self.not_begun(item, error))),
            }
        }
        while let Some(one) = under_way.join_next().await {
            done.extend(one);
        }
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, one)| one).collect()
    }

    /// Waits until one more may begin.
    async fn place<T: 'static>(
        &self,
        at: usize,
        at_once: usize,
        under_way: &mut JoinSet<T>,
        done: &mut Vec<T>,
    ) -> Result<(), ApiError> {
        let closing = &self.api.closing;
        while under_way.len() >= at_once {
            // What is done makes room, however late it is.
            tokio::select! {
                biased;
                Some(one) = under_way.join_next() => done.extend(one),
                () = sleep_until(self.deadline) => return Err(ApiError::BatchOverdue(BEGUN_WITHIN)),
                () = closing.cancelled() => return Err(ApiError::ShuttingDown),
            }
        }
        // The request has had that of the first one.
        if at > 0 {
            self.within_rate().await?;
        }
        if closing.is_cancelled() {
            return Err(ApiError::ShuttingDown);
        }
        if Instant::now() > self.deadline {
            return Err(ApiError::BatchOverdue(BEGUN_WITHIN));
        }
        Ok(())
    }

    /// Waits for the caller's rate of writes; a server that closes doesn't.
    async fn within_rate(&self) -> Result<(), ApiError> {
        let closing = &self.api.closing;
        loop {
            match limits::within_rate(&self.origin.session.caller(), true) {
                Err(ApiError::TooOften { wait, .. }) if Instant::now() + wait <= self.deadline => {
                    tokio::select! {
                        () = sleep_until(Instant::now() + wait) => {}
                        () = closing.cancelled() => return Ok(()),
                    }
                }
                judged => return judged,
            }
        }
    }

    /// Judges one and makes it, as a request of its own.
    async fn make<P: SetsCount>(self, item: Item<P>) -> Done {
        let Item {
            names,
            parameter,
            wish,
            mark,
        } = item;
        let charged = if self.dry_run {
            Charged::in_plan(self.planned.clone())
        } else {
            Charged::default()
        };
        let asked = Asked {
            api: Arc::clone(&self.api),
            origin: self.origin.clone(),
            names: names.clone(),
            parameter,
            wish,
            headers: HeaderMap::new(),
            dry_run: self.dry_run,
            mark: Some(mark.clone()),
            charged,
        };
        // A defect costs one of them, as it costs one request.
        let judged = AssertUnwindSafe(asked.judged()).catch_unwind().await;
        let write = match judged.unwrap_or_else(|_| Err(self.panicked())) {
            Ok(write) => write,
            Err(error) => return self.failed(names, error, None),
        };
        let written = AssertUnwindSafe(write.run()).catch_unwind().await;
        let written = written.unwrap_or_else(|_| Err(self.panicked()));
        let judged = write.judged();
        let before = |uid, (replica_count, set_to), state: Option<&P::State>| {
            let mark = P::recognised(mark, state)?;
            // One whose count wasn't there any more was over.
            let lease = judged.as_ref().and_then(|judged| judged.lease.as_ref());
            let lease = lease.filter(|lease| lease.uid == uid && lease.replicas == replica_count);
            Some(Before {
                namespace: names.0.clone(),
                name: names.1.clone(),
                uid,
                replica_count,
                set_to,
                mark,
                leased_until: lease.map(|lease| second(lease.until())),
            })
        };
        match written {
            Ok(written) => {
                let counts = written.map(P::counted);
                let changed = counts.now != counts.previous;
                let before = changed.then(|| {
                    before(
                        counts.uid,
                        (counts.previous, counts.now),
                        Some(&written.now),
                    )
                });
                let (mut warnings, until) = (write.warnings(&written), P::until(&written.now));
                if let Some(until) = write.parameter().leased_until()
                    && changed
                {
                    let leased = replicas(counts.now);
                    warnings.push(format!(
                        "{leased} had a lease until {until}, and stay now: a restoration takes none"
                    ));
                }
                let lease = write.lease_before(&written).await;
                Done {
                    outcome: Outcome::made(&counts, warnings, until, lease),
                    before: before.flatten(),
                    names,
                }
            }
            Err(error) => {
                let maybe = matches!(error, ApiError::OutcomeUnknown(..) | ApiError::Panicked);
                let judged = judged.as_ref().filter(|_| maybe && !self.dry_run);
                let set_to = P::asked(&write.wish);
                let before =
                    judged.and_then(|judged| before(judged.uid, (judged.count, set_to), None));
                self.failed(names, error, before)
            }
        }
    }

    fn failed(&self, names: Names, error: ApiError, before: Option<Before>) -> Done {
        if let Some(limit) = error.limit() {
            let caller = self.origin.session.caller();
            self.api.metrics.limits.reached(limit, caller.who());
        }
        Done {
            names,
            outcome: Outcome::failed(&error),
            before,
        }
    }

    fn not_begun<P: Parameter>(&self, item: Item<P>, error: ApiError) -> Done {
        let names = (&*item.names.0, &*item.names.1);
        let (api, origin) = (&self.api, &self.origin);
        let error = refused(api, origin, &item.parameter, names, Some(&item.wish), error);
        self.failed(item.names, error, None)
    }

    fn panicked(&self) -> ApiError {
        let caller = &self.origin.caller;
        error!(name: "request.panicked", principal = %caller.name(), address = %caller.address,
            "one write of a batch met a defect of this server and was answered with 500");
        ApiError::Panicked
    }
}
