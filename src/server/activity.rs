//! What a connection is doing, and for how long: the deadlines of headers, idleness and slow readers, and what HTTP/2 costs besides
//! requests.

mod watched;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};

use super::portion::Portion;
use crate::limits::{LARGE_HEAD, Limit, Limits, Share};
pub(super) use watched::Watched;

/// While requests are under way only slow readers are looked for, at least so often.
const LOOK: Duration = Duration::from_secs(5);
/// For how many bytes of answers a peer may send one byte that is no request: its window updates.
const UPDATES: usize = 32;
/// Answers that nobody takes are found in thirds of `times.stalled`: between one and one and a third of it.
const TURNS: usize = 4;

/// How h2 begins to end a connection for its own bounds: the last words of a GOAWAY frame are the only place where it says which.
const LAST_WORDS: [(&[u8], Limit); 5] = [
    (b"too_many_resets", Limit::Http2Resets),
    (b"too_many_internal_resets", Limit::Http2Mistakes),
    (b"too_many_continuations", Limit::Http2Headers),
    (b"header_list_way_too_large", Limit::Http2Headers),
    (b"too_many_data_frames", Limit::Http2Data),
];

/// The state of one connection. What every piece of an answer needs is no part of what is behind the lock.
#[derive(Debug)]
pub(super) struct Activity {
    multiplexed: bool,
    limits: Arc<Limits>,
    state: Mutex<State>,
    /// How often it was looked for what is overdue.
    looks: AtomicUsize,
    /// Whether `State::stalled` says since when.
    stalls: AtomicBool,
    /// Bytes from the peer since its last request that were none of a body.
    overhead: AtomicUsize,
    portion: Portion,
    share: Arc<Share>,
    close: Notify,
    leaving: AtomicBool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    under_way: usize,
    /// Whether a request's bytes first came at `since`, and no others after them.
    at_once: bool,
    /// Since when the peer has taken nothing at all.
    stalled: Option<Instant>,
    /// Answers that are on the way, by the turn in which something of them was taken last.
    answers: [u32; TURNS],
    turn: usize,
    turned: Instant,
    /// The turn of the head that is being read, if that is large.
    head: Option<OwnedSemaphorePermit>,
    /// Why the connection has to end.
    cut: Option<Limit>,
    /// Why the library ends it.
    last_words: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Waiting for the rest of a request's headers, or for the first request.
    Headers,
    /// Between two requests.
    Idle,
}

