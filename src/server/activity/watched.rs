//! A connection's bytes on their way.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio_util::sync::PollSemaphore;

use super::{super::portion::later, Activity};

/// A connection's bytes, whose coming and going its activity sees.
pub(in crate::server) struct Watched<S> {
    stream: Take<S>,
    heads: PollSemaphore,
    activity: Arc<Activity>,
}

impl<S: AsyncRead> Watched<S> {
    pub(in crate::server) fn new(stream: S, activity: Arc<Activity>) -> Self {
        let stream = stream.take(0);
        let heads = PollSemaphore::new(activity.share.coming());
        Self {
            stream,
            heads,
            activity,
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.activity.portion.was_written(*bytes);
        }
        self.activity.written(match &written {
            Poll::Ready(bytes) => Some(*bytes.as_ref().unwrap_or(&0)),
            Poll::Pending => None,
        });
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.activity.portion.left_to_read();
        if left == 0 {
            return later(context);
        }
        if self.activity.lacks_turn() {
            let turn = ready!(self.heads.poll_acquire(context));
            self.activity.state().head = turn;
        }
        let before = buffer.filled().len();
        self.stream.set_limit(left as u64);
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if read.is_ready() && bytes > 0 {
            self.activity.portion.was_read(bytes);
            self.activity.read(bytes);
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.activity.portion.is_written() {
            return later(context);
        }
        self.activity.listen(bytes);
        let written = Pin::new(self.stream.get_mut()).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.activity.portion.is_written() {
            return later(context);
        }
        self.activity.listen(pieces.last().map_or(&[], |last| last));
        let written = Pin::new(self.stream.get_mut()).poll_write_vectored(context, pieces);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(self.stream.get_mut()).poll_flush(context);
        self.activity.written(flushed.is_ready().then_some(0));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }
}
