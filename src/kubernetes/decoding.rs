//! Lists and watches read from bytes at hand, as the informer reads them from the network: what the fuzzer calls.

use std::sync::Arc;

use super::wire::{self, DecodeError, ListDecoder, WatchDecoder};
use crate::store::{Deployment, LabelKeys};

/// A page: its version and the token of the next one; its Deployments; why others were skipped.
pub type Page = ([String; 2], Vec<Deployment>, Vec<String>);

/// A frame of a watch.
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// A Deployment is there, or is another one.
    Upsert(Deployment),
    /// A Deployment is gone.
    Delete(Deployment),
    /// How far the watch has come.
    Bookmark(u64),
    /// What the API server says went wrong.
    Error {
        /// Its code.
        code: i32,
        /// Its words.
        message: String,
    },
}

/// Reads a page of a list that arrives in these chunks.
///
/// # Errors
///
/// Says what in it can't be read.
pub fn list<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    labels: &LabelKeys,
) -> Result<Page, String> {
    let mut decoder = ListDecoder::new(labels);
    let said = |error: DecodeError| error.to_string();
    for chunk in chunks {
        decoder.push(chunk).map_err(said)?;
    }
    let (metadata, items, undecodable) = decoder.finish().map_err(said)?;
    let position = [metadata.resource_version, metadata.continue_token];
    Ok((position, items, undecodable))
}

/// Reads the frames of a watch that arrives in these chunks, and what is wrong with those that can't be read, up to a fault that ends it.
pub fn watch<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    labels: &Arc<LabelKeys>,
) -> Vec<Result<Frame, String>> {
    let mut decoder = WatchDecoder::new(Arc::clone(labels));
    let mut read = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(frame)) => read.push(Ok(frame.into())),
                Err(error) => {
                    read.push(Err(error.to_string()));
                    if matches!(error, DecodeError::TooLarge(_)) {
                        return read;
                    }
                }
            }
        }
    }
    read
}

impl From<wire::Frame> for Frame {
    fn from(frame: wire::Frame) -> Self {
        match frame {
            wire::Frame::Upsert(deployment) => Self::Upsert(deployment),
            wire::Frame::Delete(deployment) => Self::Delete(deployment),
            wire::Frame::Bookmark(version) => Self::Bookmark(version),
            wire::Frame::Error(status) => Self::Error {
                code: status.code,
                message: status.message,
            },
        }
    }
}
