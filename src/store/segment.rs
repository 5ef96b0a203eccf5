//! A run of about a hundred records in one piece of memory, with its part of the list response already rendered.

mod status;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    attributes::{AnnotationBounds, Marks, NOWHERE, Packed, Shelf},
    record::{Deployment, Event, Key},
    tree::Node,
    view::runs,
};

/// Records in one segment at most: large enough that a list is few slices, small enough that rewriting one is cheap.
const MOST: usize = 128;
/// A segment with fewer joins its neighbour.
const FEWEST: usize = 32;
/// Hashes that are compared at once.
const RUN: usize = 16;

const NAMESPACE: &[u8] = br#",{"namespace":""#;
const NAME: &[u8] = br#"","name":""#;
const COUNT: &[u8] = br#"","replicaCount":"#;

/// An immutable run of records.
#[derive(Debug)]
pub(super) struct Segment {
    /// `,{…},{…}`: every record with a comma before it, so that a list is a chain of segments.
    text: Bytes,
    rows: Box<[Row]>,
    /// By record, its Pods that are ready: beside the rows, which would grow by twice as much.
    ready: Box<[i32]>,
    /// A part of each key's hash: a lookup reads these few cache lines instead of searching through the text.
    hashes: Box<[u32]>,
    /// The packed attributes of the records that have some, where their rows say.
    attributes: Box<[u8]>,
    /// The sum of the rows' fingerprints, since a branch adds up those of all its segments with every change.
    fingerprint: u64,
}

/// What some records of a segment add to a list.
pub(super) struct Sums {
    /// Bytes, with a comma before each record.
    pub(super) text_len: usize,
    pub(super) fingerprint: u64,
}

/// The numbers of one record; its names are read out of the text.
#[derive(Debug, Clone, Copy)]
struct Row {
    uid: Uuid,
    resource_version: u64,
    replicas: i32,
    start: u32,
    /// Where its attributes start, or `NOWHERE`.
    attributes: u32,
    namespace_len: u8,
    name_len: u8,
    deleting: bool,
}

impl Row {
    fn namespace(&self) -> Range<usize> {
        let start = self.start as usize + NAMESPACE.len();
        start..start + self.namespace_len as usize
    }

    fn name(&self) -> Range<usize> {
        let start = self.namespace().end + NAME.len();
        start..start + self.name_len as usize
    }

    /// A number that changes with the object and its count. Names belong to a uid, and uids are random, so they need no hashing.
    fn fingerprint(&self) -> u64 {
        let (high, low) = self.uid.as_u64_pair();
        let mut x =
            high ^ low.rotate_left(32) ^ (self.replicas as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The finalizer of SplitMix64: every input bit reaches every output bit.
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// One Deployment in the store, borrowed from its snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    segment: &'a Segment,
    position: usize,
}

impl<'a> Record<'a> {
    fn row(&self) -> &'a Row {
        &self.segment.rows[self.position]
    }

    fn text(&self, range: Range<usize>) -> &'a str {
        std::str::from_utf8(&self.segment.text[range]).unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &'a str {
        self.text(self.row().namespace())
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.text(self.row().name())
    }

    /// Where it stands in the store's order.
    pub fn key(&self) -> Key<'a> {
        self.segment.key_of(self.row())
    }

    /// Its uid.
    pub fn uid(&self) -> Uuid {
        self.row().uid
    }

    /// Its desired replicas.
    pub fn replicas(&self) -> i32 {
        self.row().replicas
    }

    /// Its Pods that are ready.
    pub fn ready(&self) -> i32 {
        self.segment.ready[self.position]
    }

    /// Its resourceVersion.
    pub fn resource_version(&self) -> u64 {
        self.row().resource_version
    }

    /// Whether it is being deleted.
    pub fn deleting(&self) -> bool {
        self.row().deleting
    }

    /// The value of a label, if the Deployment has it and its key is one of those that are kept ([`Snapshot::has_labels`]).
    ///
    /// [`Snapshot::has_labels`]: super::Snapshot::has_labels
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.attributes().label(key)
    }

    /// The bounds that its annotations set.
    pub fn annotation_bounds(&self) -> AnnotationBounds {
        self.attributes().bounds()
    }

    /// The objects of GitOps tools that mark it as their own; `None` if none does.
    pub fn marks(&self) -> Option<Marks<&'a str>> {
        self.attributes().marks()
    }

    pub(super) fn attributes(&self) -> Packed<'a> {
        self.segment.attributes_of(self.row())
    }

    /// Its form in the API's contract, shared with the segment, not copied.
    pub fn json(&self) -> Bytes {
        let Range { start, end } = self.segment.place(self.position..self.position + 1);
        self.segment.text.slice(start + 1..end)
    }

    /// Whether another record says the same of the same object.
    pub(super) fn same_as(&self, other: &Record<'_>) -> bool {
        let numbers = |row: &Row| (row.uid, row.resource_version, row.replicas, row.deleting);
        numbers(self.row()) == numbers(other.row())
            && self.ready() == other.ready()
            && self.attributes() == other.attributes()
    }

    /// Whether it is just this.
    pub(super) fn is(&self, deployment: &Deployment) -> bool {
        let Deployment {
            namespace: _,
            name: _,
            uid,
            replicas,
            ready,
            resource_version,
            deleting,
            attributes,
        } = deployment;
        self.key() == deployment.key()
            && self.uid() == *uid
            && self.replicas() == *replicas
            && self.ready() == *ready
            && self.resource_version() == *resource_version
            && self.deleting() == *deleting
            && self.attributes() == attributes.packed()
    }

    /// A copy that outlives the snapshot.
    pub fn to_deployment(&self) -> Deployment {
        Deployment {
            namespace: self.namespace().into(),
            name: self.name().into(),
            uid: self.uid(),
            replicas: self.replicas(),
            ready: self.ready(),
            resource_version: self.resource_version(),
            deleting: self.deleting(),
            attributes: self.attributes().to_attributes(),
        }
    }
}

