//! One watch: what it was told, what it waits for, and why it ends.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tracing::debug;

use super::{
    super::{Api, ApiError, pins::Pinned},
    LastSeen,
    sight::Sight,
};
use crate::{
    access::Caller,
    generation::Session,
    limits::{Reservation, WatchPlace},
    store::{ListBody, News},
};

/// After so long without an event comes a sign of life; a certificate that expired is noticed by then at the latest.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// About how many milliseconds clients wait before they come back: half as many to half as many more, so that they don't come at once.
const RETRY: u64 = 2000;

/// A watch under way.
pub(super) struct Following {
    api: Arc<Api>,
    session: Arc<Session>,
    caller: Arc<Caller>,
    sight: Sight,
    /// The part of an id that says what is seen.
    suffix: String,
    /// From where on the store's changes haven't been told.
    position: u64,
    /// A snapshot that is being told.
    list: Option<(ListBody, Pinned)>,
    /// What comes next of what is known already.
    ready: Option<Bytes>,
    woken: watch::Receiver<u64>,
    timer: std::pin::Pin<Box<Sleep>>,
    told: Instant,
    /// When it was found out last what may be seen.
    judged: Instant,
    events: u64,
    _open: (WatchPlace, Reservation),
    why: &'static str,
}

impl Following {
    /// Begins with what the client hasn't had, if that is known, or else with a snapshot.
    pub(super) fn begin(
        api: Arc<Api>,
        session: Arc<Session>,
        caller: Arc<Caller>,
        sight: Sight,
        resume: Option<LastSeen>,
        woken: watch::Receiver<u64>,
        open: (WatchPlace, Reservation),
    ) -> Result<Self, ApiError> {
        let (print, shown) = (sight.print(), sight.shown());
        let now = Instant::now();
        let mut this = Self {
            suffix: print.map_or_else(String::new, |print| format!("-{print:08x}")),
            timer: Box::pin(sleep_until(now)),
            api,
            session,
            caller,
            sight,
            position: 0,
            list: None,
            ready: None,
            woken,
            told: now,
            judged: now,
            events: 0,
            _open: open,
            why: "its client has gone",
        };
        this.api.metrics.watches.open.inc();
        let retry = RETRY / 2 + fastrand::u64(..RETRY);
        let mut first = BytesMut::from(format!("retry: {retry}\n\n").as_bytes());
        let seen = resume.filter(|seen| seen.sight == print);
        let missed = seen.and_then(|seen| this.api.status.store().after(shown, &seen.versions));
        match missed {
            // Of a namespace that is new, the cluster is asked first.
            Some(news) if !this.sight.is_unsure_of(&news) => {
                first.extend_from_slice(&this.tell(&news));
                if let Some(versions) = &news.versions {
                    first.extend_from_slice(this.heartbeat(versions).as_bytes());
                }
            }
            _ => first.extend_from_slice(this.start_over()?.as_bytes()),
        }
        this.ready = Some(first.freeze());
        this.set_timer();
        Ok(this)
    }

