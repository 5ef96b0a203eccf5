//! What goes wrong, and when: rules that match requests, open watches or single events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::lock;

/// What a request is, as far as rules and counters care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    List { page: u32 },
    Probe,
    Watch,
    Get,
    ScaleGet,
    Scale,
    Write,
    Review,
    EventWrite,
    Autoscalers,
    Leases,
    LeaseWrite,
    Other,
}

/// What a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum On {
    /// Every request. With [`Fault::Hang`] open watches hang too: the API server is stopped.
    Any,
    /// A page of a list, probes not among them.
    List,
    /// The nth page of a list; the first is 1.
    Page(u32),
    /// A list with `limit=1` and no continue token.
    Probe,
    /// The start of a watch.
    Watch,
    /// Reads of one Deployment, also by a list of its name, or of its scale.
    Get,
    /// A write of a scale: PUT or PATCH.
    Scale,
    /// Every write, those of scales among them.
    Write,
    /// A review of access, of somebody's or of the caller's own, which isn't a write.
    Review,
    /// An Event object that is created or patched, which isn't a write.
    EventWrite,
    /// A list of HorizontalPodAutoscalers or the start of a watch of them. Their bodies don't break.
    Autoscalers,
    /// A read of Leases, a list of them or the start of a watch. Their bodies don't break.
    Leases,
    /// A Lease that is created, replaced or deleted, which isn't a write.
    LeaseWrite,
    /// The watches that are open when the rule is added; later ones go on undisturbed.
    OpenWatches,
    /// A single event of any watch, bookmarks not among them.
    Event,
}

impl On {
    fn matches(self, call: Call) -> bool {
        match self {
            Self::Any => true,
            Self::List => matches!(call, Call::List { .. }),
            Self::Page(n) => call == Call::List { page: n } || (n == 1 && call == Call::Probe),
            Self::Probe => call == Call::Probe,
            Self::Watch => call == Call::Watch,
            Self::Get => matches!(call, Call::Get | Call::ScaleGet),
            Self::Scale => call == Call::Scale,
            Self::Write => matches!(call, Call::Scale | Call::Write),
            Self::Review => call == Call::Review,
            Self::EventWrite => call == Call::EventWrite,
            Self::Autoscalers => call == Call::Autoscalers,
            Self::Leases => call == Call::Leases,
            Self::LeaseWrite => call == Call::LeaseWrite,
            Self::OpenWatches | Self::Event => false,
        }
    }
}

/// What goes wrong.
///
/// Each variant says what it may be put on; elsewhere it does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Requests: no connection. In process a [`TransportError`](crate::TransportError), on a port the connection is closed unanswered.
    Refuse,
    /// Requests, open watches: no answer, no bytes, no end, until the rule is removed; then things go on.
    Hang,
    /// Requests, events: comes later by this time.
    Delay(Duration),
    /// Requests: answered with this status and kube-apiserver's usual words for it.
    Status {
        /// The HTTP status.
        code: u16,
        /// The seconds of a `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// Requests: 401.
    Unauthorized,
    /// Requests: 403, RBAC knows no rule that allows this user to do it.
    Forbidden {
        /// The user of the message.
        user: String,
    },
    /// Writes: an admission webhook says no.
    Webhook {
        /// The webhook's name.
        name: String,
        /// What it says.
        message: String,
        /// The HTTP status that it chose: 400 if it chose none, often 403.
        code: u16,
    },
    /// Writes: 403, a ResourceQuota is used up.
    Quota {
        /// The quota's name.
        name: String,
    },
    /// Writes: 409, somebody else was faster.
    Conflict,
    /// Lists, watch starts, events: the version is too old. A list gets an HTTP 410; a watch 200 and an `ERROR` event.
    /// For an HTTP 410 on a watch use [`Fault::status`].
    Expired,
    /// Lists, watch starts, events: this server replica is behind the version that was asked for: 504, "Too large resource version".
    TooLargeVersion,
    /// Writes: committed, then this fault instead of the answer: `Hang`, `Refuse`, `Status` with 504.
    AfterCommit(Box<Fault>),
    /// Lists with resourceVersion other than unset, watches: this server replica has not seen anything newer than this version.
    Stale {
        /// The last version that it has seen.
        at: u64,
    },
    /// Requests with a body in the answer, watch starts, events: half of it, then a clean end.
    Truncate,
    /// The same: half of it, then the connection breaks. On open watches: they break in the middle of a frame.
    Break,
    /// The same, but bytes that mean nothing.
    Garbage,
    /// Lists, reads, writes: an answer that goes on for ever, a piece a millisecond.
    Endless,
    /// Lists: behind the last page is the first again.
    NoLastPage,
    /// Lists, reads, events: a well-formed answer of a kind that wasn't asked for.
    WrongKind,
    /// Lists, reads, events: the (first) Deployment can't be decoded, the rest can.
    BadObject,
    /// Open watches: they end, cleanly.
    End,
    /// Events: this one is lost.
    Drop,
    /// Events: this one comes twice.
    Duplicate,
    /// Events: this one comes after the next.
    Reorder,
    /// Events: after this one the one before it, of the same watch, comes once more.
    Replay,
    /// Lists: this server has lost touch with etcd, and shows this version even to those that ask for the latest.
    Behind {
        /// The last version that it has seen.
        at: u64,
    },
}

impl Fault {
    /// [`Fault::Status`] without `Retry-After`.
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            retry_after: None,
        }
    }

    /// [`Fault::Status`] with `Retry-After` in seconds.
    pub fn retry_after(code: u16, seconds: u32) -> Self {
        Self::Status {
            code,
            retry_after: Some(seconds),
        }
    }

    /// [`Fault::AfterCommit`]: a write whose outcome the client doesn't learn.
    pub fn after_commit(fault: Self) -> Self {
        Self::AfterCommit(Box::new(fault))
    }
}

