//! What limits are counted by. It outlives reloads: who connects anew, or with another certificate, has what it had left.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Bucket, Budget, CallerRates, Limit, Limits, NoTurn, OpenWatches, Rate, Runs, Share, Turns,
    known::{Counted, Known},
    turns::Places,
};

/// How long a write may wait for its turn to be sent.
const WRITE_WAIT: Duration = Duration::from_secs(5);
/// Reads of what the store doesn't hold at once: each may buffer some megabytes.
const CONTAINER_READS: Places = Places {
    at_once: 16,
    waiting: 1024,
    longest_wait: Duration::from_secs(5),
};
/// Lists that are searched or compressed at once, on threads of their own.
const LISTS: Places = Places {
    at_once: 2,
    waiting: 1024,
    longest_wait: Duration::from_secs(5),
};

/// How many of one peer's tasks may be awake at once: as many as keep all threads busy.
static AWAKE: LazyLock<usize> =
    LazyLock::new(|| 2 * thread::available_parallelism().map_or(1, usize::from));

/// Who a caller is for limits: its principal, or for want of one its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerId(Arc<str>);

impl CallerId {
    /// Of what nobody else has.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// Of all whom there is no room for.
    fn others() -> Self {
        // No id begins like this.
        Self::new("")
    }
}

/// What one caller may have, and has had.
#[derive(Debug)]
pub struct Allowance {
    id: CallerId,
    /// For its reads.
    pub reads: Option<Bucket>,
    /// For its writes.
    pub writes: Option<Bucket>,
    /// For the Pods that its writes change.
    pub pods: Option<Budget>,
    runs: Arc<Runs>,
    share: Arc<Share>,
    watches: OpenWatches,
}

impl Allowance {
    /// All of it is unused.
    pub fn new(id: CallerId, rates: &CallerRates) -> Self {
        Self {
            id,
            reads: rates.reads.map(Bucket::new),
            writes: rates.writes.map(Bucket::new),
            pods: rates.pods_per_minute.map(Budget::new),
            runs: Runs::new(*AWAKE),
            share: Arc::default(),
            watches: Arc::default(),
        }
    }

    /// Its watches that are open.
    pub(crate) fn watches(&self) -> &OpenWatches {
        &self.watches
    }

    /// Whose it is.
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// What its connections run by.
    pub(crate) fn runs(&self) -> Arc<Runs> {
        Arc::clone(&self.runs)
    }

    /// A place for the head of one of its requests, if that is a large one.
    pub(crate) fn head(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, NoTurn> {
        self.share.head(bytes)
    }

    /// What its requests may hold.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::clone(&self.share)
    }
}

impl Counted for Allowance {
    fn is_as_good_as_new(&mut self) -> bool {
        Arc::strong_count(&self.watches) == 1
            && self.pods.as_ref().is_none_or(Budget::is_unused)
            && self.reads.as_mut().is_none_or(Bucket::is_full)
            && self.writes.as_mut().is_none_or(Bucket::is_full)
    }
}

/// What one address may have before it is known who that is.
#[derive(Debug)]
pub struct Address {
    /// For its handshakes.
    pub handshakes: Option<Bucket>,
    runs: Arc<Runs>,
}

impl Address {
    /// What its handshakes run by.
    pub(crate) fn runs(&self) -> Arc<Runs> {
        Arc::clone(&self.runs)
    }
}

impl Counted for Address {
    fn is_as_good_as_new(&mut self) -> bool {
        // Its handshakes under way go on beside each other, and not beside as many others.
        Arc::strong_count(&self.runs) == 1 && self.handshakes.as_mut().is_none_or(Bucket::is_full)
    }
}

/// All that is counted of callers and addresses, and the turns that they share.
#[derive(Debug)]
pub struct Limiter {
    callers: Known<(CallerId, CallerRates), Allowance>,
    addresses: Known<(IpAddr, Option<Rate>), Address>,
    /// For requests that wait for something.
    pub requests: Turns,
    /// For writes on their way to Kubernetes.
    pub writes: Turns,
    /// For reads of what the store doesn't hold: details, containers, revisions.
    pub container_reads: Turns,
    /// For lists that are searched or compressed.
    pub lists: Turns,
    /// The watches that are open.
    pub(crate) watches: OpenWatches,
}

impl Default for Limiter {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            callers: Known::default(),
            addresses: Known::default(),
            requests: Turns::new(Limit::Requests, requests(&limits)),
            writes: Turns::new(Limit::Writes, writes(&limits)),
            container_reads: Turns::new(Limit::ContainerReads, CONTAINER_READS),
            lists: Turns::new(Limit::Lists, LISTS),
            watches: Arc::default(),
        }
    }
}

