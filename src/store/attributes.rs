//! What of an object's labels and annotations is kept: the labels that somebody asks for, and the bounds.
//!
//! Packed into bytes, so that a segment holds those of its records in one piece and most records cost nothing. Owns that
//! form; never decides what a label or a bound means.

use std::collections::BTreeMap;

/// The keys of the labels that records have; the others aren't kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelKeys(Box<[Box<str>]>);

impl LabelKeys {
    /// The key that is these bytes, if it is one of them.
    pub fn find(&self, key: &[u8]) -> Option<&str> {
        let found = self.0.binary_search_by(|k| k.as_bytes().cmp(key));
        found.ok().map(|at| &*self.0[at])
    }

    /// Whether every key of `others` is one of these.
    pub fn include(&self, others: &Self) -> bool {
        others.iter().all(|key| self.find(key.as_bytes()).is_some())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, sorted, each once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| &**key)
    }
}

impl<K: Into<Box<str>>> FromIterator<K> for LabelKeys {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut keys: Vec<_> = keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Self(keys.into_boxed_slice())
    }
}

/// An annotation that bounds the count of its Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotation {
    /// The least count: a whole number from 0 to 2147483647, in digits alone.
    MinReplicas,
    /// The largest count, written alike.
    MaxReplicas,
    /// Whether the count mustn't be changed: `true` or `false`.
    Protected,
}

impl Annotation {
    /// All that are read.
    pub const ALL: [Self; 3] = [Self::MinReplicas, Self::MaxReplicas, Self::Protected];

    /// Its key in the Deployment's metadata.
    pub const fn key(self) -> &'static str {
        match self {
            Self::MinReplicas => "headcount/min-replicas",
            Self::MaxReplicas => "headcount/max-replicas",
            Self::Protected => "headcount/protected",
        }
    }
}

/// The bounds that a Deployment's annotations set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnnotationBounds {
    /// The least count, 0 or more.
    pub min: Option<i32>,
    /// The largest count, 0 or more; nothing keeps an annotation's author from setting it below `min`.
    pub max: Option<i32>,
    /// Whether the count mustn't be changed at all.
    pub protected: bool,
    /// The first annotation that says nothing that can be understood: what it was to forbid isn't known.
    pub malformed: Option<Annotation>,
}

impl AnnotationBounds {
    /// Reads the annotations' values, each if it is there.
    pub fn read(min: Option<&[u8]>, max: Option<&[u8]>, protected: Option<&[u8]>) -> Self {
        let mut malformed = None;
        let mut count = |value: Option<&[u8]>, annotation| {
            let read = value.map(count);
            if read == Some(None) {
                malformed = malformed.or(Some(annotation));
            }
            read.flatten()
        };
        let (min, max) = (
            count(min, Annotation::MinReplicas),
            count(max, Annotation::MaxReplicas),
        );
        let protected = match protected {
            None | Some(b"false") => false,
            Some(b"true") => true,
            Some(_) => {
                malformed = malformed.or(Some(Annotation::Protected));
                false
            }
        };
        Self {
            min,
            max,
            protected,
            malformed,
        }
    }
}

/// A count in digits alone: the sign that Rust's own parser takes is nothing that people write on purpose.
fn count(text: &[u8]) -> Option<i32> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// A GitOps tool that applies Deployments from elsewhere, by the kind of its own object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitOps {
    /// Flux.
    Kustomization,
    /// Flux, for a Helm chart.
    HelmRelease,
    /// Argo CD.
    Application,
}

impl GitOps {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kustomization, Self::HelmRelease, Self::Application];

    /// The kind, as the tool's objects have it.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
            Self::Application => "Application",
        }
    }

    /// What managed fields call whoever applies its objects, unless somebody has renamed it.
    pub const fn field_manager(self) -> &'static str {
        match self {
            Self::Kustomization => "kustomize-controller",
            Self::HelmRelease => "helm-controller",
            Self::Application => "argocd-controller",
        }
    }
}

/// By tool, in the order of [`GitOps::ALL`], which of its objects marks a Deployment as its own: `namespace/name` of Flux,
/// `name` of Argo CD.
pub type Marks<T> = [Option<T>; GitOps::ALL.len()];

/// What is kept of one object's labels and annotations; empty for most, and then without memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Box<[u8]>);

impl Attributes {
    /// Of labels, where a later one of the same key wins, and of bounds.
    pub fn new<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        bounds: AnnotationBounds,
    ) -> Self {
        Self::marked(labels, bounds, Marks::<&str>::default())
    }

    /// The same with marks of GitOps tools.
    pub fn marked<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        bounds: AnnotationBounds,
        marks: Marks<impl AsRef<str>>,
    ) -> Self {
        // Sorted, so that equal attributes are equal bytes.
        let labels: BTreeMap<_, _> = labels.into_iter().collect();
        let unmarked = marks.iter().all(Option::is_none);
        if labels.is_empty() && unmarked && bounds == AnnotationBounds::default() {
            return Self::default();
        }
        let mut out = vec![0; HEAD];
        pack_bounds(&mut out, bounds);
        for (tool, mark) in marks.iter().enumerate() {
            if let Some(mark) = mark {
                out[HEAD] |= MARKED << tool;
                pack_text(&mut out, mark.as_ref());
            }
        }
        for (key, value) in labels {
            pack_text(&mut out, key);
            pack_text(&mut out, value);
        }
        let length = out.len() as u32;
        out[..HEAD].copy_from_slice(&length.to_le_bytes());
        Self(out.into_boxed_slice())
    }

    pub(super) fn packed(&self) -> Packed<'_> {
        Packed(&self.0)
    }

    /// The value of a label that is kept.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.packed().label(key)
    }
}

