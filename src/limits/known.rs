//! What is remembered of peers: a bounded number of them, who are forgotten when they are as good as new.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many are remembered.
const MOST: usize = 65_536;
/// Fewer than this aren't looked through.
const FEW: usize = 1024;
/// How often they are looked through at most when there are too many.
const EVERY: Duration = Duration::from_secs(1);

/// What is counted of one peer.
pub(super) trait Counted {
    /// Whether forgetting it gives its peer nothing. Nobody else uses it meanwhile.
    fn is_as_good_as_new(&mut self) -> bool;
}

/// Peers, each with what is counted of it for as long as that matters.
#[derive(Debug)]
pub(super) struct Known<K, V>(Mutex<Entries<K, V>>);

#[derive(Debug)]
struct Entries<K, V> {
    of: HashMap<K, Arc<V>>,
    /// They are looked through when there are so many.
    sweep_at: usize,
    swept: Option<Instant>,
    most: usize,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            of: HashMap::new(),
            sweep_at: FEW,
            swept: None,
            most: MOST,
        }))
    }
}

impl<K: Hash + Eq, V: Counted> Known<K, V> {
    /// What is counted of a peer; of `others` together, where there are too many to remember.
    pub(super) fn of(
        &self,
        key: K,
        others: impl FnOnce() -> K,
        new: impl FnOnce(&K) -> V,
    ) -> Arc<V> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = entries.of.get(&key) {
            return Arc::clone(known);
        }
        let key = if entries.have_room() { key } else { others() };
        let entry = entries.of.entry(key);
        Arc::clone(entry.or_insert_with_key(|key| Arc::new(new(key))))
    }
}

impl<K: Hash + Eq, V: Counted> Entries<K, V> {
    fn have_room(&mut self) -> bool {
        let now = Instant::now();
        let due = self.of.len() < self.most || self.swept.is_none_or(|at| now >= at + EVERY);
        if self.of.len() >= self.sweep_at.min(self.most) && due {
            let stays = |v: &mut V| !v.is_as_good_as_new();
            // Whoever is connected is in use.
            self.of.retain(|_, v| Arc::get_mut(v).is_none_or(stays));
            self.sweep_at = FEW.max(2 * self.of.len());
            self.swept = Some(now);
        }
        self.of.len() < self.most
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::advance;

    use super::*;

    #[derive(Default)]
    struct Peer {
        new: AtomicBool,
    }

    impl Counted for Peer {
        fn is_as_good_as_new(&mut self) -> bool {
            self.new.load(Ordering::Relaxed)
        }
    }

    fn known(most: usize) -> Known<usize, Peer> {
        let known = Known::default();
        known.0.lock().unwrap().most = most;
        known
    }

    fn of(known: &Known<usize, Peer>, key: usize) -> Arc<Peer> {
        known.of(key, || usize::MAX, |_| Peer::default())
    }

    fn len(known: &Known<usize, Peer>) -> usize {
        known.0.lock().unwrap().of.len()
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_too_many_share_one_count_until_there_is_room() {
        let known = known(3);
        let first = of(&known, 0);
        for key in 1..10 {
            of(&known, key);
        }
        assert_eq!(len(&known), 4, "three, and the others");
        assert!(Arc::ptr_eq(&first, &of(&known, 0)));
        assert!(Arc::ptr_eq(&of(&known, 7), &of(&known, 8)));
        // One becomes as good as new while it is unused, which is seen a second later.
        of(&known, 1).new.store(true, Ordering::Relaxed);
        first.new.store(true, Ordering::Relaxed);
        assert!(Arc::ptr_eq(&of(&known, 7), &of(&known, usize::MAX)));
        advance(EVERY).await;
        // The others still are one of those remembered.
        of(&known, usize::MAX).new.store(true, Ordering::Relaxed);
        let seventh = of(&known, 7);
        assert!(Arc::ptr_eq(&seventh, &of(&known, 7)));
        assert!(Arc::ptr_eq(&first, &of(&known, 0)), "it is in use");
    }

    #[test]
    fn whoever_is_as_good_as_new_is_forgotten_long_before_there_are_too_many() {
        let known = known(MOST);
        for key in 0..100 * FEW {
            of(&known, key).new.store(true, Ordering::Relaxed);
            assert!(len(&known) <= FEW);
        }
    }
}