    /// What is sent next, as soon as there is something; nothing when the stream ends.
    pub(super) async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(bytes) = self.ready.take() {
                self.told = Instant::now();
                return Some((bytes, self));
            }
            if let Err(why) = self.may_go_on().await {
                self.why = why;
                return None;
            }
            if let Some((list, _)) = &mut self.list {
                self.ready = list.next();
                if self.ready.is_none() {
                    self.list = None;
                    self.ready = Some(Bytes::from_static(b"\n\n"));
                }
                continue;
            }
            // Before the look at the store, so that nothing falls between the two.
            let until = *self.woken.borrow_and_update();
            let shown = self.sight.shown();
            let text = match self.api.status.store().since(shown, self.position, until) {
                Some(news) => {
                    if self.sight.is_unsure_of(&news)
                        && let Err(why) = self.sees_the_same(Some(&news)).await
                    {
                        self.why = why;
                        return None;
                    }
                    let text = self.tell(&news);
                    match &news.versions {
                        Some(versions) if text.is_empty() && self.told.elapsed() >= HEARTBEAT => {
                            self.heartbeat(versions).into()
                        }
                        _ => text,
                    }
                }
                None => {
                    self.api.metrics.watches.resyncs.inc();
                    let Ok(text) = self.start_over() else {
                        self.why = "memory is short";
                        return None;
                    };
                    text.into()
                }
            };
            if !text.is_empty() {
                self.ready = Some(text);
                continue;
            }
            tokio::select! {
                biased;
                changed = self.woken.changed() => if changed.is_err() {
                    return None;
                },
                () = &mut self.timer => self.set_timer(),
            }
        }
    }

    /// What the news mean to this caller.
    fn tell(&mut self, news: &News) -> Bytes {
        let (text, events) = if self.sight.is_whole() {
            news.all_events(&self.suffix).clone()
        } else {
            news.events(|deployment| self.sight.sees(deployment), &self.suffix)
        };
        self.position = news.next;
        self.events += events;
        self.api.metrics.watches.events.inc_by(events);
        text
    }

    /// A comment, and how far the stream has come.
    fn heartbeat(&self, versions: &str) -> String {
        format!(": heartbeat\nid: {versions}{}\n\n", self.suffix)
    }

    /// Begins a snapshot, of which the list follows in pieces.
    fn start_over(&mut self) -> Result<String, ApiError> {
        let shown = self.sight.shown();
        let (snapshot, position, versions) = self.api.status.store().follow(shown);
        let pinned = self.api.pins.pin(&self.api.metrics.memory, &snapshot);
        let pinned = pinned.ok_or(ApiError::ShortOfMemory)?;
        self.position = position;
        self.list = Some((self.sight.list(&snapshot), pinned));
        self.api.metrics.watches.snapshots.inc();
        let suffix = &self.suffix;
        Ok(format!("event: snapshot\nid: {versions}{suffix}\ndata: "))
    }

    /// Whether the server, the certificate and the rules let the stream go on; otherwise why not.
    async fn may_go_on(&mut self) -> Result<(), &'static str> {
        if self.api.closing.is_cancelled() {
            return Err("the server shuts down");
        }
        let caller = self.session.caller();
        if Arc::ptr_eq(&caller, &self.caller) {
            // However much there is to tell meanwhile.
            let aged = self.sight.ages(&self.caller) && self.judged.elapsed() >= HEARTBEAT;
            return match aged {
                true => self.sees_the_same(None).await,
                false => Ok(()),
            };
        }
        if caller.refused.is_some() {
            return Err("its certificate isn't accepted any more");
        }
        self.caller = caller;
        self.sees_the_same(None).await
    }

    /// Asks what may be seen now, and goes on by that if it is what was seen before: whoever comes back begins with a snapshot.
    async fn sees_the_same(&mut self, news: Option<&News>) -> Result<(), &'static str> {
        let now = self.sight.anew(&self.api, &self.caller, news).await;
        let now = now.map_err(|_| "it may not be seen any more, or nobody could say")?;
        if now.print() != self.sight.print() {
            return Err("something else may be seen now");
        }
        self.sight = now;
        self.judged = Instant::now();
        Ok(())
    }

    fn set_timer(&mut self) {
        let now = Instant::now();
        let heartbeat = match self.told + HEARTBEAT {
            due if due > now => due,
            _ => now + HEARTBEAT,
        };
        let expiry = now + self.caller.identity.time_left();
        self.timer.as_mut().reset(heartbeat.min(expiry));
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.api.metrics.watches.open.dec();
        let (caller, why, events) = (&self.caller, self.why, self.events);
        debug!(name: "watch.ended", principal = %caller.name(), address = %caller.address, reason = why, count = events,
            "a watch ended after {events} events: {why}");
    }
}
