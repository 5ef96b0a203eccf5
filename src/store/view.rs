//! What somebody sees of a snapshot: a bit for each record, decided once, and the list of those records.

use std::{ops::Range, sync::Arc};

use super::{
    list::{ListBody, list_len},
    segment::Record,
    snapshot::Snapshot,
};

/// What is visible of a namespace.
#[derive(Debug, Clone, Copy)]
pub enum Visible<F> {
    /// Every Deployment.
    All,
    /// None of them.
    None,
    /// Those for which this holds.
    Each(F),
}

/// The visible part of a snapshot: 16 bytes for a hundred records, so that it can be kept.
#[derive(Debug, Clone)]
pub struct View {
    snapshot: Arc<Snapshot>,
    /// By segment, in the tree's order.
    masks: Arc<[u128]>,
    len: usize,
    text_len: usize,
    fingerprint: u64,
}

impl Snapshot {
    /// The part of it that is visible; each namespace is asked about once.
    pub fn view<F>(self: &Arc<Self>, mut visible: impl FnMut(&str) -> Visible<F>) -> View
    where
        F: FnMut(&Record<'_>) -> bool,
    {
        let (mut len, mut text_len, mut fingerprint) = (0, 0, 0u64);
        let mut asked: Option<(&str, Visible<F>)> = None;
        let masks = self.tree().segments().map(|segment| {
            let (mut mask, mut at) = (0, 0);
            while at < segment.len() {
                let run = at..segment.end_of_namespace(at);
                let namespace = segment.record(at).namespace();
                if asked.as_ref().is_none_or(|(n, _)| *n != namespace) {
                    asked = Some((namespace, visible(namespace)));
                }
                at = run.end;
                mask |= match &mut asked {
                    Some((_, Visible::All)) => bits(run),
                    Some((_, Visible::Each(shows))) => run
                        .filter(|position| shows(&segment.record(*position)))
                        .fold(0, |mask, position| mask | 1 << position),
                    _ => 0,
                };
            }
            let shown = segment.sums_of(mask);
            len += mask.count_ones() as usize;
            text_len += shown.text_len;
            fingerprint = fingerprint.wrapping_add(shown.fingerprint);
            mask
        });
        let masks = masks.collect();
        View {
            snapshot: Arc::clone(self),
            masks,
            len,
            text_len,
            fingerprint,
        }
    }
}

impl View {
    /// The snapshot that it is a part of.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// How many Deployments are visible.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number that changes with the names, uids and counts of what is visible, and with nothing else; that of the
    /// snapshot when everything is.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The length of the list response in bytes.
    pub fn list_len(&self) -> usize {
        list_len(self.text_len)
    }

    /// The list response: what the whole list has, without what isn't visible.
    pub fn list(&self) -> ListBody {
        let masks = Some(Arc::clone(&self.masks));
        ListBody::new(Arc::clone(&self.snapshot), masks, self.list_len())
    }

    /// What is visible, by namespace, then name.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let segments = self.snapshot.tree().segments().zip(self.masks.iter());
        segments.flat_map(|(segment, mask)| {
            runs(*mask)
                .flatten()
                .map(|position| segment.record(position))
        })
    }
}

/// A mask with these bits.
pub(super) fn bits(run: Range<usize>) -> u128 {
    let first = |count: usize| match count {
        128.. => u128::MAX,
        _ => (1 << count) - 1,
    };
    first(run.end) & !first(run.start)
}

