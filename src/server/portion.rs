//! How much of a connection is worked off in one poll. A poll runs until it would block, and meanwhile nobody else runs on its
//! thread: the rest of what a peer sent at once, or takes at once, is for later polls, behind others.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

/// Bytes that are read: some dozens of the smallest frames or requests, each some microseconds of work.
const READ: usize = 512;
/// Bytes that are written, as far as whole calls allow: about a tenth of a millisecond of encryption and copying.
const WRITTEN: usize = 128 * 1024;

/// What was read and written in the present poll.
#[derive(Debug, Default)]
pub(super) struct Portion {
    read: AtomicUsize,
    written: AtomicUsize,
}

impl Portion {
    /// A poll begins.
    pub(super) fn begin(&self) {
        self.read.store(0, Relaxed);
        self.written.store(0, Relaxed);
    }

    /// How many bytes may be read yet.
    pub(super) fn left_to_read(&self) -> u64 {
        READ.saturating_sub(self.read.load(Relaxed)) as u64
    }

    pub(super) fn was_read(&self, bytes: usize) {
        // Polls of one connection never overlap.
        self.read.store(self.read.load(Relaxed) + bytes, Relaxed);
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