impl Activity {
    pub(super) fn new(multiplexed: bool, limits: Arc<Limits>, share: Arc<Share>) -> Self {
        let now = Instant::now();
        let state = State {
            phase: Phase::Headers,
            since: now,
            under_way: 0,
            at_once: false,
            stalled: None,
            answers: [0; TURNS],
            turn: 0,
            turned: now,
            head: None,
            cut: None,
            last_words: None,
        };
        Self {
            multiplexed,
            limits,
            state: Mutex::new(state),
            looks: AtomicUsize::new(0),
            stalls: AtomicBool::new(false),
            overhead: AtomicUsize::new(0),
            portion: Portion::default(),
            share,
            close: Notify::new(),
            leaving: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is about to be polled.
    pub(super) fn polled(&self) {
        self.portion.begin(self.multiplexed);
    }

    /// A request's headers have arrived; it is under way until the guard's body is sent.
    ///
    /// Over HTTP/2 it counts among its caller's.
    pub(super) fn request(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        // Most requests come in one piece: then the clock has just been read.
        let began = match std::mem::take(&mut state.at_once) {
            true => state.since,
            false => Instant::now(),
        };
        // Its head is complete.
        let turn = state.head.take();
        drop(state);
        drop(turn);
        let mut under_way = self.under_way(began);
        if self.multiplexed {
            under_way.counts = true;
            under_way.too_many = self.share.begin() >= self.limits.http2.streams_per_caller;
        }
        under_way
    }

    /// The body of a request, whose end is awaited, too.
    fn body(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        let began = state.since;
        drop(state);
        self.under_way(began)
    }

    fn under_way(self: &Arc<Self>, began: Instant) -> UnderWay {
        self.overhead.store(0, Relaxed);
        UnderWay {
            activity: Arc::clone(self),
            began,
            turn: None,
            counts: false,
            too_many: false,
            answered: false,
        }
    }

    /// When to ask again whether something is overdue.
    pub(super) fn look_again(&self) -> Instant {
        let state = self.state();
        let look = LOOK.min(self.turn()).min(self.limits.times.answer / 4);
        let look = Instant::now() + look;
        match state.under_way {
            0 => self.deadline(&state).min(look),
            _ => look,
        }
    }

    /// The limit for which the connection is to be cut, if it is.
    pub(super) fn overdue(&self) -> Option<Limit> {
        self.looks.fetch_add(1, Relaxed);
        let mut state = self.state();
        let now = Instant::now();
        let stalled = self.limits.times.stalled;
        if state.cut.is_some() {
            return state.cut;
        }
        if now >= state.turned + self.turn() {
            state.turn = (state.turn + 1) % TURNS;
            state.turned = now;
            // Those of the turn that this one takes the place of.
            if state.answers[state.turn] > 0 {
                return Some(Limit::StalledReader);
            }
        }
        if state.stalled.is_some_and(|since| now >= since + stalled) {
            return Some(Limit::StalledReader);
        }
        if state.under_way > 0 || now < self.deadline(&state) {
            return None;
        }
        Some(match state.phase {
            Phase::Headers => Limit::HeaderTime,
            Phase::Idle => Limit::IdleTime,
        })
    }

    /// Whether the peer keeps the connection busy without asking for anything. To be called when all that was read is worked off:
    /// until then nobody knows which bytes are requests'.
    pub(super) fn floods(&self) -> bool {
        let http2 = &self.limits.http2;
        let overhead = self.overhead.load(Relaxed);
        if !self.multiplexed || overhead <= http2.overhead {
            return false;
        }
        // Bodies are known when they are read; until then a window of them may have come.
        self.state().under_way == 0 || overhead > http2.overhead + http2.connection_window
    }

    /// The limit for which the library ended the connection, once it has.
    pub(super) fn last_words(&self) -> Option<Limit> {
        self.state().last_words
    }

    /// Ends the connection once what is under way is done.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    pub(super) async fn closing(&self) {
        self.close.notified().await;
    }

    /// Clients are to go elsewhere with their next requests; whether HTTP/2 tells them so by itself when the connection is closed.
    pub(super) fn leave(&self) -> bool {
        self.leaving.store(true, Relaxed);
        self.multiplexed
    }

    /// Whether the connection ends with the answer that is being given.
    pub(super) fn is_last(&self) -> bool {
        !self.multiplexed && self.leaving.load(Relaxed)
    }

    fn turn(&self) -> Duration {
        self.limits.times.stalled / (TURNS as u32 - 1)
    }

    fn deadline(&self, state: &State) -> Instant {
        let times = &self.limits.times;
        state.since
            + match state.phase {
                Phase::Headers => times.headers,
                Phase::Idle => times.idle,
            }
    }

    /// Whether so much of a head has come that the rest has to wait until its caller has not too many large ones.
    fn lacks_turn(&self) -> bool {
        if self.overhead.load(Relaxed) < LARGE_HEAD {
            return false;
        }
        let state = self.state();
        // Beside a request it may be a body.
        state.under_way == 0 && state.head.is_none()
    }

    fn read(&self, bytes: usize) {
        // Bytes between requests may be no request at all, but PINGs and window updates.
        self.overhead.fetch_add(bytes, Relaxed);
        if self.multiplexed {
            return;
        }
        let mut state = self.state();
        state.at_once = state.phase == Phase::Idle && state.under_way == 0;
        if state.at_once {
            state.phase = Phase::Headers;
            state.since = Instant::now();
        }
    }

    #[inline]
    fn written(&self, bytes: Option<usize>) {
        let stalls = bytes.is_none();
        if self.stalls.load(Relaxed) != stalls {
            self.stalls.store(stalls, Relaxed);
            self.state().stalled = stalls.then(Instant::now);
        }
        self.asked_for(bytes.unwrap_or(0) / UPDATES);
    }

    /// So many of the peer's bytes are no overhead.
    fn asked_for(&self, bytes: usize) {
        if self.multiplexed && bytes > 0 {
            let less = |overhead: usize| Some(overhead.saturating_sub(bytes));
            let _ = self.overhead.fetch_update(Relaxed, Relaxed, less);
        }
    }

    /// Looks at what is about to be written.
    #[inline]
    fn listen(&self, bytes: &[u8]) {
        if !self.multiplexed {
            return;
        }
        let said = |(words, _): &&(&[u8], Limit)| bytes.ends_with(words);
        if let Some((_, limit)) = LAST_WORDS.iter().find(said) {
            self.state().last_words = Some(*limit);
        }
    }

    fn cut(&self, limit: Limit) {
        self.state().cut = Some(limit);
        self.close();
    }
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    began: Instant,
    /// The turn in which something of its answer was taken last.
    turn: Option<usize>,
    /// Whether its caller's share counts it.
    counts: bool,
    /// Whether that is more than it may have.
    too_many: bool,
    /// Whether all of its answer was taken.
    answered: bool,
}

impl UnderWay {
    /// When its headers were there.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Whether its caller has more of them than it may.
    pub(super) fn is_too_many(&self) -> bool {
        self.too_many
    }

