//! Will it stick? Who else sets the count of a Deployment, as reads tell it and writes warn of it.
//!
//! Known from the autoscalers that are followed and from the marks of GitOps tools in the store: nobody is asked.

use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use super::{Api, headers};
use crate::{
    kubernetes::{Autoscaler, AutoscalerKind},
    store::{GitOps, Record},
};

/// Something else that sets a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum AlsoSetBy {
    #[serde(rename_all = "camelCase")]
    Autoscaler {
        kind: &'static str,
        name: Box<str>,
        min_replicas: i32,
        max_replicas: i32,
    },
    GitOps {
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
    },
}

/// All that is known to set the count of this Deployment: autoscalers, then GitOps tools.
pub(super) fn also_set_by(api: &Api, record: &Record<'_>) -> Vec<AlsoSetBy> {
    let mut all = Vec::new();
    let autoscalers = api.status.autoscalers();
    autoscalers.each_of(record.namespace(), record.name(), |one| {
        all.push(AlsoSetBy::from(one));
    });
    if let Some(marks) = record.marks() {
        for (tool, mark) in GitOps::ALL.iter().zip(marks) {
            all.extend(mark.map(|mark| AlsoSetBy::applied(*tool, mark)));
        }
    }
    all
}

/// Whether the count that a Deployment has stays until somebody sets another: `None` if nobody else is known, and autoscalers
/// aren't.
pub(super) fn will_stick(api: &Api, record: &Record<'_>, all: &[AlsoSetBy]) -> Option<bool> {
    if all.iter().any(|one| one.acts_on(record.replicas())) {
        return Some(false);
    }
    let autoscalers = api.status.autoscalers();
    let known = autoscalers.are_known(record.namespace());
    known.then_some(true)
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

impl From<&Autoscaler> for AlsoSetBy {
    fn from(autoscaler: &Autoscaler) -> Self {
        Self::Autoscaler {
            kind: autoscaler.kind.name(),
            name: autoscaler.name.clone(),
            min_replicas: autoscaler.min,
            max_replicas: autoscaler.max,
        }
    }
}

const SCALED_OBJECT: &str = AutoscalerKind::ScaledObject.name();

impl AlsoSetBy {
    fn applied(tool: GitOps, mark: &str) -> Self {
        let (namespace, name) = match mark.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, mark),
        };
        Self::GitOps {
            kind: tool.kind(),
            namespace,
            name: name.to_owned(),
        }
    }

    /// Whether it changes this count by itself: a HorizontalPodAutoscaler leaves 0 alone, KEDA doesn't.
    fn acts_on(&self, count: i32) -> bool {
        match self {
            Self::Autoscaler { kind, .. } => count > 0 || *kind == SCALED_OBJECT,
            Self::GitOps { .. } => true,
        }
    }

    fn member(&self) -> String {
        match self {
            Self::Autoscaler {
                kind,
                name,
                min_replicas,
                max_replicas,
            } => format!("{kind}/{name};min={min_replicas};max={max_replicas}"),
            Self::GitOps {
                kind,
                namespace: Some(namespace),
                name,
            } => format!("{kind}/{namespace}/{name}"),
            Self::GitOps { kind, name, .. } => format!("{kind}/{name}"),
        }
    }

    /// What becomes of this count, once somebody has set it; in ASCII.
    pub(super) fn warning(&self, count: i32) -> String {
        match self {
            Self::Autoscaler {
                kind,
                name,
                min_replicas: min,
                max_replicas: max,
            } => {
                let keda = *kind == SCALED_OBJECT;
                let (least, most) = if keda {
                    ("minReplicaCount", "maxReplicaCount")
                } else {
                    ("minReplicas", "maxReplicas")
                };
                let who = format!("{kind} {name} ({min}-{max})");
                match count {
                    0 if keda => format!(
                        "{who} also sets this count and will raise it from 0 when there is work; pause it instead"
                    ),
                    0 => format!(
                        "{who} does nothing while the count is 0, and goes on as soon as it isn't"
                    ),
                    below if below < *min => format!(
                        "{who} also sets this count and will raise it to {min}; set its {least} instead"
                    ),
                    above if above > *max => format!(
                        "{who} also sets this count and will lower it to {max}; set its {most} instead"
                    ),
                    _ => format!(
                        "{who} also sets this count and will change it; set its {least} instead"
                    ),
                }
            }
            Self::GitOps {
                kind,
                namespace,
                name,
            } => {
                let slash = namespace.as_ref().map(|n| format!("{n}/"));
                let place = slash.unwrap_or_default();
                format!(
                    "{kind} {place}{name} also sets this count, if what it applies has one, and will set it again; change it there"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(kind: AutoscalerKind) -> AlsoSetBy {
        AlsoSetBy::from(&Autoscaler {
            kind,
            name: "shop".into(),
            min: 2,
            max: 10,
        })
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
            assert_eq!(own.warning(count), format!("{who} {end}"));
        }
        let keda = autoscaler(AutoscalerKind::ScaledObject);
        assert!(keda.warning(0).contains("will raise it from 0"));
        assert!(keda.warning(1).ends_with("set its minReplicaCount instead"));
    }

    #[test]
    fn zero_sticks_beside_an_autoscaler_and_not_beside_keda_or_gitops() {
        assert!(!autoscaler(AutoscalerKind::HorizontalPodAutoscaler).acts_on(0));
        assert!(autoscaler(AutoscalerKind::HorizontalPodAutoscaler).acts_on(1));
        assert!(autoscaler(AutoscalerKind::ScaledObject).acts_on(0));
        assert!(AlsoSetBy::applied(GitOps::Application, "shop").acts_on(0));
    }

    #[test]
    fn the_header_is_a_list_of_tokens_with_parameters() {
        let mut described = HeaderMap::new();
        describe(&mut described, &[]);
        assert!(described.is_empty());
        let all = [
            autoscaler(AutoscalerKind::HorizontalPodAutoscaler),
            AlsoSetBy::applied(GitOps::Kustomization, "flux-system/apps"),
            AlsoSetBy::applied(GitOps::Application, "shop"),
        ];
        describe(&mut described, &all);
        assert_eq!(
            described[&headers::ALSO_SET_BY],
            "HorizontalPodAutoscaler/shop;min=2;max=10, Kustomization/flux-system/apps, Application/shop"
        );
    }
}