/// The runs of set bits, in order.
pub(super) fn runs(mut mask: u128) -> impl Iterator<Item = Range<usize>> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let start = mask.trailing_zeros() as usize;
        let end = start + (mask >> start).trailing_ones() as usize;
        mask &= !bits(start..end);
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{
        Deployment, Event, Store,
        tests::{all, deployment, json, labelled},
    };

    fn filled(list: Vec<Deployment>) -> Store {
        let store = Store::new(&[]);
        store.apply(
            all(&store),
            list.into_iter().map(Event::Upsert).collect(),
            1,
        );
        store
    }

    fn text(body: ListBody) -> String {
        String::from_utf8(body.flatten().collect()).unwrap()
    }

    /// No rule for single Deployments.
    type Whole = Visible<fn(&Record<'_>) -> bool>;

    #[test]
    fn of_an_empty_store_nothing_is_visible() {
        let view = Store::new(&[]).snapshot().view(|_| Whole::All);
        assert_eq!((view.len(), text(view.list())), (0, "[]".into()));
    }

    #[test]
    fn what_is_visible_as_a_whole_is_not_copied() {
        let two = |namespace: &'static str| {
            (1..=500).map(move |i| deployment(namespace, &format!("d{i:03}"), 1, i))
        };
        let store = filled(two("a").chain(two("b")).collect());
        let snapshot = store.snapshot();
        let inside = |piece: &bytes::Bytes| {
            let mut segments = snapshot.tree().segments().map(|s| s.text().as_ptr_range());
            piece.len() == 1 || segments.any(|text| text.contains(&piece.as_ptr()))
        };
        let only_b = |n: &str| if n == "b" { Whole::All } else { Whole::None };
        for view in [snapshot.view(only_b), snapshot.view(|_| Whole::All)] {
            assert!(view.list().all(|piece| inside(&piece)));
        }
        let expected: Vec<_> = two("b").collect();
        assert_eq!(text(snapshot.view(only_b).list()), json(&expected));
        assert_eq!(
            snapshot.view(|_| Whole::All).fingerprint(),
            snapshot.fingerprint()
        );
    }

    #[test]
    fn each_namespace_is_asked_about_once() {
        let records =
            |n: &'static str| (0..300).map(move |i| deployment(n, &format!("d{i}"), 1, i + 1));
        let store = filled(["a", "b", "c"].into_iter().flat_map(records).collect());
        let mut asked = Vec::new();
        store.snapshot().view(|namespace| {
            asked.push(namespace.to_owned());
            Whole::None
        });
        assert_eq!(asked, ["a", "b", "c"]);
    }

    #[test]
    fn a_view_stays_as_it_was_and_a_changed_label_can_change_the_next_one() {
        let web = labelled(&[("team", "web")], deployment("a", "x", 1, 1));
        let store = filled(vec![web]);
        let view = || {
            let web = |r: &Record<'_>| r.label("team") == Some("web");
            store.snapshot().view(|_| Visible::Each(web))
        };
        let before = view();
        let db = labelled(&[("team", "db")], deployment("a", "x", 1, 2));
        store.apply(all(&store), vec![Event::Upsert(db)], 2);
        assert_eq!((before.len(), view().len()), (1, 0));
        assert_ne!(before.fingerprint(), view().fingerprint());
        assert_eq!(text(before.list()), json(&[deployment("a", "x", 1, 1)]));
    }

    #[test]
    fn runs_reach_from_the_first_bit_to_the_last() {
        let found = |mask| runs(mask).collect::<Vec<_>>();
        assert!(found(0).is_empty());
        assert_eq!(found(u128::MAX).first(), Some(&(0..128)));
        assert_eq!(found(0b1011 | 1 << 127), [0..2, 3..4, 127..128]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_view_is_the_list_restricted_to_what_is_visible(
            records in prop::collection::btree_map((0usize..4, 0u16..500), 0i32..3, 0..900),
            modes in prop::collection::vec(0u8..3, 4), stride in 1u16..7
        ) {
            let list: Vec<_> = records.iter().zip(1..).map(|(((n, name), count), version)| {
                deployment(["a", "a-b", "b", "b0"][*n], &format!("d{name:03}"), *count, version)
            }).collect();
            let mode = |namespace: &str| match namespace {
                "a" => modes[0],
                "a-b" => modes[1],
                "b" => modes[2],
                _ => modes[3],
            };
            // Runs of all lengths: by count, and by the number in the name.
            let each = |name: &str, count: i32| count > 0 && !name[1..].parse::<u16>().unwrap().is_multiple_of(stride);
            let expected: Vec<_> = list.iter().filter(|d| match mode(&d.namespace) {
                0 => true,
                1 => false,
                _ => each(&d.name, d.replicas),
            }).cloned().collect();
            let view = filled(list).snapshot().view(|namespace| match mode(namespace) {
                0 => Visible::All,
                1 => Visible::None,
                _ => Visible::Each(|r: &Record<'_>| each(r.name(), r.replicas())),
            });
            let shown: Vec<_> = view.records().map(|r| r.to_deployment()).collect();
            prop_assert_eq!(&shown, &expected);
            prop_assert_eq!(view.len(), expected.len());
            let mut body = view.list();
            let mut left = view.list_len();
            let mut sent = Vec::new();
            while let Some(piece) = body.next() {
                left -= piece.len();
                prop_assert!(!piece.is_empty());
                prop_assert_eq!(http_body::Body::size_hint(&body).exact(), Some(left as u64));
                sent.extend(piece);
            }
            prop_assert_eq!(left, 0);
            prop_assert!(http_body::Body::is_end_stream(&body));
            prop_assert_eq!(String::from_utf8(sent).unwrap(), json(&expected));
            prop_assert_eq!(view.fingerprint(), filled(expected).snapshot().fingerprint());
        }

        #[test]
        fn runs_are_the_bits_of_their_mask(mask in any::<u128>(), other in any::<u128>()) {
            for mask in [mask, mask & other, mask | other] {
                let all: Vec<_> = runs(mask).collect();
                prop_assert_eq!(all.iter().cloned().fold(0, |sum, run| sum | bits(run)), mask);
                prop_assert!(all.windows(2).all(|two| two[0].end < two[1].start));
            }
        }
    }
}