/// Whom an address belongs to: of IPv6 everybody has 64 bits to choose from.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

fn requests(limits: &Limits) -> Places {
    Places {
        at_once: limits.requests.at_once.get(),
        waiting: limits.requests.waiting,
        longest_wait: limits.requests.longest_wait,
    }
}

fn writes(limits: &Limits) -> Places {
    let at_once = limits.writes_at_once.get();
    Places {
        at_once,
        waiting: at_once.saturating_mul(16),
        longest_wait: WRITE_WAIT,
    }
}

impl Limiter {
    /// From now on these are the limits. Those of rates come with each caller's next judgement.
    pub fn apply(&self, limits: &Limits) {
        self.requests.resize(requests(limits));
        self.writes.resize(writes(limits));
    }

    /// What a caller has left. With other rates than before it has all of them.
    pub fn caller(&self, id: CallerId, rates: CallerRates) -> Arc<Allowance> {
        let key = (id, rates);
        let others = || (CallerId::others(), rates);
        let new = |(id, rates): &(CallerId, CallerRates)| Allowance::new(id.clone(), rates);
        self.callers.of(key, others, new)
    }

    /// What an address has left, with all those of its site.
    pub fn address(&self, address: IpAddr, rate: Option<Rate>) -> Arc<Address> {
        let host = site(address);
        let others = || (Ipv6Addr::UNSPECIFIED.into(), rate);
        let new = |_: &(IpAddr, Option<Rate>)| Address {
            handshakes: rate.map(Bucket::new),
            runs: Runs::new(*AWAKE),
        };
        self.addresses.of((host, rate), others, new)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn rate(yaml: &str) -> Option<Rate> {
        serde_saphyr::from_str(yaml).ok()
    }

    #[test]
    fn who_comes_again_has_what_was_left_and_other_rates_begin_anew() {
        let limiter = Limiter::default();
        let few = CallerRates {
            writes: rate("{perSecond: 0.1, burst: 1}"),
            ..CallerRates::default()
        };
        let more = CallerRates {
            writes: rate("{perSecond: 0.1, burst: 2}"),
            ..CallerRates::default()
        };
        let take = |id: &str, rates| {
            let allowance = limiter.caller(CallerId::new(id), rates);
            allowance.writes.as_ref().unwrap().take().is_ok()
        };
        assert!(take("alice", few) && !take("alice", few));
        assert!(take("bob", few));
        assert!(take("alice", more) && take("alice", more) && !take("alice", more));
        assert!(!take("alice", few), "back to and fro gives nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_not_forgotten_has_what_it_had_when_others_are_looked_for() {
        let limiter = Limiter::default();
        let rates = CallerRates {
            reads: rate("{perSecond: 0.1, burst: 2}"),
            writes: rate("{perSecond: 0.1, burst: 2}"),
            ..CallerRates::default()
        };
        let alice = || limiter.caller(CallerId::new("alice"), rates);
        alice().writes.as_ref().unwrap().take().unwrap();
        for other in 0..5000 {
            limiter.caller(CallerId::new(&other.to_string()), rates);
        }
        let left = |bucket: &Option<Bucket>| {
            let bucket = bucket.as_ref().unwrap();
            std::iter::repeat_with(|| bucket.take())
                .take_while(Result::is_ok)
                .count()
        };
        assert_eq!((left(&alice().reads), left(&alice().writes)), (2, 1));
    }

    #[test]
    fn an_address_that_shakes_hands_is_not_forgotten() {
        let limiter = Limiter::default();
        let address = |n: u32| limiter.address(Ipv4Addr::from_bits(n).into(), None);
        let shaking = address(0).runs();
        for other in 1..5000 {
            address(other);
        }
        assert!(Arc::ptr_eq(&shaking, &address(0).runs()));
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_an_ipv4_one_itself() {
        let limiter = Limiter::default();
        let rate = rate("{perSecond: 0.1, burst: 1}");
        let take = |address: &str| {
            let address = limiter.address(address.parse().unwrap(), rate);
            address.handshakes.as_ref().unwrap().take().is_ok()
        };
        assert!(take("2001:db8::1") && !take("2001:db8::ffff:0:0:1"));
        assert!(take("2001:db8:0:1::1"));
        assert!(take("192.0.2.1") && take("192.0.2.2"));
        assert!(
            !take("::ffff:192.0.2.1"),
            "an IPv4 address is one however it is written"
        );
    }
}
