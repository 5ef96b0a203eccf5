//! `make deploy` on a real API server: the manifests are valid, and their rights are enough and the least.

use std::{path::Path, process::Stdio, time::Duration};

use controlplane::{ControlPlane, Options, Seed, SeedReplicas, binaries};
use headcount::pki;
use http::Method;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Setup, eventually};

const ACCOUNT: &str = "--as=system:serviceaccount:headcount:headcount";

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs one of the project's scripts and returns what it wrote to stdout.
async fn script(path: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let run = Command::new(checkout().join(path))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(180), run)
        .await
        .unwrap()
        .unwrap();
    let (words, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        output.status.success(),
        "{path}: {}\n{words}\n{errors}",
        output.status
    );
    assert!(!errors.contains("Warning:"), "{errors}");
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_make_deploy_applies_is_valid_enough_and_the_least() {
    let cluster = ControlPlane::start(Options::with_nodes(2))
        .await
        .unwrap_or_else(|e| panic!("{}", e.chain()));
    let certificates = tempfile::tempdir().unwrap();
    pki::write_demo(certificates.path()).unwrap();
    let kubectl = format!(
        "{} --kubeconfig={}",
        binaries().await.unwrap().join("kubectl").display(),
        cluster.kubeconfig().display()
    );
    let environment = [
        ("KUBECTL", kubectl.as_str()),
        ("CERTIFICATES", certificates.path().to_str().unwrap()),
        ("IMAGE", "registry/headcount:1"),
    ];

    // Twice: what is there already is updated.
    script("deploy/deploy", &[], &environment).await;
    script("deploy/deploy", &[], &environment).await;

    let deployed = cluster
        .kubectl(&[
            "--namespace=headcount",
            "get",
            "deployment",
            "headcount",
            "--output=json",
        ])
        .await
        .unwrap();
    let pod = &serde_json::from_str::<Value>(&deployed).unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["containers"][0]["image"], "registry/headcount:1");
    let arguments: Vec<_> = pod["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    assert!(
        arguments.contains(&"--admin-listen=0.0.0.0:8081"),
        "{arguments:?}"
    );

    // Under Pod Security `restricted` its Pods are admitted and scheduled.
    cluster
        .kubectl(&[
            "--namespace=headcount",
            "rollout",
            "status",
            "deployment/headcount",
            "--timeout=60s",
        ])
        .await
        .unwrap();

    the_account_has_no_right_too_many(&cluster).await;

    let seed = Seed {
        deployments: 60,
        namespaces: 3,
        replicas: SeedReplicas::Spread,
    };
    cluster.seed(&seed).await.unwrap();
    let account = cluster
        .serviceaccount_kubeconfig("headcount", "headcount")
        .await
        .unwrap();
    let server = Setup::new(&account).healthy().await;
    let (namespace, name) = (seed.namespace(7), seed.name(7));
    assert_eq!(
        server.client.scale(&namespace, &name, 4, &[]).await.status,
        200
    );
    assert_eq!(server.client.count(&namespace, &name).await, Ok(4));
    // Everything else that a caller may rely on, seen from outside, with these rights on a real API server.
    let address = format!("https://{}", server.address);
    let certs = server.files.folder.to_str().unwrap();
    let words = script(
        "tests/functional.sh",
        &[
            "--address",
            &address,
            "--certs",
            certs,
            "--namespace",
            &namespace,
            "--deployment",
            &name,
        ],
        &[],
    )
    .await;
    assert!(words.trim_end().ends_with(" passed, 0 failed"), "{words}");
    assert!(
        !words.contains(
            "
skip - "
        ),
        "{words}"
    );

    // Containers are read with the right to list; setting an image needs a right that is given only when it is asked for.
    let image = format!("/namespaces/{namespace}/deployments/{name}/containers");
    let containers = server.client.get(&image).await.json()["containers"].clone();
    let container = containers[0]["name"].as_str().unwrap().to_owned();
    let set = async || {
        let path = format!("{image}/{container}/image");
        let headers = [("content-type", "application/json")];
        let body = r#"{"image":"example.org/shop:2"}"#;
        let answer = server.client.send(Method::PUT, &path, &headers, body);
        answer.await.status.as_u16()
    };
    assert_eq!(set().await, 502);
    let with_images: Vec<_> = environment
        .into_iter()
        .chain([("SET_IMAGES", "1")])
        .collect();
    script("deploy/deploy", &[], &with_images).await;
    eventually(
        Duration::from_secs(10),
        "the right to set images",
        async || set().await == 200,
    )
    .await;
    script("deploy/deploy", &[], &environment).await;
    eventually(Duration::from_secs(10), "the right's end", async || {
        set().await == 502
    })
    .await;
    server.shut_down().await;

    with_and_without_the_log_sidecar(&cluster, &environment).await;

    let optional = checkout().join("deploy/optional");
    cluster
        .kubectl(&["apply", "--filename", optional.to_str().unwrap()])
        .await
        .unwrap();
    script("deploy/deploy", &[], &with_images).await;
    script("deploy/undeploy", &[], &environment).await;
    let left = cluster
        .kubectl(&[
            "get",
            "clusterrole,clusterrolebinding",
            "--selector=app.kubernetes.io/name=headcount",
            "--output=name",
        ])
        .await;
    assert_eq!(left.unwrap(), "");
}

