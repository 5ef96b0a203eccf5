//! The few protobuf fields of Kubernetes' API that are read; everything else is skipped by its length.
//!
//! Field numbers are those of `k8s.io/api/apps/v1/generated.proto` and `k8s.io/apimachinery/pkg/…/generated.proto`.

mod object;
mod owner;

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint},
};
use serde::Deserialize;

use super::FieldOwner;
use crate::store::{Deployment, LabelKeys, Snapshot};
use object::Undecodable;
pub(super) use owner::owner;

/// The media type of lists, single objects and errors.
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// The media type of watches: frames with their length before them.
pub(super) const PROTOBUF_STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";

const MAGIC: &[u8] = b"k8s\0";
/// Larger than any object that etcd takes (1.5 MiB by default), so more is an error, not a reason to buffer on.
const LARGEST: usize = 16 << 20;

/// A page of more items is none that was asked for, not even from a server that knows no limit and sends a large cluster whole.
const MOST_ITEMS: usize = 50_000;

/// Characters of what the API server says that are kept: more than any sentence of its own.
const WORDS: usize = 4096;

/// Bytes that aren't what the API server was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("failed to decode protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("the answer doesn't start as Kubernetes' protobuf does")]
    Envelope,
    #[error("failed to decode protobuf: a field of a Deployment isn't of Kubernetes' type")]
    Field,
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    #[error("the answer is a {0:?}, not what was asked for")]
    Kind(String),
    #[error("an item of {0} bytes is larger than any that Kubernetes stores")]
    TooLarge(u64),
    #[error("a page has more than {0} items, and far fewer were asked for")]
    TooMany(usize),
    #[error("the list doesn't end: behind {0} pages there is still another one")]
    NoLastPage(usize),
    #[error("the answer ended in the middle")]
    Truncated,
}

impl DecodeError {
    /// Something else than was asked for; the start of its name is enough.
    fn kind(name: &str) -> Self {
        Self::Kind(name.chars().take(40).collect())
    }
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListMeta {
    #[prost(string, tag = "2")]
    pub(super) resource_version: String,
    #[prost(string, tag = "3")]
    pub(super) continue_token: String,
}

/// A resourceVersion as the number that it is within one resource type; never 0, which means "any".
pub(super) fn version(text: &str) -> Option<u64> {
    text.parse().ok().filter(|v| *v > 0)
}

#[derive(Clone, PartialEq, Message)]
struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusDetails {
    #[prost(int32, optional, tag = "5")]
    retry_after_seconds: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct WireStatus {
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(message, optional, tag = "5")]
    details: Option<StatusDetails>,
    #[prost(int32, tag = "6")]
    code: i32,
}

/// What the API server says went wrong (meta/v1 Status).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) message: String,
    pub(super) reason: String,
    pub(super) code: i32,
    pub(super) details: Option<Details>,
}

/// The part of a Status that says when to come back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Details {
    pub(super) retry_after_seconds: Option<i32>,
}

impl Status {
    /// When to come back, if it says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.details.as_ref()?.retry_after_seconds?;
        u64::try_from(seconds)
            .ok()
            .filter(|s| *s > 0)
            .map(Duration::from_secs)
    }

    /// A Status in protobuf or in JSON, or the body's own words when it is neither, cut to a line.
    pub(super) fn read(code: u16, body: &Bytes) -> Self {
        let read = match body.starts_with(MAGIC) {
            true => envelope(body, "Status")
                .ok()
                .and_then(|raw| Self::decode(raw).ok()),
            false => serde_json::from_slice::<Self>(body)
                .ok()
                .filter(|s| !s.message.is_empty()),
        };
        let words = || {
            String::from_utf8_lossy(body)
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect()
        };
        let mut status = read.unwrap_or_else(|| Self {
            message: words(),
            ..Self::default()
        });
        status.code = i32::from(code);
        status
    }

    fn decode(raw: Bytes) -> Result<Self, DecodeError> {
        let WireStatus {
            message,
            reason,
            details,
            code,
        } = WireStatus::decode(raw)?;
        let details = details.map(|d| Details {
            retry_after_seconds: d.retry_after_seconds,
        });
        let start = |words: String| words.chars().take(WORDS).collect();
        Ok(Self {
            message: start(message),
            reason: start(reason),
            code,
            details,
        })
    }
}

/// One frame of a watch.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Upsert(Deployment),
    Delete(Deployment),
    /// How far the watch has come, without a change.
    Bookmark(u64),
    Error(Status),
}

