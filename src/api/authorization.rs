//! Whether a caller may do what it asks for, before anything is looked up, and again on the state that its write is
//! conditional on.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use uuid::Uuid;

use super::{
    Api, ApiError,
    error::COME_BACK,
    path::{shown, valid_names},
};
use crate::{
    access::{self, Authorization, Bounds, Caller, Decision, Denied, Reviewer, Rule, Verb},
    image_reference::ImageReference,
    kubernetes::{AccessReviewError, Details},
    selector::Labels,
    store::{Annotation, AnnotationBounds, Record, Snapshot, View, Visible},
};

/// A Deployment's labels as the store has them.
pub(super) struct LabelsOf<'a>(pub(super) Record<'a>);

impl Labels for LabelsOf<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.label(key)
    }
}

/// Judges a request for one Deployment. Whether that exists makes no difference to somebody who may not know.
pub(super) fn authorize(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    (namespace, name): (&str, &str),
) -> Result<(), ApiError> {
    let permissions = &caller.permissions;
    let allowed = if permissions.looks_at_labels() {
        let snapshot = api.status.store().present();
        if snapshot.synced() && snapshot.has_labels(namespace, &caller.rules.labels) {
            let labels = snapshot.get(namespace, name).map(LabelsOf);
            let labels = labels.as_ref().map(|labels| labels as &dyn Labels);
            permissions
                .decide(verb, namespace, name, labels)
                .is_allowed()
        } else {
            // Whoever isn't judged by what isn't known yet doesn't wait for it.
            permissions
                .decide_without_labels(verb, namespace, name)
                .ok_or(ApiError::NotSynced)?
        }
    } else {
        permissions.decide(verb, namespace, name, None).is_allowed()
    };
    if allowed {
        Ok(())
    } else {
        Err(forbidden(caller, verb, Some((namespace, name))))
    }
}

/// The rule that decides over a request for one Deployment, as far as that is known without asking for it.
pub(super) fn rule(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    (namespace, name): (&str, &str),
) -> Option<String> {
    let snapshot = api.status.store().snapshot();
    let labels = snapshot.get(namespace, name).map(LabelsOf);
    let labels = labels.as_ref().map(|labels| labels as &dyn Labels);
    let decision = caller.permissions.decide(verb, namespace, name, labels);
    decision.rule().map(|rule| rule.name().to_owned())
}

/// Asks the cluster whether a request for one Deployment is allowed.
pub(super) async fn review(
    reviewer: &Reviewer,
    caller: &Caller,
    verb: Verb,
    names: (&str, &str),
) -> Result<(), ApiError> {
    let Ok(principal) = &caller.principal else {
        return Err(forbidden(caller, verb, Some(names)));
    };
    // The cluster isn't asked of what can't exist.
    valid_names(names)?;
    let may = reviewer.may(principal, verb, Some(names.0), Some(names.1));
    may.await.map_err(denied)
}

/// Whether the cluster, where it decides, says that the caller may not set the count. What it doesn't say is left to the write.
pub(super) async fn may_not_scale(caller: &Caller, (namespace, name): (&str, &str)) -> bool {
    let (Some(reviewer), Ok(principal)) = (&caller.rules.reviewer, &caller.principal) else {
        return false;
    };
    let may = reviewer.may(principal, Verb::Scale, Some(namespace), Some(name));
    matches!(may.await, Err(Denied::No { .. }))
}