/// What a segment is made of: runs of records kept from older ones, and new records.
enum Source<'a> {
    Kept(&'a Segment, Range<usize>),
    New(&'a Deployment),
}

impl Source<'_> {
    fn records(&self) -> usize {
        match self {
            Self::Kept(_, run) => run.len(),
            Self::New(_) => 1,
        }
    }

    fn text_len(&self) -> usize {
        match self {
            Self::Kept(segment, run) => segment.place(run.clone()).len(),
            Self::New(d) => {
                let digits = digits(d.replicas);
                let names = d.namespace.len() + d.name.len();
                NAMESPACE.len() + NAME.len() + COUNT.len() + names + digits + 1
            }
        }
    }
}

/// How many digits a count has, which is never negative.
fn digits(count: i32) -> usize {
    count.checked_ilog10().unwrap_or(0) as usize + 1
}

fn hash(key: Key<'_>) -> u32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as u32
}

impl Segment {
    pub(super) fn text(&self) -> &Bytes {
        &self.text
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The position behind the last record that is in the namespace of this one.
    pub(super) fn end_of_namespace(&self, position: usize) -> usize {
        let namespace = |row: &Row| self.key_of(row).namespace;
        let here = namespace(&self.rows[position]);
        // Mostly all that follow are.
        match self.rows.last() {
            Some(last) if namespace(last) == here => self.rows.len(),
            _ => position + self.rows[position..].partition_point(|row| namespace(row) == here),
        }
    }

    /// The text of the records whose bits are set: a slice if they follow each other, else a copy.
    pub(super) fn text_of(&self, mask: u128) -> Bytes {
        let mut runs = runs(mask).map(|run| self.place(run));
        match (runs.next(), runs.next()) {
            (None, _) => Bytes::new(),
            (Some(all), None) => self.text.slice(all),
            (Some(first), Some(second)) => {
                let mut text = Vec::with_capacity(self.text.len());
                for place in [first, second].into_iter().chain(runs) {
                    text.extend_from_slice(&self.text[place]);
                }
                text.into()
            }
        }
    }

    /// What the records whose bits are set add to a list.
    pub(super) fn sums_of(&self, mask: u128) -> Sums {
        if mask.count_ones() as usize == self.rows.len() {
            return Sums {
                text_len: self.text.len(),
                fingerprint: self.fingerprint,
            };
        }
        let text_len = runs(mask).map(|run| self.place(run).len()).sum();
        let rows = runs(mask).flat_map(|run| &self.rows[run]);
        let sum = |sum: u64, row: &Row| sum.wrapping_add(row.fingerprint());
        Sums {
            text_len,
            fingerprint: rows.fold(0, sum),
        }
    }

    #[cfg(test)]
    pub(super) fn attributes_len(&self) -> usize {
        self.attributes.len()
    }

    pub(super) fn position(&self, key: Key<'_>) -> Option<usize> {
        let hash = hash(key);
        // `contains` compares many at once, with vector instructions.
        for (i, run) in self.hashes.chunks(RUN).enumerate() {
            if run.contains(&hash) {
                let mut positions = i * RUN..i * RUN + run.len();
                let found = positions
                    .find(|p| self.hashes[*p] == hash && self.key_of(&self.rows[*p]) == key);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    pub(super) fn record(&self, position: usize) -> Record<'_> {
        Record {
            segment: self,
            position,
        }
    }

    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> {
        (0..self.rows.len()).map(|position| self.record(position))
    }

    fn key_of(&self, row: &Row) -> Key<'_> {
        Key {
            namespace: &self.text[row.namespace()],
            name: &self.text[row.name()],
        }
    }

    fn attributes_of(&self, row: &Row) -> Packed<'_> {
        match row.attributes {
            NOWHERE => Packed::EMPTY,
            place => Packed::at_start(&self.attributes[place as usize..]),
        }
    }

    /// Where a run of records stands in the text, with the comma before the first.
    fn place(&self, run: Range<usize>) -> Range<usize> {
        let start = |position: usize| {
            let row = self.rows.get(position);
            row.map_or(self.text.len(), |row| row.start as usize)
        };
        start(run.start)..start(run.end)
    }

    /// As few segments of even size as hold all of `sources`.
    fn build(sources: &[Source<'_>]) -> Vec<Arc<Self>> {
        let whole = Self::render(sources);
        let count = whole.rows.len();
        if count <= MOST {
            return if count == 0 {
                Vec::new()
            } else {
                vec![Arc::new(whole)]
            };
        }
        let size = count.div_ceil(count.div_ceil(MOST));
        let runs = (0..count)
            .step_by(size)
            .map(|start| start..count.min(start + size));
        runs.map(|run| Arc::new(Self::render(&[Source::Kept(&whole, run)])))
            .collect()
    }

    fn render(sources: &[Source<'_>]) -> Self {
        // Exactly as large as needed: most of the memory of a store is in these two.
        let mut text = Vec::with_capacity(sources.iter().map(Source::text_len).sum());
        let mut rows = Vec::with_capacity(sources.iter().map(Source::records).sum());
        let mut hashes = Vec::with_capacity(rows.capacity());
        let mut ready = Vec::with_capacity(rows.capacity());
        let mut attributes = Shelf::default();
        let mut digits = itoa::Buffer::new();
        for source in sources {
            let start = text.len() as u32;
            match source {
                Source::Kept(segment, run) => {
                    let place = segment.place(run.clone());
                    let from = place.start as u32;
                    text.extend_from_slice(&segment.text[place]);
                    let kept = segment.rows[run.clone()].iter().map(|row| Row {
                        start: row.start - from + start,
                        ..*row
                    });
                    if segment.attributes.is_empty() {
                        rows.extend(kept);
                    } else {
                        rows.extend(kept.map(|row| Row {
                            attributes: attributes.put(segment.attributes_of(&row)),
                            ..row
                        }));
                    }
                    hashes.extend_from_slice(&segment.hashes[run.clone()]);
                    ready.extend_from_slice(&segment.ready[run.clone()]);
                }
                Source::New(d) => {
                    text.extend_from_slice(NAMESPACE);
                    text.extend_from_slice(d.namespace.as_bytes());
                    text.extend_from_slice(NAME);
                    text.extend_from_slice(d.name.as_bytes());
                    text.extend_from_slice(COUNT);
                    text.extend_from_slice(digits.format(d.replicas).as_bytes());
                    text.push(b'}');
                    rows.push(Row {
                        uid: d.uid,
                        resource_version: d.resource_version,
                        replicas: d.replicas,
                        start,
                        attributes: attributes.put(d.attributes.packed()),
                        namespace_len: d.namespace.len() as u8,
                        name_len: d.name.len() as u8,
                        deleting: d.deleting,
                    });
                    hashes.push(hash(d.key()));
                    ready.push(d.ready);
                }
            }
        }
        let sum = |sum: u64, row: &Row| sum.wrapping_add(row.fingerprint());
        Self {
            fingerprint: rows.iter().fold(0, sum),
            text: Bytes::from(text),
            rows: rows.into_boxed_slice(),
            hashes: hashes.into_boxed_slice(),
            ready: ready.into_boxed_slice(),
            attributes: attributes.into_bytes(),
        }
    }
}

impl Node for Segment {
    const FEWEST: usize = FEWEST;

    fn first(&self) -> Key<'_> {
        self.key_of(&self.rows[0])
    }

    fn children(&self) -> usize {
        self.rows.len()
    }

    fn rebuilt(old: Option<&Self>, changes: &[Event]) -> Vec<Arc<Self>> {
        let mut sources = Vec::with_capacity(2 * changes.len() + 1);
        let rows = old.map_or(&[][..], |segment| &segment.rows);
        let mut from = 0;
        let keep = |sources: &mut Vec<_>, run: Range<usize>| {
            if let Some(segment) = old.filter(|_| !run.is_empty()) {
                sources.push(Source::Kept(segment, run));
            }
        };
        for change in changes {
            let key = |row: &Row| old.map(|segment| segment.key_of(row));
            let at = from + rows[from..].partition_point(|row| key(row) < Some(change.key()));
            keep(&mut sources, from..at);
            let replaced = rows
                .get(at)
                .is_some_and(|row| key(row) == Some(change.key()));
            from = at + usize::from(replaced);
            if let Event::Upsert(deployment) = change {
                sources.push(Source::New(deployment));
            }
        }
        keep(&mut sources, from..rows.len());
        Self::build(&sources)
    }

    fn joined(left: &Self, right: &Self) -> Vec<Arc<Self>> {
        let all = |segment: &'_ Self| 0..segment.rows.len();
        Self::build(&[
            Source::Kept(left, all(left)),
            Source::Kept(right, all(right)),
        ])
    }
}