/// Splits a watch's bytes into frames: four bytes of length, then a bare `WatchEvent` whose object is in an envelope.
#[derive(Debug)]
pub(super) struct WatchDecoder {
    buffer: BytesMut,
    labels: Arc<LabelKeys>,
    object: Bytes,
}

impl WatchDecoder {
    /// For a watch of Deployments, of which the labels of these keys are read.
    pub(super) fn new(labels: Arc<LabelKeys>) -> Self {
        Self {
            buffer: BytesMut::new(),
            labels,
            object: Bytes::new(),
        }
    }

    /// The Deployment that the last frame was about, as it arrived.
    pub(super) fn take_object(&mut self) -> Bytes {
        std::mem::take(&mut self.object)
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole frame, if it has arrived. An object inside it that can't be decoded is an error of its own,
    /// after which the frames behind it can still be read.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some(length) = self
            .buffer
            .first_chunk::<4>()
            .map(|b| u32::from_be_bytes(*b) as usize)
        else {
            return Ok(None);
        };
        if length > LARGEST {
            return Err(DecodeError::TooLarge(length as u64));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let frame = self.buffer.split_to(length).freeze();
        let event = WatchEvent::decode(frame)?;
        let raw = event.object.unwrap_or_default().raw;
        let object = || envelope(&raw, "Deployment");
        Ok(Some(match event.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                self.object = object()?;
                Frame::Upsert(object::deployment(&self.object, &self.labels)?)
            }
            // Of what is gone no label matters: a bad one mustn't keep it.
            "DELETED" => Frame::Delete(object::deployment(&object()?, &LabelKeys::default())?),
            "BOOKMARK" => {
                Frame::Bookmark(object::resource_version(&object()?)?.ok_or(DecodeError::Envelope)?)
            }
            "ERROR" => Frame::Error(Status::decode(envelope(&raw, "Status")?)?),
            other => {
                return Err(DecodeError::kind(other));
            }
        }))
    }
}

fn envelope(bytes: &Bytes, kind: &str) -> Result<Bytes, DecodeError> {
    if !bytes.starts_with(MAGIC) {
        return Err(DecodeError::Envelope);
    }
    let unknown = Unknown::decode(bytes.slice(MAGIC.len()..))?;
    let found = unknown.type_meta.unwrap_or_default().kind;
    if found == kind {
        Ok(unknown.raw)
    } else {
        Err(DecodeError::kind(&found))
    }
}

/// Takes a page of a list apart while it arrives, so that no page is held whole.
#[derive(Debug)]
pub(super) struct ListDecoder<'a> {
    buffer: BytesMut,
    place: Place,
    labels: &'a LabelKeys,
    metadata: Option<ListMeta>,
    items: Vec<Deployment>,
    undecodable: Vec<String>,
    known: Option<&'a Snapshot>,
    owners: Vec<(u64, FieldOwner)>,
}

#[derive(Debug, Default, PartialEq)]
enum Place {
    #[default]
    Magic,
    /// Inside the envelope, before the list.
    Envelope { kind_seen: bool },
    /// Inside the list, with so many bytes of it to come.
    List(u64),
    /// Behind the list: the envelope's last fields, which say nothing more.
    Tail,
}

impl<'a> ListDecoder<'a> {
    /// For a page of Deployments, of which the labels of these keys are read.
    pub(super) fn new(labels: &'a LabelKeys) -> Self {
        Self {
            buffer: BytesMut::new(),
            place: Place::default(),
            labels,
            metadata: None,
            items: Vec::new(),
            undecodable: Vec::new(),
            known: None,
            owners: Vec::new(),
        }
    }

    /// The same, which also reads who set the counts that aren't those of this snapshot.
    pub(super) fn beside(self, known: Option<&'a Snapshot>) -> Self {
        Self { known, ..self }
    }

    /// Who set the counts that are others now, by the versions of the Deployments.
    pub(super) fn take_owners(&mut self) -> Vec<(u64, FieldOwner)> {
        std::mem::take(&mut self.owners)
    }

    fn counts_otherwise(&self, now: &Deployment) -> bool {
        let before = |known: &'a Snapshot| known.get(&now.namespace, &now.name);
        let before = self.known.and_then(before);
        before.is_some_and(|before| before.uid() == now.uid && before.replicas() != now.replicas)
    }

