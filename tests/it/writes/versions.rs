//! `X-Min-Resource-Version`: a read that is not older than what its caller has seen elsewhere.

use std::time::Duration;

use headcount::kubernetes::Managed;
use http::Method;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::{Instant, sleep};

use super::shop;
use crate::support::InProcess;

const HEADER: &str = "x-min-resource-version";

#[tokio::test(start_paused = true)]
async fn a_version_that_is_there_is_answered_at_once() {
    let server = shop().await;
    let version = server.version();
    for wanted in [version, version - 1, 0] {
        let start = Instant::now();
        let one = server
            .get("web", "shop", &[(HEADER, &wanted.to_string())])
            .await;
        let list = server
            .send(
                Method::GET,
                "/deployments",
                &[(HEADER, &wanted.to_string())],
                "",
            )
            .await;
        assert_eq!((one.status.as_u16(), list.status.as_u16()), (200, 200));
        assert!(start.elapsed() < Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_comes_within_5_s_is_waited_for() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(Duration::from_secs(3))));
    let version = server.cluster.scale("web", "shop", 8).unwrap().to_string();
    let start = Instant::now();
    let headers = [(HEADER, version.as_str())];
    let list = tokio::spawn(server.sending(Method::GET, "/deployments", &headers, ""));
    let one = server.get("web", "shop", &headers).await;
    assert_eq!(
        (one.status.as_u16(), &one.json()["replicaCount"]),
        (200, &8.into())
    );
    assert_eq!(list.await.unwrap().json()[0]["replicaCount"], 8);
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_come_is_503_after_5_s() {
    let server = shop().await;
    let far = (server.version() + 1000).to_string();
    for path in [
        "/deployments",
        "/namespaces/web/deployments/shop/replicas",
        "/namespaces/web/deployments/none/replicas",
    ] {
        let start = Instant::now();
        let answer = server.send(Method::GET, path, &[(HEADER, &far)], "").await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.error().contains(&far), "{}", answer.error());
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
        assert!(
            start.elapsed() >= Duration::from_secs(5)
                && start.elapsed() < Duration::from_millis(5100),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_managed_is_404_at_once() {
    let cluster = Cluster::new(Options::default());
    cluster.create(NewDeployment::new("web", "shop")).unwrap();
    let managed = Managed {
        namespaces: vec!["web".into()],
        label_selector: None,
    };
    let server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    let start = Instant::now();
    let answer = server.get("ops", "shop", &[(HEADER, "5")]).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(start.elapsed() < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_is_enough_for_a_version_of_something_else() {
    let server = shop().await;
    server.cluster.advance_version(30);
    let version = server.cluster.resource_version().to_string();
    // The watch's last bookmark comes two seconds before its end.
    sleep(Duration::from_secs(17)).await;
    let answer = server.get("web", "shop", &[(HEADER, &version)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_version_is_400() {
    let server = shop().await;
    for wrong in [
        "",
        "-1",
        "1.5",
        "x",
        "0x10",
        "+5",
        " 5 6",
        "99999999999999999999",
    ] {
        for path in ["/deployments", "/namespaces/web/deployments/shop/replicas"] {
            let answer = server.send(Method::GET, path, &[(HEADER, wrong)], "").await;
            assert_eq!(answer.status, 400, "{wrong:?} on {path}: {}", answer.text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_several_namespaces_has_the_write_that_was_just_made() {
    let cluster = Cluster::new(Options::default());
    for namespace in ["web", "quiet"] {
        cluster.create(NewDeployment::new(namespace, "shop").replicas(3));
    }
    let managed = Managed {
        namespaces: vec!["web".into(), "quiet".into()],
        label_selector: None,
    };
    let server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    sleep(Duration::from_secs(60)).await;
    let written = server.put("web", "shop", 7, &[]).await;
    let version = written.header("x-resource-version").to_owned();
    let start = Instant::now();
    let list = server
        .send(Method::GET, "/deployments", &[(HEADER, &version)], "")
        .await;
    assert_eq!(list.status, 200, "{}", list.text());
    assert_eq!(list.json()[1]["replicaCount"], 7);
    // The quiet namespace's watch is asked how far it has come.
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}
