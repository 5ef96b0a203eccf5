//! The real program's log lines: one scenario in both forms, what can't be forged, what is never there.

mod files;
mod forging;
mod scenario;
mod secrets;

use std::path::PathBuf;

use crate::support::SimCluster;

/// The bearer token of the kubeconfig: the program sends it, and never says it.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.c2VjcmV0LW9mLXRoaXMtdGVzdA.b3Vycw";

/// A kubeconfig for the cluster with that token.
fn kubeconfig_with_token(cluster: &SimCluster) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut kubeconfig: serde_json::Value = serde_json::from_str(&text).unwrap();
    kubeconfig["users"][0]["user"]["token"] = TOKEN.into();
    let path = cluster.kubeconfig().with_file_name("kubeconfig-with-token");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}
