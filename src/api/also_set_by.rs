//! Will it stick? Who else sets the count of a Deployment, as reads tell it and writes warn of it.
//!
//! Known from the autoscalers that are followed and from the marks of GitOps tools in the store: nobody is asked.

use http::{HeaderMap, HeaderValue, header};
use serde::{Serialize, Serializer};

use super::{Api, headers};
use crate::{
    kubernetes::{Autoscaler, AutoscalerKind, Details},
    store::{GitOps, Record},
};

/// Something else that sets a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AlsoSetBy {
    Autoscaler(Autoscaler),
    GitOps { tool: GitOps, mark: Box<str> },
}

/// All that is known to set the count of this Deployment: autoscalers, then GitOps tools.
pub(super) fn also_set_by(api: &Api, record: &Record<'_>) -> Vec<AlsoSetBy> {
    let mut all = Vec::new();
    let autoscalers = api.status.autoscalers();
    autoscalers.each_of(record.namespace(), record.name(), |one| {
        all.push(AlsoSetBy::Autoscaler(one.clone()));
    });
    if let Some(marks) = record.marks() {
        for (tool, mark) in GitOps::ALL.into_iter().zip(marks) {
            all.extend(mark.map(|mark| AlsoSetBy::GitOps {
                tool,
                mark: mark.into(),
            }));
        }
    }
    all
}

/// Who else sets the count that a Deployment has, and whether that stays until somebody sets another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sticking {
    pub(super) also_set_by: Vec<AlsoSetBy>,
    /// `None` if that can't be known.
    pub(super) will_stick: Option<bool>,
}

impl Sticking {
    /// By what was read of a Deployment, whose managed fields tell of a mark whether its tool sets the count.
    pub(super) fn of(api: &Api, names: (&str, &str), now: &Details) -> Self {
        let snapshot = api.status.store().snapshot();
        let record = snapshot.get(names.0, names.1);
        let all = record.map(|record| also_set_by(api, &record));
        let followed = api.status.autoscalers().are_known(names.0);
        Self::judge(all.unwrap_or_default(), followed, now)
    }

    /// `followed`: whether all autoscalers are among these.
    fn judge(all: Vec<AlsoSetBy>, followed: bool, now: &Details) -> Self {
        let mut will_stick = followed.then_some(true);
        let mut also_set_by = Vec::new();
        for one in all {
            let sets = match &one {
                AlsoSetBy::Autoscaler(autoscaler) => Some(autoscaler.acts_on(now.replicas)),
                AlsoSetBy::GitOps { tool, .. } => match now.applied_count(tool.field_manager()) {
                    Some(false) => continue,
                    known => known,
                },
            };
            will_stick = match (will_stick, sets) {
                (Some(false), _) | (_, Some(true)) => Some(false),
                (_, None) => None,
                (so_far, Some(false)) => so_far,
            };
            also_set_by.push(one);
        }
        Self {
            also_set_by,
            will_stick,
        }
    }
}

/// Tells of them in a header of a read, as a structured field (RFC 9651); nothing if there are none.
pub(super) fn describe(described: &mut HeaderMap, all: &[AlsoSetBy]) {
    if all.is_empty() {
        return;
    }
    let members: Vec<_> = all.iter().map(AlsoSetBy::member).collect();
    let value = headers::text(members.join(", "));
    described.insert(&headers::ALSO_SET_BY, value);
}

/// Warns of them in headers of a write's answer.
pub(super) fn warn(described: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings {
        // Names are all that comes from outside, and they have no quotes.
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{warning}\"")) {
            described.append(header::WARNING, value);
        }
    }
}

/// The form of one in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_replicas: Option<i32>,
}

