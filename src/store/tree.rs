//! The ordered segments, two levels deep: a change copies one segment, one branch of pointers and the root.

use std::{ops::Range, sync::Arc};

use super::{
    record::{Event, Key},
    segment::{Record, Segment},
};

/// Segments in one branch at most, so that copying its pointers stays cheap with a million Deployments.
const MOST: usize = 64;
const FEWEST: usize = 16;
/// Less than every byte of a name, so that joined keys are ordered as pairs are.
const SEPARATOR: u8 = 0;

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

/// A key in one piece, which is compared as its parts are.
fn joined(key: Key<'_>) -> Vec<u8> {
    [key.namespace, &[SEPARATOR], key.name].concat()
}

/// Ordered nodes, and where to look for a key among them.
#[derive(Debug)]
struct Children<N> {
    nodes: Vec<Arc<N>>,
    /// The first key of each, end to end: reading it in the node itself takes four cache misses.
    firsts: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<u32>,
}

impl<N> Clone for Children<N> {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            firsts: self.firsts.clone(),
            ends: self.ends.clone(),
        }
    }
}

impl<N> Default for Children<N> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            firsts: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl<N: Node> Children<N> {
    /// Empty, with room for one more than `others` has: most changes add none.
    fn like(others: &Self) -> Self {
        Self {
            nodes: Vec::with_capacity(others.nodes.len() + 1),
            firsts: Vec::with_capacity(others.firsts.len() + 64),
            ends: Vec::with_capacity(others.ends.len() + 1),
        }
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn start(&self, position: usize) -> usize {
        position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize)
    }

    fn first(&self, position: usize) -> &[u8] {
        &self.firsts[self.start(position)..self.ends[position] as usize]
    }

