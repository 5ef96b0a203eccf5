//! Chains that were verified before: verifying one again is an eighth of a handshake's cost.
//!
//! What a client sends is judged by its bytes alone, so the same bytes are judged the same while the verdict lasts. That the
//! client has the key is proved anew in every handshake. Owned by a verifier, and gone with it: nothing that is remembered
//! outlives the CAs, lists and settings that it was judged by.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::verifier::Verdict;

/// Chains remembered at most; then all are forgotten. Whoever has a copy of a chain that is let in can fill it, without the key too (with
/// certificates of no use added to the chain): then handshakes cost what they cost without it, and nobody is let in by it.
const MOST: usize = 4096;

/// Verdicts on chains, by their hash.
#[derive(Debug, Default)]
pub(super) struct Remembered(RwLock<HashMap<[u8; 32], Verdict>>);

impl Remembered {
    /// The verdict on a chain, while it lasts.
    pub(super) fn find(&self, hash: &[u8; 32], now: UnixTime) -> Option<Verdict> {
        let chains = self.0.read().unwrap_or_else(PoisonError::into_inner);
        chains
            .get(hash)
            .filter(|verdict| verdict.holds(now))
            .cloned()
    }

    pub(super) fn remember(&self, hash: [u8; 32], verdict: Verdict) {
        let mut chains = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if chains.len() >= MOST {
            chains.clear();
        }
        chains.insert(hash, verdict);
    }
}

/// The lengths are hashed too: the same bytes cut elsewhere are another chain.
pub(super) fn hash(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in std::iter::once(leaf).chain(intermediates) {
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn second(second: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(second))
    }

    #[test]
    fn a_verdict_is_found_from_its_first_second_to_its_last() {
        let remembered = Remembered::default();
        remembered.remember([1; 32], Verdict::lasting(second(10), second(20)));
        for (now, found) in [(9, false), (10, true), (20, true), (21, false)] {
            assert_eq!(
                remembered.find(&[1; 32], second(now)).is_some(),
                found,
                "{now}"
            );
        }
        assert!(remembered.find(&[2; 32], second(15)).is_none());
    }

    #[test]
    fn no_more_chains_are_remembered_than_there_is_room_for() {
        let remembered = Remembered::default();
        let of = |number: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            hash
        };
        let verdict = Verdict::lasting(second(0), second(20));
        for number in 0..=MOST as u64 {
            remembered.remember(of(number), verdict.clone());
        }
        assert!(remembered.find(&of(0), second(1)).is_none());
        assert!(remembered.find(&of(MOST as u64), second(1)).is_some());
        assert_eq!(remembered.0.read().unwrap().len(), 1);
    }

    #[test]
    fn the_same_bytes_cut_elsewhere_are_another_chain() {
        let of = |parts: &[&'static [u8]]| {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| CertificateDer::from(*part))
                .collect();
            hash(&parts[0], &parts[1..])
        };
        let all = [of(&[b"abc"]), of(&[b"ab", b"c"]), of(&[b"a", b"bc"])];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        assert_eq!(all[0], of(&[b"abc"]));
    }
}
