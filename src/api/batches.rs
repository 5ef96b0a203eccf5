//! `POST /batches`: the counts of many Deployments in one call, by list or by selector.
//!
//! Each is judged, made and told of as a request of its own would be. `POST /batches/restore`, in `restore.rs`, brings back what was.

mod answer;
mod body;
mod restore;
mod run;
mod selected;
mod snapshot;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, header};
use tracing::warn;

use super::{
    Api, ApiError, Body, authorization,
    idempotency::{self, Mark},
    lease::{self, Count, LeasedReplicas, Wish, second},
    limits,
    replicas::Replicas,
    request::{dry_run, json_content, whole_body},
    standing,
    write::{Incoming, Origin, writable},
};
use crate::{
    access::{Caller, Verb},
    audit::Refused,
    kubernetes::new_mark,
    limits::Turn,
};
use body::{Counts, Names, Wanted};
use run::{Item, Run, SetsCount};

/// The most Deployments of one batch.
const MOST: usize = 250;
/// The largest body of these calls, in bytes, unless `limits.sizes.body` is larger: twice a snapshot of the most with the longest
/// names.
const LARGEST_BODY: usize = 256 * 1024;
/// What is reserved for the answer of a batch while it runs, in bytes for each Deployment: its result with warnings and a lease or an
/// error, and its part of the snapshot.
const ANSWER: usize = 8 * 1024;

impl<B> Incoming<'_, B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Answers a request that sets the counts of many.
    pub(super) async fn batch(self) -> Result<Response<Body>, ApiError> {
        let (api, origin) = (Arc::clone(self.api), self.origin.clone());
        let answer = self.set_many().await;
        answer.inspect_err(|error| refused(&api, &origin, error))
    }

    /// Answers a request that brings back what a batch has changed.
    pub(super) async fn restore(self) -> Result<Response<Body>, ApiError> {
        let (api, origin) = (Arc::clone(self.api), self.origin.clone());
        let answer = self.bring_back().await;
        answer.inspect_err(|error| refused(&api, &origin, error))
    }

    async fn set_many(mut self) -> Result<Response<Body>, ApiError> {
        let (body, mut turn) = self.body().await?;
        let Wanted { counts, seconds } = Wanted::read(&body)?;
        let key = idempotency::key(&self.request.headers)?;
        let dry_run = dry_run(self.request.uri.query(), &[])?;
        let caller = self.still_admitted()?;
        if let Some(seconds) = seconds {
            lease::length(lease::leases(self.api)?, seconds)?;
        }
        let counts: Vec<(Names, i32)> = match counts {
            Counts::Listed(counts) => counts,
            Counts::Selected {
                selector,
                namespace,
                count,
            } => {
                // It may wait for labels, in a turn of its own.
                drop(turn);
                let selected = selected::names(self.api, &caller, selector, namespace);
                let names = self.origin.ids.scope(Box::pin(selected)).await?;
                turn = limits::turn(self.api, &caller).await?;
                names.into_iter().map(|names| (names, count)).collect()
            }
        };
        let Some(seconds) = seconds else {
            let items = counts.into_iter().map(|(names, count)| Item {
                mark: mark(&caller, &names, count, key.as_deref()),
                names,
                parameter: Replicas,
                wish: count,
            });
            // By a key the marks are known before anything is set.
            let snapshot = !dry_run || key.is_some();
            return self.run(items.collect(), turn, dry_run, snapshot).await;
        };
        let items = counts.into_iter().map(|(names, replicas)| Item {
            mark: new_mark(),
            names,
            parameter: LeasedReplicas,
            wish: Wish { replicas, seconds },
        });
        self.run(items.collect(), turn, dry_run, !dry_run).await
    }

    async fn bring_back(mut self) -> Result<Response<Body>, ApiError> {
        let (body, turn) = self.body().await?;
        let items = snapshot::read(&body)?.into_iter().map(restore::item);
        let dry_run = dry_run(self.request.uri.query(), &[])?;
        self.still_admitted()?;
        self.run(items.collect(), turn, dry_run, !dry_run).await
    }

    /// The body, and the turn in which it came, of a request that is judged as far as its headers go.
    async fn body(&mut self) -> Result<(Vec<u8>, Turn), ApiError> {
        self.admission.clone()?;
        let (caller, headers) = (&self.origin.caller, &self.request.headers);
        let turn = limits::turn(self.api, caller).await?;
        json_content(headers)?;
        let most = LARGEST_BODY.max(caller.rules.limits.sizes.body);
        let body = whole_body(self.api, caller, self.request, self.content, most).await?;
        self.origin.reason.clone()?;
        if [header::IF_MATCH, header::IF_NONE_MATCH]
            .iter()
            .any(|name| headers.contains_key(name))
        {
            return Err(ApiError::BadRequest(
                "If-Match and If-None-Match are for one Deployment: a batch takes neither".into(),
            ));
        }
        Ok((body, turn))
    }

    /// Its caller, if it may still write here: the body took its time, and so may have a reload.
    fn still_admitted(&self) -> Result<Arc<Caller>, ApiError> {
        let caller = self.origin.session.caller();
        standing(&caller)?;
        authorization::authorize_list(&caller, Verb::Scale)?;
        writable(self.api, &caller)?;
        Ok(caller)
    }

    /// Makes all of them, and answers with what became of each. Whether the caller still waits for that makes no difference.
    async fn run<P>(
        self,
        items: Vec<Item<P>>,
        turn: Turn,
        dry_run: bool,
        snapshot: bool,
    ) -> Result<Response<Body>, ApiError>
    where
        P: SetsCount,
    {
        let reserved = self.api.reserve(items.len() * ANSWER)?;
        let ids = self.origin.ids.clone();
        let run = Run::new(Arc::clone(self.api), self.origin, dry_run);
        let all = async move {
            let _turn = turn;
            run.all(items).await
        };
        let all = self.api.tasks.spawn(ids.scope(all)).await;
        let done = all.map_err(|_| ApiError::Panicked)?;
        Ok(answer::answer(done, dry_run, snapshot, reserved))
    }
}