impl Serialize for AlsoSetBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = match self {
            Self::Autoscaler(autoscaler) => Shown {
                kind: autoscaler.kind.name(),
                namespace: None,
                name: &autoscaler.name,
                min_replicas: Some(autoscaler.min),
                max_replicas: Some(autoscaler.max),
            },
            Self::GitOps { tool, mark } => {
                let (namespace, name) = match mark.split_once('/') {
                    Some((namespace, name)) => (Some(namespace), name),
                    None => (None, &**mark),
                };
                Shown {
                    kind: tool.kind(),
                    namespace,
                    name,
                    min_replicas: None,
                    max_replicas: None,
                }
            }
        };
        shown.serialize(serializer)
    }
}

impl AlsoSetBy {
    fn member(&self) -> String {
        match self {
            Self::Autoscaler(Autoscaler {
                kind,
                name,
                min,
                max,
                ..
            }) => format!("{}/{name};min={min};max={max}", kind.name()),
            Self::GitOps { tool, mark } => format!("{}/{mark}", tool.kind()),
        }
    }

    /// What becomes of this count, once somebody has set it; in ASCII.
    pub(super) fn warning(&self, count: i32) -> String {
        match self {
            Self::Autoscaler(autoscaler) => fate(autoscaler, count),
            Self::GitOps { tool, mark } => format!(
                "{} {mark} also sets this count, if what it applies has one, and will set it again; change it there",
                tool.kind()
            ),
        }
    }
}

