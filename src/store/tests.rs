use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use uuid::Uuid;

use super::{AnnotationBounds, Attributes, Deployment, Event, LabelKeys, Store, Transition};

pub(super) fn deployment(
    namespace: &str,
    name: &str,
    replicas: i32,
    resource_version: u64,
) -> Deployment {
    let uid = Uuid::from_u64_pair(namespace.len() as u64, name.bytes().map(u64::from).sum());
    Deployment {
        namespace: namespace.into(),
        name: name.into(),
        uid,
        replicas,
        ready: 0,
        resource_version,
        deleting: false,
        attributes: Attributes::default(),
    }
}

/// The same with some labels.
pub(super) fn labelled(labels: &[(&str, &str)], deployment: Deployment) -> Deployment {
    Deployment {
        attributes: Attributes::new(labels.iter().copied(), AnnotationBounds::default()),
        ..deployment
    }
}

fn protected() -> AnnotationBounds {
    AnnotationBounds {
        protected: true,
        ..AnnotationBounds::default()
    }
}

fn keys(keys: &[&str]) -> Arc<LabelKeys> {
    Arc::new(keys.iter().copied().collect())
}

pub(super) fn json(list: &[Deployment]) -> String {
    let one = |d: &Deployment| {
        format!(
            r#"{{"namespace":"{}","name":"{}","replicaCount":{}}}"#,
            d.namespace, d.name, d.replicas
        )
    };
    format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(","))
}

fn listed(store: &Store) -> String {
    let snapshot = store.snapshot();
    let body: Vec<u8> = Arc::clone(&snapshot).list().flatten().collect();
    assert_eq!(body.len(), snapshot.list_len());
    String::from_utf8(body).unwrap()
}

pub(super) fn all(store: &Store) -> super::Scope {
    store.scopes()[0].0
}

#[test]
fn an_empty_store_is_not_synced_and_lists_nothing() {
    let store = Store::new(&[]);
    assert!(!store.snapshot().synced());
    assert_eq!(listed(&store), "[]");
}

#[test]
fn a_complete_list_makes_the_store_synced_and_tells_no_transitions_the_first_time() {
    let store = Store::new(&[]);
    let mut draft = store.draft(all(&store), Arc::default());
    draft.add(vec![deployment("b", "x", 2, 8), deployment("a", "y", 1, 7)]);
    assert_eq!(store.replace(draft, 10), []);
    assert!(store.snapshot().synced());
    assert_eq!(store.snapshot().resource_version(), 10);
    assert_eq!(
        listed(&store),
        json(&[deployment("a", "y", 1, 7), deployment("b", "x", 2, 8)])
    );
}

#[test]
fn namespaces_are_sorted_as_pairs_and_not_as_the_joined_string() {
    let store = Store::new(&[]);
    store.apply(
        all(&store),
        vec![
            Event::Upsert(deployment("a-b", "x", 1, 1)),
            Event::Upsert(deployment("a", "x", 1, 2)),
        ],
        2,
    );
    assert_eq!(
        listed(&store),
        json(&[deployment("a", "x", 1, 2), deployment("a-b", "x", 1, 1)])
    );
}

#[test]
fn a_relist_tells_what_was_missed() {
    let store = Store::new(&[]);
    let list = |records: Vec<Deployment>, version| {
        let mut draft = store.draft(all(&store), Arc::default());
        draft.add(records);
        store.replace(draft, version)
    };
    list(
        vec![
            deployment("a", "gone", 1, 1),
            deployment("a", "same", 1, 2),
            deployment("a", "scaled", 1, 3),
        ],
        3,
    );
    let seen = list(
        vec![
            deployment("a", "new", 4, 5),
            deployment("a", "same", 1, 2),
            deployment("a", "scaled", 6, 4),
        ],
        5,
    );
    assert_eq!(
        seen,
        [
            Transition::Deleted(deployment("a", "gone", 1, 1).into()),
            Transition::Added(deployment("a", "new", 4, 5).into()),
            Transition::Changed {
                from: 1,
                to: deployment("a", "scaled", 6, 4).into()
            },
        ]
    );
}

#[test]
fn an_older_event_changes_nothing() {
    let store = Store::new(&[]);
    let scope = all(&store);
    store.apply(scope, vec![Event::Upsert(deployment("a", "x", 5, 9))], 9);
    assert_eq!(
        store.apply(scope, vec![Event::Upsert(deployment("a", "x", 3, 8))], 8),
        []
    );
    assert_eq!(
        store.apply(scope, vec![Event::Delete(deployment("a", "x", 3, 7))], 7),
        []
    );
    assert_eq!(store.snapshot().get("a", "x").unwrap().replicas(), 5);
    assert_eq!(store.snapshot().resource_version(), 9);
}

