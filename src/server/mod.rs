//! Connections of callers: accept, handshake, serve, drain. Each has a task of its own and deadlines for everything.

mod activity;
pub mod admin;
pub mod drain;

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, header};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::{
    api::Api,
    generation::{Generations, Session},
    limits::{Limit, Pressure, Who},
    telemetry::metrics::Metrics,
    tls::{Refusal, Shown},
};
use activity::{Activity, Held, Watched};
use drain::{Step, closing};

/// A handshake that takes longer is cut.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long accepting pauses when the system has no more file descriptors or memory for sockets.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a refused client has for reading the alert that says why.
const LINGER: Duration = Duration::from_secs(1);
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// What hyper buffers of one connection; the API's own, lower limits answer first.
const BUFFER: usize = 64 * 1024;

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
        Self {
            generations,
            api,
            metrics,
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
                Ok((_, address)) if self.metrics.memory.pressure() == Pressure::Full => {
                    let address = Some(address.ip());
                    let who = Who {
                        address,
                        ..Who::default()
                    };
                    self.metrics.limits.reached(Limit::Memory, who);
                }
                Ok((tcp, address)) => {
                    self.connections
                        .spawn(Arc::clone(&self).connection(tcp, address));
                }
                // Out of file descriptors, or the peer went away between the two: the next one may be fine.
                Err(error) => {
                    warn!(name: "server.accept.failed", error = %error, "failed to accept a connection, pausing");
                    sleep(PAUSE).await;
                }
            }
        }
        // The kernel has told them that they are connected.
        while let Some(Ok((tcp, address))) = listener.accept().now_or_never() {
            self.connections
                .spawn(Arc::clone(&self).connection(tcp, address));
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, address: SocketAddr) {
        let _open = self.metrics.connection();
        // Answers are written whole: waiting for more to send would only delay them.
        let _ = tcp.set_nodelay(true);
        let client = tokio::select! {
            client = self.handshake(tcp, address) => client,
            () = self.late() => None,
        };
        if let Some((mut stream, session)) = client {
            let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            stream.get_mut().1.set_buffer_limit(Some(RECORDS));
            self.serve(stream, multiplexed, session).await;
        }
    }

    /// Waits until it is too late for a first request.
    async fn late(&self) {
        closing(&mut self.step.clone()).await;
        sleep(LATE).await;
    }

    /// The handshake, in the connection's own task and under a deadline. A client is refused, and that logged, here.
    async fn handshake(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
    ) -> Option<(TlsStream<TcpStream>, Session)> {
        let generation = Arc::clone(&self.generations.current());
        let acceptor = TlsAcceptor::from(Arc::clone(&generation.tls));
        let shaking = Shown::watching(timeout(HANDSHAKE, acceptor.accept(tcp).into_fallible()));
        let (shaken, shown) = shaking.await;
        let refusal = match shaken {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                match generation.admit(chain, address) {
                    Ok(caller) => {
                        self.metrics.handshake("accepted");
                        self.metrics.expiry.client(caller.identity.expiry());
                        info!(name: "tls.client.accepted", principal = %caller.name(), subject = %caller.identity.subject, serial = %caller.identity.serial,
                            issuer = %caller.identity.issuer, address = %address, "client accepted");
                        let (chain, generations) = (chain.to_vec(), Arc::clone(&self.generations));
                        return Some((stream, Session::new(chain, caller, generations)));
                    }
                    Err(refusal) => Some(refusal),
                }
            }
            Ok(Err((error, tcp))) => {
                let refusal = Refusal::of(&error);
                linger(tcp).await;
                refusal
            }
            Err(_elapsed) => Some(Refusal::timeout()),
        };
        match refusal {
            None => {
                self.metrics.handshake("Abandoned");
                debug!(name: "tls.client.left", address = %address, "the peer left before a handshake");
            }
            Some(Refusal {
                reason,
                suspicious,
                detail,
            }) => {
                self.metrics.handshake(reason);
                // Whose certificate it was, where there was one.
                let subject = shown.as_ref().map(|shown| shown.subject.as_str());
                let serial = shown.as_ref().map(|shown| shown.serial.as_str());
                let issuer = shown.as_ref().map(|shown| shown.issuer.as_str());
                let names = shown.as_ref().map(|shown| shown.names.as_str());
                if suspicious {
                    warn!(name: "tls.client.refused", reason, subject, serial, issuer, names, address = %address, error = %detail, "client refused: {reason}");
                } else {
                    info!(name: "tls.client.refused", reason, subject, serial, issuer, names, address = %address, error = %detail, "client refused: {reason}");
                }
            }
        }
        None
    }

    /// Serves the caller of a session on any stream of bytes; `multiplexed`: HTTP/2 was agreed on. What measurements without a
    /// network call.
    pub async fn serve<S>(&self, stream: S, multiplexed: bool, session: Session)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let activity = Arc::new(Activity::new(multiplexed));
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
                if caller.refused.is_some() {
                    // HTTP/2 knows no Connection header: the connection itself is ended behind the answer.
                    activity.close();
                }
                // The answer may be sent before the request's body has come.
                let request = request.map(|body| {
                    let coming = (!body.is_end_stream()).then(|| activity.request());
                    Held::new(body, coming)
                });
                let mut response = api.answer(session, caller, request).await;
                if activity.is_last() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response.map(|body| Held::new(body, under_way)))
            }
        });
        if multiplexed {
            let mut http2 = http2::Builder::new(TokioExecutor::new());
            http2
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(BUFFER as u32);
            let connection = std::pin::pin!(http2.serve_connection(io, service));
            self.drive(connection, &served, &activity, |c| c.graceful_shutdown())
                .await;
        } else {
            let mut http1 = http1::Builder::new();
            // Deadlines are ours: hyper's one for headers also runs on idle connections, which breaks clients' pools.
            http1
                .timer(TokioTimer::new())
                .header_read_timeout(None)
                .max_buf_size(BUFFER);
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
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(name: "server.connection.failed", error = %error, "a connection ended with an error");
                    }
                    return;
                }
                Ok(()) = step.changed(), if open => {
                    let closes = *step.borrow_and_update() == Step::Closing;
                    let multiplexed = activity.leave();
                    if closes && multiplexed {
                        phase = Phase::Finishing;
                        finish(connection.as_mut());
                    } else if closes {
                        phase = Phase::Leaving(Instant::now() + LATE);
                    }
                }
                // A request was told that its client isn't let in any more.
                () = activity.closing(), if open => {
                    phase = Phase::Cut(Instant::now() + DISMISSED);
                    finish(connection.as_mut());
                }
                _ = generations.changed(), if open => {
                    (expires, phase) = dismissed(session, phase);
                }
                () = sleep_until(look_again) => {
                    if let Some(why) = activity.overdue() {
                        debug!(name: "server.connection.cut", reason = why, "a connection was cut: {why}");
                        return;
                    }
                    match phase {
                        Phase::Open if Instant::now() >= expires => {
                            (expires, phase) = dismissed(session, phase);
                        }
                        Phase::Dismissed(end) if Instant::now() >= end => {
                            phase = Phase::Cut(Instant::now() + PARTING);
                            finish(connection.as_mut());
                        }
                        Phase::Leaving(end) if Instant::now() >= end => {
                            phase = Phase::Finishing;
                            finish(connection.as_mut());
                        }
                        // Whoever isn't let in any more can't stay by not reading, or by not taking leave.
                        Phase::Cut(end) if Instant::now() >= end => return,
                        _ => {}
                    }
                }
            }
        }
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
        Phase::Open if caller.refused.is_some() => (now, Phase::Dismissed(now + DISMISSED)),
        Phase::Dismissed(_) if caller.refused.is_none() => (now + left, Phase::Open),
        phase => (now + left, phase),
    }
}

/// Lets a refused client read the alert: closing with unread bytes would reset the connection and lose it.
async fn linger(mut tcp: TcpStream) {
    let _ = tcp.shutdown().await;
    let mut rest = [0; 1024];
    let drained = async {
        // A few kilobytes of early requests, not a stream.
        for _ in 0..16 {
            if !matches!(tcp.read(&mut rest).await, Ok(read) if read > 0) {
                return;
            }
        }
    };
    let _ = timeout(LINGER, drained).await;
}
