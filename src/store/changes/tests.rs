use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::store::{
    Event, LabelKeys, Store, Told,
    tests::{all, deployment, labelled},
};

fn synced(list: Vec<Deployment>, version: u64) -> Store {
    let store = Store::new(&[]);
    relisted(&store, list, version);
    store
}

fn relisted(store: &Store, list: Vec<Deployment>, version: u64) {
    let mut draft = store.draft(all(store), Arc::new(LabelKeys::default()));
    draft.add(list);
    store.replace(draft, version);
}

fn upsert(store: &Store, deployment: Deployment) {
    let version = deployment.resource_version;
    store.apply(all(store), vec![Event::Upsert(deployment)], version);
}

fn told(news: &News) -> Vec<String> {
    let changes = news.steps.iter().flat_map(|step| step.changes());
    let told = changes.filter_map(|change| {
        let told = change.told(Shown::Count, |_| true)?;
        Some(String::from_utf8(change.event(Shown::Count, told).to_vec()).unwrap())
    });
    told.collect()
}

#[test]
fn a_first_list_is_no_change_and_what_comes_after_it_is() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 7);
    let (_, position, versions) = store.follow(Shown::Count);
    assert_eq!(versions, "7");
    upsert(&store, deployment("a", "x", 2, 8));
    let news = store.since(Shown::Count, position, u64::MAX).unwrap();
    let event = "event: changed\ndata: {\"namespace\":\"a\",\"name\":\"x\",\"replicaCount\":2,\"resourceVersion\":\"8\"}\n";
    assert_eq!(
        (told(&news), news.versions.as_deref()),
        (vec![event.into()], Some("8"))
    );
    assert!(
        store
            .since(Shown::Count, news.next, u64::MAX)
            .unwrap()
            .steps
            .is_empty()
    );
}

#[test]
fn a_version_that_changes_nothing_that_is_shown_is_no_step() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 7);
    let position = store.position(Shown::Count);
    upsert(&store, deployment("a", "x", 1, 9));
    store.apply(all(&store), Vec::new(), 12);
    assert_eq!(store.position(Shown::Count), position);
    assert_eq!(store.follow(Shown::Count).2, "12");
}

#[test]
fn another_object_of_the_same_name_is_deleted_and_added() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 7);
    let mut other = deployment("a", "x", 1, 9);
    other.uid = uuid::Uuid::from_u128(9);
    let position = store.position(Shown::Count);
    upsert(&store, other);
    let told = told(&store.since(Shown::Count, position, u64::MAX).unwrap());
    assert!(told[0].starts_with("event: deleted\n") && told[1].starts_with("event: added\n"));
}

#[test]
fn a_changed_label_moves_an_object_into_and_out_of_sight() {
    let of = |team: &str, version| labelled(&[("team", team)], deployment("a", "x", 1, version));
    let store = synced(vec![of("web", 5)], 7);
    let position = store.position(Shown::Count);
    upsert(&store, of("db", 8));
    let news = store.since(Shown::Count, position, u64::MAX).unwrap();
    let change = &news.steps[0].changes()[0];
    let sees = |team: &'static str| {
        change.told(Shown::Count, move |d| {
            d.attributes.label("team") == Some(team)
        })
    };
    assert_eq!(sees("web"), Some(Told::Deleted));
    assert_eq!(sees("db"), Some(Told::Added));
    assert_eq!(
        (sees("ops"), change.told(Shown::Count, |_| true)),
        (None, None)
    );
}

#[test]
fn who_is_behind_the_ring_is_told_so_and_the_ring_stays_bounded() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 7);
    let position = store.position(Shown::Count);
    for i in 0..MOST as u64 + 1 {
        upsert(&store, deployment("a", "x", i as i32 % 2, 8 + i));
    }
    assert!(
        store.since(Shown::Count, position, u64::MAX).is_none()
            && store.after(Shown::Count, &[7]).is_none()
    );
    assert_eq!(
        told(&store.since(Shown::Count, position + 1, u64::MAX).unwrap()).len(),
        MOST
    );
    assert!(store.changes().counts.bytes <= MOST_BYTES);
}

#[test]
fn a_relist_of_more_than_fits_leaves_nothing_to_resume_from() {
    let many = |version: u64| {
        (0..9000).map(move |i| deployment("a", &format!("d{i}"), version as i32, version))
    };
    let store = synced(many(5).collect(), 7);
    let position = store.position(Shown::Count);
    relisted(&store, many(9).collect(), 9);
    assert!(store.since(Shown::Count, position, u64::MAX).is_none());
    assert_eq!(store.changes().counts.bytes, 0);
    assert!(
        store
            .since(Shown::Count, store.position(Shown::Count), u64::MAX)
            .unwrap()
            .steps
            .is_empty()
    );
}

