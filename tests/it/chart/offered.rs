//! What a caller is offered, asked of the running Pods.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use headcount::pki::{Authority, Leaf};
use http::Method;

use super::cluster::{Cluster, HEADCOUNT, checkout, ended, words};
use crate::support::{Client, eventually};

/// The Service's name, which the server's certificate has.
pub(super) const NAME: &str = "headcount.headcount.svc";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A Deployment that callers may change.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Target {
    fn path(&self) -> String {
        format!("/namespaces/{}/deployments/{}", self.namespace, self.name)
    }

    async fn count(&self, cluster: &Cluster) -> String {
        let scale = "--output=jsonpath={.spec.replicas}";
        cluster
            .kubectl(&[
                "--namespace",
                &self.namespace,
                "get",
                "deployment",
                &self.name,
                scale,
            ])
            .await
    }
}

/// A client that the chart has had issued, of the server at this address.
pub(super) async fn client(cluster: &Cluster, address: SocketAddr, name: &str) -> Client {
    let authority = cluster.secret("headcount-server-ca-1", "tls.crt").await;
    let secret = format!("headcount-client-{name}");
    let chain = cluster.secret(&secret, "tls.crt").await;
    let key = cluster.secret(&secret, "tls.key").await;
    Client::new(address, &authority, Some((&chain, &key))).naming(NAME)
}

/// Reads, scales and tries a write out: what is offered in every mode.
pub(super) async fn reading_and_scaling(cluster: &Cluster, client: &Client, target: &Target) {
    let listed = client.get("/deployments").await;
    assert_eq!(listed.status, 200);
    let listed = listed.json();
    let mut listed = listed.as_array().unwrap().iter();
    assert!(listed.any(|one| one["namespace"] == *target.namespace && one["name"] == *target.name));
    let containers = client.get(&format!("{}/containers", target.path())).await;
    assert_eq!(containers.status, 200, "{}", containers.text());

    for count in [2, 5] {
        let written = client
            .scale(&target.namespace, &target.name, count, &[])
            .await;
        assert_eq!(written.status, 200, "{}", written.text());
        assert_eq!(target.count(cluster).await, count.to_string());
        assert_eq!(
            client.count(&target.namespace, &target.name).await,
            Ok(count)
        );
    }
    let path = format!("{}/replicas?dryRun=true", target.path());
    let tried = client
        .send(Method::PUT, &path, &JSON, r#"{"replicaCount":7}"#)
        .await;
    assert_eq!(
        (tried.status.as_u16(), tried.header("x-dry-run")),
        (200, "true")
    );
    assert_eq!(target.count(cluster).await, "5");
}

/// The status of setting an image.
pub(super) async fn setting_an_image(client: &Client, target: &Target, image: &str) -> u16 {
    let containers = client
        .get(&format!("{}/containers", target.path()))
        .await
        .json();
    let container = containers["containers"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("{}/containers/{container}/image", target.path());
    let body = format!(r#"{{"image":"{image}"}}"#);
    client
        .send(Method::PUT, &path, &JSON, &body)
        .await
        .status
        .as_u16()
}

/// A restart, and the way back from it, as far as the Deployment's controller keeps one.
pub(super) async fn restarting_and_going_back(client: &Client, target: &Target) {
    for (call, fine) in [("restart", &[200][..]), ("rollback", &[200, 404])] {
        let path = format!("{}/{call}", target.path());
        let answer = client.send(Method::POST, &path, &JSON, "{}").await;
        let status = answer.status.as_u16();
        assert!(fine.contains(&status), "{call}: {status} {}", answer.text());
    }
}

/// Whether the cluster has an Event that tells of a write.
pub(super) async fn telling_in_events(cluster: &Cluster, target: &Target) {
    eventually(
        Duration::from_secs(60),
        "an Event that tells of a write",
        async || {
            let described = cluster
                .kubectl(&[
                    "--namespace",
                    &target.namespace,
                    "describe",
                    "deployment",
                    &target.name,
                ])
                .await;
            described.contains("ScaledByHeadcount")
        },
    )
    .await;
}

/// Everything else that a caller may rely on, seen from outside with curl.
pub(super) async fn all_that_functional_tests_ask(
    cluster: &Cluster,
    service: SocketAddr,
    target: &Target,
) {
    let folder = cluster.folder.path().join("functional");
    fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write(
        "ca.crt",
        &cluster.secret("headcount-server-ca-1", "tls.crt").await,
    );
    for file in ["crt", "key"] {
        let text = cluster
            .secret("headcount-client-admin", &format!("tls.{file}"))
            .await;
        write(&format!("client.{file}"), &text);
    }
    let (certificate, key) = (
        cluster.secret("headcount-client-ca-1", "tls.crt").await,
        cluster.secret("headcount-client-ca-1", "tls.key").await,
    );
    let own = Authority::load(&certificate, &key, false).unwrap();
    let foreign = Authority::new("headcount-client-ca-1").unwrap();
    let hour = Duration::from_secs(3600);
    let expired = Leaf {
        not_before: SystemTime::now() - 48 * hour,
        not_after: SystemTime::now() - hour,
        ..Leaf::client("admin")
    };
    for (name, issued) in [
        ("expired", own.issue(&expired).unwrap()),
        ("foreign", foreign.issue(&Leaf::client("admin")).unwrap()),
        ("server", own.issue(&Leaf::server(&[NAME])).unwrap()),
        ("client2", own.issue(&Leaf::client("second")).unwrap()),
    ] {
        write(&format!("{name}.crt"), &issued.chain_pem);
        write(&format!("{name}.key"), &issued.key_pem);
    }
    // The cluster's names are known where this runs, and nowhere else.
    write(
        "hosts",
        &format!("127.0.0.1 localhost\n{} {NAME}\n", service.ip()),
    );
    let script = r#"mount --bind "$0/hosts" /etc/hosts && exec "$@""#;
    let mut functional = cluster.shell("unshare");
    functional
        .args(["--mount", "sh", "-c", script])
        .arg(&folder);
    functional
        .arg(checkout("tests/functional.sh"))
        .arg("--address");
    functional
        .arg(format!("https://{NAME}:{}", service.port()))
        .arg("--certs")
        .arg(&folder);
    functional.args([
        "--namespace",
        &target.namespace,
        "--deployment",
        &target.name,
    ]);
    let output = ended(&mut functional).await;
    let (words, errors) = words(&output);
    assert!(
        words.trim_end().ends_with(" passed, 0 failed"),
        "{words}\n{errors}"
    );
    assert!(!words.contains("\nskip - "), "{words}");
}

/// Where a Service is reached from the node.
pub(super) async fn service(cluster: &Cluster) -> SocketAddr {
    let service = cluster.object("service", HEADCOUNT).await;
    let ip: std::net::IpAddr = service["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    (ip, 443).into()
}
