//! What a connection is doing, and for how long: the deadlines of headers, idleness and slow readers.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Instant,
};

/// From the handshake, or a request's first byte, to its last header.
const HEADERS: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE: Duration = Duration::from_secs(75);
/// How long a peer may take nothing of what it asked for.
const STALLED: Duration = Duration::from_secs(30);
/// While requests are under way only stalls are looked for.
const LOOK: Duration = Duration::from_secs(5);

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    multiplexed: bool,
    state: Mutex<State>,
    close: Notify,
    leaving: AtomicBool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    under_way: usize,
    /// Since when the peer has taken nothing.
    stalled: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Waiting for the rest of a request's headers, or for the first request.
    Headers,
    /// Between two requests.
    Idle,
}

impl Activity {
    pub(super) fn new(multiplexed: bool) -> Self {
        let state = State {
            phase: Phase::Headers,
            since: Instant::now(),
            under_way: 0,
            stalled: None,
        };
        Self {
            multiplexed,
            state: Mutex::new(state),
            close: Notify::new(),
            leaving: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's headers have arrived; it is under way until the guard's body is sent.
    pub(super) fn request(self: &Arc<Self>) -> UnderWay {
        self.state().under_way += 1;
        UnderWay(Arc::clone(self))
    }

    /// When to ask again whether something is overdue.
    pub(super) fn look_again(&self) -> Instant {
        let state = self.state();
        match state.under_way {
            0 => state.deadline().min(Instant::now() + LOOK),
            _ => Instant::now() + LOOK,
        }
    }

    /// Why the connection is to be cut, if it is.
    pub(super) fn overdue(&self) -> Option<&'static str> {
        let state = self.state();
        let now = Instant::now();
        if state.stalled.is_some_and(|since| now >= since + STALLED) {
            return Some("the peer doesn't read");
        }
        if state.under_way > 0 || now < state.deadline() {
            return None;
        }
        Some(match state.phase {
            Phase::Headers => "no complete request",
            Phase::Idle => "idle",
        })
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
        self.leaving.store(true, Ordering::Relaxed);
        self.multiplexed
    }

    /// Whether the connection ends with the answer that is being given.
    pub(super) fn is_last(&self) -> bool {
        !self.multiplexed && self.leaving.load(Ordering::Relaxed)
    }

    fn read(&self) {
        let mut state = self.state();
        // On HTTP/2 bytes between requests may be no request at all, but PINGs and window updates.
        if state.phase == Phase::Idle && state.under_way == 0 && !self.multiplexed {
            state.phase = Phase::Headers;
            state.since = Instant::now();
        }
    }

    fn written(&self, taken: bool) {
        let mut state = self.state();
        if taken {
            state.stalled = None;
        } else if state.stalled.is_none() {
            state.stalled = Some(Instant::now());
        }
    }
}

impl State {
    fn deadline(&self) -> Instant {
        self.since
            + match self.phase {
                Phase::Headers => HEADERS,
                Phase::Idle => IDLE,
            }
    }
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.phase = Phase::Idle;
        state.since = Instant::now();
    }
}

/// A body that keeps its request under way until it has been sent, read or given up.
#[derive(Debug)]
pub(super) struct Held<B> {
    body: B,
    _under_way: Option<UnderWay>,
}

impl<B> Held<B> {
    pub(super) fn new(body: B, under_way: impl Into<Option<UnderWay>>) -> Self {
        Self {
            body,
            _under_way: under_way.into(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Held<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's bytes, whose coming and going its activity sees.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn wrote<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.written(written.is_ready());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.activity.read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_cut_after_ten_seconds() {
        let activity = Activity::new(false);
        advance(HEADERS - Duration::from_millis(1)).await;
        assert_eq!(activity.overdue(), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(activity.overdue(), Some("no complete request"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_for_seventy_five_seconds_and_slow_headers_are_not() {
        let activity = Arc::new(Activity::new(false));
        drop(activity.request());
        advance(IDLE - Duration::from_secs(1)).await;
        assert_eq!(activity.overdue(), None);
        activity.read();
        advance(HEADERS).await;
        assert_eq!(activity.overdue(), Some("no complete request"));
        drop(activity.request());
        advance(IDLE).await;
        assert_eq!(activity.overdue(), Some("idle"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_has_time_and_a_peer_that_reads_nothing_has_not() {
        let activity = Arc::new(Activity::new(true));
        let _under_way = activity.request();
        advance(Duration::from_secs(300)).await;
        assert_eq!(activity.overdue(), None);
        activity.written(false);
        advance(STALLED).await;
        assert_eq!(activity.overdue(), Some("the peer doesn't read"));
        activity.written(true);
        assert_eq!(activity.overdue(), None);
    }
}