#[test]
fn who_saw_some_of_what_a_relist_stepped_over_starts_over() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 7);
    relisted(&store, vec![deployment("a", "x", 1, 12)], 20);
    assert!(
        store.after(Shown::Count, &[7]).is_some() && store.after(Shown::Count, &[20]).is_some()
    );
    assert!(store.after(Shown::Count, &[10]).is_none());
}

#[test]
fn ids_of_the_future_of_other_scopes_and_from_before_a_restore_start_over() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 70);
    assert!(
        store.after(Shown::Count, &[71]).is_none() && store.after(Shown::Count, &[70, 3]).is_none()
    );
    relisted(&store, vec![deployment("a", "x", 4, 4)], 30);
    upsert(&store, deployment("a", "x", 5, 90));
    for old in [5, 30, 31, 69, 70] {
        assert!(store.after(Shown::Count, &[old]).is_none(), "{old}");
    }
    assert!(store.after(Shown::Count, &[90]).is_some());
}

/// What the cluster did, one version each.
#[derive(Debug, Clone)]
enum Did {
    Set(u8, i32),
    Delete(u8),
}

fn name(of: u8) -> String {
    format!("d{of}")
}

/// The cluster's history: at index `i` the event of version `i + 2`.
fn history(did: &[Did]) -> Vec<Event> {
    let event = |(i, did): (usize, &Did)| match did {
        Did::Set(of, count) => Event::Upsert(deployment("a", &name(*of), *count, i as u64 + 2)),
        Did::Delete(of) => Event::Delete(deployment("a", &name(*of), 0, i as u64 + 2)),
    };
    did.iter().enumerate().map(event).collect()
}

fn state_at(history: &[Event], version: u64) -> Vec<Deployment> {
    let mut state = BTreeMap::new();
    for event in &history[..version as usize - 1] {
        let d = event.deployment();
        match event {
            Event::Upsert(_) => drop(state.insert(d.name.clone(), d.clone())),
            Event::Delete(_) => drop(state.remove(&d.name)),
        }
    }
    state.into_values().collect()
}

/// A client that knows what it was told, and the id of that.
#[derive(Default)]
struct Client {
    counts: BTreeMap<String, i32>,
    at: Vec<u64>,
    position: u64,
    server: usize,
}

impl Client {
    fn start_over(&mut self, store: &Store) {
        let (snapshot, position, versions) = store.follow(Shown::Count);
        let records = snapshot.records();
        self.counts = records.map(|r| (r.name().into(), r.replicas())).collect();
        self.position = position;
        self.at = vec![versions.parse().unwrap()];
    }

    /// Hears `news`, or only so many of its steps before it is cut off.
    fn hear(&mut self, news: &News, most: usize) {
        for step in news.steps.iter().take(most) {
            for change in step.changes() {
                let Some(told) = change.told(Shown::Count, |_| true) else {
                    continue;
                };
                let d = &change.deployment;
                if told == Told::Deleted {
                    self.counts.remove(&*d.name);
                } else {
                    self.counts.insert(d.name.clone().into(), d.replicas);
                }
            }
            self.at = vec![step.versions().parse().unwrap()];
        }
        if most >= news.steps.len() {
            self.at = vec![news.versions.as_ref().unwrap().parse().unwrap()];
            self.position = news.next;
        }
    }