/// The overlay is valid, its Pods are admitted under `restricted`, and it is taken away without a trace in the Deployment.
async fn with_and_without_the_log_sidecar(cluster: &ControlPlane, environment: &[(&str, &str)]) {
    let with: Vec<_> = environment
        .iter()
        .copied()
        .chain([("LOG_SIDECAR", "registry/collector:1")])
        .collect();
    let pod = async || {
        let get = [
            "get",
            "deployment",
            "headcount",
            "--output=json",
            "--namespace=headcount",
        ];
        let deployed = cluster.kubectl(&get).await.unwrap();
        serde_json::from_str::<Value>(&deployed).unwrap()["spec"]["template"]["spec"].clone()
    };
    let rolled_out = async || {
        let status = [
            "rollout",
            "status",
            "deployment/headcount",
            "--timeout=60s",
            "--namespace=headcount",
        ];
        cluster.kubectl(&status).await.unwrap();
    };
    let plain = pod().await;
    script("deploy/deploy", &[], &with).await;
    let sidecar = pod().await;
    let collector = &sidecar["initContainers"][0];
    assert_eq!(collector["image"], "registry/collector:1");
    assert_eq!(collector["restartPolicy"], "Always");
    assert_eq!(sidecar["containers"][0]["image"], "registry/headcount:1");
    assert_eq!(
        sidecar["containers"][0]["args"],
        plain["containers"][0]["args"]
    );
    rolled_out().await;
    script("deploy/deploy", &[], environment).await;
    assert_eq!(pod().await, plain);
    rolled_out().await;
}

/// Each permission that it needs it has, and it has no more than every account.
async fn the_account_has_no_right_too_many(cluster: &ControlPlane) {
    let may = async |verb: &str, resource: &str| {
        // kubectl's exit code says no, too.
        cluster
            .kubectl(&["auth", "can-i", verb, resource, ACCOUNT, "--all-namespaces"])
            .await
            .is_ok_and(|answer| answer.trim() == "yes")
    };
    for (verb, resource) in [("list", "deployments.apps"), ("watch", "deployments.apps")] {
        assert!(may(verb, resource).await, "{verb} {resource}");
    }
    for (verb, resource) in [
        ("update", "deployments.apps"),
        ("patch", "deployments.apps"),
        ("create", "deployments.apps"),
        ("delete", "deployments.apps"),
        ("get", "secrets"),
        ("list", "pods"),
        ("get", "configmaps"),
        ("update", "replicasets.apps"),
    ] {
        assert!(!may(verb, resource).await, "{verb} {resource}");
    }
    let rules = async |account: &str| {
        let list = cluster
            .kubectl(&["auth", "can-i", "--list", "--no-headers", account])
            .await
            .unwrap();
        list.lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let bare = rules("--as=system:serviceaccount:headcount:nobody").await;
    let mut more: Vec<_> = rules(ACCOUNT)
        .await
        .into_iter()
        .filter(|rule| !bare.contains(rule))
        .collect();
    more.sort();
    assert_eq!(
        more,
        [
            "deployments.apps [] [] [list watch]",
            "deployments.apps/scale [] [] [update]"
        ]
    );
}
