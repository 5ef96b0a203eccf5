//! Records with their Pods that are ready, rendered for those who ask: the texts that are kept have the counts alone.

use std::ops::Range;

use bytes::Bytes;

use super::{Record, Segment, digits};
use crate::store::view::{bits, runs};

const READY: &[u8] = br#","readyReplicas":"#;

impl Record<'_> {
    /// Appends its form in the API with its Pods that are ready.
    pub fn push_status_json(&self, text: &mut Vec<u8>) {
        self.segment.push_status(self.position, false, text);
    }
}

impl Segment {
    /// Appends a record with its Pods that are ready, and the comma before it if that is wanted.
    pub(super) fn push_status(&self, position: usize, comma: bool, text: &mut Vec<u8>) {
        let Range { start, end } = self.place(position..position + 1);
        text.extend_from_slice(&self.text[start + usize::from(!comma)..end - 1]);
        text.extend_from_slice(READY);
        let ready = self.ready[position];
        text.extend_from_slice(itoa::Buffer::new().format(ready).as_bytes());
        text.push(b'}');
    }

    /// The text of the records whose bits are set, each with its Pods that are ready.
    pub(in crate::store) fn status_text_of(&self, mask: u128) -> Bytes {
        let mut text = Vec::with_capacity(self.status_text_len(mask));
        for position in runs(mask).flatten() {
            self.push_status(position, true, &mut text);
        }
        text.into()
    }

    /// How long that is.
    pub(in crate::store) fn status_text_len(&self, mask: u128) -> usize {
        let ready = runs(mask).flat_map(|run| &self.ready[run]);
        let more = ready.map(|ready| READY.len() + digits(*ready));
        self.sums_of(mask).text_len + more.sum::<usize>()
    }

    /// A mask of all records.
    pub(in crate::store) fn all(&self) -> u128 {
        bits(0..self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::store::{
        Deployment, Event, Record, Store, Visible,
        tests::{all, deployment},
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_list_with_status_is_the_list_with_one_field_more(
            ready in prop::collection::vec(prop_oneof![0..3i32, 9..12i32, Just(i32::MAX)], 0..400), stride in 1usize..5
        ) {
            let of = |(i, ready): (usize, &i32)| Deployment {
                ready: *ready,
                ..deployment(["a", "b"][i % 2], &format!("d{i:03}"), i as i32, 1 + i as u64)
            };
            let list: Vec<_> = ready.iter().enumerate().map(of).collect();
            let store = Store::new(&[]);
            store.apply(all(&store), list.iter().cloned().map(Event::Upsert).collect(), 1000);
            let snapshot = store.snapshot();
            let shown = |r: &Record<'_>| (r.replicas() as usize).is_multiple_of(stride);
            let view = snapshot.view(|_| Visible::Each(shown));
            let whole = std::sync::Arc::clone(&snapshot).list().with_status();
            for (body, records) in [
                (whole, snapshot.records().collect::<Vec<_>>()),
                (view.list().with_status(), view.records().collect()),
            ] {
                let one = |r: &Record<'_>| format!(
                    r#"{{"namespace":"{}","name":"{}","replicaCount":{},"readyReplicas":{}}}"#,
                    r.namespace(), r.name(), r.replicas(), ready[r.replicas() as usize]
                );
                let expected = format!("[{}]", records.iter().map(one).collect::<Vec<_>>().join(","));
                prop_assert_eq!(http_body::Body::size_hint(&body).exact(), Some(expected.len() as u64));
                prop_assert_eq!(String::from_utf8(body.flatten().collect()).unwrap(), expected);
                for record in records {
                    let mut text = Vec::new();
                    record.push_status_json(&mut text);
                    prop_assert_eq!(String::from_utf8(text).unwrap(), one(&record));
                }
            }
        }
    }
}
