//! What a reload replaces as one: certificates, trust, identity, and what callers may do.
//!
//! A connection is judged by one generation, and again by the next one: with every request a number is compared, and
//! nothing is verified while it stays the same.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Guard};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};
use tokio::sync::watch;

use crate::{
    access::{Caller, IdentityRules, Rules},
    limits::{Limiter, Limits},
    store::LabelKeys,
    tls::{Expiry, Identity, Refusal, Verifier, deny_list::CertificateFacts},
};

/// One set of everything that can be reloaded.
#[derive(Debug)]
pub struct Generation {
    /// Counted from 1, which is what the server started with.
    pub number: u64,
    /// What handshakes are made with.
    pub tls: Arc<ServerConfig>,
    /// Judges the chains of clients.
    pub verifier: Arc<Verifier>,
    /// When what is in the files expires.
    pub expiries: Vec<Expiry>,
    /// Whom a certificate names.
    pub identity: IdentityRules,
    /// What the API judges requests by.
    pub rules: Arc<Rules>,
    /// How much of everything a peer may have.
    pub limits: Arc<Limits>,
    /// What that is counted by; all generations have the same one.
    pub limiter: Arc<Limiter>,
}

impl Generation {
    /// The caller that these certificates make of a client, whose key was proved in the handshake.
    ///
    /// # Errors
    ///
    /// The certificates aren't accepted: now, whatever was said of them before.
    pub fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        address: SocketAddr,
    ) -> Result<Caller, Refusal> {
        let mut identity = Identity::read(chain)?;
        let verdict = self
            .verifier
            .judge(chain, UnixTime::now())
            .map_err(|error| Refusal::of_tls(&error))?;
        let end = UNIX_EPOCH + Duration::from_secs(verdict.valid_until.as_secs());
        identity.valid_until = identity.valid_until.min(end);
        identity.bound = verdict.bound;
        let of_bundle = |bundle: &Path| {
            let mut roots = self.verifier.roots().iter();
            roots.any(|root| root.bundle() == bundle && root.is_same_authority(&verdict.root))
        };
        let named = self.identity.principal(&chain[0]);
        let principal = self.identity.vouched_for(named, of_bundle)?;
        let caller = Caller::new(identity, principal, address, Arc::clone(&self.rules));
        Ok(Caller {
            judged_by: self.number,
            ..caller.limited(&self.limiter, &self.limits.rates)
        })
    }
}

/// The generation in force.
#[derive(Debug)]
pub struct Generations {
    current: ArcSwap<Generation>,
    /// The current one's, where comparing it costs a request next to nothing.
    number: AtomicU64,
    changed: watch::Sender<u64>,
    labels: watch::Sender<Arc<LabelKeys>>,
}

impl Generations {
    /// Starts with this one.
    pub fn new(first: Generation) -> Self {
        let number = first.number;
        first.limiter.apply(&first.limits);
        Self {
            labels: watch::Sender::new(Arc::new(first.rules.labels.clone())),
            current: ArcSwap::from_pointee(first),
            number: AtomicU64::new(number),
            changed: watch::Sender::new(number),
        }
    }

    /// The generation in force.
    pub fn current(&self) -> Guard<Arc<Generation>> {
        self.current.load()
    }

    /// The number of the generation in force.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Tells of every new generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The labels that some generation needs of Deployments, the earlier ones included: requests under way are judged by those.
    pub fn labels(&self) -> watch::Receiver<Arc<LabelKeys>> {
        self.labels.subscribe()
    }

    /// Has the informer read these labels too.
    pub fn want_labels(&self, keys: &LabelKeys) {
        self.labels.send_if_modified(|known| {
            let news = !known.include(keys);
            if news {
                *known = Arc::new(known.iter().chain(keys.iter()).collect());
            }
            news
        });
    }

    /// Puts `next` in force for all connections, the open ones included.
    pub fn replace(&self, next: Generation) {
        let number = next.number;
        next.limiter.apply(&next.limits);
        self.current.store(Arc::new(next));
        self.number.store(number, Ordering::Release);
        self.changed.send_replace(number);
    }
}

/// The caller at the other end of one connection, as the generation in force sees it.
pub struct Session {
    /// What the client showed; `None` when the caller is who it is whatever is reloaded.
    shown: Option<Shown>,
    caller: ArcSwap<Caller>,
    /// The caller has this many connections besides, which is all that it may have.
    crowded: Option<usize>,
}

struct Shown {
    chain: Vec<CertificateDer<'static>>,
    generations: Arc<Generations>,
}

impl Session {
    /// A session of a caller who was let in with this chain.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        caller: Caller,
        generations: Arc<Generations>,
    ) -> Self {
        Self {
            shown: Some(Shown { chain, generations }),
            caller: ArcSwap::from_pointee(caller),
            crowded: None,
        }
    }

    /// A session without certificates, for measuring the server without a network.
    pub fn fixed(caller: Caller) -> Self {
        Self {
            shown: None,
            caller: ArcSwap::from_pointee(caller),
            crowded: None,
        }
    }

    /// The same on a connection too many: the caller has `most` others.
    pub(crate) fn crowded(self, most: usize) -> Self {
        Self {
            crowded: Some(most),
            ..self
        }
    }

    /// Tells of every new generation; `None` where none can come.
    pub(crate) fn reloads(&self) -> Option<watch::Receiver<u64>> {
        self.shown.as_ref().map(|shown| shown.generations.changes())
    }

    /// The connections that the caller may have, if this is one too many.
    pub(crate) fn is_crowded(&self) -> Option<usize> {
        self.crowded
    }

    /// The names of the certificate that opened the connection: common names, DNS names and URIs, with commas between them.
    pub(crate) fn names(&self) -> String {
        let leaf = self.shown.as_ref().and_then(|shown| shown.chain.first());
        let facts = leaf.and_then(|leaf| CertificateFacts::read(leaf));
        facts.map_or_else(String::new, |facts| facts.names.join(", "))
    }

    /// Whether the connection ends with the next answer, whatever is asked on it. `caller` is who asks.
    pub(crate) fn unwelcome(&self, caller: &Caller) -> bool {
        caller.refused.is_some() || self.crowded.is_some()
    }

    /// The caller, judged by the generation in force, and again once what it was let in by has expired.
    pub fn caller(&self) -> Arc<Caller> {
        let caller = self.caller.load_full();
        match &self.shown {
            Some(shown)
                if shown.generations.number() != caller.judged_by
                    || caller.identity.expired() && caller.refused.is_none() =>
            {
                self.judge_again(shown, &caller)
            }
            _ => caller,
        }
    }

    #[cold]
    fn judge_again(&self, shown: &Shown, before: &Caller) -> Arc<Caller> {
        let generation = shown.generations.current();
        let caller = match generation.admit(&shown.chain, before.address) {
            Ok(caller) => caller,
            Err(refusal) => {
                before.log_dismissed(&refusal);
                Caller {
                    refused: Some(refusal),
                    judged_by: generation.number,
                    ..before.clone()
                }
            }
        };
        let caller = Arc::new(caller);
        // Others may judge at the same time, and by a newer generation.
        self.caller.rcu(|now| {
            let newer = now.judged_by > caller.judged_by;
            Arc::clone(if newer { now } else { &caller })
        });
        self.caller.load_full()
    }
}
