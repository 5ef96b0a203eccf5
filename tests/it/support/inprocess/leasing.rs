//! The leases of a server in this process.

use std::{sync::Arc, time::Duration};

use headcount::{
    access::WriteRules,
    audit::Audit,
    kubernetes::{Clock as LeaseClock, InformerStatus, LeaseObjects, LeaseRules, Managed},
    reverter::Reverter,
};
use simkube::Cluster;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::InProcess;

/// The leases of one server, followed and brought back.
pub(super) struct Leasing {
    pub(super) objects: Arc<LeaseObjects>,
    _following: AbortOnDropHandle<()>,
    reverting: Option<(CancellationToken, AbortOnDropHandle<()>)>,
}

impl Leasing {
    /// Follows them; none goes back yet.
    pub(super) fn follow(
        client: &kube::Client,
        status: &Arc<InformerStatus>,
        rules: LeaseRules,
        clock: LeaseClock,
    ) -> Self {
        let objects = LeaseObjects::new(client.clone(), Arc::clone(status), rules, clock);
        let objects = Arc::new(objects);
        let following = tokio::spawn(Arc::clone(&objects).follow());
        Self {
            objects,
            _following: AbortOnDropHandle::new(following),
            reverting: None,
        }
    }
}

impl InProcess {
    /// Starts with leases, which are told the time by this clock, and waits until all is known; none goes back yet.
    pub(crate) async fn leasing(cluster: &Cluster, rules: &LeaseRules, clock: &LeaseClock) -> Self {
        let leases = Some((rules.clone(), clock.clone()));
        let this = Self::begin(cluster, Managed::default(), leases);
        this.becomes_synced().await;
        let objects = &this.leases.as_ref().unwrap().objects;
        this.until("leases", Duration::from_secs(30), || {
            objects.known().is_some()
        })
        .await;
        this
    }

    /// From now on it stands for election, and brings counts back.
    pub(crate) fn reverts(&mut self, rules: impl Fn() -> WriteRules + Send + Sync + 'static) {
        let leasing = self.leases.as_mut().unwrap();
        let reverter = Reverter::new(
            Arc::clone(self.api.deployments()),
            Arc::clone(&leasing.objects),
            rules,
            Audit::default(),
            Arc::clone(&self.metrics.leases),
        );
        let stop = CancellationToken::new();
        let running = AbortOnDropHandle::new(tokio::spawn(reverter.run(stop.clone())));
        leasing.reverting = Some((stop, running));
    }

    /// Ends that as a shutdown does.
    pub(crate) async fn stops_reverting(&mut self) {
        let leasing = self.leases.as_mut().unwrap();
        let (stop, running) = leasing.reverting.take().unwrap();
        stop.cancel();
        running.await.unwrap();
    }
}