/// Bytes before the content: the length of the whole.
const HEAD: usize = size_of::<u32>();
/// The content starts with a byte of these flags, and the counts and marks that they announce; labels follow.
const MIN: u8 = 1;
const MAX: u8 = 1 << 1;
const PROTECTED: u8 = 1 << 2;
/// From this bit on, in two bits: 0, or the position of the malformed annotation, plus one.
const MALFORMED: u32 = 3;
/// The mark of the first tool; those of the others are in the bits above.
const MARKED: u8 = 1 << 5;

fn pack_bounds(out: &mut Vec<u8>, bounds: AnnotationBounds) {
    let AnnotationBounds {
        min,
        max,
        protected,
        malformed,
    } = bounds;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let position = malformed.and_then(|m| Annotation::ALL.iter().position(|a| *a == m));
    out.push(
        flag(min.is_some(), MIN)
            | flag(max.is_some(), MAX)
            | flag(protected, PROTECTED)
            | (position.map_or(0, |p| p as u8 + 1) << MALFORMED),
    );
    for count in [min, max].into_iter().flatten() {
        out.extend_from_slice(&count.to_le_bytes());
    }
}

/// Text with its length before it; Kubernetes allows keys of 317 bytes and values of 63.
fn pack_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(u16::MAX as usize)];
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Attributes in their packed form, borrowed; empty for those that say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    pub(super) const EMPTY: Self = Self(&[]);

    /// The attributes that `bytes` start with.
    pub(super) fn at_start(bytes: &'a [u8]) -> Self {
        let length = bytes.first_chunk::<HEAD>().map(|b| u32::from_le_bytes(*b));
        Self(&bytes[..length.map_or(0, |l| l as usize)])
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn to_attributes(self) -> Attributes {
        Attributes(self.0.into())
    }

    pub(super) fn bounds(self) -> AnnotationBounds {
        self.split()
            .map_or_else(Default::default, |(bounds, _)| bounds)
    }

    /// `None` if there is none.
    pub(super) fn marks(self) -> Option<Marks<&'a str>> {
        // Their flags are the highest.
        if *self.0.get(HEAD)? < MARKED {
            return None;
        }
        self.split_marks().map(|(marks, _)| marks)
    }

    pub(super) fn label(self, key: &str) -> Option<&'a str> {
        let (_, mut rest) = self.split_marks()?;
        while !rest.is_empty() {
            let found = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            if found == key.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
        None
    }

    /// The marks, and the labels behind them.
    fn split_marks(self) -> Option<(Marks<&'a str>, &'a [u8])> {
        let flags = self.0.get(HEAD)?;
        let (_, mut rest) = self.split()?;
        let mut marks = Marks::default();
        for (tool, mark) in marks.iter_mut().enumerate() {
            if flags & (MARKED << tool) != 0 {
                *mark = std::str::from_utf8(take_text(&mut rest)?).ok();
            }
        }
        Some((marks, rest))
    }

    /// The bounds, and the marks and labels behind them.
    fn split(self) -> Option<(AnnotationBounds, &'a [u8])> {
        let (flags, mut rest) = self.0.get(HEAD..)?.split_first()?;
        let mut count = |flag: u8| {
            let present = flags & flag != 0;
            let (bytes, left) = rest.split_first_chunk().filter(|_| present)?;
            rest = left;
            Some(i32::from_le_bytes(*bytes))
        };
        let bounds = AnnotationBounds {
            min: count(MIN),
            max: count(MAX),
            protected: flags & PROTECTED != 0,
            malformed: usize::from(flags >> MALFORMED & 0b11)
                .checked_sub(1)
                .and_then(|p| Annotation::ALL.get(p).copied()),
        };
        Some((bounds, rest))
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (text, left) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = left;
    Some(text)
}

/// The attributes of one segment's records, end to end.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    bytes: Vec<u8>,
    last: Option<u32>,
}

