//! Whose write managed fields show: the names that our writes have there, and what these say.

use jiff::Timestamp;

use crate::leases::Why;

/// The longest name of a field manager, in bytes (ManagedFields, apimachinery's FieldManagerMaxLength).
const LONGEST_MANAGER: usize = 128;
/// What stands before the principal in the names of our own field managers.
const MANAGER: &str = "headcount";

/// The field manager of a principal's writes, so that managed fields tell who made them; an empty principal is left out.
pub fn field_manager(principal: &str) -> String {
    let longest = LONGEST_MANAGER - TIME_LENGTH - MARK.len() - RETURNS.len() - MARK_LENGTH;
    let mut manager = MANAGER.to_owned();
    if !principal.is_empty() {
        manager.push(':');
    }
    for c in principal.chars() {
        // Kubernetes takes printable ones only.
        let printable = c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
        let c = if printable { c } else { '?' };
        if manager.len() + c.len_utf8() > longest {
            break;
        }
        manager.push(c);
    }
    manager
}

/// The field manager of one write of a count, with its time, which Kubernetes keeps of no write through a subresource, and
/// with the `mark` that tells it from others of its author: 16 hexadecimal digits, or [that of a return](of_return).
pub(super) fn of_count(manager: &str, now: Timestamp, mark: Option<&str>) -> String {
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let (before, mark) = mark.map_or(("", ""), |mark| (MARK, mark));
    format!("{manager}{AT}{second}{before}{mark}")
}

/// The mark of the write that goes back once a lease has ended, which managed fields tell from all others.
pub(super) fn of_return(mark: &str, why: Why) -> String {
    let before = match why {
        Why::TimeOver => RETURNS,
        Why::ByHand => RETURNED,
    };
    format!("{before}{mark}")
}

/// A mark that no other write has, but by a chance of one to 2⁶⁴.
pub fn new_mark() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// What stands before the time of a write.
const AT: &str = "@";
/// How long a time and what stands before it are, such as `@2026-11-28T09:00:00Z`.
const TIME_LENGTH: usize = 21;
/// What stands before a mark.
const MARK: &str = "#";
/// What a mark begins with, where the write goes back once the time of a lease is over.
const RETURNS: &str = "end-";
/// The same where the author of the write ended the lease; as long as that one.
const RETURNED: &str = "cut-";
/// How long a mark is.
const MARK_LENGTH: usize = 16;

impl FieldOwner {
    /// Of a field manager, at the time that Kubernetes keeps, or else that its name has.
    pub(super) fn new(manager: String, kept: Option<String>, subresource: String) -> Self {
        let mut owner = Self {
            principal: None,
            mark: None,
            ends_lease: None,
            time: kept,
            manager,
            subresource,
        };
        let Some(of_ours) = owner.manager.strip_prefix(MANAGER) else {
            return owner;
        };
        let told = of_ours.rsplit_once(MARK).map(|(rest, mark)| {
            let returns = [(RETURNS, Why::TimeOver), (RETURNED, Why::ByHand)];
            let returns = returns
                .into_iter()
                .find_map(|(before, why)| Some((mark.strip_prefix(before)?, why)));
            let mark = returns.map_or(mark, |(mark, _)| mark);
            (rest, mark, returns.map(|(_, why)| why))
        });
        let (rest, mark, ends_lease) = match told {
            Some((rest, mark, returns)) if is_mark(mark) => (rest, Some(mark), returns),
            _ => (of_ours, None, None),
        };
        let (rest, at) = match rest.rsplit_once(AT) {
            Some((rest, at)) if at.parse::<Timestamp>().is_ok() => (rest, Some(at)),
            _ => (rest, None),
        };
        // Others may begin as ours do.
        if rest.is_empty() || rest.starts_with(':') {
            owner.mark = mark.map(str::to_owned);
            owner.ends_lease = ends_lease;
            owner.time = owner.time.or_else(|| at.map(str::to_owned));
            let principal = rest.strip_prefix(':').filter(|rest| !rest.is_empty());
            owner.principal = principal.map(str::to_owned);
        }
        owner
    }

