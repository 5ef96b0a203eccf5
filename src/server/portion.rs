//! How much of a connection is worked off in one poll. A poll runs until it would block, and meanwhile nobody else runs on its
//! thread: the rest of what a peer sent at once, or takes at once, is for later polls, behind others.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

/// Bytes that are read over HTTP/1.1: the usual head, or eight small ones that came at once …
const READ: usize = 512;
/// … and over HTTP/2, whose frames are smaller: a dozen, each some microseconds of work.
const READ_OF_FRAMES: usize = 256;
/// So many more at most, for what is no such work.
const MORE: usize = 16 * 1024;
/// For a request that was reset: with so many bytes of them at once the library sees its bound on resets, and ends the connection.
const RESET: usize = 8 * 1024;
/// Bytes that are written, as far as whole calls allow: about a tenth of a millisecond of encryption and copying.
const WRITTEN: usize = 128 * 1024;

/// What is left of the present poll.
#[derive(Debug, Default)]
pub(super) struct Portion {
    to_read: AtomicUsize,
    written: AtomicUsize,
    /// What the next poll may read beyond the usual.
    more: AtomicUsize,
}

// Polls of one connection never overlap, so that loads and stores are enough for what only they change.
impl Portion {
    /// A poll begins.
    pub(super) fn begin(&self, multiplexed: bool) {
        let more = match self.more.load(Relaxed) {
            0 => 0,
            _ => self.more.swap(0, Relaxed).min(MORE),
        };
        let usual = if multiplexed { READ_OF_FRAMES } else { READ };
        self.to_read.store(usual + more, Relaxed);
        self.written.store(0, Relaxed);
    }

    /// How many bytes may be read yet.
    pub(super) fn left_to_read(&self) -> usize {
        self.to_read.load(Relaxed)
    }

    pub(super) fn was_read(&self, bytes: usize) {
        let left = self.left_to_read().saturating_sub(bytes);
        self.to_read.store(left, Relaxed);
    }

    /// So many bytes were those of a body.
    pub(super) fn was_body(&self, bytes: usize) {
        self.more.fetch_add(bytes, Relaxed);
    }

    /// The peer didn't want the answer to what it had asked for.
    pub(super) fn was_reset(&self) {
        self.more.fetch_add(RESET, Relaxed);
    }

    /// Whether no more is to be written.
    pub(super) fn is_written(&self) -> bool {
        self.written.load(Relaxed) >= WRITTEN
    }

    pub(super) fn was_written(&self, bytes: usize) {
        self.written
            .store(self.written.load(Relaxed) + bytes, Relaxed);
    }
}

/// The rest is for the next poll.
pub(super) fn later<T>(context: &Context<'_>) -> Poll<io::Result<T>> {
    context.waker().wake_by_ref();
    Poll::Pending
}
