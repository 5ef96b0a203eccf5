//! Bodies that arrive as networks bring them: several pieces at once, or a byte now and then.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use simkube::{Body, BodyError};
use tokio::time::{Sleep, sleep};

/// How a body arrives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Shape {
    #[default]
    AsSent,
    /// All that is there comes at once.
    Merged,
    /// Byte by byte, with so much time before each.
    Trickled(Duration),
}

/// A body in another shape.
pub(crate) struct Shaped {
    inner: Body,
    shape: Shape,
    held: BytesMut,
    /// What `inner` ended with, once it has.
    end: Option<Result<(), BodyError>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Shaped {
    pub(crate) fn new(inner: Body, shape: Shape) -> Self {
        Self {
            inner,
            shape,
            held: BytesMut::new(),
            end: None,
            pause: None,
        }
    }

    /// Takes one piece into `held`; at the end, `end` is set.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => self.held.extend(frame.into_data().unwrap_or_default()),
            Some(Err(error)) => self.end = Some(Err(error)),
            None => self.end = Some(Ok(())),
        }
        Poll::Ready(())
    }
}

impl http_body::Body for Shaped {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let enough = match self.shape {
                Shape::Merged => false,
                _ => !self.held.is_empty(),
            };
            if enough || self.end.is_some() {
                break;
            }
            match self.fill(cx) {
                Poll::Ready(()) => {}
                Poll::Pending if self.held.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if self.held.is_empty() {
            // After an error comes the end.
            let end = self.end.replace(Ok(()));
            return Poll::Ready(end.and_then(Result::err).map(Err));
        }
        let piece = match self.shape {
            Shape::Trickled(each) => {
                let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(each)));
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
                self.held.split_to(1)
            }
            _ => self.held.split(),
        };
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }
}