    /// The principal whose write it was, or else what the field manager calls itself.
    pub fn name(&self) -> &str {
        self.principal.as_ref().unwrap_or(&self.manager)
    }

    /// Whether headcount made the write.
    pub fn is_ours(&self) -> bool {
        self.principal.is_some() || self.manager.split(AT).next() == Some(MANAGER)
    }
}

fn is_mark(text: &str) -> bool {
    text.len() == MARK_LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Who owns a field (metadata.managedFields).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldOwner {
    /// The field manager, as it calls itself.
    pub manager: String,
    /// Whose write it was, where headcount made it.
    pub principal: Option<String>,
    /// What tells it from other writes of its author, where headcount made it with an idempotency key, in a batch or for a lease.
    pub mark: Option<String>,
    /// Why it brought back what was before a lease, if it did.
    pub ends_lease: Option<Why>,
    /// When it set one of its fields last (RFC 3339).
    pub time: Option<String>,
    /// The subresource through which it did; empty for the object itself.
    pub subresource: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(manager: &str) -> FieldOwner {
        FieldOwner::new(manager.into(), None, "scale".into())
    }

    #[test]
    fn a_write_of_a_count_tells_whose_it_was_and_when_and_which() {
        let now: Timestamp = "2026-11-28T09:00:00.5Z".parse().unwrap();
        for principal in ["alice", "alice@example.org", "a#b@c", "", "Zoë"] {
            for mark in [None, Some("0123456789abcdef")] {
                let told = owner(&of_count(&field_manager(principal), now, mark));
                let expected = (!principal.is_empty()).then_some(principal);
                assert_eq!(told.principal.as_deref(), expected, "{told:?}");
                assert_eq!(told.mark.as_deref(), mark);
                assert_eq!(told.time.as_deref(), Some("2026-11-28T09:00:00Z"));
                assert!(told.is_ours());
            }
        }
    }

    #[test]
    fn the_write_that_goes_back_once_a_lease_has_ended_says_so_and_whether_its_author_ended_it() {
        let now = "2026-11-28T09:00:00Z".parse().unwrap();
        let mark = "0123456789abcdef";
        for why in [Why::TimeOver, Why::ByHand] {
            let of_return = of_return(mark, why);
            let told = owner(&of_count(&field_manager("a"), now, Some(&of_return)));
            let principal = told.principal.as_deref();
            assert_eq!(
                (told.ends_lease, told.mark.as_deref(), principal),
                (Some(why), Some(mark), Some("a"))
            );
        }
        let plain = owner(&of_count(&field_manager("a"), now, Some(mark)));
        assert_eq!(plain.ends_lease, None);
    }

    #[test]
    fn no_name_is_longer_than_kubernetes_takes() {
        let now = "2026-11-28T09:00:00Z".parse().unwrap();
        for principal in ["x".repeat(300), "é".repeat(300)] {
            let mark = of_return("0123456789abcdef", Why::ByHand);
            let manager = of_count(&field_manager(&principal), now, Some(&mark));
            assert!((LONGEST_MANAGER - 1..=LONGEST_MANAGER).contains(&manager.len()));
        }
    }

    #[test]
    fn who_is_not_headcount_is_told_as_it_calls_itself() {
        for other in ["kubectl", "headcounter", "headcounts@2026-11-28T09:00:00Z"] {
            let told = owner(other);
            assert_eq!(
                (told.principal.clone(), told.is_ours()),
                (None, false),
                "{told:?}"
            );
            assert_eq!(told.time, None);
        }
    }

    #[test]
    fn the_time_that_kubernetes_keeps_goes_first() {
        let kept = Some("2026-11-28T10:00:00Z".to_owned());
        let told = FieldOwner::new(
            "headcount:a@2026-11-28T09:00:00Z".into(),
            kept.clone(),
            String::new(),
        );
        assert_eq!(told.time, kept);
    }
}
