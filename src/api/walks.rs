//! Lists in pages: the snapshots that are kept for them, and the tokens that say where a page ended.

use std::{
    collections::hash_map::RandomState,
    fmt::Write as _,
    hash::BuildHasher as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::ApiError;
use crate::{
    limits::{CallerId, Memory, Reservation},
    store::Snapshot,
};

/// How long a snapshot is kept that no page was read of.
const KEPT: Duration = Duration::from_secs(60);
/// How many snapshots are kept; the one that wasn't read for longest goes.
const MOST: usize = 32;
/// How many of them one caller's walks may have begun.
const MOST_OF_ONE: usize = 4;
/// The longest token in bytes before its encoding: of the longest names.
const LONGEST_TOKEN: usize = 400;
/// The form of tokens.
const VERSION: u8 = 1;

/// The walks under way. Segments that haven't changed since are the store's own.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// What makes the tokens of each server its own.
    seed: RandomState,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    /// The one read last at the end.
    snapshots: Vec<KeptSnapshot>,
}

#[derive(Debug)]
struct KeptSnapshot {
    id: u64,
    by: CallerId,
    snapshot: Arc<Snapshot>,
    /// When it was the newest, as far as is known.
    newest: Instant,
    used: Instant,
    _reserved: Reservation,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    server: u64,
    snapshot: u64,
    /// Of which list.
    about: u64,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Walks {
    /// The token of a page that ended with this Deployment; the snapshot is kept for the next one.
    pub(super) fn pause(
        &self,
        memory: &Arc<Memory>,
        by: &CallerId,
        snapshot: &Arc<Snapshot>,
        about: (Option<&str>, &str),
        (namespace, name): (String, String),
    ) -> Result<Token, ApiError> {
        Ok(Token {
            server: self.seed.hash_one("server"),
            snapshot: self.keep(memory, by, snapshot)?,
            about: self.seed.hash_one(about),
            namespace,
            name,
        })
    }

    /// The token in a text, its snapshot and since when there may be a newer one; for the list that the token was made for: a
    /// namespace, and a selector.
    pub(super) fn resume(
        &self,
        text: &str,
        about: (Option<&str>, &str),
    ) -> Result<(Token, Arc<Snapshot>, Instant), ApiError> {
        let token = Token::read(text).ok_or_else(|| {
            ApiError::BadRequest(
                "continue is no token of this API: take it from the Link header of the page before, as it is".into(),
            )
        })?;
        if token.server != self.seed.hash_one("server") {
            return Err(ApiError::PageExpired);
        }
        if token.about != self.seed.hash_one(about) {
            return Err(ApiError::BadRequest(
                "continue belongs to another list: take path and labelSelector from the Link header of the page before, too".into(),
            ));
        }
        let mut kept = self.kept();
        let found = kept.read(token.snapshot).ok_or(ApiError::PageExpired)?;
        Ok((token, Arc::clone(&found.snapshot), found.newest))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(
        &self,
        memory: &Arc<Memory>,
        by: &CallerId,
        snapshot: &Arc<Snapshot>,
    ) -> Result<u64, ApiError> {
        let mut kept = self.kept();
        kept.expire();
        let known = kept.snapshots.iter();
        let known = known
            .rev()
            .find(|k| Arc::ptr_eq(&k.snapshot, snapshot))
            .map(|k| k.id);
        if let Some(id) = known {
            kept.read(id);
            return Ok(id);
        }
        // It costs as much as the store when everything changes while it is kept.
        let reserved = memory.reserve(snapshot.size());
        let reserved = reserved.ok_or(ApiError::ShortOfMemory)?;
        // Nobody's goes for one that isn't kept.
        let own = |k: &KeptSnapshot| k.by == *by;
        if kept.snapshots.iter().filter(|k| own(k)).count() >= MOST_OF_ONE {
            if let Some(at) = kept.snapshots.iter().position(own) {
                kept.snapshots.remove(at);
            }
        } else if kept.snapshots.len() >= MOST {
            kept.snapshots.remove(0);
        }
        kept.last += 1;
        let id = kept.last;
        kept.snapshots.push(KeptSnapshot {
            id,
            by: by.clone(),
            snapshot: Arc::clone(snapshot),
            newest: Instant::now(),
            used: Instant::now(),
            _reserved: reserved,
        });
        drop(kept);
        self.forget_in_time(id);
        Ok(id)
    }

    /// Lets go of a snapshot once nobody reads it, whether or not anybody asks for another one.
    fn forget_in_time(&self, id: u64) {
        let kept = Arc::downgrade(&self.kept);
        tokio::spawn(async move {
            loop {
                let until = {
                    let Some(kept) = kept.upgrade() else { return };
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.expire();
                    match kept.snapshots.iter().find(|k| k.id == id) {
                        Some(this) => this.used + KEPT,
                        None => return,
                    }
                };
                sleep_until(until).await;
            }
        });
    }
}

impl Kept {
    fn expire(&mut self) {
        self.snapshots.retain(|k| k.used.elapsed() < KEPT);
    }

    /// The snapshot, which is the one read last now.
    fn read(&mut self, id: u64) -> Option<&KeptSnapshot> {
        self.expire();
        let at = self.snapshots.iter().position(|k| k.id == id)?;
        let mut this = self.snapshots.remove(at);
        this.used = Instant::now();
        self.snapshots.push(this);
        self.snapshots.last()
    }
}

impl Token {
    /// In hexadecimal digits: a version, three numbers, and the names with a NUL between.
    pub(super) fn text(&self) -> String {
        let numbers = [self.server, self.snapshot, self.about].map(u64::to_be_bytes);
        let names = [self.namespace.as_bytes(), &[0], self.name.as_bytes()].concat();
        let bytes = [&[VERSION], numbers.as_flattened(), &names].concat();
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing into a String can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > 2 * LONGEST_TOKEN || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let digits = text.as_bytes().chunks_exact(2);
        if !digits.remainder().is_empty() {
            return None;
        }
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
        let bytes: Vec<u8> = digits.map(byte).collect::<Option<_>>()?;
        let (version, rest) = bytes.split_first()?;
        let (server, rest) = rest.split_first_chunk()?;
        let (snapshot, rest) = rest.split_first_chunk()?;
        let (about, names) = rest.split_first_chunk()?;
        let (namespace, name) = std::str::from_utf8(names).ok()?.split_once('\0')?;
        (*version == VERSION).then(|| Self {
            server: u64::from_be_bytes(*server),
            snapshot: u64::from_be_bytes(*snapshot),
            about: u64::from_be_bytes(*about),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(
            numbers in any::<[u64; 3]>(), namespace in "[a-z0-9-]{1,63}", name in "[a-z0-9.-]{1,253}"
        ) {
            let [server, snapshot, about] = numbers;
            let token = Token { server, snapshot, about, namespace, name };
            prop_assert_eq!(Token::read(&token.text()), Some(token));
        }

        #[test]
        fn no_text_makes_reading_a_token_panic(text in any::<String>(), digits in "(01)?[0-9a-f]{0,80}") {
            let _ = (Token::read(&text), Token::read(&digits));
        }
    }
}
