//! What the operating system lets the process have: file descriptors and memory.

use super::report::Report;
use crate::{config::Config, limits, server::descriptors};

const DESCRIPTORS: &str = "system.descriptors";
const MEMORY: &str = "system.memory";
/// A start and a copy of a few thousand Deployments take less, in bytes.
const LITTLE: u64 = 48 << 20;

pub(super) fn check(report: &mut Report, config: &Config) {
    let wanted = config.limits.connections.total;
    let most = descriptors::connections_allowed();
    if most < wanted {
        report.warn(
            DESCRIPTORS,
            format!("file descriptors allow {most} connections, and limits.connections.total is {wanted}"),
            "raise the hard limit (ulimit -Hn, LimitNOFILE=), or set limits.connections.total to less",
        );
    } else {
        report.ok(
            DESCRIPTORS,
            format!("file descriptors are enough for {wanted} connections"),
        );
    }
    let setting = config.limits.memory.budget.map(|bytes| bytes as u64);
    let group = limits::group_limit();
    let budget = setting.or(group);
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    match (budget, group) {
        (None, _) => report.warn(
            MEMORY,
            "nothing bounds the process's memory, so nothing is refused before the machine runs out of it",
            "set limits.memory.budget, or run it in a control group with a limit (resources.limits.memory in a Pod)",
        ),
        (Some(budget), Some(group)) if budget > group => report.warn(
            MEMORY,
            format!("limits.memory.budget is {}, and the control group ends the process at {}", mebibytes(budget), mebibytes(group)),
            "set limits.memory.budget to less than that, or leave it out",
        ),
        (Some(budget), _) if budget < LITTLE => report.warn(
            MEMORY,
            format!("there are {} of memory, which is little", mebibytes(budget)),
            "allow at least 64 MiB; see docs/limits.md",
        ),
        (Some(budget), _) => {
            report.ok(MEMORY, format!("there are {} of memory, before which requests are refused", mebibytes(budget)));
        }
    }
}
