//! Memory: what is refused when it is short, that nobody is ended for it, and that it stays what it is.

#[cfg(target_os = "linux")]
mod churn;
#[cfg(target_os = "linux")]
mod groups;
mod shedding;

use std::{fs, path::PathBuf};

use crate::support::{SimCluster, program::Serving};

/// A cluster whose list is about so many bytes long.
async fn cluster_with_list_of(bytes: usize) -> SimCluster {
    let cluster = SimCluster::start().await;
    for number in 0..bytes / 100 {
        // With what is around it a hundred bytes.
        let name = format!("a-deployment-with-a-long-name-{number:07}");
        cluster.create("a-namespace-of-a-team", &name, 3);
    }
    cluster
}

/// A server with a configuration file of these lines.
async fn configured(cluster: &SimCluster, lines: &str) -> (Serving, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.yaml");
    let text = format!("apiVersion: headcount/v1alpha1\nkind: Configuration\n{lines}");
    fs::write(&file, text).unwrap();
    let flag = format!("--config={}", file.display());
    let serving = Serving::start(cluster.kubeconfig(), &[&flag]).await;
    serving.becomes_ready().await;
    (serving, folder, file)
}

/// The value of a metric without labels.
async fn metric(serving: &Serving, name: &str) -> i64 {
    let text = serving.metrics().await;
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == format!("headcount_{name}")).then(|| value.parse().unwrap())
    });
    value.unwrap_or_else(|| panic!("no {name}: {text}"))
}

const MIB: usize = 1 << 20;

/// A budget that leaves so much of what isn't used now, beside the margin that is kept free.
fn budget_that_leaves(serving: &Serving, left: usize) -> usize {
    let budget = serving.program.resident() + left;
    budget + (budget / 7).max(8 * MIB)
}
