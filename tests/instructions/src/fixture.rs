//! Made-up Deployments: the same ones in every run.

use std::sync::Arc;

use headcount::store::{Attributes, Deployment, Event, Record, Scope, Store, Visible};
use uuid::Uuid;

/// The resourceVersion of a cluster that nobody has changed yet.
pub const FIRST_VERSION: u64 = 1_000_000;
/// Deployments in one namespace.
const NAMESPACE: usize = 200;
/// Deployments in one page of a list.
pub const PAGE: usize = 2000;

/// The Deployment at a position, with one of its counts; counts have one digit, so that lengths stay.
pub fn deployment(position: usize, replicas: i32, resource_version: u64) -> Deployment {
    Deployment {
        namespace: format!("team-{:04}", position / NAMESPACE).into(),
        name: format!("checkout-worker-{position:07}").into(),
        uid: Uuid::from_u64_pair(mix(position as u64), mix(!(position as u64))),
        replicas,
        ready: replicas,
        resource_version,
        deleting: false,
        attributes: Attributes::default(),
    }
}

/// The first `count` Deployments, in pages as an API server sends them.
pub fn pages(count: usize) -> impl Iterator<Item = Vec<Deployment>> {
    (0..count).step_by(PAGE).map(move |start| {
        (start..count.min(start + PAGE))
            .map(|position| deployment(position, 3, position as u64 + 1))
            .collect()
    })
}

/// Positions all over a cluster, in an order without a pattern that caches or branches could learn from.
pub fn scattered(count: usize) -> impl Iterator<Item = usize> {
    (0u64..).map(move |i| (mix(i) % count as u64) as usize)
}

/// The changes of a cluster of `count` Deployments, one Deployment each, counts of one digit.
pub fn changes(count: usize) -> impl Iterator<Item = Deployment> {
    scattered(count)
        .zip(1u64..)
        .map(|(position, i)| deployment(position, 1 + (i % 9) as i32, FIRST_VERSION + i))
}

/// A synced store of `count` Deployments.
pub fn store(count: usize) -> Arc<Store> {
    let store = Arc::new(Store::new(&[]));
    let mut draft = store.draft(all(&store), Arc::default());
    pages(count).for_each(|page| draft.add(page));
    store.replace(draft, FIRST_VERSION);
    store
}

/// What ten rules show: every second namespace one by one, of those the Deployments with an even number; nothing of the others.
pub fn ten_rules(namespace: &str) -> Visible<impl Fn(&Record<'_>) -> bool + use<>> {
    const RULES: [&str; 10] = ["-x", "-y", "-z", "worker", "check", "0", "2", "4", "6", "8"];
    let even = |text: &str| text.ends_with(['0', '2', '4', '6', '8']);
    match even(namespace) {
        true => Visible::Each(|record: &Record<'_>| {
            let name = record.name();
            RULES.iter().any(|end| name.ends_with(end))
        }),
        false => Visible::None,
    }
}

/// The scope of a store that has all namespaces.
pub fn all(store: &Store) -> Scope {
    store.scopes()[0].0
}

/// Applies one change as the informer does.
pub fn apply(store: &Store, scope: Scope, change: Deployment) {
    let version = change.resource_version;
    store.apply(scope, vec![Event::Upsert(change)], version);
}

/// The finalizer of SplitMix64: numbers that look random and are the same every time.
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