    /// Its answer is there, or some of it was taken.
    fn taken(&mut self) {
        let mut state = self.activity.state();
        let turn = state.turn;
        if let Some(before) = self.turn.replace(turn) {
            state.answers[before] -= 1;
        }
        state.answers[turn] += 1;
    }

    /// There is nothing to take of its answer for now, which isn't its reader's fault.
    fn awaited(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.activity.state().answers[turn] -= 1;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.counts {
            self.activity.share.end();
            if !self.answered {
                self.activity.portion.was_reset();
            }
        }
        let mut state = self.activity.state();
        if let Some(turn) = self.turn {
            state.answers[turn] -= 1;
        }
        state.under_way -= 1;
        state.phase = Phase::Idle;
        state.since = Instant::now();
    }
}

/// A request's body, which keeps it under way until all of it has come or nobody wants it any more.
#[derive(Debug)]
pub(super) struct Coming<B> {
    body: B,
    under_way: Option<UnderWay>,
}

impl<B: Body> Coming<B> {
    pub(super) fn new(body: B, activity: &Arc<Activity>) -> Self {
        let under_way = (!body.is_end_stream()).then(|| activity.body());
        Self { body, under_way }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Coming<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(under_way)) = (&polled, &self.under_way) {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            under_way.activity.portion.was_body(bytes);
            under_way.activity.asked_for(bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which keeps its request under way until it has been sent or given up.
#[derive(Debug)]
pub(super) struct Going<B> {
    body: B,
    under_way: UnderWay,
    /// The last look at the connection that it knows of.
    looks: usize,
    /// When the first look after its beginning was noticed: most answers are gone by then.
    since: Option<Instant>,
}

impl<B: Body> Going<B> {
    pub(super) fn new(body: B, mut under_way: UnderWay) -> Self {
        under_way.taken();
        under_way.answered = body.is_end_stream();
        Self {
            body,
            looks: under_way.activity.looks.load(Relaxed),
            under_way,
            since: None,
        }
    }

    /// Some of it was taken, for the first time since the connection was looked at.
    #[cold]
    fn taken(&mut self) {
        self.under_way.taken();
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now >= since + self.under_way.activity.limits.times.answer {
            self.under_way.activity.cut(Limit::AnswerTime);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Going<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let ended = self.body.is_end_stream();
        self.under_way.answered = ended;
        if polled.is_pending() {
            self.since = None;
            self.under_way.awaited();
            return polled;
        }
        if self.under_way.turn.is_none() && !ended {
            self.under_way.taken();
        }
        let looks = self.under_way.activity.looks.load(Relaxed);
        if looks != self.looks && polled.is_ready() && !ended {
            self.looks = looks;
            self.taken();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
