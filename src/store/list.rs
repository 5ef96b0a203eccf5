//! The list response: the segments' texts one after the other, whole or in part.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{change::Shown, snapshot::Snapshot};

/// The length of a list in bytes, of which all records with a comma before each take `text_len`.
pub(super) fn list_len(text_len: usize) -> usize {
    // Two brackets around the text, less the comma before the first record.
    match text_len {
        0 => 2,
        text => text + 1,
    }
}

/// The JSON array of records, a segment a frame; it keeps the snapshot as long as it is being sent.
#[derive(Debug)]
pub struct ListBody {
    snapshot: Arc<Snapshot>,
    /// By segment, which of its records are in the list; `None`: all.
    masks: Option<Arc<[u128]>>,
    shown: Shown,
    place: Place,
    left: usize,
}

#[derive(Debug)]
enum Place {
    Start,
    Segment {
        /// Branch and segment.
        at: (usize, usize),
        /// The segments before it, and whether one of them was in the list.
        before: usize,
        begun: bool,
    },
    End,
}

impl ListBody {
    pub(super) fn new(snapshot: Arc<Snapshot>, masks: Option<Arc<[u128]>>, length: usize) -> Self {
        Self {
            snapshot,
            masks,
            shown: Shown::Count,
            place: Place::Start,
            left: length,
        }
    }

    /// The same list, which hasn't begun, with how many Pods of each are ready.
    #[must_use]
    pub fn with_status(self) -> Self {
        let segments = self.snapshot.tree().segments().enumerate();
        let length = segments.map(|(at, segment)| {
            let mask = self.masks.as_ref().map_or(segment.all(), |m| m[at]);
            segment.status_text_len(mask)
        });
        Self {
            left: list_len(length.sum()),
            shown: Shown::Status,
            ..self
        }
    }

    /// The text of the next segment that has some, from `at` on.
    fn piece(&mut self, mut at: (usize, usize), mut before: usize, begun: bool) -> Option<Bytes> {
        while let Some((segment, next)) = self.snapshot.tree().segment_at(at) {
            let mask = self.masks.as_ref().map(|masks| masks[before]);
            (at, before) = (next, before + 1);
            if mask == Some(0) {
                continue;
            }
            self.place = Place::Segment {
                at,
                before,
                begun: true,
            };
            let comma = usize::from(!begun);
            return Some(match (self.shown, mask) {
                (Shown::Count, None) => segment.text().slice(comma..),
                (Shown::Count, Some(mask)) => segment.text_of(mask).slice(comma..),
                (Shown::Status, mask) => {
                    let mask = mask.unwrap_or(segment.all());
                    segment.status_text_of(mask).slice(comma..)
                }
            });
        }
        None
    }
}

impl Iterator for ListBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let piece = match self.place {
            Place::Start => {
                self.place = Place::Segment {
                    at: (0, 0),
                    before: 0,
                    begun: false,
                };
                Bytes::from_static(b"[")
            }
            Place::Segment { at, before, begun } => match self.piece(at, before, begun) {
                Some(text) => text,
                None => {
                    self.place = Place::End;
                    Bytes::from_static(b"]")
                }
            },
            Place::End => return None,
        };
        self.left -= piece.len();
        Some(piece)
    }
}

impl Body for ListBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.place, Place::End)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