/// A fault and when it happens. The oldest rule that matches wins; delays add up.
#[derive(Clone, Debug)]
pub struct Rule {
    on: On,
    fault: Fault,
    skip: u64,
    times: Option<u64>,
}

impl Rule {
    /// A rule that holds until it is removed.
    pub fn new(on: On, fault: Fault) -> Self {
        Self {
            on,
            fault,
            skip: 0,
            times: None,
        }
    }

    /// Only for the next `n` matches.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    /// Not for the first `n` matches.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }
}

/// Names a rule that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(u64);

#[derive(Debug)]
struct Active {
    id: RuleId,
    rule: Rule,
    fired: u64,
}

#[derive(Debug, Default)]
struct Rules {
    next_id: u64,
    active: Vec<Active>,
}

/// The faults of a cluster; clones are handles to the same rules.
#[derive(Clone, Debug)]
pub struct Faults {
    rules: Arc<Mutex<Rules>>,
    changed: watch::Sender<()>,
}

impl Faults {
    pub(crate) fn new(changed: watch::Sender<()>) -> Self {
        Self {
            rules: Arc::default(),
            changed,
        }
    }

    /// Adds a rule.
    pub fn add(&self, rule: Rule) -> RuleId {
        let id = self.fresh_id();
        lock(&self.rules).active.push(Active {
            id: RuleId(id),
            rule,
            fired: 0,
        });
        self.changed.send_replace(());
        RuleId(id)
    }

    /// Ends a rule for all that comes; what hangs because of it goes on hanging, as a connection does that nobody serves any more.
    pub fn retire(&self, id: RuleId) {
        let mut rules = lock(&self.rules);
        if let Some(active) = rules.active.iter_mut().find(|active| active.id == id) {
            active.rule.times = Some(0);
        }
    }

    /// Whether a rule concerns nothing any more that is still to come.
    pub fn is_spent(&self, id: RuleId) -> bool {
        let rules = lock(&self.rules);
        let active = rules.active.iter().find(|active| active.id == id);
        active.is_none_or(|active| active.rule.times == Some(0))
    }

    /// Removes a rule; what hangs because of it goes on.
    pub fn remove(&self, id: RuleId) {
        lock(&self.rules).active.retain(|active| active.id != id);
        self.changed.send_replace(());
    }

    /// Removes all rules.
    pub fn clear(&self) {
        lock(&self.rules).active.clear();
        self.changed.send_replace(());
    }

    /// How often a rule has applied; 0 for a removed one.
    pub fn fired(&self, id: RuleId) -> u64 {
        lock(&self.rules)
            .active
            .iter()
            .find(|active| active.id == id)
            .map_or(0, |active| active.fired)
    }

    /// Rules and watches draw from one sequence, so that a rule knows which watches are older than itself.
    pub(crate) fn fresh_id(&self) -> u64 {
        let mut rules = lock(&self.rules);
        rules.next_id += 1;
        rules.next_id
    }

    /// The faults that this request meets: its delay, and the one that comes after it.
    pub(crate) fn on_call(&self, call: Call) -> (Duration, Option<(RuleId, Fault)>) {
        self.fire(|on| on.matches(call))
    }

    /// The fault that this event meets.
    pub(crate) fn on_event(&self) -> (Duration, Option<Fault>) {
        let (delay, fault) = self.fire(|on| on == On::Event);
        (delay, fault.map(|(_, fault)| fault))
    }

    fn fire(&self, matches: impl Fn(On) -> bool) -> (Duration, Option<(RuleId, Fault)>) {
        let mut rules = lock(&self.rules);
        let mut delay = Duration::ZERO;
        for active in &mut rules.active {
            if !matches(active.rule.on)
                || matches!(active.rule.fault, Fault::Stale { .. } | Fault::End)
            {
                continue;
            }
            if active.rule.skip > 0 {
                active.rule.skip -= 1;
                continue;
            }
            if let Some(times) = &mut active.rule.times {
                if *times == 0 {
                    continue;
                }
                *times -= 1;
            }
            active.fired += 1;
            match &active.rule.fault {
                Fault::Delay(time) => delay += *time,
                fault => return (delay, Some((active.id, fault.clone()))),
            }
        }
        (delay, None)
    }

    /// What an open watch meets now: `Hang`, `End` or `Break`.
    pub(crate) fn on_open_watch(&self, watch_id: u64) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let applies = |active: &&mut Active| match (active.rule.on, &active.rule.fault) {
            (On::OpenWatches, Fault::Hang | Fault::End | Fault::Break) => watch_id < active.id.0,
            (On::Any, Fault::Hang) => active.rule.times.is_none(),
            _ => false,
        };
        let active = rules.active.iter_mut().find(applies)?;
        if active.rule.fault != Fault::Hang {
            active.fired += 1;
        }
        Some(active.rule.fault.clone())
    }

    /// The newest version that a stale replica has seen.
    pub(crate) fn stale_at(&self) -> Option<u64> {
        lock(&self.rules)
            .active
            .iter()
            .find_map(|active| match active.rule.fault {
                Fault::Stale { at } => Some(at),
                _ => None,
            })
    }

    /// Waits until this rule is gone.
    pub(crate) async fn removed(&self, id: RuleId) {
        let mut changed = self.changed.subscribe();
        while lock(&self.rules)
            .active
            .iter()
            .any(|active| active.id == id)
        {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
