//! Every mode of the chart on a real API server, which judges each object, with both Helms; kwok makes the Pods ready.

use std::{collections::BTreeSet, fs, path::Path};

use headcount::pki;

use super::cluster::{Cluster, HEADCOUNT, checkout, ended, words};

/// One after another, on one cluster: each leaves it as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_is_installed_and_leaves_nothing_but_the_secrets_that_cert_manager_wrote() {
    let cluster = Cluster::start(None).await;
    cluster.restricted(HEADCOUNT).await;
    for namespace in ["web", "shop"] {
        cluster.kubectl(&["create", "namespace", namespace]).await;
    }
    cluster.prometheus_operator().await;
    let before = cluster.objects().await;

    for helm in ["helm4", "helm3"] {
        installed_upgraded_rolled_back(&cluster, helm).await;
        nothing_is_left(&cluster, &before, helm, &OWN_SECRETS).await;
    }
    with_an_issuer_that_is_there(&cluster, &before).await;
    with_secrets_that_are_there(&cluster, &before).await;
    with_files(&cluster, &before).await;
    cluster
        .apply(
            "helm4",
            "scope: {mode: namespaced, namespaces: [web, shop]}",
            &[],
        )
        .await;
    nothing_is_left(&cluster, &before, "helm4", &OWN_SECRETS).await;
    with_everything(&cluster, &before).await;
    with_make_deploy(&cluster, &before).await;
}

/// What cert-manager writes with the defaults.
const OWN_SECRETS: [&str; 4] = [
    "headcount-client-admin",
    "headcount-client-ca-1",
    "headcount-server",
    "headcount-server-ca-1",
];

async fn installed_upgraded_rolled_back(cluster: &Cluster, helm: &str) {
    cluster.apply(helm, "", &[]).await;
    let first = cluster.object("deployment", HEADCOUNT).await;
    cluster
        .apply(
            helm,
            "replicaCount: 3\nconfig: {kubernetesEvents: true}",
            &[],
        )
        .await;
    let second = cluster.object("deployment", HEADCOUNT).await;
    assert_eq!(second["status"]["readyReplicas"], 3);
    assert_ne!(first["spec"]["template"], second["spec"]["template"]);
    cluster
        .helm_of(
            helm,
            &["rollback", HEADCOUNT, "1", "--wait", "--timeout=300s"],
        )
        .await;
    let third = cluster.object("deployment", HEADCOUNT).await;
    assert_eq!(third["spec"], first["spec"]);
}

async fn with_an_issuer_that_is_there(cluster: &Cluster, before: &BTreeSet<String>) {
    let issuer = "{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: company, namespace: headcount}, spec: {selfSigned: {}}}";
    cluster.control_plane.apply(issuer).await.unwrap();
    cluster
        .apply(
            "helm4",
            "certificates: {certManager: {issuerRef: {name: company}}}",
            &[],
        )
        .await;
    let certificate = cluster.object("certificate", "headcount-server").await;
    assert_eq!(certificate["spec"]["issuerRef"]["name"], "company");
    cluster
        .kubectl(&["--namespace", HEADCOUNT, "delete", "issuer", "company"])
        .await;
    let secrets = [
        "headcount-client-admin",
        "headcount-client-ca-1",
        "headcount-server",
    ];
    nothing_is_left(cluster, before, "helm4", &secrets).await;
}

async fn with_secrets_that_are_there(cluster: &Cluster, before: &BTreeSet<String>) {
    let folder = tempfile::tempdir_in(cluster.folder.path()).unwrap();
    let files = pki::write_demo(folder.path()).unwrap();
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let (cert, key) = (
        flag("cert", &files.server.certificate),
        flag("key", &files.server.key),
    );
    let ours = ["--namespace", HEADCOUNT];
    cluster
        .kubectl(&[&ours[..], &["create", "secret", "tls", "mine", &cert, &key]].concat())
        .await;
    let ca = format!("--from-file=bundle.pem={}", files.ca.display());
    cluster
        .kubectl(&[&ours[..], &["create", "configmap", "bundle", &ca]].concat())
        .await;
    let values = "certificates: {mode: secrets, secrets: {server: mine}}\nclientCa: {configMaps: [{name: bundle, key: bundle.pem}]}";
    cluster.apply("helm4", values, &[]).await;
    cluster
        .kubectl(&[&ours[..], &["delete", "configmap", "bundle"]].concat())
        .await;
    nothing_is_left(cluster, before, "helm4", &["mine"]).await;
}

