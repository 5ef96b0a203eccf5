//! The ordered segments, two levels deep: a change copies one segment, one branch of pointers and the root.

use std::sync::Arc;

use super::{
    record::{Event, Key},
    segment::{Record, Segment},
};

/// Segments in one branch at most, so that copying its pointers stays cheap with a million Deployments.
const MOST: usize = 64;
const FEWEST: usize = 16;

/// A part of the tree: what it needs for being found, rebuilt with changes, and joined with a neighbour.
pub(super) trait Node: Sized {
    /// With fewer children a rebuilt node joins its left neighbour.
    const FEWEST: usize;
    /// The first key below it. Nodes are never empty.
    fn first(&self) -> Key<'_>;
    /// How many children it has.
    fn children(&self) -> usize;
    /// What becomes of it under these changes, sorted by key and each key once: nothing, one or more nodes.
    fn rebuilt(old: Option<&Self>, changes: &[Event]) -> Vec<Arc<Self>>;
    /// Two neighbours as one node, or as two even ones if that is too large.
    fn joined(left: &Self, right: &Self) -> Vec<Arc<Self>>;
}

/// Where `key` belongs among ordered nodes: the last one that starts at or before it.
fn position<N: Node>(nodes: &[Arc<N>], key: Key<'_>) -> usize {
    nodes
        .partition_point(|node| node.first() <= key)
        .saturating_sub(1)
}

/// The nodes with the changes applied; untouched ones are shared.
fn rebuild<N: Node>(nodes: &[Arc<N>], mut changes: &[Event]) -> Vec<Arc<N>> {
    if nodes.is_empty() {
        return N::rebuilt(None, changes);
    }
    let mut out: Vec<Arc<N>> = Vec::with_capacity(nodes.len() + 1);
    let mut done = 0;
    while let Some(change) = changes.first() {
        let touched = position(nodes, change.key()).max(done);
        let here = match nodes.get(touched + 1) {
            Some(next) => changes.partition_point(|c| c.key() < next.first()),
            None => changes.len(),
        };
        out.extend_from_slice(&nodes[done..touched]);
        for node in N::rebuilt(Some(&nodes[touched]), &changes[..here]) {
            match out.last() {
                Some(left) if node.children() < N::FEWEST => {
                    let joined = N::joined(left, &node);
                    out.pop();
                    out.extend(joined);
                }
                _ => out.push(node),
            }
        }
        done = touched + 1;
        changes = &changes[here..];
    }
    out.extend_from_slice(&nodes[done..]);
    out
}

#[derive(Debug)]
struct Branch {
    segments: Vec<Arc<Segment>>,
    len: usize,
    text_len: usize,
    fingerprint: u64,
}

impl Branch {
    fn split(segments: Vec<Arc<Segment>>) -> Vec<Arc<Self>> {
        let pieces = segments.len().div_ceil(MOST).max(1);
        segments
            .chunks(segments.len().div_ceil(pieces).max(1))
            .map(|piece| Arc::new(Self::new(piece.to_vec())))
            .collect()
    }

    fn new(segments: Vec<Arc<Segment>>) -> Self {
        let len = segments.iter().map(|s| s.children()).sum();
        let text_len = segments.iter().map(|s| s.text().len()).sum();
        let fingerprint = segments
            .iter()
            .fold(0, |sum: u64, s| sum.wrapping_add(s.fingerprint()));
        Self {
            segments,
            len,
            text_len,
            fingerprint,
        }
    }
}

impl Node for Branch {
    const FEWEST: usize = FEWEST;

    fn first(&self) -> Key<'_> {
        self.segments[0].first()
    }

    fn children(&self) -> usize {
        self.segments.len()
    }

    fn rebuilt(old: Option<&Self>, changes: &[Event]) -> Vec<Arc<Self>> {
        Self::split(rebuild(old.map_or(&[][..], |b| &b.segments), changes))
    }

    fn joined(left: &Self, right: &Self) -> Vec<Arc<Self>> {
        Self::split(
            left.segments
                .iter()
                .chain(&right.segments)
                .cloned()
                .collect(),
        )
    }
}

/// All records, in order. Cloning copies the root's pointers.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    branches: Vec<Arc<Branch>>,
}

impl Tree {
    /// The tree with these changes; where a key occurs more than once, the newest version of it wins.
    pub(super) fn apply(&self, mut changes: Vec<Event>) -> Self {
        let order = |e: &Event| e.deployment().resource_version;
        changes.sort_by(|a, b| a.key().cmp(&b.key()).then(order(b).cmp(&order(a))));
        changes.dedup_by(|later, first| later.key() == first.key());
        Self {
            branches: rebuild(&self.branches, &changes),
        }
    }

    pub(super) fn get(&self, key: Key<'_>) -> Option<Record<'_>> {
        self.find(key).map(|(_, record)| record)
    }

    /// The record of that key, and its place: branch, segment, position.
    pub(super) fn find(&self, key: Key<'_>) -> Option<((usize, usize, usize), Record<'_>)> {
        let b = position(&self.branches, key);
        let segments = &self.branches.get(b)?.segments;
        let s = position(segments, key);
        let segment = segments.get(s)?;
        let p = segment.position(key)?;
        Some(((b, s, p), segment.record(p)))
    }

    /// For every segment a mask with a bit for each of its records, none of them set.
    pub(super) fn masks(&self) -> Vec<Vec<u128>> {
        self.branches
            .iter()
            .map(|b| vec![0; b.segments.len()])
            .collect()
    }

    /// The records whose bits aren't set in such masks.
    pub(super) fn unset<'a>(&'a self, masks: &'a [Vec<u128>]) -> impl Iterator<Item = Record<'a>> {
        let segments = self.branches.iter().flat_map(|b| &b.segments);
        segments
            .zip(masks.iter().flatten())
            .flat_map(|(segment, mask)| {
                let left = (0..segment.children()).filter(move |p| mask >> p & 1 == 0);
                left.map(|p| segment.record(p))
            })
    }

    pub(super) fn len(&self) -> usize {
        self.branches.iter().map(|b| b.len).sum()
    }

    /// Bytes of all records with a comma before each.
    pub(super) fn text_len(&self) -> usize {
        self.branches.iter().map(|b| b.text_len).sum()
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.branches
            .iter()
            .fold(0, |sum, b| sum.wrapping_add(b.fingerprint))
    }

    /// The segment that follows a place, and the place after it; a place is (branch, segment).
    pub(super) fn segment_at(
        &self,
        (branch, segment): (usize, usize),
    ) -> Option<(&Segment, (usize, usize))> {
        let segments = &self.branches.get(branch)?.segments;
        let next = if segment + 1 < segments.len() {
            (branch, segment + 1)
        } else {
            (branch + 1, 0)
        };
        segments.get(segment).map(|s| (&**s, next))
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.branches
            .iter()
            .flat_map(|b| &b.segments)
            .flat_map(|s| s.records())
    }

    /// The records from the first one of `namespace` on.
    pub(super) fn records_from<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = Record<'a>> {
        let key = Key::new(namespace, "");
        let branch = position(&self.branches, key);
        let segment = self
            .branches
            .get(branch)
            .map_or(0, |b| position(&b.segments, key));
        std::iter::successors(self.segment_at((branch, segment)), |(_, next)| {
            self.segment_at(*next)
        })
        .flat_map(|(segment, _)| segment.records())
        .skip_while(move |r| r.key() < key)
    }
}