    fn reconnect(&mut self, stores: &[Store], server: usize, cut_after: usize) {
        self.server = server;
        match stores[server].after(Shown::Count, &self.at) {
            Some(news) => self.hear(&news, cut_after),
            None => self.start_over(&stores[server]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whoever_applies_what_it_is_told_has_the_list_wherever_it_reconnects(
        did in prop::collection::vec(prop_oneof![
            3 => (0u8..5, 0i32..3).prop_map(|(of, count)| Did::Set(of, count)),
            1 => (0u8..5).prop_map(Did::Delete),
        ], 1..60),
        schedule in prop::collection::vec((0usize..2, 0u8..6, 1u64..8), 1..80),
    ) {
        // An event that deletes what isn't there has no place in a history.
        let mut there = [false; 5];
        let did: Vec<_> = did.into_iter().filter(|did| match did {
            Did::Set(of, _) => { there[*of as usize] = true; true }
            Did::Delete(of) => std::mem::replace(&mut there[*of as usize], false),
        }).collect();
        let history = history(&did);
        let end = history.len() as u64 + 1;
        let stores = [synced(Vec::new(), 1), synced(Vec::new(), 1)];
        let mut at = [1u64, 1];
        let mut client = Client::default();
        client.start_over(&stores[0]);
        for (server, what, by) in schedule.into_iter().chain([(0, 0, end), (1, 1, end)]) {
            let to = (at[server] + by).min(end);
            match what {
                // Events in one batch, each object at most once, as the informer has them.
                0 | 1 => {
                    let mut batch: Vec<Event> = Vec::new();
                    let mut reached = at[server];
                    for event in &history[at[server] as usize - 1..to as usize - 1] {
                        if what == 0 || batch.iter().any(|e| e.key() == event.key()) {
                            stores[server].apply(all(&stores[server]), std::mem::take(&mut batch), reached);
                        }
                        reached = event.deployment().resource_version;
                        batch.push(event.clone());
                    }
                    stores[server].apply(all(&stores[server]), batch, to);
                    at[server] = to;
                }
                2 => {
                    relisted(&stores[server], state_at(&history, to), to);
                    at[server] = to;
                }
                // What a client hears as far as it listens.
                3 => match stores[client.server].since(Shown::Count, client.position, u64::MAX) {
                    Some(news) => client.hear(&news, usize::MAX),
                    None => client.start_over(&stores[client.server]),
                },
                _ => {
                    client.reconnect(&stores, server, by as usize);
                    // Cut off, it asks again with the id that it has.
                    client.reconnect(&stores, server, usize::MAX);
                }
            }
        }
        client.reconnect(&stores, 0, usize::MAX);
        client.reconnect(&stores, 1, usize::MAX);
        let expected: BTreeMap<String, i32> =
            state_at(&history, end).into_iter().map(|d| (d.name.into(), d.replicas)).collect();
        prop_assert_eq!(client.counts, expected);
    }
}

#[test]
fn a_list_that_changes_more_than_is_kept_is_gathered_by_nobody_and_followers_start_over() {
    let many = |count| (0..MOST + 1).map(move |n| deployment("a", &format!("x{n:05}"), count, 5));
    let store = synced(many(1).collect(), 7);
    let position = store.position(Shown::Count);
    relisted(&store, many(2).collect(), 9);
    assert!(store.since(Shown::Count, position, u64::MAX).is_none());
    assert!(store.after(Shown::Count, &[7]).is_none());
    let (_, position, versions) = store.follow(Shown::Count);
    assert_eq!(versions, "9");
    assert!(store.after(Shown::Count, &[9]).unwrap().steps.is_empty());
    upsert(&store, deployment("a", "x00000", 3, 10));
    assert_eq!(
        store
            .since(Shown::Count, position, u64::MAX)
            .unwrap()
            .steps
            .len(),
        1
    );
}

#[test]
fn a_list_for_the_sake_of_another_label_is_nothing_that_followers_missed() {
    let with = |keys: &[&str], version| {
        let labels = [("team", "web"), ("tier", "front")];
        let labels: Vec<_> = labels
            .into_iter()
            .filter(|(key, _)| keys.contains(key))
            .collect();
        labelled(&labels, deployment("a", "x", 1, version))
    };
    let store = Store::new(&[]);
    let listed = |keys: &[&str], d: Deployment, version| {
        let keys = keys.iter().copied().collect();
        let mut draft = store.draft(all(&store), Arc::new(keys));
        draft.add(vec![d]);
        store.replace(draft, version);
    };
    listed(&["team"], with(&["team"], 5), 7);
    let position = store.position(Shown::Count);
    listed(&["team", "tier"], with(&["team", "tier"], 5), 7);
    assert_eq!(store.position(Shown::Count), position);
    listed(&["tier"], with(&["tier"], 5), 9);
    let news = store.after(Shown::Count, &[7]).unwrap();
    assert!(news.steps.iter().all(|step| step.changes().is_empty()));
}

#[test]
fn all_who_ask_from_and_up_to_the_same_are_given_the_same_however_the_store_goes_on() {
    let store = synced(vec![deployment("a", "x", 1, 5)], 7);
    let position = store.position(Shown::Count);
    upsert(&store, deployment("a", "x", 2, 8));
    let until = store.position(Shown::Count);
    let (one, two) = (
        store.since(Shown::Count, position, until),
        store.since(Shown::Count, position, until),
    );
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    upsert(&store, deployment("a", "x", 3, 9));
    let news = store.since(Shown::Count, position, until).unwrap();
    assert_eq!((news.steps.len(), news.next), (1, until));
    assert_eq!(
        store.since(Shown::Count, until, until).unwrap().versions,
        None
    );
    assert!(
        store
            .since(Shown::Count, until, until)
            .unwrap()
            .steps
            .is_empty()
    );
    assert_eq!(store.since(Shown::Count, until, 0).unwrap().next, until);
    let rest = store.since(Shown::Count, until, u64::MAX).unwrap();
    assert_eq!((rest.steps.len(), rest.versions.as_deref()), (1, Some("9")));
}

fn ready(ready: i32, deployment: Deployment) -> Deployment {
    Deployment {
        ready,
        ..deployment
    }
}

#[test]
fn ready_pods_are_told_to_those_who_are_shown_the_status_and_cost_nobody_else_anything() {
    let store = synced(
        vec![deployment("a", "x", 1, 5), deployment("a", "y", 1, 6)],
        7,
    );
    let (counts, status) = (store.position(Shown::Count), store.position(Shown::Status));
    upsert(&store, ready(1, deployment("a", "x", 1, 8)));
    assert_eq!(store.position(Shown::Count), counts);
    let news = store.since(Shown::Status, status, u64::MAX).unwrap();
    let (text, events) = news.events(|_| true, "-s");
    assert_eq!(events, 1);
    let event = "event: changed\ndata: {\"namespace\":\"a\",\"name\":\"x\",\"replicaCount\":1,\"readyReplicas\":1,\"resourceVersion\":\"8\"}\nid: 8-s\n\n";
    assert_eq!(text, event);
    // A count is told to both, each in its form; and a touch to neither.
    upsert(&store, ready(1, deployment("a", "x", 2, 9)));
    upsert(&store, ready(1, deployment("a", "x", 2, 10)));
    let told = |shown, position| {
        let (text, events) = store
            .since(shown, position, u64::MAX)
            .unwrap()
            .events(|_| true, "");
        (
            events,
            text.windows(13).filter(|w| w == b"readyReplicas").count(),
        )
    };
    assert_eq!(told(Shown::Count, counts), (1, 0));
    assert_eq!(told(Shown::Status, status), (2, 2));
    // More than are kept, in one step and one by one.
    let many = |version: u64| {
        let one = move |i: u64| ready(3, deployment("b", &format!("d{i:05}"), 1, version + i));
        (0..MOST as u64 + 10).map(one).collect::<Vec<_>>()
    };
    let of = |ready: i32, list: Vec<Deployment>| {
        list.into_iter()
            .map(|d| Deployment { ready, ..d })
            .collect()
    };
    let large: Store = synced(of(0, many(1)), 10_000);
    let counts = large.position(Shown::Count);
    let (one, mut list) = (large.position(Shown::Status), many(20_000));
    list[7].replicas = 9;
    relisted(&large, list, 30_000);
    assert!(large.since(Shown::Status, one, u64::MAX).is_none());
    for d in many(40_000) {
        upsert(&large, ready(2, d));
    }
    let news = large.since(Shown::Count, counts, u64::MAX).unwrap();
    assert_eq!(news.events(|_| true, "").1, 2);
    assert!(large.after(Shown::Count, &[10_000]).is_some());
    assert!(large.after(Shown::Status, &[10_000]).is_none());
}

#[test]
fn a_step_of_counts_and_ready_pods_is_told_in_the_order_of_their_versions() {
    let list = ["x", "y", "z"].map(|name| deployment("a", name, 1, 5));
    let store = synced(list.to_vec(), 7);
    let positions = [Shown::Count, Shown::Status].map(|shown| (shown, store.position(shown)));
    let batch = [
        ready(1, deployment("a", "x", 1, 8)),
        deployment("a", "y", 4, 9),
        ready(2, deployment("a", "z", 1, 10)),
    ];
    store.apply(all(&store), batch.map(Event::Upsert).to_vec(), 10);
    let told = positions.map(|(shown, position)| {
        let news = store.since(shown, position, u64::MAX).unwrap();
        let changes = news.steps[0].changes();
        changes
            .iter()
            .map(|c| c.deployment.name.to_string())
            .collect::<Vec<_>>()
            .join("")
    });
    assert_eq!(told, ["y", "xyz"]);
}
