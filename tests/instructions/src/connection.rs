//! A caller's connection that replays prepared requests and swallows the answers: the next request is there when the
//! answer to the one before it has gone out.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::future::poll_fn;
use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The side of the connection that the server holds.
pub struct ServerEnd(Arc<Mutex<State>>);

/// The side that says which requests come.
#[derive(Clone)]
pub struct CallerEnd(Arc<Mutex<State>>);

struct State {
    /// There until the handshake is over and the requests have been encrypted.
    client: Option<ClientConnection>,
    requests: VecDeque<Vec<u8>>,
    /// What is being read, and how much of it has been.
    current: Vec<u8>,
    read: usize,
    /// Whether the next request may come.
    open: bool,
    /// Answers that somebody waits for.
    left: usize,
    answers: Answers,
    reader: Option<Waker>,
    waiting: Option<Waker>,
}

/// How the end of an answer is told.
enum Answers {
    /// By its Content-Length; so many bytes of it are still to come.
    Plain(usize),
    /// By the flush behind it, which is right for answers of one write; whether there was one, and the last answer.
    Encrypted { written: bool, last: Vec<u8> },
}

/// A connection without TLS.
pub fn plain() -> (CallerEnd, ServerEnd) {
    pair(None, Answers::Plain(0))
}

/// A connection whose caller is `client`, which shakes hands as soon as the server reads.
pub fn encrypted(client: ClientConnection) -> (CallerEnd, ServerEnd) {
    let answers = Answers::Encrypted {
        written: false,
        last: Vec::new(),
    };
    pair(Some(client), answers)
}

fn pair(client: Option<ClientConnection>, answers: Answers) -> (CallerEnd, ServerEnd) {
    let state = Arc::new(Mutex::new(State {
        client,
        requests: VecDeque::new(),
        current: Vec::new(),
        read: 0,
        open: false,
        left: 0,
        answers,
        reader: None,
        waiting: None,
    }));
    (CallerEnd(Arc::clone(&state)), ServerEnd(state))
}

impl CallerEnd {
    /// Prepares requests; with TLS, after the handshake, they are encrypted now.
    ///
    /// # Errors
    ///
    /// When the client can't encrypt them.
    pub fn prepare(&self, requests: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
        let mut state = lock(&self.0);
        for request in requests {
            let mut wire = Vec::new();
            match &mut state.client {
                Some(client) => {
                    io::Write::write_all(&mut client.writer(), &request)?;
                    client.write_tls(&mut wire)?;
                }
                None => wire = request,
            }
            state.requests.push_back(wire);
        }
        Ok(())
    }

    /// Ends the handshake's part of the connection and gives the client back, which can decrypt the first answer.
    pub fn detach(&self) -> Option<ClientConnection> {
        lock(&self.0).client.take()
    }

    /// The bytes of the last answer of an encrypted connection.
    pub fn last_answer(&self) -> Vec<u8> {
        match &lock(&self.0).answers {
            Answers::Plain(_) => Vec::new(),
            Answers::Encrypted { last, .. } => last.clone(),
        }
    }

    /// Lets the next `count` requests come, one behind the other, and waits until the last was answered.
    pub async fn send(&self, count: usize) {
        {
            let mut state = lock(&self.0);
            state.left = count;
            state.open = count > 0;
            state.reader.take().into_iter().for_each(Waker::wake);
        }
        poll_fn(|context| {
            let mut state = lock(&self.0);
            if state.left == 0 {
                return Poll::Ready(());
            }
            state.waiting = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn answered(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.open = self.left > 0;
        let next = if self.open {
            &mut self.reader
        } else {
            &mut self.waiting
        };
        next.take().into_iter().for_each(Waker::wake);
    }

    fn wrote(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(client) = &mut self.client {
            let mut rest = bytes;
            while !rest.is_empty() {
                client.read_tls(&mut rest)?;
                client.process_new_packets().map_err(io::Error::other)?;
            }
            return Ok(());
        }
        match &mut self.answers {
            Answers::Encrypted { written, last } => {
                if !std::mem::replace(written, true) {
                    last.clear();
                }
                last.extend_from_slice(bytes);
            }
            Answers::Plain(left) => {
                if *left == 0 {
                    *left = answer_len(bytes).ok_or_else(|| {
                        io::Error::other("not a whole head of a 200 with its length")
                    })?;
                }
                *left = left
                    .checked_sub(bytes.len())
                    .ok_or_else(|| io::Error::other("an answer longer than it says"))?;
                if *left == 0 {
                    self.answered();
                }
            }
        }
        Ok(())
    }
}

/// The length of an answer, head and body, by its first bytes.
fn answer_len(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = text
        .strip_prefix("HTTP/1.1 200 ")?
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    Some(head + length.parse::<usize>().ok()?)
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *lock(&self.0);
        if state.read == state.current.len() {
            state.current.clear();
            state.read = 0;
            match &mut state.client {
                Some(client) if client.wants_write() => {
                    client.write_tls(&mut state.current)?;
                }
                Some(_) => {}
                None if std::mem::take(&mut state.open) => {
                    state.current = state
                        .requests
                        .pop_front()
                        .ok_or_else(|| io::Error::other("no request is left"))?;
                }
                None => {}
            }
        }
        let rest = &state.current[state.read..];
        if rest.is_empty() {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let take = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..take]);
        state.read += take;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).wrote(bytes)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        for piece in pieces {
            state.wrote(piece)?;
        }
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if let Answers::Encrypted { written, .. } = &mut state.answers
            && std::mem::take(written)
        {
            state.answered();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