/// What the caller may see of a snapshot where the cluster decides; `None` for all of it.
pub(super) async fn reviewed_view(
    reviewer: &Reviewer,
    caller: &Caller,
    verb: Verb,
    snapshot: &Arc<Snapshot>,
) -> Result<Option<View>, ApiError> {
    let Ok(principal) = &caller.principal else {
        return Err(forbidden(caller, verb, None));
    };
    let seen = reviewer.sees(principal, verb, namespaces(snapshot)).await;
    match seen.map_err(denied)? {
        access::Visible::All => Ok(None),
        access::Visible::Namespaces(some) if some.is_empty() => Err(forbidden(caller, verb, None)),
        some => Ok(Some(snapshot.view(|namespace| {
            if some.contains(namespace) {
                Visible::<fn(&Record<'_>) -> bool>::All
            } else {
                Visible::None
            }
        }))),
    }
}

/// Which of these namespaces the cluster lets a caller watch; none is an error.
pub(super) async fn watchable(
    reviewer: &Reviewer,
    caller: &Caller,
    namespaces: impl Iterator<Item = String>,
) -> Result<access::Visible, ApiError> {
    let Ok(principal) = &caller.principal else {
        return Err(forbidden(caller, Verb::Watch, None));
    };
    let seen = reviewer.sees(principal, Verb::Watch, namespaces).await;
    match seen.map_err(denied)? {
        access::Visible::Namespaces(some) if some.is_empty() => {
            Err(forbidden(caller, Verb::Watch, None))
        }
        seen => Ok(seen),
    }
}

fn denied(why: Denied) -> ApiError {
    match &why {
        Denied::No { .. } => ApiError::Forbidden(why.to_string()),
        Denied::Unavailable(AccessReviewError::Credentials { .. }) => ApiError::Credentials,
        Denied::Unavailable(AccessReviewError::NoTurn(why)) => ApiError::NoTurn(*why),
        Denied::Unavailable(_) => ApiError::Unavailable {
            retry_after: why.retry_after().unwrap_or(COME_BACK),
            why: why.to_string(),
        },
    }
}

/// What the caller may see of a snapshot with this verb; `None` for all of it.
pub(super) fn view(
    caller: &Caller,
    verb: Verb,
    snapshot: &Arc<Snapshot>,
) -> Result<Option<View>, ApiError> {
    let permissions = &caller.permissions;
    if permissions.sees_everything(verb) {
        return Ok(None);
    }
    let known = Cell::new(true);
    let view = snapshot.view(
        |namespace| match permissions.sees_namespace(verb, namespace) {
            Some(true) => Visible::All,
            Some(false) => Visible::None,
            None => {
                let labels_known = !permissions.looks_at_labels()
                    || snapshot.has_labels(namespace, &caller.rules.labels);
                let known = &known;
                Visible::Each(move |record: &Record<'_>| {
                    let (namespace, name) = (record.namespace(), record.name());
                    if labels_known {
                        let labels = LabelsOf(*record);
                        let decision = permissions.decide(verb, namespace, name, Some(&labels));
                        return decision.is_allowed();
                    }
                    let decided = permissions.decide_without_labels(verb, namespace, name);
                    known.set(known.get() && decided.is_some());
                    decided.unwrap_or(false)
                })
            }
        },
    );
    if known.get() {
        Ok(Some(view))
    } else {
        Err(ApiError::NotSynced)
    }
}

/// Judges a request for all Deployments: those that the caller may not see are left out later.
pub(super) fn authorize_list(caller: &Caller, verb: Verb) -> Result<(), ApiError> {
    if caller.permissions.may_ever(verb) {
        Ok(())
    } else {
        Err(forbidden(caller, verb, None))
    }
}

/// Judges a request for a namespace's Deployments: those that the caller may not see are left out later.
pub(super) fn authorize_namespace(
    caller: &Caller,
    verb: Verb,
    namespace: &str,
) -> Result<(), ApiError> {
    match caller.permissions.sees_namespace(verb, namespace) {
        Some(false) => Err(forbidden(caller, verb, None)),
        _ => Ok(()),
    }
}

/// What a caller sees of a snapshot, record by record.
pub(super) enum Sight {
    /// All of it.
    All,
    /// All of these namespaces.
    Namespaces(BTreeSet<String>),
    /// What the caller's policy lets it see with this verb.
    Judged(Arc<Caller>, Verb),
}

