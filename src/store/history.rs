//! The latest changes of counts, whoever made them. It has no clock: the informer says when it saw them.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

use crate::leases::Why;

/// How many changes are kept; each is of a few hundred bytes, since names and managers are bounded by Kubernetes.
const MOST: usize = 1000;

/// One change of the count of a Deployment that was there before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountChange {
    /// When the informer saw it.
    pub at: Timestamp,
    /// The Deployment's namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid: one of the same name may have come since.
    pub uid: Uuid,
    /// The count before, as far as the informer knew.
    pub from: i32,
    /// The count after.
    pub to: i32,
    /// Who set it, if the object tells.
    pub by: Option<CountSetter>,
    /// The version of the object with it.
    pub resource_version: u64,
}

/// Who set a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountSetter {
    /// The field manager, as it calls itself.
    pub manager: Box<str>,
    /// For whom headcount set it, if that did.
    pub principal: Option<Box<str>>,
    /// Why headcount brought it back, if it did: a lease of that principal's was over, or that principal ended one.
    pub ends_lease: Option<Why>,
}

/// The changes that are kept, and from when on there were no others.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// `None` before everything was listed once.
    pub since: Option<Timestamp>,
    changes: VecDeque<Arc<CountChange>>,
}

impl History {
    /// From `at` on changes are seen, of everything if this is said of every scope.
    pub(super) fn begins(&mut self, at: Timestamp) {
        self.since = self.since.max(Some(at));
    }

    pub(super) fn push(&mut self, change: CountChange) {
        if self.changes.len() == MOST
            && let Some(first) = self.changes.pop_front()
        {
            self.begins(first.at);
        }
        self.changes.push_back(Arc::new(change));
    }

    /// The changes, the latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Arc<CountChange>> {
        self.changes.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(second: i64) -> CountChange {
        CountChange {
            at: Timestamp::from_second(second).unwrap(),
            namespace: "web".into(),
            name: "shop".into(),
            uid: Uuid::nil(),
            from: 1,
            to: 2,
            by: None,
            resource_version: 1,
        }
    }

    #[test]
    fn what_was_dropped_is_before_the_time_from_which_on_all_is_known() {
        let mut history = History::default();
        assert_eq!(history.since, None);
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        // Two scopes: what the later one saw before it was listed is known of neither.
        history.begins(Timestamp::from_second(9).unwrap());
        history.begins(Timestamp::from_second(7).unwrap());
        assert_eq!(history.since, at(9));
        (0..MOST as i64).for_each(|i| history.push(change(10 + i)));
        assert_eq!(history.since, at(9));
        (0..5).for_each(|i| history.push(change(5000 + i)));
        assert_eq!(history.since, at(14));
        let latest: Vec<_> = history.latest().map(|c| c.at.as_second()).collect();
        assert_eq!(
            (latest.len(), latest[0], latest[MOST - 1]),
            (MOST, 5004, 15)
        );
    }
}
