//! Bodies of answers: a few bytes, or a list that is sent segment by segment and has its memory reserved until it was.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};

use super::{pins::Pinned, watch::Watch};
use crate::{limits::Reservation, store::ListBody};

/// How much of a large body is given at a time, in bytes. A frame's worth: once the last was given nothing is reserved any more, though the HTTP
/// library keeps it until a client that has opened its window by one byte takes it.
const PIECE: usize = 16 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Reserved {
        bytes: Bytes,
        _reservation: Reservation,
    },
    List {
        list: ListBody,
        _pinned: Pinned,
    },
    Watch(Watch),
}

impl Body {
    /// A list in pieces.
    pub(super) fn list(list: ListBody, pinned: Pinned) -> Self {
        Self(Kind::List {
            list,
            _pinned: pinned,
        })
    }

    /// A stream of events, without an end for now.
    pub(super) fn watch(watch: Watch) -> Self {
        Self(Kind::Watch(watch))
    }

    /// A large body that is at hand, in pieces.
    pub(super) fn reserved(bytes: Bytes, reservation: Reservation) -> Self {
        Self(Kind::Reserved {
            bytes,
            _reservation: reservation,
        })
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    /// An answer of JSON that is at hand.
    pub(super) fn json(status: StatusCode, json: impl Into<Bytes>) -> Response<Self> {
        Self::respond(status, Self(Kind::Whole(Some(json.into()))))
    }

    /// An answer of JSON, in whichever form.
    pub(super) fn respond(status: StatusCode, body: Self) -> Response<Self> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}

/// The answer to HEAD: what GET would answer, with its length, without its body.
pub(super) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body)
        .exact()
        .filter(|_| parts.status != StatusCode::NOT_MODIFIED)
    {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    #[inline]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Reserved { bytes, .. } => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
            }
            Kind::List { list, .. } => Pin::new(list).poll_frame(context),
            Kind::Watch(watch) => watch.poll_frame(context),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Reserved { bytes, .. } => bytes.is_empty(),
            Kind::List { list, .. } => list.is_end_stream(),
            Kind::Watch(watch) => watch.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Kind::Reserved { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Kind::List { list, .. } => http_body::Body::size_hint(list),
            Kind::Watch(_) => SizeHint::default(),
        }
    }
}