/// What an autoscaler does to a count.
fn fate(autoscaler: &Autoscaler, count: i32) -> String {
    let Autoscaler { min, max, .. } = *autoscaler;
    let keda = autoscaler.kind == AutoscalerKind::ScaledObject;
    let (least, most) = if keda {
        ("minReplicaCount", "maxReplicaCount")
    } else {
        ("minReplicas", "maxReplicas")
    };
    let who = format!(
        "{} {} ({min}-{max})",
        autoscaler.kind.name(),
        autoscaler.name
    );
    match count {
        0 if keda => format!(
            "{who} also sets this count and will raise it from 0 when there is work; pause it instead"
        ),
        0 if !autoscaler.acts_on(0) => {
            format!("{who} does nothing while the count is 0, and goes on as soon as it isn't")
        }
        below if below < min => {
            format!(
                "{who} also sets this count and will raise it to {min}; set its {least} instead"
            )
        }
        above if above > max => {
            format!("{who} also sets this count and will lower it to {max}; set its {most} instead")
        }
        kept if !autoscaler.acts_on(kept) => {
            format!("{who} also sets this count, and leaves {kept} as it is")
        }
        _ => format!("{who} also sets this count and will change it; set its {least} instead"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(kind: AutoscalerKind) -> Autoscaler {
        Autoscaler {
            kind,
            name: "shop".into(),
            min: 2,
            max: 10,
            raises: true,
            lowers: true,
        }
    }

    fn mark(tool: GitOps, mark: &str) -> AlsoSetBy {
        let mark = mark.into();
        AlsoSetBy::GitOps { tool, mark }
    }

    #[test]
    fn a_warning_says_what_becomes_of_the_count() {
        let own = autoscaler(AutoscalerKind::HorizontalPodAutoscaler);
        let who = "HorizontalPodAutoscaler shop (2-10)";
        for (count, end) in [
            (
                0,
                "does nothing while the count is 0, and goes on as soon as it isn't",
            ),
            (
                1,
                "also sets this count and will raise it to 2; set its minReplicas instead",
            ),
            (
                2,
                "also sets this count and will change it; set its minReplicas instead",
            ),
            (
                10,
                "also sets this count and will change it; set its minReplicas instead",
            ),
            (
                11,
                "also sets this count and will lower it to 10; set its maxReplicas instead",
            ),
        ] {
            assert_eq!(fate(&own, count), format!("{who} {end}"));
        }
        let keda = autoscaler(AutoscalerKind::ScaledObject);
        assert!(fate(&keda, 0).contains("will raise it from 0"));
        assert!(fate(&keda, 1).ends_with("set its minReplicaCount instead"));
        let only = Autoscaler { max: 2, ..own };
        assert!(fate(&only, 2).ends_with("(2-2) also sets this count, and leaves 2 as it is"));
        assert!(fate(&only, 3).contains("will lower it to 2"));
        let from_zero = Autoscaler { min: 0, ..only };
        assert!(fate(&from_zero, 0).contains("will change it"));
    }

    /// A Deployment with so many replicas and these managed fields.
    fn deployment(replicas: i32, managed: serde_json::Value) -> Details {
        let object = serde_json::json!({
            "metadata": {"uid": uuid::Uuid::nil(), "managedFields": managed},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": []}}},
        });
        Details::of_json(object).unwrap()
    }

    fn judged(all: Vec<AlsoSetBy>, followed: bool, now: &Details) -> (usize, Option<bool>) {
        let judged = Sticking::judge(all, followed, now);
        (judged.also_set_by.len(), judged.will_stick)
    }

    #[test]
    fn zero_sticks_beside_an_autoscaler_and_not_beside_keda_or_gitops() {
        let none = || serde_json::json!([]);
        let (zero, one) = (deployment(0, none()), deployment(1, none()));
        let own = AlsoSetBy::Autoscaler(autoscaler(AutoscalerKind::HorizontalPodAutoscaler));
        let keda = AlsoSetBy::Autoscaler(autoscaler(AutoscalerKind::ScaledObject));
        assert_eq!(judged(vec![own.clone()], true, &zero), (1, Some(true)));
        assert_eq!(judged(vec![own], true, &one), (1, Some(false)));
        assert_eq!(judged(vec![keda], true, &zero), (1, Some(false)));
        let mark = mark(GitOps::Application, "shop");
        assert_eq!(judged(vec![mark.clone()], true, &zero), (1, Some(false)));
        assert_eq!(judged(vec![mark], false, &zero), (1, Some(false)));
        assert_eq!(judged(vec![], true, &zero), (0, Some(true)));
        assert_eq!(judged(vec![], false, &zero), (0, None));
    }

    #[test]
    fn a_tool_that_applies_no_count_is_not_told_of_and_an_unsure_one_leaves_it_open() {
        let own = AlsoSetBy::Autoscaler(autoscaler(AutoscalerKind::HorizontalPodAutoscaler));
        let flux = mark(GitOps::Kustomization, "flux-system/apps");
        let applies = |time: &str| {
            serde_json::json!({"manager": "kustomize-controller", "operation": "Apply",
                "time": time, "fieldsV1": {"f:spec": {"f:template": {}}}})
        };
        let scaled = serde_json::json!({"manager": "headcount:alice", "operation": "Update", "subresource": "scale",
            "time": "2026-11-28T09:00:05Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        let after = [applies("2026-11-28T09:00:06Z"), scaled.clone()];
        let after = deployment(3, after.into());
        let before = [applies("2026-11-28T09:00:04Z"), scaled];
        let before = deployment(3, before.into());
        assert_eq!(judged(vec![flux.clone()], true, &after), (0, Some(true)));
        assert_eq!(judged(vec![flux.clone()], false, &after), (0, None));
        assert_eq!(judged(vec![flux.clone()], true, &before), (1, None));
        assert_eq!(judged(vec![own, flux], true, &before), (2, Some(false)));
    }

    #[test]
    fn the_header_is_a_list_of_tokens_with_parameters() {
        let mut described = HeaderMap::new();
        describe(&mut described, &[]);
        assert!(described.is_empty());
        let all = [
            AlsoSetBy::Autoscaler(autoscaler(AutoscalerKind::HorizontalPodAutoscaler)),
            mark(GitOps::Kustomization, "flux-system/apps"),
            mark(GitOps::Application, "shop"),
        ];
        describe(&mut described, &all);
        assert_eq!(
            described[&headers::ALSO_SET_BY],
            "HorizontalPodAutoscaler/shop;min=2;max=10, Kustomization/flux-system/apps, Application/shop"
        );
    }
}