#[test]
fn a_deployment_that_was_deleted_and_created_again_is_another_one() {
    let store = Store::new(&[]);
    let scope = all(&store);
    store.apply(scope, vec![Event::Upsert(deployment("a", "x", 5, 1))], 1);
    let before = store.snapshot().fingerprint();
    let again = Deployment {
        uid: Uuid::from_u128(77),
        ..deployment("a", "x", 5, 4)
    };
    assert_eq!(
        store.apply(scope, vec![Event::Upsert(again.clone())], 4),
        [Transition::Added(again.into())]
    );
    assert_ne!(store.snapshot().fingerprint(), before);
}

#[test]
fn a_status_update_moves_the_version_and_leaves_the_fingerprint() {
    let store = Store::new(&[]);
    let scope = all(&store);
    store.apply(scope, vec![Event::Upsert(deployment("a", "x", 5, 1))], 1);
    let before = store.snapshot().fingerprint();
    store.apply(scope, vec![Event::Upsert(deployment("a", "x", 5, 2))], 2);
    assert_eq!(store.snapshot().fingerprint(), before);
    assert_eq!(
        store.snapshot().get("a", "x").unwrap().resource_version(),
        2
    );
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let store = Store::new(&[]);
    let scope = all(&store);
    store.apply(scope, vec![Event::Upsert(deployment("a", "x", 5, 1))], 1);
    let old = store.snapshot();
    store.apply(scope, vec![Event::Delete(deployment("a", "x", 5, 2))], 2);
    assert!(old.get("a", "x").is_some());
    assert!(store.snapshot().is_empty());
}

#[test]
fn each_namespace_of_several_has_a_version_of_its_own() {
    let store = Store::new(&["a".into(), "b".into()]);
    let scopes = store.scopes();
    let mut draft = store.draft(scopes[1].0, Arc::default());
    draft.add(vec![deployment("b", "x", 1, 4)]);
    store.replace(draft, 5);
    assert!(!store.snapshot().synced());
    store.replace(store.draft(scopes[0].0, Arc::default()), 7);
    let snapshot = store.snapshot();
    assert!(snapshot.synced());
    assert_eq!(snapshot.resource_version(), 5);
    assert_eq!(
        (
            snapshot.resource_version_in("a"),
            snapshot.resource_version_in("c")
        ),
        (7, 0)
    );
    store.replace(store.draft(scopes[1].0, Arc::default()), 9);
    assert_eq!(listed(&store), "[]");
}

#[test]
fn a_relist_shares_what_it_finds_unchanged() {
    let store = Store::new(&[]);
    let records: Vec<_> = (1..=1000)
        .map(|i| deployment("a", &format!("d{i:04}"), 1, i))
        .collect();
    let list = |records: Vec<Deployment>, version| {
        let mut draft = store.draft(all(&store), Arc::default());
        records
            .chunks(100)
            .for_each(|page| draft.add(page.to_vec()));
        store.replace(draft, version)
    };
    list(records.clone(), 1000);
    let body = |name: &str| store.snapshot().get("a", name).unwrap().json();
    let (first, last) = (body("d0001"), body("d1000"));
    let mut changed = records;
    changed[999] = deployment("a", "d1000", 7, 1001);
    assert_eq!(list(changed, 1001).len(), 1);
    assert_eq!(body("d0001").as_ptr(), first.as_ptr());
    assert_ne!(body("d1000").as_ptr(), last.as_ptr());
}

#[test]
fn a_restored_cluster_may_have_the_same_version_with_another_count() {
    let store = Store::new(&[]);
    for (count, told) in [(3, 0), (5, 1)] {
        let mut draft = store.draft(all(&store), Arc::default());
        draft.add(vec![deployment("a", "x", count, 9)]);
        assert_eq!(store.replace(draft, 9).len(), told);
        assert_eq!(store.snapshot().get("a", "x").unwrap().replicas(), count);
    }
}

