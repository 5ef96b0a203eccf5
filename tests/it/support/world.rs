//! A cluster as scenarios see it: the same requests go to simkube and to a real control plane.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use controlplane::{ControlPlane, Options};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Namespace},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, VersionMatch},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use simkube::{Fault, On, Rule, RuleId};

use super::{Proxy, SimCluster, eventually};

/// Either cluster.
pub(crate) struct World {
    kind: Kind,
    client: Client,
    kubeconfig: PathBuf,
    api_server: SocketAddr,
    files: tempfile::TempDir,
    written: AtomicU32,
}

enum Kind {
    Sim {
        sim: Box<tokio::sync::Mutex<SimCluster>>,
        stopped: Mutex<Option<RuleId>>,
    },
    Real(Box<ControlPlane>),
}

impl World {
    pub(crate) async fn simulated() -> Self {
        let sim = SimCluster::start().await;
        let kubeconfig = sim.kubeconfig().to_owned();
        Self::of(
            Kind::Sim {
                sim: Box::new(sim.into()),
                stopped: Mutex::default(),
            },
            kubeconfig,
        )
        .await
    }

    pub(crate) async fn real() -> Self {
        let real = ControlPlane::start(Options::with_nodes(2))
            .await
            .unwrap_or_else(|e| panic!("{}", e.chain()));
        let kubeconfig = real.kubeconfig().to_owned();
        Self::of(Kind::Real(Box::new(real)), kubeconfig).await
    }

    /// etcd and kube-apiserver alone: Deployments get no Pods, whatever their counts.
    pub(crate) async fn bare() -> Self {
        let real = ControlPlane::start(Options::default())
            .await
            .unwrap_or_else(|e| panic!("{}", e.chain()));
        let kubeconfig = real.kubeconfig().to_owned();
        Self::of(Kind::Real(Box::new(real)), kubeconfig).await
    }

    async fn of(kind: Kind, kubeconfig: PathBuf) -> Self {
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .unwrap();
        let authority = config
            .cluster_url
            .authority()
            .unwrap()
            .as_str()
            .parse()
            .unwrap();
        let client = Client::try_from(config).unwrap();
        Self {
            kind,
            client,
            kubeconfig,
            api_server: authority,
            files: tempfile::tempdir().unwrap(),
            written: AtomicU32::new(0),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sim { .. } => "simkube",
            Kind::Real(_) => "a real control plane",
        }
    }

