//! What is said when a limit is reached: a counter and a log line, each with the limit's name.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often one limit is logged; what is left out is counted, and told with the next line.
const EVERY: Duration = Duration::from_secs(1);

/// A limit that a peer can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `connections.total`
    Connections,
    /// `connections.perAddress`
    AddressConnections,
    /// `connections.perIdentity`
    IdentityConnections,
    /// `connections.handshakes`
    Handshakes,
    /// `memory.budget`
    Memory,
    /// `times.handshake`
    HandshakeTimeout,
    /// `sizes.handshake`
    HandshakeSize,
    /// `times.headers`
    HeaderTime,
    /// `times.body`
    BodyTime,
    /// `times.idle`
    IdleTime,
    /// `times.stalled`
    StalledReader,
    /// `times.answer`
    AnswerTime,
    /// `sizes.uri`
    UriSize,
    /// `sizes.headers`
    HeaderSize,
    /// `sizes.body`
    BodySize,
    /// `http2.streamsPerCaller`
    CallerStreams,
    /// Heads of more than 4 KiB whose requests are under way, of one caller.
    LargeHeads,
    /// `http2.overhead`
    Http2Overhead,
    /// `http2.resets`
    Http2Resets,
    /// `http2.mistakes`
    Http2Mistakes,
    /// What HTTP/2's library bounds by itself: CONTINUATION frames, and headers far larger than `sizes.headers`.
    Http2Headers,
    /// What it bounds by itself: empty and tiny DATA frames.
    Http2Data,
    /// `rates.reads`
    ReadRate,
    /// `rates.writes`
    WriteRate,
    /// `rates.podsPerMinute`
    PodsPerMinute,
    /// `rates.handshakesPerAddress`
    AddressHandshakes,
    /// `requests`
    Requests,
    /// `writesAtOnce`
    Writes,
    /// Reads of details, containers or revisions from Kubernetes at once.
    ContainerReads,
    /// Lists that are searched or compressed at once.
    Lists,
    /// `watches`
    Watches,
    /// Questions to the cluster about callers at once.
    AccessReviews,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Connections,
        Self::AddressConnections,
        Self::IdentityConnections,
        Self::Handshakes,
        Self::Memory,
        Self::HandshakeTimeout,
        Self::HandshakeSize,
        Self::HeaderTime,
        Self::BodyTime,
        Self::IdleTime,
        Self::StalledReader,
        Self::AnswerTime,
        Self::UriSize,
        Self::HeaderSize,
        Self::BodySize,
        Self::CallerStreams,
        Self::LargeHeads,
        Self::Http2Overhead,
        Self::Http2Resets,
        Self::Http2Mistakes,
        Self::Http2Headers,
        Self::Http2Data,
        Self::ReadRate,
        Self::WriteRate,
        Self::PodsPerMinute,
        Self::AddressHandshakes,
        Self::Requests,
        Self::Writes,
        Self::ContainerReads,
        Self::Lists,
        Self::Watches,
        Self::AccessReviews,
    ];

    /// Its name in the log and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "Connections",
            Self::AddressConnections => "AddressConnections",
            Self::IdentityConnections => "IdentityConnections",
            Self::Handshakes => "Handshakes",
            Self::Memory => "Memory",
            Self::HandshakeTimeout => "HandshakeTimeout",
            Self::HandshakeSize => "HandshakeSize",
            Self::HeaderTime => "HeaderTime",
            Self::BodyTime => "BodyTime",
            Self::IdleTime => "IdleTime",
            Self::StalledReader => "StalledReader",
            Self::AnswerTime => "AnswerTime",
            Self::UriSize => "UriSize",
            Self::HeaderSize => "HeaderSize",
            Self::BodySize => "BodySize",
            Self::CallerStreams => "CallerStreams",
            Self::LargeHeads => "LargeHeads",
            Self::Http2Overhead => "Http2Overhead",
            Self::Http2Resets => "Http2Resets",
            Self::Http2Mistakes => "Http2Mistakes",
            Self::Http2Headers => "Http2Headers",
            Self::Http2Data => "Http2Data",
            Self::ReadRate => "ReadRate",
            Self::WriteRate => "WriteRate",
            Self::PodsPerMinute => "PodsPerMinute",
            Self::AddressHandshakes => "AddressHandshakes",
            Self::Requests => "Requests",
            Self::Writes => "Writes",
            Self::ContainerReads => "ContainerReads",
            Self::Lists => "Lists",
            Self::Watches => "Watches",
            Self::AccessReviews => "AccessReviews",
        }
    }

    /// Whether it is reached in everyday life, so that nobody wants to be warned of it.
    fn usual(self) -> bool {
        matches!(self, Self::IdleTime)
    }
}

/// Who reached a limit, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Who<'a> {
    /// The principal's name.
    pub principal: Option<&'a str>,
    /// Where the connection comes from.
    pub address: Option<IpAddr>,
}

/// How often each limit was reached.
#[derive(Debug, Default)]
pub struct LimitMetrics {
    reached: Family<Labels, Counter>,
    told: [Mutex<Told>; Limit::ALL.len()],
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    limit: &'static str,
}

impl LimitMetrics {
    /// Has the registry show it.
    pub(crate) fn register(&self, registry: &mut Registry) {
        // From 0 on, so that a first time is seen as a change.
        for limit in Limit::ALL {
            let limit = limit.name();
            drop(self.reached.get_or_create(&Labels { limit }));
        }
        registry.register(
            "limits_reached",
            "How often a limit was reached, by its name",
            self.reached.clone(),
        );
    }

    /// Counts it, and tells of it once a second.
    pub fn reached(&self, limit: Limit, who: Who<'_>) {
        let name = limit.name();
        self.reached.get_or_create(&Labels { limit: name }).inc();
        let mut told = self.told[limit as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.last.is_some_and(|last| now < last + EVERY) {
            told.since += 1;
            return;
        }
        told.last = Some(now);
        let others = std::mem::take(&mut told.since);
        drop(told);
        let address = who.address.map(|a| a.to_string());
        if limit.usual() {
            debug!(name: "limit.reached", limit = name, principal = who.principal, address, others, "limit reached: {name}");
        } else {
            warn!(name: "limit.reached", limit = name, principal = who.principal, address, others, "limit reached: {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_place_and_a_name_of_its_own() {
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
            let same = Limit::ALL.iter().filter(|l| l.name() == limit.name());
            assert_eq!(same.count(), 1);
        }
    }
}