    /// Takes the next bytes of the page.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        self.buffer.extend_from_slice(chunk);
        loop {
            match self.place {
                Place::Magic => {
                    let seen = self.buffer.len().min(MAGIC.len());
                    if self.buffer[..seen] != MAGIC[..seen] {
                        return Err(DecodeError::Envelope);
                    }
                    if seen < MAGIC.len() {
                        return Ok(());
                    }
                    self.buffer.advance(MAGIC.len());
                    self.place = Place::Envelope { kind_seen: false };
                }
                Place::Envelope { kind_seen } => {
                    let Some(field) = Field::peek(&self.buffer)? else {
                        return Ok(());
                    };
                    if field.tag == 2 && field.is_message {
                        if !kind_seen {
                            return Err(DecodeError::Envelope);
                        }
                        self.buffer.advance(field.head);
                        self.place = Place::List(field.length);
                        continue;
                    }
                    let Some(body) = self.take(&field)? else {
                        return Ok(());
                    };
                    if field.tag == 1 {
                        let kind = TypeMeta::decode(body)?.kind;
                        if kind != "DeploymentList" {
                            return Err(DecodeError::kind(&kind));
                        }
                        self.place = Place::Envelope { kind_seen: true };
                    }
                }
                Place::List(0) => self.place = Place::Tail,
                Place::List(left) => {
                    let Some(field) = Field::peek(&self.buffer)? else {
                        return Ok(());
                    };
                    let Some(body) = self.take(&field)? else {
                        return Ok(());
                    };
                    self.place = Place::List(
                        left.checked_sub(field.head as u64 + field.length)
                            .ok_or(DecodeError::Truncated)?,
                    );
                    match (field.tag, field.is_message) {
                        (1, true) => self.metadata = Some(ListMeta::decode(body)?),
                        (2, true) => match object::deployment(&body, self.labels) {
                            Ok(deployment) => {
                                if self.counts_otherwise(&deployment)
                                    && let Some(owner) = owner(&body)
                                {
                                    self.owners.push((deployment.resource_version, owner));
                                }
                                self.items.push(deployment);
                            }
                            Err(why) => self.undecodable.push(why.to_string()),
                        },
                        _ => {}
                    }
                    if self.items.len() + self.undecodable.len() > MOST_ITEMS {
                        return Err(DecodeError::TooMany(MOST_ITEMS));
                    }
                }
                Place::Tail => {
                    self.buffer.clear();
                    return Ok(());
                }
            }
        }
    }

    fn take(&mut self, field: &Field) -> Result<Option<Bytes>, DecodeError> {
        if field.length > LARGEST as u64 {
            return Err(DecodeError::TooLarge(field.length));
        }
        let whole = field.head + field.length as usize;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        self.buffer.advance(field.head);
        Ok(Some(self.buffer.split_to(field.length as usize).freeze()))
    }

    /// The page's end: its metadata, its Deployments, and why items were skipped.
    pub(super) fn finish(self) -> Result<(ListMeta, Vec<Deployment>, Vec<String>), DecodeError> {
        match (self.place, self.metadata) {
            (Place::Tail | Place::List(0), Some(metadata)) => {
                Ok((metadata, self.items, self.undecodable))
            }
            _ => Err(DecodeError::Truncated),
        }
    }
}

/// The start of a protobuf field, read without its content.
struct Field {
    tag: u32,
    is_message: bool,
    /// Bytes before the content.
    head: usize,
    /// Bytes of the content.
    length: u64,
}

impl Field {
    /// The field that `buffer` starts with, once enough of it has arrived to tell its length.
    fn peek(buffer: &[u8]) -> Result<Option<Self>, DecodeError> {
        // A key and a length take at most ten bytes each, so with fewer a failure may only mean "not yet".
        let early = buffer.len() < 20;
        let mut rest = buffer;
        let read = |rest: &mut &[u8]| {
            let (tag, kind) = decode_key(rest)?;
            let length = match kind {
                WireType::LengthDelimited => decode_varint(rest)?,
                WireType::Varint => {
                    let head = rest.len();
                    decode_varint(rest)?;
                    return Ok((tag, kind, (head - rest.len()) as u64, head));
                }
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::StartGroup | WireType::EndGroup => {
                    return Ok((tag, kind, u64::MAX, rest.len()));
                }
            };
            Ok((tag, kind, length, rest.len()))
        };
        match read(&mut rest) {
            Ok((_, WireType::StartGroup | WireType::EndGroup, ..)) => Err(DecodeError::Envelope),
            Ok((tag, kind, length, left)) => Ok(Some(Self {
                tag,
                is_message: kind == WireType::LengthDelimited,
                head: buffer.len() - left,
                length,
            })),
            Err(_) if early => Ok(None),
            Err(error) => Err(DecodeError::Protobuf(error)),
        }
    }
}

#[cfg(test)]
mod tests;