    /// Whether it is a real control plane.
    pub(crate) fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Real(_))
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A proxy before the API server, and a kubeconfig that goes through it.
    pub(crate) async fn through_proxy(&self) -> (Proxy, PathBuf) {
        let proxy = Proxy::start(self.api_server).await;
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let direct = self.api_server.to_string();
        assert!(text.contains(&direct), "{text}");
        let path = self.files.path().join(format!(
            "proxied-{}",
            self.written.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::write(&path, text.replace(&direct, &proxy.address.to_string())).unwrap();
        (proxy, path)
    }

    fn deployments(&self, namespace: &str) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) async fn create_namespace(&self, namespace: &str) {
        let object: Namespace =
            serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        match Api::<Namespace>::all(self.client.clone())
            .create(&PostParams::default(), &object)
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// A Deployment with this count (absent: not said) and labels.
    pub(crate) async fn create(
        &self,
        namespace: &str,
        name: &str,
        replicas: Option<i32>,
        labels: Value,
    ) {
        let spec = replicas.map_or(json!({}), |count| json!({ "replicas": count }));
        self.create_with(namespace, name, labels, spec).await;
    }

    /// Creates a Deployment whose rollouts are held: nothing makes Pods of it, whatever its count becomes.
    pub(crate) async fn create_paused(&self, namespace: &str, name: &str, replicas: i32) {
        let spec = json!({ "replicas": replicas, "paused": true });
        self.create_with(namespace, name, json!({}), spec).await;
    }

    async fn create_with(&self, namespace: &str, name: &str, labels: Value, mut spec: Value) {
        self.create_namespace(namespace).await;
        spec["selector"] = json!({"matchLabels": {"app": name}});
        spec["template"] = json!({
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        });
        let object = json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec});
        self.deployments(namespace)
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
            .unwrap();
    }

    /// Changes a Deployment as `kubectl patch` does.
    pub(crate) async fn patch(&self, namespace: &str, name: &str, patch: Value) {
        self.deployments(namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Applies a Deployment server-side, as this field manager and whatever others own.
    pub(crate) async fn apply(&self, namespace: &str, name: &str, manager: &str, object: Value) {
        let params = PatchParams::apply(manager).force();
        self.deployments(namespace)
            .patch(name, &params, &Patch::Apply(object))
            .await
            .unwrap();
    }

    /// Creates a HorizontalPodAutoscaler of a Deployment, named as that, as `kubectl autoscale` does.
    pub(crate) async fn autoscale(&self, namespace: &str, name: &str, min: i32, max: i32) {
        let object = json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": min, "maxReplicas": max,
            },
        });
        Api::<HorizontalPodAutoscaler>::namespaced(self.client.clone(), namespace)
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
            .unwrap();
    }

    /// Sets a count as `kubectl scale` does.
    pub(crate) async fn scale(&self, namespace: &str, name: &str, replicas: i32) {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.deployments(namespace)
            .patch_scale(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, namespace: &str, name: &str) {
        self.deployments(namespace)
            .delete(name, &DeleteParams::background())
            .await
            .unwrap();
    }

    /// What `kubectl describe deployment` shows of a Deployment's Events: reason, message, and how often.
    pub(crate) async fn events(&self, namespace: &str, name: &str) -> Vec<(String, String, i32)> {
        let deployment = self.deployments(namespace).get(name).await.unwrap();
        let uid = deployment.metadata.uid.unwrap();
        // As kubectl asks for them.
        let of = ListParams::default().fields(&format!(
            "involvedObject.name={name},involvedObject.namespace={namespace},involvedObject.uid={uid},involvedObject.kind=Deployment"
        ));
        let events = Api::<Event>::namespaced(self.client.clone(), namespace);
        let found = events.list(&of).await.unwrap().items.into_iter();
        found
            .filter(|event| event.involved_object.uid.as_ref() == Some(&uid))
            .filter(|event| {
                event.source.as_ref().unwrap().component.as_deref() == Some("headcount")
            })
            .map(|event| {
                let (reason, message) = (event.reason.unwrap(), event.message.unwrap());
                (reason, message, event.count.unwrap())
            })
            .collect()
    }

    pub(crate) async fn count(&self, namespace: &str, name: &str) -> Option<i32> {
        self.deployments(namespace)
            .get_opt(name)
            .await
            .unwrap()
            .map(|d| d.spec.unwrap().replicas.unwrap_or(1))
    }

    /// How many own its count, by managed fields.
    pub(crate) async fn owners(&self, namespace: &str, name: &str) -> usize {
        let found = self.deployments(namespace).get(name).await.unwrap();
        let managed = found.metadata.managed_fields.unwrap_or_default();
        let fields = managed.into_iter().filter_map(|entry| entry.fields_v1);
        let of_count = fields.filter(|fields| fields.0["f:spec"]["f:replicas"].is_object());
        of_count.count()
    }

    pub(crate) async fn ready(&self, namespace: &str, name: &str) -> i32 {
        let status = self
            .deployments(namespace)
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        status.ready_replicas.unwrap_or(0)
    }

    /// Every Deployment as the API is to list it.
    pub(crate) async fn list(&self) -> Vec<(String, String, i64)> {
        let all = Api::<Deployment>::all(self.client.clone())
            .list(&ListParams::default())
            .await
            .unwrap();
        let one = |d: Deployment| {
            (
                d.metadata.namespace.unwrap(),
                d.metadata.name.unwrap(),
                d.spec.unwrap().replicas.unwrap_or(1).into(),
            )
        };
        let mut list: Vec<_> = all.items.into_iter().map(one).collect();
        list.sort();
        list
    }

    /// The API server goes on existing and answers nothing (SIGSTOP).
    pub(crate) fn stop_api_server(&self) {
        match &self.kind {
            Kind::Sim { sim, stopped } => {
                let hang = sim
                    .try_lock()
                    .unwrap()
                    .cluster
                    .faults()
                    .add(Rule::new(On::Any, Fault::Hang));
                *stopped.lock().unwrap() = Some(hang);
            }
            Kind::Real(real) => real.stop_apiserver().unwrap(),
        }
    }

    pub(crate) fn continue_api_server(&self) {
        match &self.kind {
            Kind::Sim { sim, stopped } => {
                sim.try_lock()
                    .unwrap()
                    .cluster
                    .faults()
                    .remove(stopped.lock().unwrap().take().unwrap());
            }
            Kind::Real(real) => real.continue_apiserver().unwrap(),
        }
    }

    pub(crate) async fn kill_api_server(&self) {
        match &self.kind {
            Kind::Sim { sim, .. } => sim.lock().await.kill(),
            Kind::Real(real) => real.kill_apiserver().await.unwrap(),
        }
    }

    /// Starts it again at the same address and waits until it answers.
    pub(crate) async fn start_api_server(&self) {
        match &self.kind {
            Kind::Sim { sim, .. } => sim.lock().await.serve_again().await,
            Kind::Real(real) => real.start_apiserver().await.unwrap(),
        }
        eventually(Duration::from_secs(30), "the API server", async || {
            Api::<Deployment>::all(self.client.clone())
                .list(&ListParams::default().limit(1))
                .await
                .is_ok()
        })
        .await;
    }

    /// etcd goes on existing and answers nothing (SIGSTOP); a real control plane alone has one.
    pub(crate) fn stop_etcd(&self) {
        if let Kind::Real(real) = &self.kind {
            real.stop_etcd().unwrap();
        }
    }

    pub(crate) fn continue_etcd(&self) {
        if let Kind::Real(real) = &self.kind {
            real.continue_etcd().unwrap();
        }
    }

    /// Version and count that a Deployment had at a version of the cluster, or has now; `None` if that is forgotten.
    pub(crate) async fn at_version(
        &self,
        namespace: &str,
        name: &str,
        version: Option<u64>,
    ) -> Option<(u64, i32)> {
        let one = ListParams::default().fields(&format!("metadata.name={name}"));
        let wanted = match version {
            Some(version) => one.at(&version.to_string()).matching(VersionMatch::Exact),
            None => one,
        };
        let found = match self.deployments(namespace).list(&wanted).await {
            Ok(list) => list.items.into_iter().next().unwrap(),
            Err(kube::Error::Api(status)) if status.code == 410 => return None,
            Err(error) => panic!("{error}"),
        };
        let count = found.spec.unwrap().replicas.unwrap();
        let version = found.metadata.resource_version.unwrap();
        Some((version.parse().unwrap(), count))
    }

    /// Every resourceVersion before now is too old for a watch.
    pub(crate) async fn forget_history(&self) {
        match &self.kind {
            Kind::Sim { sim, .. } => sim.lock().await.cluster.compact(),
            Kind::Real(real) => {
                real.compact().await.unwrap();
                // A running API server goes on serving watches from its cache.
                real.kill_apiserver().await.unwrap();
                self.start_api_server().await;
            }
        }
    }
}
