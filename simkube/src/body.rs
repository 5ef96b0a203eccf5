//! The body of an answer: bytes in one piece, or a stream of pieces.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};

/// The body of a simulated answer.
pub struct Body(UnsyncBoxBody<Bytes, BodyError>);

/// The stream of a body broke off, as when the connection under it is reset.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("connection reset while the body was being sent")]
pub struct BodyError;

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Body {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(
            Full::new(bytes.into())
                .map_err(BodyError::from)
                .boxed_unsync(),
        )
    }

    pub(crate) fn stream(
        pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    ) -> Self {
        Self(UnsyncBoxBody::new(StreamBody::new(
            pieces.map(|piece| piece.map(Frame::data)),
        )))
    }
}

/// The break of a body. What came before it is let go first, or a server on a port would drop it with the connection.
pub(crate) async fn broken() -> BodyError {
    tokio::task::yield_now().await;
    BodyError
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