    /// Where a joined key belongs: the last node that starts at or before it, or the first one.
    fn position(&self, joined: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.first(middle) <= joined {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    fn push(&mut self, node: Arc<N>) {
        self.firsts.extend_from_slice(&joined(node.first()));
        self.ends.push(self.firsts.len() as u32);
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Option<Arc<N>> {
        self.ends.pop();
        self.firsts.truncate(self.start(self.len() - 1));
        self.nodes.pop()
    }

    /// Shares a run of other children.
    fn extend(&mut self, others: &Self, run: Range<usize>) {
        let (from, to) = (others.start(run.start), others.start(run.end));
        let at = self.firsts.len();
        self.firsts.extend_from_slice(&others.firsts[from..to]);
        let moved = |end: &u32| *end - from as u32 + at as u32;
        self.ends.extend(others.ends[run.clone()].iter().map(moved));
        self.nodes.extend_from_slice(&others.nodes[run]);
    }

    /// The children with the changes applied; untouched ones are shared.
    fn rebuilt(&self, mut changes: &[Event]) -> Self {
        let mut out = Self::like(self);
        if self.nodes.is_empty() {
            N::rebuilt(None, changes)
                .into_iter()
                .for_each(|node| out.push(node));
            return out;
        }
        let mut done = 0;
        while let Some(change) = changes.first() {
            let touched = self.position(&joined(change.key())).max(done);
            let here = match self.nodes.get(touched + 1) {
                Some(next) => changes.partition_point(|c| c.key() < next.first()),
                None => changes.len(),
            };
            out.extend(self, done..touched);
            for node in N::rebuilt(Some(&self.nodes[touched]), &changes[..here]) {
                match out.nodes.last() {
                    Some(left) if node.children() < N::FEWEST => {
                        let merged = N::joined(left, &node);
                        out.pop();
                        merged.into_iter().for_each(|node| out.push(node));
                    }
                    _ => out.push(node),
                }
            }
            done = touched + 1;
            changes = &changes[here..];
        }
        out.extend(self, done..self.len());
        out
    }
}

#[derive(Debug)]
struct Branch {
    segments: Children<Segment>,
    len: usize,
    text_len: usize,
    fingerprint: u64,
}

impl Branch {
    fn split(segments: Children<Segment>) -> Vec<Arc<Self>> {
        let count = segments.len();
        if count == 0 {
            return Vec::new();
        }
        if count <= MOST {
            return vec![Arc::new(Self::new(segments))];
        }
        let size = count.div_ceil(count.div_ceil(MOST));
        let runs = (0..count)
            .step_by(size)
            .map(|start| start..count.min(start + size));
        runs.map(|run| {
            let mut piece = Children::default();
            piece.extend(&segments, run);
            Arc::new(Self::new(piece))
        })
        .collect()
    }

    fn new(segments: Children<Segment>) -> Self {
        let nodes = &segments.nodes;
        let len = nodes.iter().map(|s| s.children()).sum();
        let text_len = nodes.iter().map(|s| s.text().len()).sum();
        let fingerprint = nodes
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
        self.segments.nodes[0].first()
    }

    fn children(&self) -> usize {
        self.segments.len()
    }

    fn rebuilt(old: Option<&Self>, changes: &[Event]) -> Vec<Arc<Self>> {
        Self::split(match old {
            Some(branch) => branch.segments.rebuilt(changes),
            None => Children::default().rebuilt(changes),
        })
    }

    fn joined(left: &Self, right: &Self) -> Vec<Arc<Self>> {
        let mut all = left.segments.clone();
        all.extend(&right.segments, 0..right.segments.len());
        Self::split(all)
    }
}

/// All records, in order. Cloning copies the root's pointers.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    branches: Children<Branch>,
}

impl Tree {
    /// The tree with these changes; where a key occurs more than once, the newest version of it wins.
    pub(super) fn apply(&self, mut changes: Vec<Event>) -> Self {
        let order = |e: &Event| e.deployment().resource_version;
        changes.sort_by(|a, b| a.key().cmp(&b.key()).then(order(b).cmp(&order(a))));
        changes.dedup_by(|later, first| later.key() == first.key());
        Self {
            branches: self.branches.rebuilt(&changes),
        }
    }

    pub(super) fn get(&self, key: Key<'_>) -> Option<Record<'_>> {
        self.find(key).map(|(_, record)| record)
    }

    /// The record of that key, and its place: branch, segment, position.
    pub(super) fn find(&self, key: Key<'_>) -> Option<((usize, usize, usize), Record<'_>)> {
        let joined = joined(key);
        let b = self.branches.position(&joined);
        let segments = &self.branches.nodes.get(b)?.segments;
        let s = segments.position(&joined);
        let segment = segments.nodes.get(s)?;
        let p = segment.position(key)?;
        Some(((b, s, p), segment.record(p)))
    }

    /// For every segment a mask with a bit for each of its records, none of them set.
    pub(super) fn masks(&self) -> Vec<Vec<u128>> {
        self.branches
            .nodes
            .iter()
            .map(|b| vec![0; b.segments.len()])
            .collect()
    }

    /// The records whose bits aren't set in such masks.
    pub(super) fn unset<'a>(&'a self, masks: &'a [Vec<u128>]) -> impl Iterator<Item = Record<'a>> {
        self.segments()
            .zip(masks.iter().flatten())
            .flat_map(|(segment, mask)| {
                let left = (0..segment.children()).filter(move |p| mask >> p & 1 == 0);
                left.map(|p| segment.record(p))
            })
    }

    pub(super) fn len(&self) -> usize {
        self.branches.nodes.iter().map(|b| b.len).sum()
    }

    /// Bytes of all records with a comma before each.
    pub(super) fn text_len(&self) -> usize {
        self.branches.nodes.iter().map(|b| b.text_len).sum()
    }

    #[cfg(test)]
    pub(super) fn attributes_len(&self) -> usize {
        self.segments().map(Segment::attributes_len).sum()
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.branches
            .nodes
            .iter()
            .fold(0, |sum, b| sum.wrapping_add(b.fingerprint))
    }

    /// The segment that follows a place, and the place after it; a place is (branch, segment).
    pub(super) fn segment_at(
        &self,
        (branch, segment): (usize, usize),
    ) -> Option<(&Segment, (usize, usize))> {
        let segments = &self.branches.nodes.get(branch)?.segments.nodes;
        let next = if segment + 1 < segments.len() {
            (branch, segment + 1)
        } else {
            (branch + 1, 0)
        };
        segments.get(segment).map(|s| (&**s, next))
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.segments().flat_map(|s| s.records())
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        let branches = self.branches.nodes.iter();
        branches
            .flat_map(|b| &b.segments.nodes)
            .map(|segment| &**segment)
    }

    /// The records from this key on, or from where it would be.
    pub(super) fn records_from<'a>(&'a self, key: Key<'a>) -> impl Iterator<Item = Record<'a>> {
        let joined = joined(key);
        let branch = self.branches.position(&joined);
        let segment = self
            .branches
            .nodes
            .get(branch)
            .map_or(0, |b| b.segments.position(&joined));
        std::iter::successors(self.segment_at((branch, segment)), |(_, next)| {
            self.segment_at(*next)
        })
        .flat_map(|(segment, _)| segment.records())
        .skip_while(move |r| r.key() < key)
    }
}
