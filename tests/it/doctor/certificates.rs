//! Certificates, revocation lists, deny list, and who may touch their files.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use headcount::pki::{Authority, Leaf, Pair, RevocationList, Usage};

use super::Patient;
use crate::support::SimCluster;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A patient whose server presents this leaf, of a CA of its own.
async fn presenting(cluster: &SimCluster, leaf: Leaf) -> Patient {
    let patient = Patient::of(cluster.kubeconfig());
    let authority = Authority::new("other").unwrap();
    let issued = authority.issue(&leaf).unwrap();
    let Pair { certificate, key } = &patient.files.server;
    fs::write(certificate, issued.certificate_pem).unwrap();
    fs::write(key, issued.key_pem).unwrap();
    patient
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_fails() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    fs::copy(&patient.files.client.key, &patient.files.server.key).unwrap();
    let found = patient.examined().await;
    found.finds(
        "certificates.files",
        "failed",
        "the key isn't the certificate's",
    );
    assert_eq!(
        found.names("failed"),
        ["certificates.files"],
        "the rest is checked and well"
    );
}

#[tokio::test]
async fn what_is_missing_or_no_certificate_fails_with_its_path() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    fs::write(&patient.files.ca, "no certificate").unwrap();
    let path = patient.files.ca.display().to_string();
    patient
        .examined()
        .await
        .finds("certificates.files", "failed", &path);
    fs::remove_file(&patient.files.server.certificate).unwrap();
    let found = patient.examined().await;
    found.finds("certificates.files", "failed", "No such file");
}

#[tokio::test]
async fn a_certificate_near_its_end_warns_and_one_beyond_it_fails() {
    let cluster = SimCluster::start().await;
    let leaf = || Leaf::server(&["localhost"]);
    let found = presenting(&cluster, leaf().expired())
        .await
        .examined()
        .await;
    found.finds("certificates.server", "failed", "expired ");
    let soon = leaf().valid_until(SystemTime::now() + Duration::from_secs(60));
    let found = presenting(&cluster, soon).await.examined().await;
    found.finds("certificates.server", "warning", "is valid for 0 h");
    let long = leaf().valid_for(100 * DAY);
    let found = presenting(&cluster, long).await.examined().await;
    found.finds("certificates.server", "ok", "is valid for 99 days");
    let future = presenting(&cluster, leaf().not_yet_valid())
        .await
        .examined()
        .await;
    future.finds("certificates.server", "failed", "isn't valid before");
}

#[tokio::test]
async fn names_purpose_and_order_of_the_servers_chain_are_judged_as_clients_do() {
    let cluster = SimCluster::start().await;
    let names = Leaf::server(&["headcount.example", "127.0.0.1"]);
    let found = presenting(&cluster, names).await.examined().await;
    found.finds("certificates.names", "ok", "headcount.example, 127.0.0.1");
    found.finds("certificates.chain", "ok", "in order");
    let client = Leaf::client("server").usage(Usage::Client);
    let found = presenting(&cluster, client).await.examined().await;
    found.finds("certificates.names", "failed", "names no DNS name");
    found.finds("certificates.chain", "failed", "serverAuth");

    let patient = Patient::of(cluster.kubeconfig());
    let stranger = Authority::new("stranger").unwrap().certificate_pem();
    let chain = fs::read_to_string(&patient.files.server.certificate).unwrap() + &stranger;
    fs::write(&patient.files.server.certificate, chain).unwrap();
    let found = patient.examined().await;
    found.finds(
        "certificates.chain",
        "warning",
        "certificate 2 of the server's chain",
    );
}

#[tokio::test]
async fn a_revocation_list_that_has_expired_fails_unless_it_counts_nevertheless() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    let authority = Authority::new("clients").unwrap();
    let mut list = RevocationList::empty(0);
    let path = patient.folder.path().join("expired.crl");
    let signed = list.sign(&authority, SystemTime::now() - 2 * DAY, DAY);
    fs::write(&path, signed.unwrap()).unwrap();
    fs::write(&patient.files.ca, authority.certificate_pem()).unwrap();
    let patient = patient.flag(format!("--client-crl={}", path.display()));
    patient.examined().await.finds(
        "certificates.revocation",
        "failed",
        "clients of its CA are refused",
    );
    let lenient = patient.configured("clientCertificates: {expiredCrl: accept}");
    lenient
        .examined()
        .await
        .finds("certificates.revocation", "warning", "expired 1 day ago");
}

#[tokio::test]
async fn files_that_others_can_read_or_change_warn() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    patient
        .examined()
        .await
        .finds("files.permissions", "ok", "nobody else");
    set_mode(&patient.files.server.key, 0o644);
    patient
        .examined()
        .await
        .finds("files.permissions", "warning", "can read the private key");
    set_mode(&patient.files.server.key, 0o600);
    set_mode(&patient.files.ca, 0o666);
    let found = patient.examined().await;
    found.finds(
        "files.permissions",
        "warning",
        &format!("can change {}", patient.files.ca.display()),
    );
    set_mode(&patient.files.ca, 0o644);
    set_mode(patient.files.ca.parent().unwrap(), 0o777);
    patient
        .examined()
        .await
        .finds("files.permissions", "warning", "can change");
}

#[tokio::test]
async fn a_deny_list_is_read_and_serials_of_unknown_issuers_warn() {
    let cluster = SimCluster::start().await;
    let patient = Patient::of(cluster.kubeconfig());
    let path = patient.folder.path().join("deny.yaml");
    let write = |entries: &str| {
        let head = "apiVersion: headcount/v1alpha1\nkind: DenyList\n";
        fs::write(&path, format!("{head}{entries}")).unwrap();
    };
    let patient = patient.flag(format!("--deny-list={}", path.display()));
    write("serials:\n  - {issuer: CN=nobody, serial: 0a}\n");
    let found = patient.examined().await;
    found.finds("certificates.deny_list", "ok", "deny.yaml");
    found.finds("certificates.deny_list", "warning", "CN=nobody");
    write("denied: []\n");
    patient
        .examined()
        .await
        .finds("certificates.files", "failed", "deny list");
}