#[test]
fn a_record_tells_its_labels_and_its_bounds() {
    let store = Store::new(&[]);
    let labels = [("tier", "front"), ("team", "web")];
    let both = Deployment {
        attributes: Attributes::new(labels, protected()),
        ..deployment("a", "both", 1, 1)
    };
    let neither = deployment("a", "neither", 1, 2);
    let events = [both, neither].map(Event::Upsert);
    store.apply(all(&store), events.into(), 2);
    let snapshot = store.snapshot();
    let record = |name| snapshot.get("a", name).unwrap();
    let told = |name| {
        let record = record(name);
        ["team", "tier", "app"].map(|key| record.label(key))
    };
    assert_eq!(told("both"), [Some("web"), Some("front"), None]);
    assert_eq!(told("neither"), [None; 3]);
    assert_eq!(record("both").annotation_bounds(), protected());
    let none = AnnotationBounds::default();
    assert_eq!(record("neither").annotation_bounds(), none);
}

#[test]
fn a_changed_label_is_a_change_of_the_record_and_not_of_the_list() {
    let store = Store::new(&[]);
    let scope = all(&store);
    let web = |version| labelled(&[("team", "web")], deployment("a", "x", 5, version));
    let db = |version| labelled(&[("team", "db")], deployment("a", "x", 5, version));
    store.apply(scope, vec![Event::Upsert(web(1))], 1);
    let (before, list) = (store.snapshot().fingerprint(), listed(&store));
    let told = store.apply(scope, vec![Event::Upsert(db(2))], 2);
    assert_eq!(
        told,
        [Transition::Changed {
            from: 5,
            to: db(2).into()
        }]
    );
    let label = || store.snapshot().get("a", "x").unwrap().label("team") == Some("db");
    assert!(label());
    assert_eq!(
        (store.snapshot().fingerprint(), listed(&store)),
        (before, list)
    );
    // A restored cluster may have the same version with other labels.
    for (d, told) in [(web(2), 1), (db(2), 1), (db(2), 0)] {
        let mut draft = store.draft(scope, keys(&["team"]));
        draft.add(vec![d]);
        assert_eq!(store.replace(draft, 2).len(), told);
    }
    assert!(label());
}

#[test]
fn labels_are_known_once_their_namespace_was_listed_with_them() {
    let store = Store::new(&["a".into(), "b".into()]);
    let scopes = store.scopes();
    let (team, both) = (keys(&["team"]), keys(&["team", "tier"]));
    let known = |namespace, keys: &LabelKeys| store.snapshot().has_labels(namespace, keys);
    assert!(!known("a", &team) && known("a", &LabelKeys::default()));
    let list = |scope: usize, labels: &Arc<LabelKeys>, version| {
        let mut draft = store.draft(scopes[scope].0, Arc::clone(labels));
        let d = deployment(["a", "b"][scope], "x", 1, version);
        draft.add(vec![labelled(&[("team", "web")], d)]);
        assert!(labels.iter().count() == 1 || !known("a", labels));
        store.replace(draft, version);
    };
    list(0, &team, 1);
    assert!(known("a", &team) && !known("b", &team) && !known("a", &both));
    list(1, &both, 2);
    assert!(known("b", &team) && known("b", &both) && !known("a", &both));
    // Events are read with the keys of the list before them.
    store.apply(scopes[0].0, vec![], 3);
    assert!(known("a", &team));
    list(0, &both, 4);
    assert!(known("a", &both));
}

