//! Whether the configuration can be used, and what in it does nothing.

use super::report::Report;
use crate::{
    access::{Authorization, Unreachable, Verb},
    config::Config,
};

const CHECK: &str = "configuration";
const DEPRECATED: &str = "configuration.deprecated";
const RULES: &str = "configuration.rules";

pub(super) fn check(report: &mut Report, config: &Config) {
    let from = config.source.path().map_or_else(
        || "flags and environment".to_owned(),
        |path| format!("{}, flags and environment", path.display()),
    );
    let mode = config.authorization.mode();
    let writes = if config.writes.read_only {
        "every write is refused"
    } else {
        "writes are allowed"
    };
    report.ok(
        CHECK,
        format!("{from} can be used; authorization mode {mode}, {writes}"),
    );
    for deprecated in &config.deprecated {
        report.warn(
            DEPRECATED,
            deprecated.to_string(),
            "`headcount config migrate` rewrites it",
        );
    }
    if let Authorization::Policy(policy) = &config.authorization {
        let rules = policy.rules().len();
        let unreachable = policy.unreachable(&config.managed.namespaces);
        if !Verb::ALL.into_iter().any(|verb| policy.allows(verb)) {
            report.warn(
                RULES,
                "no rule allows anything: nobody may do anything",
                "add a rule that allows something",
            );
        } else if unreachable.is_empty() {
            report.ok(
                RULES,
                format!("{rules} rules, each of which can decide something"),
            );
        }
        for (rule, why) in unreachable {
            let name = rule.name();
            match why {
                Unreachable::Behind(earlier) => report.warn(
                    RULES,
                    format!("the rule {name:?} never decides: {:?} before it matches whatever it does", earlier.name()),
                    "put it before that rule, or remove it",
                ),
                Unreachable::Elsewhere => report.warn(
                    RULES,
                    format!("the rule {name:?} never decides: none of the managed namespaces is among its own"),
                    "manage one of its namespaces (--namespace), or remove it",
                ),
            }
        }
    }
}
