//! The pictures of docs/page.md, drawn anew by hand: `cargo test --workspace --test it -- page::pictures --ignored`.

use std::path::Path;

use headcount::config::LeaseSettings;
use serde_json::json;
use simkube::NewDeployment;

use super::{
    browser::{play, seen, world},
    usual,
};
use crate::support::{Setup, SimCluster};

/// Namespaces, and what runs in them.
const PLACES: [(&str, &[&str]); 4] = [
    (
        "checkout",
        &[
            "cart", "orders", "payments", "prices", "receipts", "vouchers",
        ],
    ),
    (
        "jobs",
        &["exports", "imports", "mailer", "reports", "thumbnails"],
    ),
    (
        "search",
        &["crawler", "indexer", "queries", "ranking", "suggestions"],
    ),
    (
        "web",
        &["admin", "images", "login", "shop", "storefront", "tracking"],
    ),
];

#[test]
#[ignore = "draws docs/page/*.png"]
fn drawn() {
    seen(async || {
        let sim = SimCluster::start().await;
        for (namespace, names) in PLACES {
            for (at, name) in names.iter().enumerate() {
                let count = [4, 12, 6, 3, 8, 0][at % 6];
                let mut new = NewDeployment::new(namespace, *name)
                    .replicas(count)
                    .image(&format!("registry.example/{namespace}/{name}:4.2"));
                if namespace == "web" && at < 2 {
                    new = new
                        .label("kustomize.toolkit.fluxcd.io/name", "apps")
                        .label("kustomize.toolkit.fluxcd.io/namespace", "flux-system");
                }
                assert!(sim.cluster.create(new.label("app", name)).is_some());
            }
        }
        let target = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "queries"},
            "minReplicas": 3,
            "maxReplicas": 20,
        });
        sim.cluster
            .set_autoscaler("search", "queries", target, json!([]));
        sim.cluster.create_namespace("headcount");
        let leases = LeaseSettings {
            namespace: Some("headcount".into()),
            ..LeaseSettings::default()
        };
        let setup = Setup {
            leases,
            ..Setup::new(sim.kubeconfig())
        };
        let server = setup.healthy().await;
        let mut world = world(server.address, &server.files);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/page");
        std::fs::create_dir_all(&folder).unwrap();
        world["folder"] = json!(folder);
        play("pictures.mjs", &world, async |step, details| {
            usual(&sim, &server, step, details).await
        })
        .await;
    });
}
