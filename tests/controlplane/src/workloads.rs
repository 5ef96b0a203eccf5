//! What turns a Deployment into ready Pods: kube-controller-manager, kube-scheduler, and kwok in the place of the kubelets.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::apiserver::{ApiServer, Setup};
use crate::certificates::Credentials;
use crate::error::write;
use crate::process::{self, Process};
use crate::request::{get, post};
use crate::{Error, port};

const READY_DEADLINE: Duration = Duration::from_secs(120);

/// The three programs, running.
#[derive(Debug)]
pub(crate) struct Workloads {
    pub(crate) processes: [Process; 3],
}

impl Workloads {
    /// Starts them, makes `nodes` Nodes, and waits until Pods can be placed on all of those. kwok leaves the Pods alone that the
    /// label selector `unmanaged` chooses.
    pub(crate) async fn start(
        setup: &Setup,
        apiserver: &ApiServer,
        nodes: u32,
        unmanaged: Option<&str>,
    ) -> Result<Self, Error> {
        let mut workloads = Self {
            processes: [
                controller_manager(setup, apiserver)?,
                scheduler(setup, apiserver)?,
                kwok(setup, apiserver, unmanaged)?,
            ],
        };
        for i in 0..nodes {
            post(&apiserver.client(), "/api/v1/nodes", &node(i)).await?;
        }
        process::all_ready(&mut workloads.processes, READY_DEADLINE, async || {
            is_ready(apiserver, nodes).await
        })
        .await?;
        Ok(workloads)
    }
}

fn controller_manager(setup: &Setup, apiserver: &ApiServer) -> Result<Process, Error> {
    let name = "kube-controller-manager";
    let kubeconfig = kubeconfig(
        setup,
        apiserver,
        name,
        "system:kube-controller-manager",
        None,
    )?;
    let authority = &setup.authority;
    let arguments = [
        kubeconfig,
        "--secure-port=0".to_owned(),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--root-ca-file={}", authority.ca().display()),
        format!("--cluster-signing-cert-file={}", authority.ca().display()),
        format!(
            "--cluster-signing-key-file={}",
            authority.ca_key().display()
        ),
        format!(
            "--service-account-private-key-file={}",
            authority.service_account_key().display()
        ),
        // A busy machine may keep kwok from telling that Nodes live, and Pods that became unready with them stay so.
        "--node-monitor-grace-period=10m".to_owned(),
        // Enough that a test waits for the cluster's work, never for its politeness.
        "--kube-api-qps=2000".to_owned(),
        "--kube-api-burst=4000".to_owned(),
    ];
    start(setup, name, &arguments)
}

fn scheduler(setup: &Setup, apiserver: &ApiServer) -> Result<Process, Error> {
    let name = "kube-scheduler";
    kubeconfig(setup, apiserver, name, "system:kube-scheduler", None)?;
    let config = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": { "leaderElect": false },
        "clientConnection": { "kubeconfig": kubeconfig_path(&setup.folder, name), "qps": 2000, "burst": 4000 },
    });
    let path = setup.folder.join("kube-scheduler.json");
    write(&path, config.to_string())?;
    let arguments = [
        format!("--config={}", path.display()),
        "--secure-port=0".to_owned(),
    ];
    start(setup, name, &arguments)
}

/// kwok carries the stages that make a Node and its Pods ready at once in itself, and plays them unless told otherwise.
fn kwok(setup: &Setup, apiserver: &ApiServer, unmanaged: Option<&str>) -> Result<Process, Error> {
    let name = "kwok";
    let kubeconfig = kubeconfig(setup, apiserver, name, name, Some("system:masters"))?;
    let reserved = port::Reserved::new().map_err(Error::io("find a free port for kwok"))?;
    let mut arguments = vec![
        kubeconfig,
        "--manage-all-nodes=true".to_owned(),
        format!("--server-address=127.0.0.1:{}", reserved.port()),
    ];
    if let Some(selector) = unmanaged {
        arguments.push(format!("--disregard-status-with-label-selector={selector}"));
    }
    reserved.release();
    start(setup, name, &arguments)
}

fn start(setup: &Setup, name: &'static str, arguments: &[String]) -> Result<Process, Error> {
    let log = setup.folder.join(format!("logs/{name}.log"));
    Process::start(name, &setup.binaries.join(name), arguments, log)
}

/// Writes a program's kubeconfig and returns the flag that names it.
fn kubeconfig(
    setup: &Setup,
    apiserver: &ApiServer,
    name: &str,
    user: &str,
    group: Option<&str>,
) -> Result<String, Error> {
    let path = kubeconfig_path(&setup.folder, name);
    let credentials = Credentials::Certificate { user, group };
    setup
        .authority
        .write_kubeconfig(&path, &apiserver.url(), &credentials)?;
    Ok(format!("--kubeconfig={}", path.display()))
}

fn kubeconfig_path(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(format!("{name}.kubeconfig"))
}

fn node(i: u32) -> Value {
    let name = format!("node-{i}");
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
    })
}

/// Every Node is ready and free of taints, and Pods can be created in the namespace `default`.
async fn is_ready(apiserver: &ApiServer, nodes: u32) -> bool {
    let client = apiserver.client();
    let Ok(list) = get(&client, "/api/v1/nodes").await else {
        return false;
    };
    let ready = |node: &Value| {
        node["spec"]["taints"].is_null()
            && node["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True")
            })
    };
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter(|node| ready(node)).count() >= nodes as usize
        && get(
            &client,
            "/api/v1/namespaces/default/serviceaccounts/default",
        )
        .await
        .is_ok()
}
