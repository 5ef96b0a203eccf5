//! What the server's account may do in the cluster: whether it is what this configuration needs, and what is beyond that.

use std::{collections::BTreeSet, slice, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use super::report::Report;
use crate::{
    access::{Authorization, Verb},
    config::Config,
    kubernetes::{HeldRule, NoAnswer, OwnRights, Right},
};

/// How long all questions may take together.
const ALL: Duration = Duration::from_secs(30);
/// How many are asked at once.
const AT_ONCE: usize = 8;
/// Namespaces whose rules are read for what is beyond need.
const SAMPLED: usize = 16;
/// So many rights that aren't needed are named.
const NAMED: usize = 6;

pub(super) const NEEDED: &str = "permissions.needed";
pub(super) const BEYOND: &str = "permissions.beyond";

/// A right that is needed, for what, and how it is given.
struct Need {
    right: Right,
    purpose: &'static str,
    /// The chart's value that gives it.
    value: &'static str,
    place: Place,
    /// What happens without it, where that isn't everybody's loss.
    otherwise: Option<&'static str>,
}

/// Where a right is needed.
#[derive(PartialEq, Eq)]
enum Place {
    /// In the managed namespaces.
    Managed,
    /// It isn't a namespace's.
    Cluster,
    /// In this namespace, and in no other.
    One(String),
}

impl Need {
    /// The namespaces where it is needed; none are the whole cluster.
    fn namespaces<'a>(&'a self, managed: &'a [String]) -> &'a [String] {
        match &self.place {
            Place::Managed => managed,
            Place::Cluster => &[],
            Place::One(namespace) => slice::from_ref(namespace),
        }
    }

    /// Whether it is needed in this namespace, which is a managed one or the account's own.
    fn is_of(&self, namespace: &str) -> bool {
        !matches!(&self.place, Place::One(only) if only != namespace)
    }
}

const RBAC: &str = "rbac.create";

/// What adds nothing to another right. The chart grants it beside that one, so that a version that uses it can follow.
const IMPLIED: [(Right, Right); 2] = [
    (deployments("get", ""), deployments("list", "")),
    (deployments("get", "scale"), deployments("update", "scale")),
];

fn need(right: Right, purpose: &'static str, value: &'static str) -> Need {
    Need {
        right,
        purpose,
        value,
        place: Place::Managed,
        otherwise: None,
    }
}

const fn deployments(verb: &'static str, subresource: &'static str) -> Right {
    Right {
        verb,
        group: "apps",
        resource: "deployments",
        subresource,
    }
}

/// What this configuration needs, and no more.
fn needs(config: &Config) -> Vec<Need> {
    let may = |verb| match &config.authorization {
        Authorization::Any(verbs) => verbs.contains(verb),
        Authorization::Policy(policy) => policy.allows(verb),
        // The cluster decides that anew with every request.
        Authorization::Kubernetes(_) => true,
    };
    let mut needs = vec![
        need(deployments("list", ""), "reading Deployments", RBAC),
        need(deployments("watch", ""), "following their changes", RBAC),
    ];
    if config.autoscalers {
        for verb in ["list", "watch"] {
            let autoscalers = Right {
                verb,
                group: "autoscaling",
                resource: "horizontalpodautoscalers",
                subresource: "",
            };
            let purpose = "telling who else sets a count";
            needs.push(Need {
                otherwise: Some("callers aren't told whether a count will stick"),
                ..need(autoscalers, purpose, "autoscalers.enabled")
            });
        }
    }
    if !config.writes.read_only && may(Verb::Scale) {
        for verb in ["patch", "update"] {
            needs.push(need(deployments(verb, "scale"), "setting counts", RBAC));
        }
    }
    if let Some(rules) = config.leases.rules() {
        for verb in ["create", "delete", "get", "list", "update", "watch"] {
            let leases = Right {
                verb,
                group: "coordination.k8s.io",
                resource: "leases",
                subresource: "",
            };
            needs.push(Need {
                place: Place::One(rules.namespace.clone()),
                otherwise: Some("no count is leased, and none goes back"),
                ..need(leases, "leases of counts", "leases.enabled")
            });
        }
    }
    let kubernetes = matches!(config.authorization, Authorization::Kubernetes(_));
    let (images, rollouts) = ("images.enabled", "rollouts.enabled");
    let patches = [
        (Verb::Image, "setting images", images),
        (Verb::Restart, "restarts", rollouts),
        (Verb::Pause, "pausing rollouts", rollouts),
        (Verb::Rollback, "rollbacks", rollouts),
    ];
    // One right for all of them: it is told of once.
    let patched = patches.into_iter().find(|(verb, ..)| may(*verb));
    if let Some((_, purpose, value)) = patched.filter(|_| !config.writes.read_only) {
        let otherwise = "callers whom the cluster lets set images, restart or roll back get a 502";
        needs.push(Need {
            otherwise: kubernetes.then_some(otherwise),
            ..need(deployments("patch", ""), purpose, value)
        });
    }
    if !config.writes.read_only && may(Verb::Rollback) {
        let list = Right {
            resource: "replicasets",
            ..deployments("list", "")
        };
        let otherwise = "callers whom the cluster lets roll back get a 502";
        needs.push(Need {
            otherwise: kubernetes.then_some(otherwise),
            ..need(list, "finding revisions to go back to", rollouts)
        });
    }
    if config.kubernetes_events && !config.writes.read_only {
        for verb in ["create", "patch"] {
            let events = Right {
                verb,
                group: "",
                resource: "events",
                subresource: "",
            };
            let value = "config.kubernetesEvents";
            needs.push(Need {
                otherwise: Some("Deployments have no Events that tell of writes"),
                ..need(events, "Events on Deployments", value)
            });
        }
    }
    if kubernetes {
        let create = Right {
            verb: "create",
            group: "authorization.k8s.io",
            resource: "subjectaccessreviews",
            subresource: "",
        };
        let value = "config.authorization.mode: kubernetes";
        needs.push(Need {
            place: Place::Cluster,
            ..need(create, "asking the cluster who may do what", value)
        });
    }
    needs
}

/// `usual` is the namespace that rules are read of where none is named.
pub(super) async fn check(report: &mut Report, config: &Config, rights: &OwnRights, usual: &str) {
    let needs = needs(config);
    let ask = async {
        for need in &needs {
            match lacking(need, config, rights).await {
                Ok(places) => tell(report, need, &places, &config.managed.namespaces),
                Err(error) => {
                    unasked(report, &error);
                    return;
                }
            }
        }
        beyond(report, &needs, config, rights, usual).await;
    };
    if timeout(ALL, ask).await.is_err() {
        let seconds = ALL.as_secs();
        report.fail(
            NEEDED,
            format!("the questions about permissions took longer than {seconds} s"),
            "look at the API server's load, or name fewer namespaces",
        );
    }
}

/// Where a right is lacking; an empty name is all namespaces.
async fn lacking(
    need: &Need,
    config: &Config,
    rights: &OwnRights,
) -> Result<Vec<String>, NoAnswer> {
    let everywhere = [String::new()];
    let namespaces = match need.namespaces(&config.managed.namespaces) {
        [] => &everywhere,
        some => some,
    };
    let questions = namespaces.iter().map(|namespace| async move {
        let within = Some(namespace.as_str()).filter(|name| !name.is_empty());
        let has = rights.has(need.right, within).await?;
        Ok::<_, NoAnswer>((!has).then(|| namespace.clone()))
    });
    let answers: Vec<_> = stream::iter(questions)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(answers.into_iter().flatten().collect())
}

fn tell(report: &mut Report, need: &Need, lacking: &[String], managed: &[String]) {
    let what = format!("{} {}", need.right.verb, need.right.resource());
    let purpose = need.purpose;
    if lacking.is_empty() {
        let place = match need.namespaces(managed) {
            [] => "in the whole cluster".into(),
            some => format!("in {}", some.join(", ")),
        };
        report.ok(
            NEEDED,
            format!("the account may {what} {place}, for {purpose}"),
        );
        return;
    }
    let Need { right, value, .. } = need;
    let Right {
        verb,
        group,
        resource,
        subresource,
    } = right;
    let slash = if subresource.is_empty() { "" } else { "/" };
    let rule = format!(
        "{{apiGroups: [\"{group}\"], resources: [{resource}{slash}{subresource}], verbs: [{verb}]}}"
    );
    let (place, fix) = if lacking.iter().any(String::is_empty) {
        let or = if need.place == Place::Cluster {
            ""
        } else {
            "; or name with --namespace where it has a Role"
        };
        let fix = format!(
            "bind a ClusterRole with the rule {rule} to the account that this runs as, as the chart does with {value}{or}"
        );
        ("in the whole cluster".to_owned(), fix)
    } else {
        let there = match lacking {
            [_] => "that namespace",
            _ => "each of these namespaces",
        };
        let fix = format!(
            "bind a Role with the rule {rule} to the account in {there}, as the chart does with {value}"
        );
        (format!("in {}", lacking.join(", ")), fix)
    };
    let found = format!("the account may not {what} {place}, which {purpose} needs");
    if let Some(otherwise) = need.otherwise {
        report.warn(NEEDED, format!("{found}; without it {otherwise}"), fix);
    } else {
        report.fail(NEEDED, found, fix);
    }
}

fn unasked(report: &mut Report, error: &NoAnswer) {
    let fix = "let every account create selfsubjectaccessreviews and selfsubjectrulesreviews, as the cluster role system:basic-user does";
    report.fail(
        NEEDED,
        format!("the cluster doesn't say what the account may do: {error}"),
        fix,
    );
}

async fn beyond(
    report: &mut Report,
    needs: &[Need],
    config: &Config,
    rights: &OwnRights,
    usual: &str,
) {
    let usual = [usual.to_owned()];
    let namespaces = match &config.managed.namespaces[..] {
        [] => &usual,
        some => &some[..some.len().min(SAMPLED)],
    };
    let mut more = BTreeSet::new();
    let mut incomplete = false;
    for namespace in namespaces {
        match rights.rules(namespace).await {
            Ok(held) => {
                incomplete |= held.incomplete;
                let needs: Vec<_> = needs.iter().filter(|need| need.is_of(namespace)).collect();
                more.extend(held.rules.iter().flat_map(|rule| unneeded(rule, &needs)));
            }
            Err(error) => return report.skip(BEYOND, &error.to_string()),
        }
    }
    let place = format!("seen in {}", namespaces.join(", "));
    if more.is_empty() {
        let doubt = if incomplete {
            ", as far as the cluster can tell"
        } else {
            ""
        };
        report.ok(
            BEYOND,
            format!("the account may do nothing that isn't needed{doubt} ({place})"),
        );
        return;
    }
    let named: Vec<_> = more.iter().take(NAMED).map(String::as_str).collect();
    let others = match more.len() - named.len() {
        0 => String::new(),
        others => format!(", and {others} more"),
    };
    report.warn(
        BEYOND,
        format!(
            "the account may do what this configuration doesn't need: {}{others} ({place})",
            named.join("; ")
        ),
        "give headcount an account of its own with the rules that the chart gives it and no others",
    );
}

/// What a rule allows that nobody needs, in kubectl's words.
fn unneeded(rule: &HeldRule, needs: &[&Need]) -> Vec<String> {
    let mut found = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            let (plain, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            // Every account may ask about itself.
            let about_itself = matches!(
                (group.as_str(), plain),
                (
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
                ) | ("authentication.k8s.io", "selfsubjectreviews")
            );
            let is_this = |right: &Right, verb: &String| {
                let Right {
                    group: g,
                    resource: r,
                    subresource: s,
                    verb: v,
                } = *right;
                (g, r, s, v) == (group, plain, subresource, verb)
            };
            let needed = |verb: &String| needs.iter().any(|need| is_this(&need.right, verb));
            let implied = |verb: &String| {
                IMPLIED.iter().any(|(right, by)| {
                    is_this(right, verb) && needs.iter().any(|need| need.right == *by)
                })
            };
            let verbs: Vec<_> = rule
                .verbs
                .iter()
                .filter(|verb| !needed(verb) && !implied(verb))
                .map(String::as_str)
                .collect();
            if about_itself || verbs.is_empty() {
                continue;
            }
            let slash = if subresource.is_empty() { "" } else { "/" };
            let dot = if group.is_empty() { "" } else { "." };
            let names = match &rule.resource_names[..] {
                [] => String::new(),
                names => format!(" {}", names.join(", ")),
            };
            found.push(format!(
                "{} {plain}{dot}{group}{slash}{subresource}{names}",
                verbs.join(", ")
            ));
        }
    }
    found
}
