//! Which counts may be set: the bounds of a rule, those that a Deployment's annotations add, and the server's own.
//!
//! A count must be within all of them, each judged by itself; none widens another. A count is refused, never changed to fit.

use std::fmt;

use serde::Serialize;

use crate::store::{Annotation, AnnotationBounds};

/// Bounds on counts; what isn't given bounds nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// The least count, 0 to 2147483647.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    /// The largest count, 0 to 2147483647.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
    /// The largest difference between the count that is and the one that is set, 1 to 2147483647.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_step: Option<i32>,
    /// `false` refuses zero whatever `min` is, `true` allows it whatever `min` is; not given, `min` decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_zero: Option<bool>,
}

/// Who set a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetBy {
    /// The server, for all (`--max-replicas`).
    Server,
    /// The policy's rule of this name.
    Rule(Box<str>),
    /// The Deployment's annotations.
    Annotations,
}

/// Why a count may not be set, or a Deployment not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundsViolation {
    /// Zero, which is refused whatever the least count is.
    #[error("0 isn't allowed by {by}: ask for {least} or more")]
    Zero {
        /// The least count that is allowed.
        least: i32,
        /// Whose bound it is.
        by: SetBy,
    },
    /// Too few.
    #[error("{count} is below the minimum of {min} set by {by}: ask for {min} or more")]
    BelowMin {
        /// The count asked for.
        count: i32,
        /// The bound.
        min: i32,
        /// Whose it is.
        by: SetBy,
    },
    /// Too many.
    #[error("{count} is above the maximum of {max} set by {by}: ask for {max} or fewer")]
    AboveMax {
        /// The count asked for.
        count: i32,
        /// The bound.
        max: i32,
        /// Whose it is.
        by: SetBy,
    },
    /// Too much at once.
    #[error(
        "{to} is more than {max_step} away from the present count of {from}, and {by} allows no larger step: go there in smaller ones"
    )]
    Step {
        /// The count that is.
        from: i32,
        /// The count asked for.
        to: i32,
        /// The bound.
        max_step: i32,
        /// Whose it is.
        by: SetBy,
    },
    /// The Deployment's annotations say that nobody changes it through headcount.
    #[error(
        "the Deployment is protected by its annotation {}: whoever may edit the Deployment can remove it",
        Annotation::Protected.key()
    )]
    Protected,
    /// One of the annotations can't be read, so that what it was to forbid isn't known.
    #[error("the Deployment's annotation {} isn't {}: nothing is changed until it is corrected", .0.key(), expected(*.0))]
    Malformed(Annotation),
    /// No count can be within the annotations.
    #[error(
        "the Deployment's annotation {} is larger than its {}: nothing is changed until they are corrected",
        Annotation::MinReplicas.key(),
        Annotation::MaxReplicas.key()
    )]
    Contradiction,
}

impl Bounds {
    /// Bounds that allow everything up to this count.
    pub fn up_to(max: i32) -> Self {
        Self {
            max: Some(max),
            ..Self::default()
        }
    }

    /// Whether the count may be changed from `from` to `to`. What is refused names `by`.
    ///
    /// # Errors
    ///
    /// The first bound that is violated, in the order zero, minimum, maximum, step.
    pub fn judge(&self, from: i32, to: i32, by: &SetBy) -> Result<(), BoundsViolation> {
        let Self {
            min,
            max,
            max_step,
            allow_zero,
        } = *self;
        let by = || by.clone();
        if to == 0 && allow_zero == Some(false) {
            let (least, by) = (min.unwrap_or(1).max(1), by());
            return Err(BoundsViolation::Zero { least, by });
        }
        let excepted = to == 0 && allow_zero == Some(true);
        if let Some(min) = min.filter(|min| to < *min && !excepted) {
            let (count, by) = (to, by());
            return Err(BoundsViolation::BelowMin { count, min, by });
        }
        if let Some(max) = max.filter(|max| to > *max) {
            let (count, by) = (to, by());
            return Err(BoundsViolation::AboveMax { count, max, by });
        }
        match max_step {
            Some(max_step) if to.abs_diff(from) > max_step.unsigned_abs() => {
                let by = by();
                Err(BoundsViolation::Step {
                    from,
                    to,
                    max_step,
                    by,
                })
            }
            _ => Ok(()),
        }
    }

