//! What expires, when, and a word ahead of time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tracing::warn;

/// Clients remembered at most, those that expire soonest.
const CLIENTS: usize = 1024;
/// How often a warning is repeated.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// The last part of a lifetime, in which it is warned: what renews does so earlier.
const LAST: u32 = 5;

/// What kind of thing expires; its name in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiring {
    /// The server's certificate.
    Server,
    /// A CA whose clients are let in.
    ClientCa,
    /// A revocation list, whose `nextUpdate` this is.
    Crl,
    /// The certificate of a client that was let in.
    Client,
}

impl Expiring {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Server, Self::ClientCa, Self::Crl, Self::Client];

    /// Its name in the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ClientCa => "client_ca",
            Self::Crl => "crl",
            Self::Client => "client",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Server => "the server's certificate",
            Self::ClientCa => "a client CA's certificate",
            Self::Crl => "a revocation list",
            Self::Client => "a client's certificate",
        }
    }
}

/// One thing that expires.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// What it is.
    pub what: Expiring,
    /// Which: a subject or a file.
    pub name: String,
    /// The first second in which it is valid.
    pub from: SystemTime,
    /// The last one.
    pub until: SystemTime,
}

impl Expiry {
    /// Whether less than a fifth of its lifetime is left, or nothing.
    #[must_use]
    pub fn is_near(&self, now: SystemTime) -> bool {
        let lifetime = self.until.duration_since(self.from).unwrap_or_default();
        self.until.duration_since(now).unwrap_or_default() < lifetime / LAST
    }
}

/// What of a server expires beside what is in its files, and what was warned of.
#[derive(Debug, Default)]
pub struct ExpiryWatch {
    /// By subject: a renewed certificate takes the place of the one before.
    clients: Mutex<HashMap<String, Expiry>>,
    warned: Mutex<HashMap<Expiry, SystemTime>>,
}

impl ExpiryWatch {
    /// A client was let in.
    pub fn client(&self, expiry: Expiry) {
        let mut clients = lock(&self.clients);
        match clients.get_mut(&expiry.name) {
            Some(known) if known.until >= expiry.until => {}
            Some(known) => *known = expiry,
            None => {
                if clients.len() >= CLIENTS {
                    let last = clients.values().max_by_key(|known| known.until);
                    let last = last.filter(|last| last.until > expiry.until);
                    let Some(name) = last.map(|last| last.name.clone()) else {
                        return;
                    };
                    clients.remove(&name);
                }
                clients.insert(expiry.name.clone(), expiry);
            }
        }
    }

    /// The soonest end of each kind among these and the clients that are still valid.
    #[must_use]
    pub fn soonest(&self, files: &[Expiry], now: SystemTime) -> Vec<Expiry> {
        let mut clients = lock(&self.clients);
        clients.retain(|_, expiry| expiry.until >= now);
        let all = files.iter().chain(clients.values());
        Expiring::ALL
            .into_iter()
            .filter_map(|what| {
                let kind = all.clone().filter(|expiry| expiry.what == what);
                kind.min_by_key(|expiry| expiry.until).cloned()
            })
            .collect()
    }

    /// Warns of everything that is near its end, once a day each.
    pub fn warn(&self, files: &[Expiry], now: SystemTime) {
        let clients: Vec<Expiry> = lock(&self.clients).values().cloned().collect();
        let mut warned = lock(&self.warned);
        warned.retain(|_, at| now.duration_since(*at).is_ok_and(|since| since < AGAIN));
        for expiry in files.iter().chain(&clients) {
            if !expiry.is_near(now) || warned.contains_key(expiry) {
                continue;
            }
            warned.insert(expiry.clone(), now);
            let Expiry {
                what, name, until, ..
            } = expiry;
            let (kind, words) = (what.as_str(), what.words());
            let end = at(*until);
            if *until < now {
                warn!(name: "tls.expired", kind, subject = %name, valid_until = %end, "{words} has expired");
            } else {
                warn!(name: "tls.expiring", kind, subject = %name, valid_until = %end, "{words} expires soon");
            }
        }
    }
}

/// A time as people and logs read it.
pub(crate) fn at(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "never".into(), |time| format!("{time:.0}"))
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    fn expiry(what: Expiring, name: &str, days: u32) -> Expiry {
        let (name, from) = (name.to_owned(), start());
        let until = from + days * DAY;
        Expiry {
            what,
            name,
            from,
            until,
        }
    }

    #[test]
    fn the_last_fifth_of_a_lifetime_is_near_its_end() {
        let server = expiry(Expiring::Server, "CN=server", 90);
        assert!(!server.is_near(start() + 71 * DAY));
        assert!(server.is_near(start() + 73 * DAY));
        assert!(server.is_near(start() + 91 * DAY));
    }

    #[test]
    fn the_soonest_of_each_kind_is_told_and_clients_are_forgotten_when_they_have_expired() {
        let watch = ExpiryWatch::default();
        for (name, days) in [("CN=a", 3), ("CN=b", 1), ("CN=c", 2)] {
            watch.client(expiry(Expiring::Client, name, days));
        }
        let files = [
            expiry(Expiring::ClientCa, "CN=x", 900),
            expiry(Expiring::ClientCa, "CN=y", 800),
        ];
        let names = |days| {
            let soonest = watch.soonest(&files, start() + days * DAY);
            soonest.into_iter().map(|e| e.name).collect::<Vec<_>>()
        };
        assert_eq!(names(0), ["CN=y", "CN=b"]);
        assert_eq!(names(2), ["CN=y", "CN=c"]);
        assert_eq!(names(4), ["CN=y"]);
    }

    #[test]
    fn a_renewed_certificate_takes_the_place_of_the_one_before() {
        let watch = ExpiryWatch::default();
        for days in [1, 90, 30] {
            watch.client(expiry(Expiring::Client, "CN=a", days));
        }
        assert_eq!(watch.soonest(&[], start())[0].until, start() + 90 * DAY);
    }

    #[test]
    fn no_more_clients_are_remembered_than_there_is_room_for_and_the_soonest_stay() {
        let watch = ExpiryWatch::default();
        for days in (1..=CLIENTS as u32 + 10).rev() {
            watch.client(expiry(Expiring::Client, &format!("CN={days}"), days));
        }
        assert_eq!(lock(&watch.clients).len(), CLIENTS);
        assert_eq!(watch.soonest(&[], start())[0].until, start() + DAY);
    }
}