async fn with_files(cluster: &Cluster, before: &BTreeSet<String>) {
    let folder = tempfile::tempdir_in(cluster.folder.path()).unwrap();
    let files = pki::write_demo(folder.path()).unwrap();
    let given: Vec<_> = [
        ("tlsCert", &files.server.certificate),
        ("tlsKey", &files.server.key),
        ("clientCa", &files.ca),
        ("clientCert", &files.client.certificate),
        ("clientKey", &files.client.key),
    ]
    .into_iter()
    .map(|(name, path)| format!("--set-file=certificates.files.{name}={}", path.display()))
    .collect();
    let given: Vec<_> = given.iter().map(String::as_str).collect();
    cluster
        .apply("helm4", "certificates: {mode: files}", &given)
        .await;
    nothing_is_left(cluster, before, "helm4", &[]).await;
}

/// Whatever can be switched on, with the kinds of cert-manager and of Prometheus' operator there.
const EVERYTHING: &str = r#"
replicaCount: 3
commonLabels: {team: platform}
commonAnnotations: {example.org/owner: platform}
certificates:
  certManager:
    dnsNames: [headcount.example.org]
    ipAddresses: [192.0.2.7]
    serverAuthorities: {generations: [1, 2], signing: 2}
    clientAuthorities: {generations: [1, 2], signing: 1}
    clients:
      - name: admin
      - {name: ci, commonName: ci-deployer, organizations: [team-a], uris: ["spiffe://example.org/ns/team-a/sa/ci"], dnsNames: [ci.example.org]}
clientCa:
  configMaps: [{name: bundle, key: bundle.pem}]
clientCrl: {configMaps: [{name: lists}]}
denyList: {configMap: denied}
config:
  authorization: {mode: kubernetes}
  kubernetesEvents: true
  maxReplicas: 50
images: {enabled: true}
rollouts: {enabled: true}
serviceAccount: {name: scaler, annotations: {example.org/use: scaling}}
service: {type: LoadBalancer, nodePort: 30443, loadBalancerSourceRanges: [192.0.2.0/24], externalTrafficPolicy: Local, ipFamilyPolicy: SingleStack, annotations: {example.org/pool: internal}}
podDisruptionBudget: {enabled: true, maxUnavailable: 1}
networkPolicy:
  from: [{namespaceSelector: {matchLabels: {team: a}}}]
  adminFrom: [{ipBlock: {cidr: 192.0.2.0/24}}]
  extraEgress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 4317}]}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true, annotations: {example.org/folder: headcount}}
logSidecar: {enabled: true, logExporter: otlp_grpc, auditExporter: otlp_http, otlpGrpc: "collector.example.org:4317", otlpHttp: "https://collector.example.org"}
podLabels: {zone: inner}
podAnnotations: {example.org/scrape: "no"}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: zone, operator: In, values: [a]}]}}]}}
priorityClassName: system-cluster-critical
extraArgs: [--max-connections=2000]
extraEnv: [{name: HEADCOUNT_LOG_LEVEL, value: debug}]
extraVolumes: [{name: scratch, emptyDir: {}}]
extraVolumeMounts: [{name: scratch, mountPath: /scratch}]
extraObjects:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: beside}, data: {a: b}}
"#;

async fn with_everything(cluster: &Cluster, before: &BTreeSet<String>) {
    for (name, key) in [
        ("bundle", "bundle.pem"),
        ("lists", "ca.crl"),
        ("denied", "deny-list.yaml"),
    ] {
        let map = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: {HEADCOUNT}}}, data: {{{key}: ''}}}}"
        );
        cluster.control_plane.apply(&map).await.unwrap();
    }
    cluster.apply("helm4", EVERYTHING, &[]).await;
    let rule = cluster.object("prometheusrule", HEADCOUNT).await;
    assert!(rule["spec"]["groups"].is_array(), "{rule}");
    for map in ["bundle", "lists", "denied"] {
        cluster
            .kubectl(&["--namespace", HEADCOUNT, "delete", "configmap", map])
            .await;
    }
    let further = [
        "headcount-client-ca-2",
        "headcount-client-ci",
        "headcount-server-ca-2",
    ];
    nothing_is_left(
        cluster,
        before,
        "helm4",
        &[&OWN_SECRETS[..], &further].concat(),
    )
    .await;
}

