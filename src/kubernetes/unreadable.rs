//! Objects that couldn't be read, and when it is worth another list to have them after all.

use std::time::Duration;

use tokio::time::Instant;

/// Lists that follow an object that can't be read wait longer and longer, from the first to the last of these.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(320);

/// Whether something is missing from the store because it couldn't be read.
///
/// The one that spoilt it may have been a proxy, or a server that is replaced meanwhile; where it is the object itself, a list
/// every few minutes is no burden.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// When to list anew.
    due: Option<Instant>,
    /// How many lists it has caused lately, and when the last of them was due.
    lists: u32,
    last: Option<Instant>,
}

impl Unreadable {
    /// Something couldn't be read.
    pub(super) fn noticed(&mut self) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > 2 * LONGEST_WAIT) {
            self.lists = 0;
        }
        let wait = LONGEST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(self.lists.min(16)));
        self.due.get_or_insert(now + wait);
    }

    /// Whether it is time for another list; if so, that is the answer once.
    pub(super) fn is_due(&mut self) -> bool {
        let Some(due) = self.due.filter(|due| *due <= Instant::now()) else {
            return false;
        };
        self.due = None;
        self.lists += 1;
        self.last = Some(due);
        true
    }

    /// A list begins, whose objects are all read anew.
    pub(super) fn forget(&mut self) {
        self.due = None;
    }
}
