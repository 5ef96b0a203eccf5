//! Connections of callers: accept, handshake, serve, drain. Each has a task of its own and deadlines for everything.

mod activity;
pub mod admin;
pub(crate) mod descriptors;
pub mod drain;
mod handshake;
mod metered;
mod places;
mod portion;

use std::{
    convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::Pin, sync::Arc, task::Poll,
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service as _, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::coop::unconstrained,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::{
    access::Caller,
    api::Api,
    generation::{Generations, Session},
    limits::{Address, InRuns, Limit, Limits, Pressure, Runner, Who},
    telemetry::metrics::Metrics,
};
use activity::{Activity, Coming, Going, Watched};
use drain::{Step, closing};
use places::{Place, Places};

/// How long accepting pauses when the system has no more file descriptors or memory for sockets.
const PAUSE: Duration = Duration::from_millis(100);
/// What is read of a request beyond its URI and headers as they may be: the API's own limits answer first.
const BEYOND: usize = 24 * 1024;

/// What rustls buffers of one connection's answers, in bytes: a list of 10,000 takes 257 µs of CPU with this, 423 with its 64 KiB, and
/// 287 with 16.
const RECORDS: usize = 32 * 1024;

/// How long a client that is let in no more has for a request that is answered with 401, before its connection is closed …
const DISMISSED: Duration = Duration::from_millis(1500);
/// … and how long for taking leave, before it is cut. With the time that a reload takes at most it is less than 5 s.
const PARTING: Duration = Duration::from_millis(250);

/// How long a connection without a request stays open once nobody new is let in: what is sent on it at that very moment would be
/// lost. HTTP/2 needs no such time, since its GOAWAY says what was taken.
const LATE: Duration = Duration::from_secs(1);

/// Serves the API to callers with a certificate.
pub struct Server {
    generations: Arc<Generations>,
    api: Arc<Api>,
    metrics: Arc<Metrics>,
    places: Arc<Places>,
    step: watch::Receiver<Step>,
    connections: TaskTracker,
}

impl Server {
    /// A server that follows the steps of a shutdown; `connections` holds what is open.
    pub fn new(
        generations: Arc<Generations>,
        api: Arc<Api>,
        metrics: Arc<Metrics>,
        step: watch::Receiver<Step>,
        connections: TaskTracker,
    ) -> Self {
        let wanted = generations.current().limits.connections.total;
        let most = descriptors::for_connections(wanted);
        Self {
            generations,
            api,
            metrics,
            places: Arc::new(Places::new(most)),
            step,
            connections,
        }
    }

    /// Accepts until nobody new is let in.
    pub async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut step = self.step.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closing(&mut step) => break,
            };
            match accepted {
                Ok((tcp, address)) => self.accept(tcp, address),
                // The peer went away between the two: no reason for the others to wait.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of file descriptors or memory: the next one may be fine.
                Err(error) => {
                    warn!(name: "server.accept.failed", error = %error, "failed to accept a connection, pausing");
                    sleep(PAUSE).await;
                }
            }
        }
        // The kernel has told them that they are connected: all of them, and not as many as tokio lets a task take at once.
        while let Some(Ok((tcp, address))) = unconstrained(listener.accept()).now_or_never() {
            self.accept(tcp, address);
        }
    }

    /// Gives a connection its place and task, or closes it before it has cost anything.
    fn accept(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr) {
        let limits = Arc::clone(&self.generations.current().limits);
        let place = match self.metrics.memory.pressure() {
            Pressure::Full => Err(Limit::Memory),
            _ if self.knocks_too_often(address) => Err(Limit::AddressHandshakes),
            _ => self.places.take(address.ip(), &limits.connections),
        };
        match place {
            Ok(place) => {
                let connection = Arc::clone(self).connection(tcp, address, place, limits);
                self.connections.spawn(connection);
            }
            Err(limit) => {
                let address = Some(address.ip());
                self.metrics.limits.reached(
                    limit,
                    Who {
                        address,
                        ..Who::default()
                    },
                );
                // A reset says at once that there is nobody, and leaves nothing behind in the kernel.
                let _ = tcp.set_zero_linger();
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        mut place: Place,
        limits: Arc<Limits>,
    ) {
        let _open = self.metrics.http.connection();
        // Answers are written whole: waiting for more to send would only delay them.
        let _ = tcp.set_nodelay(true);
        // Boxed, each for its time alone: a silent client costs its socket and a small task.
        let client = tokio::select! {
            client = Box::pin(self.client(tcp, address, &mut place, &limits)) => client,
            () = self.late() => None,
        };
        if let Some((mut stream, session)) = client {
            let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            stream.get_mut().1.set_buffer_limit(Some(RECORDS));
            let _serving = self.metrics.http.serving(multiplexed);
            Box::pin(self.serve(stream, multiplexed, session)).await;
        }
    }

    /// Waits until it is too late for a first request.
    async fn late(&self) {
        closing(&mut self.step.clone()).await;
        sleep(LATE).await;
    }

    /// What an address has had.
    fn address(&self, address: SocketAddr) -> Arc<Address> {
        let generation = self.generations.current();
        let rate = generation.limits.rates.handshakes_per_address;
        generation.limiter.address(address.ip(), rate)
    }

    fn knocks_too_often(&self, address: SocketAddr) -> bool {
        let from = self.address(address);
        from.handshakes.as_ref().is_some_and(|h| h.take().is_err())
    }

    fn reached(&self, limit: Limit, caller: &Caller) {
        self.metrics.limits.reached(limit, caller.who());
    }

    /// Serves the caller of a session on any stream of bytes; `multiplexed`: HTTP/2 was agreed on. What measurements without a
    /// network call.
    pub async fn serve<S>(&self, stream: S, multiplexed: bool, session: Session)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Arc::clone(&self.generations.current().limits);
        let activity = Arc::new(Activity::new(
            multiplexed,
            Arc::clone(&limits),
            session.caller().allowance.share(),
        ));
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        // One count of references for all that a request needs: the API's own would be counted by all threads.
        let session = Arc::new(session);
        let served = Arc::clone(&session);
        let connection = Arc::new((Arc::clone(&self.api), session, Arc::clone(&activity)));
        let service = service_fn(move |request: Request<Incoming>| {
            let under_way = connection.2.request();
            let connection = Arc::clone(&connection);
            async move {
                let (api, session, activity) = &*connection;
                let caller = session.caller();
                if session.unwelcome(&caller) {
                    // HTTP/2 knows no Connection header: the connection itself is ended behind the answer.
                    activity.close();
                }
                // The answer may be sent before the request's body has come.
                let request = request.map(|body| Coming::new(body, activity));
                let began = under_way.began();
                let mut response = if under_way.is_too_many() {
                    api.too_many_streams(session, request, began)
                } else {
                    api.answer(session, caller, request, began).await
                };
                if activity.is_last() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response.map(|body| Going::new(body, under_way)))
            }
        });
        let head = limits.sizes.uri + limits.sizes.headers + BEYOND;
        if multiplexed {
            let limits = &limits.http2;
            let mut http2 = http2::Builder::new(InRuns(served.caller().allowance.runs()));
            http2
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.streams as u32)
                .max_pending_accept_reset_streams(limits.resets)
                .max_local_error_reset_streams(limits.mistakes)
                .max_frame_size(limits.frame as u32)
                .initial_stream_window_size(limits.stream_window as u32)
                .initial_connection_window_size(limits.connection_window as u32)
                .max_send_buf_size(limits.send_buffer)
                .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX));
            // Boxed, so that an answer that nobody takes keeps nothing of how it was made.
            let service = service_fn(move |request| Box::pin(service.call(request)));
            let connection = std::pin::pin!(http2.serve_connection(io, service));
            self.drive(connection, &served, &activity, |c| c.graceful_shutdown())
                .await;
        } else {
            let mut http1 = http1::Builder::new();
            // Deadlines are ours: hyper's one for headers also runs on idle connections, which breaks clients' pools.
            http1
                .timer(TokioTimer::new())
                .header_read_timeout(None)
                .max_buf_size(head);
            let connection = std::pin::pin!(http1.serve_connection(io, service));
            self.drive(connection, &served, &activity, |c| c.graceful_shutdown())
                .await;
        }
    }

    /// Runs a connection to its end: the peer's, an overdue deadline's, its certificate's, or a shutdown's, which lets requests
    /// finish.
    async fn drive<C>(
        &self,
        mut connection: Pin<&mut C>,
        session: &Session,
        activity: &Activity,
        finish: impl Fn(Pin<&mut C>),
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut runner = Runner::new(session.caller().allowance.runs());
        let mut generations = self.generations.changes();
        // What changed since the handshake is a change too.
        generations.mark_changed();
        let mut step = self.step.clone();
        if *step.borrow() != Step::Serving {
            // Its first answer may be given before anything else is looked at.
            activity.leave();
        }
        let mut expires = Instant::now();
        let mut phase = Phase::Open;
        loop {
            let look_again = match phase {
                Phase::Open => activity.look_again().min(expires),
                Phase::Dismissed(end) | Phase::Cut(end) | Phase::Leaving(end) => {
                    activity.look_again().min(end)
                }
                Phase::Finishing => activity.look_again(),
            };
            let open = matches!(phase, Phase::Open | Phase::Dismissed(_));
            let served = poll_fn(|context| {
                activity.polled();
                match runner.poll(connection.as_mut(), context) {
                    Poll::Pending if activity.floods() => Poll::Ready(None),
                    served => served.map(Some),
                }
            });
            tokio::select! {
                ended = served => {
                    self.ended(ended, session, activity);
                    return;
                }
                Ok(()) = step.changed(), if open => {
                    let closes = *step.borrow_and_update() == Step::Closing;
                    let multiplexed = activity.leave();
                    if closes && multiplexed {
                        phase = Phase::Finishing;
                        finish(connection.as_mut());
                        runner.wake();
                    } else if closes {
                        phase = Phase::Leaving(Instant::now() + LATE);
                    }
                }
                // A request was told that its client isn't let in any more.
                () = activity.closing() => {
                    if let Some(limit) = activity.overdue() {
                        self.cut(limit, session);
                        return;
                    }
                    if open {
                        phase = Phase::Cut(Instant::now() + DISMISSED);
                        finish(connection.as_mut());
                        runner.wake();
                    }
                }
                _ = generations.changed(), if open => {
                    (expires, phase) = dismissed(session, phase);
                }
                () = sleep_until(look_again) => {
                    if let Some(limit) = activity.overdue() {
                        self.cut(limit, session);
                        return;
                    }
                    match phase {
                        Phase::Open if Instant::now() >= expires => {
                            (expires, phase) = dismissed(session, phase);
                        }
                        Phase::Dismissed(end) if Instant::now() >= end => {
                            phase = Phase::Cut(Instant::now() + PARTING);
                            finish(connection.as_mut());
                            runner.wake();
                        }
                        Phase::Leaving(end) if Instant::now() >= end => {
                            phase = Phase::Finishing;
                            finish(connection.as_mut());
                            runner.wake();
                        }
                        // Whoever isn't let in any more can't stay by not reading, or by not taking leave.
                        Phase::Cut(end) if Instant::now() >= end => return,
                        _ => {}
                    }
                }
            }
        }
    }

    /// Tells how a connection ended: by itself, or (`None`) since its peer floods it.
    fn ended(&self, ended: Option<hyper::Result<()>>, session: &Session, activity: &Activity) {
        match ended {
            None => self.cut(Limit::Http2Overhead, session),
            Some(Err(error)) => {
                debug!(name: "server.connection.failed", error = %error, "a connection ended with an error");
                // That of HTTP/1.1, which answers 431 by itself, or one of HTTP/2's.
                let too_large = error.is_parse_too_large().then_some(Limit::HeaderSize);
                if let Some(limit) = too_large.or(activity.last_words()) {
                    self.cut(limit, session);
                }
            }
            Some(Ok(())) => {}
        }
    }

    /// Tells that a connection is cut.
    fn cut(&self, limit: Limit, session: &Session) {
        let caller = session.caller();
        self.reached(limit, &caller);
        let reason = limit.name();
        debug!(name: "server.connection.cut", reason, principal = %caller.name(), address = %caller.address, "a connection was cut: {reason}");
    }
}

/// How far the end of a connection has come.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It isn't near.
    Open,
    /// The client isn't let in any more; until then a request is told so.
    Dismissed(Instant),
    /// Such a client's connection is being closed, and then it is cut.
    Cut(Instant),
    /// The server is closing; until then a request is still answered, as the last one.
    Leaving(Instant),
    /// It ends when what is under way is done.
    Finishing,
}

/// Judges a client again: when to do so next without a reload, and whether it goes on.
fn dismissed(session: &Session, phase: Phase) -> (Instant, Phase) {
    let now = Instant::now();
    let caller = session.caller();
    let left = caller.identity.time_left();
    match phase {
        Phase::Open if session.unwelcome(&caller) => (now, Phase::Dismissed(now + DISMISSED)),
        Phase::Dismissed(_) if !session.unwelcome(&caller) => (now + left, Phase::Open),
        phase => (now + left, phase),
    }
}