/// `make deploy` and `make undeploy`, with and without certificates of cert-manager; the namespace is theirs.
async fn with_make_deploy(cluster: &Cluster, before: &BTreeSet<String>) {
    cluster.kubectl(&["delete", "namespace", HEADCOUNT]).await;
    let certificates = tempfile::tempdir_in(cluster.folder.path()).unwrap();
    pki::write_demo(certificates.path()).unwrap();
    let run = async |script: &str, folder: Option<&Path>| {
        let mut command = cluster.shell(checkout(script));
        command.env("IMAGE", "registry/headcount:1");
        if let Some(folder) = folder {
            command.env("CERTIFICATES", folder);
        }
        let output = ended(&mut command).await;
        let (words, errors) = words(&output);
        assert!(output.status.success(), "{script}: {words}\n{errors}");
        assert!(
            !errors.to_lowercase().contains("warn"),
            "{script}: {errors}"
        );
    };
    // Twice: what is there already is updated.
    for folder in [None, None, Some(certificates.path())] {
        run("deploy/deploy", folder).await;
        let deployed = cluster.object("deployment", HEADCOUNT).await;
        let pod = &deployed["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], "registry/headcount:1");
        assert_eq!(deployed["status"]["readyReplicas"], 2);
    }
    let labels = cluster
        .kubectl(&[
            "get",
            "namespace",
            HEADCOUNT,
            "--output=jsonpath={.metadata.labels}",
        ])
        .await;
    assert!(
        labels.contains(r#""pod-security.kubernetes.io/enforce":"restricted""#),
        "{labels}"
    );
    run("deploy/undeploy", None).await;
    with_kustomize(cluster).await;
    let objects = cluster.objects().await;
    let of_the_namespace = |object: &&String| {
        object.contains(&format!(" {HEADCOUNT} "))
            || **object == format!("Namespace <none> {HEADCOUNT}")
    };
    let others: BTreeSet<_> = before
        .iter()
        .filter(|object| !of_the_namespace(object))
        .cloned()
        .collect();
    assert_eq!(objects, others);
}

/// The overlay for cert-manager, which has the namespace too.
async fn with_kustomize(cluster: &Cluster) {
    let overlay = checkout("deploy/kustomize/overlays/cert-manager");
    let overlay = format!("--kustomize={}", overlay.display());
    // Applied twice: what is there already is updated.
    for _ in 0..2 {
        cluster.kubectl(&["apply", &overlay]).await;
    }
    let rollout = [
        "rollout",
        "status",
        "deployment/headcount",
        "--timeout=300s",
    ];
    let ours = ["--namespace", HEADCOUNT];
    cluster.kubectl(&[&ours[..], &rollout].concat()).await;
    cluster.kubectl(&["delete", &overlay]).await;
}

/// Uninstalls; whatever was there before is there, and beside that these Secrets alone, which are then removed.
async fn nothing_is_left(
    cluster: &Cluster,
    before: &BTreeSet<String>,
    helm: &str,
    secrets: &[&str],
) {
    cluster.uninstall(helm).await;
    let expected = secrets
        .iter()
        .map(|name| format!("Secret {HEADCOUNT} {name}"));
    let expected: BTreeSet<_> = before.iter().cloned().chain(expected).collect();
    // What belongs to what was deleted is collected a moment later.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let now = cluster.objects().await;
        if now == expected {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "left: {:#?}, missing: {:#?}",
            &now - &expected,
            &expected - &now
        );
    }
    for secret in secrets {
        cluster
            .kubectl(&["--namespace", HEADCOUNT, "delete", "secret", secret])
            .await;
    }
    fs::remove_file(cluster.folder.path().join("values.yaml")).unwrap();
}
