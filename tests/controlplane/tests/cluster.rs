//! The control plane itself, on the real programs: what the other tests rely on.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use controlplane::{ControlPlane, Error, Options, Seed, SeedReplicas};
use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

async fn get(client: &Client, path: &str) -> kube::Result<Value> {
    let request = Request::get(path).body(Vec::new()).expect("a valid path");
    let answer = client.request(request);
    tokio::time::timeout(Duration::from_secs(30), answer)
        .await
        .expect("an answer in time")
}

/// The code of an answer that is a failure.
fn code(answer: kube::Result<Value>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("expected a failure of the API, got {other:?}"),
    }
}

#[tokio::test]
async fn deployments_become_ready_and_the_apiserver_can_be_broken_and_healed() {
    let cluster = ControlPlane::start(Options::with_nodes(2)).await.unwrap();
    let client = cluster.client();

    let web = ["create", "deployment", "web", "--image=web"];
    cluster.kubectl(&web).await.unwrap();
    let scale = ["scale", "deployment/web", "--replicas=20"];
    cluster.kubectl(&scale).await.unwrap();
    let rollout = ["rollout", "status", "deployment/web", "--timeout=60s"];
    cluster.kubectl(&rollout).await.unwrap();
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let ready = get(&client, path).await.unwrap();
    assert_eq!(ready["status"]["readyReplicas"], 20);

    // A page that is continued after a compaction is gone; so is the version of a watch.
    let seed = Seed {
        deployments: 20,
        namespaces: 3,
        replicas: SeedReplicas::Zero,
    };
    cluster.seed(&seed).await.unwrap();
    let page = get(&client, &format!("{DEPLOYMENTS}?limit=5"))
        .await
        .unwrap();
    let old = page["metadata"]["resourceVersion"].as_str().unwrap();
    let next = page["metadata"]["continue"].as_str().unwrap();
    let scale = ["scale", "deployment/web", "--replicas=3"];
    cluster.kubectl(&scale).await.unwrap();
    cluster.kubectl(&rollout).await.unwrap();

    let pid = cluster.apiserver_pid().unwrap();
    cluster.kill_apiserver().await.unwrap();
    assert_eq!(cluster.apiserver_pid(), None);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(matches!(cluster.stop_apiserver(), Err(Error::State(_))));
    assert!(get(&client, "/readyz").await.is_err());
    cluster.compact().await.unwrap();
    let url = cluster.apiserver_url();
    cluster.start_apiserver().await.unwrap();
    assert_eq!(cluster.apiserver_url(), url);
    assert_ne!(cluster.apiserver_pid(), Some(pid));
    let next = get(&client, &format!("{DEPLOYMENTS}?limit=5&continue={next}")).await;
    assert_eq!(code(next), 410);
    let watch = format!("{DEPLOYMENTS}?watch=true&timeoutSeconds=1&resourceVersion={old}");
    let answer = get(&client, &watch).await;
    let gone = match answer {
        // In the stream or as the status of the answer: both are allowed.
        Ok(event) => event["object"]["code"] == 410,
        failure => code(failure) == 410,
    };
    assert!(gone, "a watch from before the compaction is gone");

    // Stopped, it is silent; then it goes on where it was.
    cluster.stop_apiserver().unwrap();
    let request = Request::get("/version").body(Vec::new()).unwrap();
    let silent = tokio::time::timeout(Duration::from_secs(1), client.request_text(request)).await;
    assert!(silent.is_err());
    cluster.continue_apiserver().unwrap();
    assert!(get(&client, "/version").await.is_ok());
    let found = get(&client, path).await.unwrap();
    assert_eq!(found["spec"]["replicas"], 3);

    // A second API server sees the same, on another port, and can end alone.
    let extra = cluster.extra_apiserver().await.unwrap();
    assert_ne!(extra.url(), url);
    let same = get(&extra.client(), path).await.unwrap();
    assert_eq!(same["metadata"]["uid"], found["metadata"]["uid"]);
    drop(extra);

    // Controllers found the new API server too.
    let scale = ["scale", "deployment/web", "--replicas=8"];
    cluster.kubectl(&scale).await.unwrap();
    cluster.kubectl(&rollout).await.unwrap();
}

#[tokio::test]
async fn a_serviceaccount_may_do_what_its_role_says() {
    let cluster = ControlPlane::start(Options::default()).await.unwrap();
    cluster
        .apply(
            "{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: default}}",
        )
        .await
        .unwrap();
    let kubeconfig = cluster
        .serviceaccount_kubeconfig("default", "reader")
        .await
        .unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let list = [&flag, "get", "deployments"];
    let error = cluster.kubectl(&list).await.unwrap_err().to_string();
    assert!(error.contains("Forbidden"), "{error}");
    // A role of its own: the cluster's `view` gets its rules from a controller, which does not run here.
    let role = [
        "create",
        "role",
        "reader",
        "--verb=list",
        "--resource=deployments.apps",
    ];
    cluster.kubectl(&role).await.unwrap();
    let bind = [
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--serviceaccount=default:reader",
    ];
    cluster.kubectl(&bind).await.unwrap();
    // The authorizer learns of a binding a moment after it was made.
    let started = Instant::now();
    while let Err(error) = cluster.kubectl(&list).await {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
    }

    let missing = cluster.serviceaccount_kubeconfig("default", "nobody").await;
    assert!(matches!(missing, Err(Error::Kubectl { .. })));

    let user = cluster.user_kubeconfig("jane", None).unwrap();
    let flag = format!("--kubeconfig={}", user.display());
    let who = cluster.kubectl(&[&flag, "auth", "whoami"]).await.unwrap();
    assert!(who.contains("jane"), "{who}");
}

#[tokio::test]
async fn a_wrong_flag_is_reported_with_the_apiservers_own_words() {
    let options = Options {
        apiserver_flags: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    };
    let error = ControlPlane::start(options).await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }));
    assert!(error.to_string().contains("no-such-flag"), "{error}");
}

#[tokio::test]
async fn nothing_is_left_when_the_owner_is_killed() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_controlplane"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let kubeconfig = loop {
        let line = lines.next_line().await.unwrap().expect("a kubeconfig");
        if let Some(path) = line.strip_prefix("export KUBECONFIG=") {
            break path.to_owned();
        }
    };
    let folder = Path::new(&kubeconfig).parent().unwrap().to_owned();
    assert!(!processes_that_name(&folder).is_empty());
    owner.start_kill().unwrap();
    owner.wait().await.unwrap();
    let started = Instant::now();
    while folder.exists() || !processes_that_name(&folder).is_empty() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            processes_that_name(&folder)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The command lines of all processes that were given a path below `folder`.
fn processes_that_name(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("a folder in UTF-8");
    std::fs::read_dir("/proc")
        .expect("the processes")
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.contains(folder))
        .collect()
}
