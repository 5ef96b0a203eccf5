//! A cluster whose node runs headcount's Pods, in a network of the test's own.

use std::{sync::Arc, time::Duration};

use super::{
    cluster::{Cluster, HEADCOUNT, built},
    offered,
};
use crate::{
    node::{Kubelet, Network, Services, in_a_network},
    support::{Client, eventually},
};

/// Pods that the test's kubelet runs; kwok makes all others ready.
const OURS: &str = "app.kubernetes.io/instance=headcount";

/// The cluster and its node, and headcount's namespace, which is empty.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) kubelet: Kubelet,
    _services: Services,
}

/// Runs a test in a world of its own, where this machine lets it.
pub(crate) fn in_a_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F + Send) {
    // Outside, since what isn't built yet is downloaded.
    tokio::runtime::Runtime::new().unwrap().block_on(built());
    in_a_network(|network| async { test(World::start(network).await).await });
}

impl World {
    async fn start(network: Arc<Network>) -> Self {
        let cluster = Cluster::start(Some(OURS)).await;
        let client = cluster.control_plane.client();
        let api_server = cluster.control_plane.apiserver_url();
        let api_server = api_server
            .strip_prefix("https://")
            .unwrap()
            .parse()
            .unwrap();
        cluster.restricted(HEADCOUNT).await;
        Self {
            _services: Services::start(client.clone(), api_server),
            kubelet: Kubelet::start(client, HEADCOUNT, network),
            cluster,
        }
    }

    /// A client that was issued by the chart's first authority, of the Service, as its Secret is now.
    pub(crate) async fn client(&self, name: &str) -> Client {
        let service = offered::service(&self.cluster).await;
        offered::client(&self.cluster, service, name).await
    }

    /// Installs or upgrades the release, and waits until it is ready and all Pods of before are gone; the values are YAML.
    pub(crate) async fn apply(&self, values: &str) -> String {
        let notes = self.cluster.apply("helm4", values, &[]).await;
        self.has_settled().await;
        notes
    }

    /// Waits until there are no Pods beside the ready ones, and fails the test if one has ended otherwise than in order and in time.
    pub(crate) async fn has_settled(&self) {
        let deployment = self.cluster.object("deployment", HEADCOUNT).await;
        let expected = deployment["spec"]["replicas"].as_u64().unwrap();
        self.has_so_many_pods(expected).await;
    }

    pub(super) async fn has_so_many_pods(&self, expected: u64) {
        let settled = async || self.kubelet.pods().len() as u64 == expected;
        eventually(Duration::from_secs(120), "the end of other Pods", settled).await;
        for (name, ended) in self.kubelet.ended() {
            assert_eq!(ended.code, Some(0), "{name}: {:#?}", ended.stderr);
        }
        self.kubelet.has_not_failed();
    }
}