impl Sight {
    /// Of one namespace of the snapshot or of all. The cluster is asked where it decides.
    pub(super) async fn of(
        caller: &Arc<Caller>,
        verb: Verb,
        namespace: Option<&str>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Self, ApiError> {
        Self::of_past(caller, verb, namespace, snapshot, &[]).await
    }

    /// The same with `others`, namespaces that may have nothing in them now.
    pub(super) async fn of_past(
        caller: &Arc<Caller>,
        verb: Verb,
        namespace: Option<&str>,
        snapshot: &Arc<Snapshot>,
        others: &[&str],
    ) -> Result<Self, ApiError> {
        let Some(reviewer) = &caller.rules.reviewer else {
            return Ok(if caller.permissions.sees_everything(verb) {
                Self::All
            } else {
                Self::Judged(Arc::clone(caller), verb)
            });
        };
        let Ok(principal) = &caller.principal else {
            return Err(forbidden(caller, verb, None));
        };
        let namespaces = match namespace {
            Some(namespace) => vec![namespace.to_owned()],
            None => namespaces(snapshot),
        };
        let others = others.iter().map(|n| (*n).to_owned());
        let namespaces = namespaces.into_iter().chain(others);
        match reviewer.sees(principal, verb, namespaces).await {
            Err(why) => Err(denied(why)),
            Ok(access::Visible::All) => Ok(Self::All),
            Ok(access::Visible::Namespaces(some)) if some.is_empty() => {
                Err(forbidden(caller, verb, None))
            }
            Ok(access::Visible::Namespaces(some)) => Ok(Self::Namespaces(some)),
        }
    }

    /// Judges what happened to a Deployment: by what it is in the snapshot, and if it is gone, by rules that look at no labels;
    /// `None` where that takes labels that the snapshot doesn't have yet.
    pub(super) fn sees_past(
        &self,
        snapshot: &Snapshot,
        (namespace, name): (&str, &str),
        uid: Uuid,
    ) -> Option<bool> {
        let (caller, verb) = match self {
            Self::All => return Some(true),
            Self::Namespaces(some) => return Some(some.contains(namespace)),
            Self::Judged(caller, verb) => (caller, *verb),
        };
        let permissions = &caller.permissions;
        let without = permissions.decide_without_labels(verb, namespace, name);
        let record = snapshot.get(namespace, name).filter(|r| r.uid() == uid);
        match record {
            _ if without.is_some() => without,
            None => Some(false),
            Some(record) => {
                let known = snapshot.has_labels(namespace, &caller.rules.labels);
                let judge = || permissions.decide(verb, namespace, name, Some(&LabelsOf(record)));
                known.then(|| judge().is_allowed())
            }
        }
    }

    /// Judges records of the snapshot, fastest in its order; `None` where that takes labels that it doesn't have.
    pub(super) fn over<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl FnMut(&Record<'a>) -> Option<bool> + 'a {
        let mut last: Option<(&str, Option<bool>, bool)> = None;
        move |record| {
            let (namespace, name) = (record.namespace(), record.name());
            let (_, alike, labels_known) = match last {
                Some(known) if known.0 == namespace => known,
                _ => *last.insert(match self {
                    Self::All => (namespace, Some(true), true),
                    Self::Namespaces(some) => (namespace, Some(some.contains(namespace)), true),
                    Self::Judged(caller, verb) => {
                        let permissions = &caller.permissions;
                        let known = !permissions.looks_at_labels()
                            || snapshot.has_labels(namespace, &caller.rules.labels);
                        let alike = permissions.sees_namespace(*verb, namespace);
                        (namespace, alike, known)
                    }
                }),
            };
            let Self::Judged(caller, verb) = self else {
                return alike;
            };
            let permissions = &caller.permissions;
            if alike.is_some() {
                alike
            } else if labels_known {
                let labels = LabelsOf(*record);
                let decision = permissions.decide(*verb, namespace, name, Some(&labels));
                Some(decision.is_allowed())
            } else {
                permissions.decide_without_labels(*verb, namespace, name)
            }
        }
    }
}

/// The namespaces of a snapshot that have Deployments.
fn namespaces(snapshot: &Arc<Snapshot>) -> Vec<String> {
    let mut namespaces = Vec::new();
    snapshot.view(|namespace| {
        namespaces.push(namespace.to_owned());
        Visible::<fn(&Record<'_>) -> bool>::None
    });
    namespaces
}

/// The decision over a Deployment as it is read, or as a write finds it.
pub(super) fn permit<'c>(
    caller: &'c Caller,
    verb: Verb,
    names: (&str, &str),
    labels: &dyn Labels,
) -> Result<Decision<'c>, ApiError> {
    let decision = caller
        .permissions
        .decide(verb, names.0, names.1, Some(labels));
    if decision.is_allowed() {
        Ok(decision)
    } else {
        Err(forbidden(caller, verb, Some(names)))
    }
}

/// Judges a count on the record that its write is conditional on, and that `decision` is about.
pub(super) fn judge_count(
    decision: &Decision<'_>,
    caller: &Caller,
    record: &Record<'_>,
    to: i32,
) -> Result<(), ApiError> {
    let server = Bounds::up_to(caller.rules.writes.max_replicas);
    let annotations = record.annotation_bounds();
    decision.judge_count(record.replicas(), to, &annotations, &server)?;
    Ok(())
}

/// The counts that the caller may set, as far as server, rule and annotations bound them; `None` if no rule lets it set any.
pub(super) fn bounds(caller: &Caller, names: (&str, &str), deployment: &Details) -> Option<Bounds> {
    let decision = permit(caller, Verb::Scale, names, &deployment.labels).ok()?;
    let of_rule = decision.rule().map(Rule::bounds).unwrap_or_default();
    let of_server = Bounds::up_to(caller.rules.writes.max_replicas);
    let of_annotations = annotation_bounds(deployment).bounds();
    Some(of_server.narrowed_by(&of_rule).narrowed_by(&of_annotations))
}

/// Judges a change of any kind by the annotations of the object that its write is conditional on.
pub(super) fn judge_change(deployment: &Details) -> Result<(), ApiError> {
    annotation_bounds(deployment).judge_change()?;
    Ok(())
}

/// What the annotations of an object say of its count.
pub(super) fn annotation_bounds(deployment: &Details) -> AnnotationBounds {
    let annotation = |which: Annotation| {
        let value = deployment.annotations.get(which.key());
        value.map(String::as_bytes)
    };
    let [min, max, protected] = Annotation::ALL.map(annotation);
    AnnotationBounds::read(min, max, protected)
}

/// Judges an image on the object that its write is conditional on.
pub(super) fn judge_image(
    caller: &Caller,
    names: (&str, &str),
    deployment: &Details,
    image: &ImageReference,
) -> Result<(), ApiError> {
    let decision = permit(caller, Verb::Image, names, &deployment.labels)?;
    judge_change(deployment)?;
    if let Some(rules) = decision.images() {
        rules.judge(image.repository(), image.tag(), image.digest())?;
    }
    Ok(())
}

/// A 403: it names the permission and the caller, and nobody and nothing else.
fn forbidden(caller: &Caller, verb: Verb, names: Option<(&str, &str)>) -> ApiError {
    if let (Some(reviewer), Ok(principal), None) =
        (&caller.rules.reviewer, &caller.principal, names)
    {
        return denied(reviewer.sees_nothing(principal, verb));
    }
    let object = match names {
        Some((namespace, name)) => {
            format!(
                "Deployment {} in namespace {}",
                shown(name),
                shown(namespace)
            )
        }
        None => "Deployments".to_owned(),
    };
    let who = match &caller.principal {
        Ok(principal) => shown(&principal.name),
        Err(_) => "this certificate's bearer".to_owned(),
    };
    let why = match (&caller.rules.authorization, &caller.principal) {
        (Authorization::Any(_), _) => "it is enabled for nobody here".to_owned(),
        (_, Err(why)) => format!("the certificate names no principal, since {why}"),
        (Authorization::Policy(_), _) => "no rule of the policy allows it".to_owned(),
        (Authorization::Kubernetes(_), _) => "the cluster doesn't allow it".to_owned(),
    };
    ApiError::Forbidden(format!(
        "{who} lacks the permission \"{verb}\" for {object}: {why}; ask whoever runs this server"
    ))
}