impl SetsCount for Replicas {
    fn asked(wish: &i32) -> i32 {
        *wish
    }

    fn counted(state: &i32) -> i32 {
        *state
    }
}

impl SetsCount for LeasedReplicas {
    fn asked(wish: &Wish) -> i32 {
        wish.replicas
    }

    fn counted(state: &Count) -> i32 {
        state.replicas
    }

    /// Its mark is the lease's, which goes back by itself if nothing is known of it.
    fn recognised(_: String, state: Option<&Count>) -> Option<String> {
        Some(state?.lease.as_ref()?.mark.clone())
    }

    fn until(state: &Count) -> Option<String> {
        Some(second(state.lease.as_ref()?.until()))
    }
}

/// By what one of a batch is recognised: with a key the same one whenever the same is asked for by the same caller.
fn mark(caller: &Caller, names: &(String, String), count: i32, key: Option<&str>) -> String {
    match key {
        // No key of a step has a space.
        Some(key) => {
            let key = format!("batch {count} {key}");
            Mark::of(&caller.identity_key(), (&names.0, &names.1), &key).text()
        }
        None => new_mark(),
    }
}

/// Tells of a batch of which nothing was begun.
fn refused(api: &Api, origin: &Origin, error: &ApiError) {
    // Of a limit its own line tells.
    if !matches!(error, ApiError::TooOften { .. } | ApiError::NoTurn(_)) {
        let caller = &origin.caller;
        origin.ids.within(|| {
            warn!(name: "batch.refused", principal = %caller.name(), subject = %caller.identity.subject, serial = %caller.identity.serial,
                issuer = %caller.identity.issuer, address = %caller.address, result = error.status().as_u16(), error = %error.logged(),
                reason = origin.reason(), "a batch was refused as a whole");
        });
    }
    api.audit.refused(Refused::Request, || {
        super::audit::batch_refused(origin, error)
    });
}