    /// The bounds that allow what both allow: to be shown, since a refusal names the one whose bound it was.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        let both = |a: Option<i32>, b: Option<i32>, choose: fn(i32, i32) -> i32| match (a, b) {
            (Some(a), Some(b)) => Some(choose(a, b)),
            _ => a.or(b),
        };
        let min = both(self.min, other.min, i32::max);
        let zero = self.allows_zero() && other.allows_zero();
        let by_min = min.unwrap_or(0) == 0;
        Self {
            min,
            max: both(self.max, other.max, i32::min),
            max_step: both(self.max_step, other.max_step, i32::min),
            allow_zero: (zero != by_min).then_some(zero),
        }
    }

    /// Whether zero may be set, as far as the step to it isn't too large.
    pub fn allows_zero(&self) -> bool {
        self.allow_zero.unwrap_or(self.min.unwrap_or(0) == 0)
    }
}

/// What the annotations forbid: anything malformed, and a minimum above the maximum, forbids every change.
impl AnnotationBounds {
    /// Whether the Deployment may be changed at all; this is what an image and a restart are judged on.
    ///
    /// # Errors
    ///
    /// When it is protected, or its annotations can't be understood.
    pub fn judge_change(&self) -> Result<(), BoundsViolation> {
        match *self {
            Self {
                protected: true, ..
            } => Err(BoundsViolation::Protected),
            Self {
                malformed: Some(which),
                ..
            } => Err(BoundsViolation::Malformed(which)),
            Self {
                min: Some(min),
                max: Some(max),
                ..
            } if min > max => Err(BoundsViolation::Contradiction),
            _ => Ok(()),
        }
    }

    /// Whether the count may be changed from `from` to `to`.
    ///
    /// # Errors
    ///
    /// As [`Self::judge_change`], and when the count is outside the annotations' bounds.
    pub fn judge(&self, from: i32, to: i32) -> Result<(), BoundsViolation> {
        self.judge_change()?;
        self.bounds().judge(from, to, &SetBy::Annotations)
    }

    /// The counts that they allow, unless they forbid every change.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            min: self.min,
            max: self.max,
            ..Bounds::default()
        }
    }
}

