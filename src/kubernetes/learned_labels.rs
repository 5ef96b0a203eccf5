//! The labels that callers select by and that nothing else needs: which of them the informer reads, and which it forgets.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::{limits::CallerId, store::LabelKeys};

/// How many keys are read for callers; the one that wasn't used for longest goes.
const MOST: usize = 64;
/// How many of them one caller may have brought: a new one of its own takes the place of its own, never of another's.
pub const MOST_OF_ONE: usize = 16;

/// Keys that callers have brought, the one used last at the end.
#[derive(Debug, Default)]
pub struct LearnedLabels {
    keys: Mutex<Vec<(Box<str>, CallerId)>>,
    wanted: watch::Sender<Arc<LabelKeys>>,
}

impl LearnedLabels {
    /// Has the informer read these labels too, [`MOST_OF_ONE`] at most; `caller` selects by them.
    pub fn want<'k>(&self, caller: &CallerId, keys: impl Iterator<Item = &'k str>) {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = false;
        for key in keys.take(MOST_OF_ONE) {
            if let Some(at) = known.iter().position(|(k, _)| **k == *key) {
                let used = known.remove(at);
                known.push(used);
                continue;
            }
            let own = || known.iter().filter(|(_, by)| by == caller);
            if own().count() >= MOST_OF_ONE {
                if let Some(at) = known.iter().position(|(_, by)| by == caller) {
                    known.remove(at);
                }
            } else if known.len() >= MOST {
                known.remove(0);
            }
            known.push((key.into(), caller.clone()));
            news = true;
        }
        if news {
            let keys = known.iter().map(|(key, _)| &**key).collect();
            self.wanted.send_replace(Arc::new(keys));
        }
    }

    /// What the informer reads for callers.
    pub(super) fn wanted(&self) -> watch::Receiver<Arc<LabelKeys>> {
        self.wanted.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(labels: &LearnedLabels, key: &str) -> bool {
        labels.wanted().borrow().find(key.as_bytes()).is_some()
    }

    #[test]
    fn a_caller_with_many_keys_forgets_its_own_and_never_those_of_others() {
        let labels = LearnedLabels::default();
        let (web, junk) = (CallerId::new("web"), CallerId::new("junk"));
        labels.want(&web, ["team"].into_iter());
        for key in 0..1000 {
            labels.want(&junk, [format!("k{key}").as_str()].into_iter());
        }
        assert!(has(&labels, "team") && has(&labels, "k999") && has(&labels, "k984"));
        assert!(!has(&labels, "k983"));
        assert_eq!(labels.wanted().borrow().iter().count(), 1 + MOST_OF_ONE);
    }

    #[test]
    fn there_are_never_more_than_the_most_and_what_is_used_stays() {
        let labels = LearnedLabels::default();
        let web = CallerId::new("web");
        for caller in 0..40 {
            labels.want(&web, ["team"].into_iter());
            let by = CallerId::new(&format!("c{caller}"));
            let keys: Vec<_> = (0..10).map(|k| format!("c{caller}-{k}")).collect();
            labels.want(&by, keys.iter().map(String::as_str));
        }
        assert!(has(&labels, "team"));
        assert_eq!(labels.wanted().borrow().iter().count(), MOST);
    }
}