#[test]
fn equal_attributes_of_neighbours_are_kept_once_whatever_changes_between_them() {
    let store = Store::new(&[]);
    let scope = all(&store);
    let d = |i: u64, version| {
        let one = deployment("a", &format!("d{i:02}"), (version % 7) as i32, version);
        labelled(&[("team", "web")], one)
    };
    let kept = || store.snapshot().tree().attributes_len();
    store.apply(
        scope,
        (1..=60).map(|i| Event::Upsert(d(i, i))).collect(),
        60,
    );
    let once = kept();
    for version in 61..200 {
        store.apply(
            scope,
            vec![Event::Upsert(d(version * 13 % 60 + 1, version))],
            version,
        );
    }
    assert_eq!(kept(), once);
    let gone = |i| Event::Delete(d(i, 200 + i));
    store.apply(scope, (1..=60).map(gone).collect(), 300);
    assert_eq!(kept(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Upsert(u8, u16, i32),
    Delete(u8, u16),
    Batch(Vec<(u8, u16, i32)>),
    Relist(Vec<(u8, u16, i32)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || (0u8..5, 0u16..400);
    let some = || prop::collection::vec((0u8..5, 0u16..400, 0i32..2000), 0..700);
    let step = prop_oneof![
        6 => (names(), 0..i32::MAX).prop_map(|((a, b), n)| Step::Upsert(a, b, n)),
        4 => names().prop_map(|(a, b)| Step::Delete(a, b)),
        2 => some().prop_map(Step::Batch),
        1 => some().prop_map(Step::Relist),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_store_is_an_ordered_map(steps in steps()) {
        // Names that are prefixes of each other, so that order by pairs and by joined string differ.
        let namespace = |n: u8| ["a", "a-b", "a-b-c", "b", "b0"][n as usize];
        let store = Store::new(&[]);
        let scope = all(&store);
        let mut model: BTreeMap<(String, String), Deployment> = BTreeMap::new();
        let mut version = 0;
        let mut next = |ns: u8, name: u16, count: i32| {
            version += 1;
            let d = deployment(namespace(ns), &format!("d{name}"), count, version);
            match count % 4 {
                0 => labelled(&[("team", "web")], d),
                1 => labelled(&[("team", "db"), ("app", &format!("d{name}"))], d),
                2 => Deployment { attributes: Attributes::new([], protected()), ..d },
                _ => d,
            }
        };
        let key = |d: &Deployment| (d.namespace.to_string(), d.name.to_string());
        for step in steps {
            match step {
                Step::Upsert(ns, name, count) => {
                    let d = next(ns, name, count);
                    store.apply(scope, vec![Event::Upsert(d.clone())], d.resource_version);
                    model.insert(key(&d), d);
                }
                Step::Delete(ns, name) => {
                    let d = next(ns, name, 0);
                    store.apply(scope, vec![Event::Delete(d.clone())], d.resource_version);
                    model.remove(&key(&d));
                }
                Step::Batch(all) => {
                    let unique: BTreeMap<_, _> = all.into_iter().map(|(ns, name, c)| ((ns, name), c)).collect();
                    let batch: Vec<_> = unique.into_iter().map(|((ns, name), c)| next(ns, name, c)).collect();
                    model.extend(batch.iter().map(|d| (key(d), d.clone())));
                    let version = batch.last().map_or(0, |d| d.resource_version);
                    store.apply(scope, batch.into_iter().map(Event::Upsert).collect(), version);
                }
                Step::Relist(all) => {
                    let list: Vec<_> = all.into_iter().map(|(ns, name, c)| next(ns, name, c)).collect();
                    let before: Vec<_> = model.values().cloned().collect();
                    model = list.iter().map(|d| (key(d), d.clone())).collect();
                    let mut draft = store.draft(scope, Arc::default());
                    list.chunks(97).for_each(|page| draft.add(page.to_vec()));
                    let version = list.last().map_or(1, |d| d.resource_version);
                    let synced = store.snapshot().version_of(0) > 0;
                    let told = store.replace(draft, version);
                    if synced {
                        let deleted = before.iter().filter(|d| !model.contains_key(&key(d))).count();
                        prop_assert_eq!(told.iter().filter(|t| matches!(t, Transition::Deleted(_))).count(), deleted);
                    }
                }
            }
            let snapshot = store.snapshot();
            let expected: Vec<_> = model.values().cloned().collect();
            let stored: Vec<_> = snapshot.records().map(|r| r.to_deployment()).collect();
            prop_assert_eq!(&stored, &expected);
            prop_assert_eq!(snapshot.len(), expected.len());
            prop_assert_eq!(listed(&store), json(&expected));
            for d in expected.iter().step_by(17) {
                let found = snapshot.get(&d.namespace, &d.name).map(|r| (r.to_deployment(), r.json()));
                prop_assert_eq!(found.clone().map(|f| f.0), Some(d.clone()));
                let (body, list) = (found.unwrap().1, json(std::slice::from_ref(d)));
                prop_assert_eq!(&body[..], &list.as_bytes()[1..list.len() - 1]);
            }
            prop_assert!(snapshot.get("a", "missing").is_none());
            for ns in ["a", "a-b", "a-c", "b"] {
                let there = snapshot.namespace(ns).count();
                prop_assert_eq!(there, expected.iter().filter(|d| &*d.namespace == ns).count());
            }
        }
    }

    #[test]
    fn the_fingerprint_depends_on_the_content_and_not_on_the_way_there(counts in prop::collection::vec(0i32..50, 1..300)) {
        let records: Vec<_> = (1..).zip(&counts).map(|(i, c)| deployment("a", &format!("d{i}"), *c, i)).collect();
        let (one, other) = (Store::new(&[]), Store::new(&[]));
        let mut draft = one.draft(all(&one), Arc::default());
        draft.add(records.clone());
        one.replace(draft, 1);
        for d in records.into_iter().rev() {
            let version = d.resource_version;
            other.apply(all(&other), vec![Event::Upsert(d)], version);
        }
        prop_assert_eq!(one.snapshot().fingerprint(), other.snapshot().fingerprint());
    }
}