/// The place on a shelf of a record without attributes.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Shelf {
    /// Where these stand from now on: neighbours that are equal share a place, as those of one namespace often do.
    pub(super) fn put(&mut self, attributes: Packed<'_>) -> u32 {
        if attributes.is_empty() {
            return NOWHERE;
        }
        match self.last {
            Some(last) if Packed::at_start(&self.bytes[last as usize..]) == attributes => last,
            _ => {
                let place = self.bytes.len() as u32;
                self.bytes.extend_from_slice(attributes.bytes());
                *self.last.insert(place)
            }
        }
    }

    pub(super) fn into_bytes(self) -> Box<[u8]> {
        self.bytes.into_boxed_slice()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(min: &str, max: &str, protected: &str) -> AnnotationBounds {
        let value = |text: &'static str| Some(text.as_bytes()).filter(|t| !t.is_empty());
        let leaked = |text: &str| value(String::leak(text.to_owned()));
        AnnotationBounds::read(leaked(min), leaked(max), leaked(protected))
    }

    #[test]
    fn bounds_are_whole_numbers_and_protection_is_true_or_false() {
        let bounds = read("0", "2147483647", "true");
        assert_eq!((bounds.min, bounds.max), (Some(0), Some(i32::MAX)));
        assert_eq!((bounds.protected, bounds.malformed), (true, None));
        assert_eq!(read("", "", "false"), AnnotationBounds::default());
        assert_eq!(read("007", "", "").min, Some(7));
    }

    #[test]
    fn what_is_not_understood_is_told_and_the_others_still_hold() {
        for bad in [
            "+1",
            "-1",
            "1.0",
            " 1",
            "1 ",
            "1e3",
            "0x1",
            "2147483648",
            "two",
            "١",
            "\0",
        ] {
            let bounds = read(bad, "9", "");
            assert_eq!(bounds.malformed, Some(Annotation::MinReplicas), "{bad:?}");
            assert_eq!((bounds.min, bounds.max), (None, Some(9)), "{bad:?}");
            let bounds = read("1", bad, "true");
            assert_eq!(bounds.malformed, Some(Annotation::MaxReplicas), "{bad:?}");
        }
        for bad in ["True", "yes", "1", "true ", "TRUE"] {
            let bounds = read("1", "", bad);
            assert_eq!(bounds.malformed, Some(Annotation::Protected), "{bad:?}");
        }
        let all = read("x", "y", "z");
        assert_eq!(all.malformed, Some(Annotation::MinReplicas));
    }

    #[test]
    fn an_empty_annotation_is_malformed_and_not_absent() {
        let bounds = AnnotationBounds::read(None, Some(b""), None);
        // An empty text is no number: digits alone, at least one.
        assert_eq!(bounds.malformed, Some(Annotation::MaxReplicas));
        let bounds = AnnotationBounds::read(None, None, Some(b""));
        assert_eq!(bounds.malformed, Some(Annotation::Protected));
        let bounds = AnnotationBounds::read(Some(b"\xff"), None, None);
        assert_eq!(bounds.malformed, Some(Annotation::MinReplicas));
    }

    #[test]
    fn attributes_that_say_nothing_take_no_memory() {
        let nothing = Attributes::new([], AnnotationBounds::default());
        assert_eq!(nothing, Attributes::default());
        assert!(nothing.packed().is_empty());
        assert_eq!(nothing.packed().label("team"), None);
        assert_eq!(nothing.packed().bounds(), AnnotationBounds::default());
    }

    #[test]
    fn keys_are_found_whatever_their_order_and_include_what_they_hold() {
        let keys: LabelKeys = ["tier", "app", "team", "app"].into_iter().collect();
        assert_eq!(keys.iter().collect::<Vec<_>>(), ["app", "team", "tier"]);
        assert_eq!(keys.find(b"team"), Some("team"));
        assert_eq!(keys.find(b"tea"), None);
        assert!(keys.include(&LabelKeys::default()));
        assert!(keys.include(&["tier"].into_iter().collect()));
        assert!(!keys.include(&["tier", "zone"].into_iter().collect()));
    }

    fn bounds() -> impl Strategy<Value = AnnotationBounds> {
        let count = || prop::option::of(0..=i32::MAX);
        let malformed = prop::option::of(prop::sample::select(&Annotation::ALL[..]));
        (count(), count(), any::<bool>(), malformed).prop_map(|(min, max, protected, malformed)| {
            AnnotationBounds {
                min,
                max,
                protected,
                malformed,
            }
        })
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out_again(
            labels in prop::collection::vec(("[a-c]{1,2}", ".{0,70}"), 0..6), bounds in bounds(),
            marks in prop::array::uniform3(prop::option::of("[a-z/]{1,9}")), behind in "[x]{0,5}"
        ) {
            let pairs = labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            let attributes = Attributes::marked(pairs.clone(), bounds, marks.clone());
            let expected: BTreeMap<_, _> = pairs.collect();
            let followed = [attributes.packed().bytes(), behind.as_bytes()].concat();
            prop_assume!(!attributes.packed().is_empty() || behind.is_empty());
            let packed = Packed::at_start(&followed);
            prop_assert_eq!(packed, attributes.packed());
            prop_assert_eq!(packed.bounds(), bounds);
            prop_assert_eq!(packed.marks().unwrap_or_default().map(|mark| mark.map(str::to_owned)), marks);
            for key in ["a", "b", "c", "aa", "ab", "bc", "cc", "d", ""] {
                prop_assert_eq!(packed.label(key), expected.get(key).copied());
            }
            prop_assert_eq!(packed.to_attributes(), attributes);
        }
    }
}