/// What the annotation's value must be.
const fn expected(annotation: Annotation) -> &'static str {
    match annotation {
        Annotation::MinReplicas | Annotation::MaxReplicas => "a whole number from 0 to 2147483647",
        Annotation::Protected => "\"true\" or \"false\"",
    }
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("this server (--max-replicas)"),
            Self::Rule(name) => write!(f, "the rule {name:?}"),
            Self::Annotations => f.write_str("the Deployment's annotations"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds(min: Option<i32>, max: Option<i32>, step: Option<i32>, zero: Option<bool>) -> Bounds {
        Bounds {
            min,
            max,
            max_step: step,
            allow_zero: zero,
        }
    }

    fn said(bounds: Bounds, from: i32, to: i32) -> String {
        let verdict = bounds.judge(from, to, &SetBy::Rule("ci".into()));
        verdict.map_or_else(|violation| violation.to_string(), |()| "allowed".into())
    }

    fn parse(min: Option<&str>, max: Option<&str>, protected: Option<&str>) -> AnnotationBounds {
        AnnotationBounds::read(
            min.map(str::as_bytes),
            max.map(str::as_bytes),
            protected.map(str::as_bytes),
        )
    }

    fn read(min: Option<&str>, max: Option<&str>, protected: Option<&str>, to: i32) -> String {
        let verdict = parse(min, max, protected).judge(3, to);
        verdict.map_or_else(|violation| violation.to_string(), |()| "allowed".into())
    }

    #[test]
    fn no_bounds_allow_every_count() {
        for to in [0, 1, i32::MAX] {
            assert_eq!(said(Bounds::default(), i32::MAX, to), "allowed");
        }
    }

    #[test]
    fn minimum_and_maximum_are_allowed_themselves_and_what_is_outside_is_told_whose_bound_it_is() {
        let bounds = bounds(Some(2), Some(5), None, None);
        assert_eq!(said(bounds, 9, 2), "allowed");
        assert_eq!(said(bounds, 9, 5), "allowed");
        assert_eq!(
            said(bounds, 9, 1),
            "1 is below the minimum of 2 set by the rule \"ci\": ask for 2 or more"
        );
        assert_eq!(
            said(bounds, 9, 6),
            "6 is above the maximum of 5 set by the rule \"ci\": ask for 5 or fewer"
        );
        assert!(said(bounds, 9, 0).starts_with("0 is below the minimum of 2"));
    }

    #[test]
    fn a_step_is_the_difference_in_either_direction() {
        let bounds = bounds(None, None, Some(5), None);
        for (from, to) in [(10, 15), (10, 5), (10, 10), (5, 0), (0, 5)] {
            assert_eq!(said(bounds, from, to), "allowed");
        }
        assert_eq!(
            said(bounds, 10, 16),
            "16 is more than 5 away from the present count of 10, and the rule \"ci\" allows no larger step: go there in smaller ones"
        );
        for (from, to) in [(10, 4), (6, 0), (0, i32::MAX), (i32::MAX, 0)] {
            assert!(
                said(bounds, from, to).contains("larger step"),
                "{from} {to}"
            );
        }
    }

    #[test]
    fn zero_follows_the_minimum_unless_allow_zero_says_otherwise() {
        let zero = |min, allow| said(bounds(min, None, None, allow), 3, 0);
        assert_eq!(zero(None, None), "allowed");
        assert_eq!(zero(Some(0), None), "allowed");
        assert!(zero(Some(2), None).contains("minimum of 2"));
        assert_eq!(zero(Some(2), Some(true)), "allowed");
        for (min, least) in [(None, 1), (Some(0), 1), (Some(2), 2)] {
            let said = format!("0 isn't allowed by the rule \"ci\": ask for {least} or more");
            assert_eq!(zero(min, Some(false)), said);
        }
        // The exception is for zero alone, and not from the step.
        assert!(said(bounds(Some(2), None, None, Some(true)), 3, 1).contains("minimum of 2"));
        assert!(said(bounds(Some(2), None, Some(2), Some(true)), 3, 0).contains("larger step"));
    }

    #[test]
    fn the_count_that_is_there_already_is_judged_as_any_other() {
        let bounds = bounds(Some(2), Some(5), Some(1), None);
        assert_eq!(said(bounds, 5, 5), "allowed");
        assert!(said(bounds, 6, 6).contains("maximum of 5"));
    }

    #[test]
    fn annotations_are_bounds_of_their_own() {
        assert_eq!(read(None, None, None, i32::MAX), "allowed");
        assert_eq!(read(Some("2"), Some("5"), Some("false"), 2), "allowed");
        assert_eq!(
            read(Some("2"), None, None, 0),
            "0 is below the minimum of 2 set by the Deployment's annotations: ask for 2 or more"
        );
        assert_eq!(
            read(None, Some("5"), None, 6),
            "6 is above the maximum of 5 set by the Deployment's annotations: ask for 5 or fewer"
        );
        assert_eq!(read(None, Some("0"), None, 0), "allowed");
        assert_eq!(read(Some("007"), None, None, 7), "allowed");
    }

    #[test]
    fn a_protected_deployment_is_not_changed_at_all() {
        let protected = parse(None, None, Some("true"));
        assert_eq!(protected.judge(3, 3), Err(BoundsViolation::Protected));
        assert_eq!(protected.judge_change(), Err(BoundsViolation::Protected));
        let sentence = BoundsViolation::Protected.to_string();
        assert!(sentence.contains("headcount/protected"), "{sentence}");
    }

    #[test]
    fn annotations_that_cannot_be_understood_forbid_every_change() {
        for bad in [
            "",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "2147483648",
            "many",
            "0x1",
            "١",
        ] {
            for (min, max, key) in [
                (Some(bad), None, "headcount/min-replicas"),
                (None, Some(bad), "headcount/max-replicas"),
            ] {
                let sentence = read(min, max, None, 3);
                assert!(sentence.contains(key), "{bad:?}: {sentence}");
                assert!(parse(min, max, None).judge_change().is_err());
            }
        }
        for bad in ["", "True", "yes", "1", " true"] {
            let sentence = read(None, None, Some(bad), 3);
            assert!(
                sentence.contains("headcount/protected isn't \"true\" or \"false\""),
                "{sentence}"
            );
        }
        let contradiction = read(Some("5"), Some("3"), None, 4);
        assert!(
            contradiction.contains("headcount/min-replicas is larger"),
            "{contradiction}"
        );
    }

    fn any_bounds() -> impl Strategy<Value = Bounds> {
        let count = || proptest::option::of(0..6);
        (
            count(),
            count(),
            proptest::option::of(1..4),
            any::<Option<bool>>(),
        )
            .prop_map(|(min, max, step, zero)| bounds(min, max, step, zero))
    }

    proptest! {
        #[test]
        fn narrowed_bounds_allow_what_both_allow(a in any_bounds(), b in any_bounds(), from in 0..8, to in 0..8) {
            let allows = |bounds: Bounds| bounds.judge(from, to, &SetBy::Server).is_ok();
            prop_assert_eq!(allows(a.narrowed_by(&b)), allows(a) && allows(b));
            prop_assert_eq!(a.narrowed_by(&b), b.narrowed_by(&a));
        }
    }
}
