//! How many connections there are: in total, by address before it is known whose they are, by identity after that; and whose turn it
//! is to shake hands.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::limits::{Connections, Limit, site};

/// How long a handshake is left alone by others that wait for its place: one with a client that answers is over by then.
const UNDISTURBED: Duration = Duration::from_millis(250);

/// The places that connections have, of one server.
#[derive(Debug)]
pub(super) struct Places {
    /// No more connections than this, whatever is configured: the rest of the program needs descriptors too.
    most: usize,
    taken: Mutex<Taken>,
    /// A handshake's place is free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
    identities: HashMap<Arc<str>, usize>,
    /// Handshakes under way, the oldest first.
    handshakes: BTreeMap<u64, (Instant, Arc<Notify>)>,
    started: u64,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    identity: Option<Arc<str>>,
}

/// A handshake's place, until it is dropped or another one's.
#[derive(Debug)]
pub(super) struct Shaking<'a> {
    places: &'a Places,
    number: u64,
    ousted: Arc<Notify>,
}

impl Places {
    /// Places for this many connections at most, whatever is configured.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address.
    ///
    /// # Errors
    ///
    /// The limit for which there is none.
    pub(super) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &Connections,
    ) -> Result<Place, Limit> {
        let address = site(address);
        let mut taken = self.taken();
        if taken.total >= limits.total.min(self.most) {
            return Err(Limit::Connections);
        }
        if !count(&mut taken.addresses, address, limits.per_address) {
            return Err(Limit::AddressConnections);
        }
        taken.total += 1;
        drop(taken);
        Ok(Place {
            places: Arc::clone(self),
            address,
            identity: None,
        })
    }

    /// Waits for its turn to shake hands. When all places are taken, the oldest handshake that had its time loses its own.
    pub(super) async fn shake(&self, most: usize) -> Shaking<'_> {
        loop {
            // Waiting from now on, so that no place is missed that is freed while this looks.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let again = match self.try_shake(most) {
                Ok(shaking) => return shaking,
                Err(again) => again,
            };
            tokio::select! {
                () = freed => {}
                () = sleep_until(again) => {}
            }
        }
    }

    /// A handshake's place, or when there may be one.
    fn try_shake(&self, most: usize) -> Result<Shaking<'_>, Instant> {
        let now = Instant::now();
        let mut taken = self.taken();
        if taken.handshakes.len() >= most
            && let Some(oldest) = taken.handshakes.first_entry()
        {
            let (since, ousted) = oldest.get();
            if now < *since + UNDISTURBED {
                return Err(*since + UNDISTURBED);
            }
            ousted.notify_one();
            oldest.remove();
        }
        let number = taken.started;
        taken.started += 1;
        let ousted = Arc::new(Notify::new());
        taken.handshakes.insert(number, (now, Arc::clone(&ousted)));
        drop(taken);
        Ok(Shaking {
            places: self,
            number,
            ousted,
        })
    }
}

impl Place {
    /// Counts the connection as one of this identity, unless there are so many already.
    pub(super) fn is_of(&mut self, identity: String, most: usize) -> bool {
        let identity = Arc::<str>::from(identity);
        let mut taken = self.places.taken();
        let fits = count(&mut taken.identities, Arc::clone(&identity), most);
        drop(taken);
        self.identity = fits.then_some(identity);
        fits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.total -= 1;
        uncount(&mut taken.addresses, &self.address);
        if let Some(identity) = &self.identity {
            uncount(&mut taken.identities, identity);
        }
    }
}

impl Shaking<'_> {
    /// Waits until the place is another handshake's.
    pub(super) async fn ousted(&self) {
        self.ousted.notified().await;
    }
}

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        let freed = self.places.taken().handshakes.remove(&self.number);
        if freed.is_some() {
            self.places.freed.notify_one();
        }
    }
}

fn count<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, most: usize) -> bool {
    let count = counts.entry(key).or_default();
    let fits = *count < most;
    *count += usize::from(fits);
    fits
}

/// Forgets whoever has none left, so that the counts are as few as the connections.
fn uncount<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::{advance, timeout};

    use super::*;

    fn limits(total: usize, per_address: usize) -> Connections {
        Connections {
            total,
            per_address,
            ..Connections::default()
        }
    }

    fn v4(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn an_address_has_its_connections_and_all_together_have_theirs() {
        let places = Arc::new(Places::new(usize::MAX));
        let limits = limits(3, 2);
        let take = |address: IpAddr| places.take(address, &limits);
        let first = take(v4(1)).unwrap();
        let _second = take(v4(1)).unwrap();
        assert_eq!(take(v4(1)).unwrap_err(), Limit::AddressConnections);
        let other = take(v4(2)).unwrap();
        assert_eq!(take(v4(3)).unwrap_err(), Limit::Connections);
        drop(other);
        assert_eq!(take(v4(1)).unwrap_err(), Limit::AddressConnections);
        drop(first);
        assert!(take(v4(1)).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_those_who_left_or_were_refused() {
        let places = Arc::new(Places::new(1));
        let limits = limits(9, 9);
        let mut place = places.take(v4(1), &limits).unwrap();
        assert!(place.is_of("alice".into(), 1));
        assert_eq!(places.take(v4(2), &limits).unwrap_err(), Limit::Connections);
        drop(place);
        let taken = places.taken();
        assert_eq!(
            (taken.total, taken.addresses.len(), taken.identities.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn an_identity_has_its_connections_from_wherever() {
        let places = Arc::new(Places::new(usize::MAX));
        let place = |last| places.take(v4(last), &limits(9, 9)).unwrap();
        let (mut first, mut second, mut third) = (place(1), place(2), place(3));
        assert!(first.is_of("alice".into(), 1));
        assert!(!second.is_of("alice".into(), 1));
        assert!(third.is_of("bob".into(), 1));
        drop((first, second));
        assert!(place(2).is_of("alice".into(), 1));
    }

    #[test]
    fn a_network_of_ipv6_and_a_mapped_address_are_one_address() {
        let of = |text: &str| site(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), v4(1));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_is_not_answered_makes_room_for_one_that_waits() {
        let places = Places::new(usize::MAX);
        let slow = places.shake(1).await;
        let began = Instant::now();
        let next = places.shake(1).await;
        assert_eq!(began.elapsed(), UNDISTURBED);
        // The slow one learns of it, and its end frees nobody else's place.
        slow.ousted().await;
        drop(slow);
        assert!(timeout(UNDISTURBED / 2, places.shake(1)).await.is_err());
        assert!(timeout(UNDISTURBED / 4, next.ousted()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_waits_no_longer_than_until_a_place_is_free() {
        let places = Places::new(usize::MAX);
        let first = places.shake(1).await;
        let began = Instant::now();
        let free = async {
            advance(Duration::from_millis(1)).await;
            drop(first);
        };
        tokio::join!(free, places.shake(1));
        assert!(began.elapsed() < UNDISTURBED / 2, "{:?}", began.elapsed());
    }
}
