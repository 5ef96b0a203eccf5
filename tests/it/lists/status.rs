//! Lists with `status=true`: how many Pods are ready, beside the counts.

use http::Method;
use serde_json::json;

use super::{cluster, get, names, next};
use crate::support::InProcess;

#[tokio::test(start_paused = true)]
async fn a_list_with_status_has_ready_pods_in_every_part_of_it() {
    let cluster = cluster();
    cluster.set_ready("web", "cart", 0).unwrap();
    let server = InProcess::synced(&cluster).await;
    let cart = json!({"namespace": "web", "name": "cart", "replicaCount": 1, "readyReplicas": 0});
    for (path, at) in [
        ("/deployments?status=true", 2),
        ("/namespaces/web/deployments?status=true", 1),
        ("/deployments?status=true&labelSelector=team%3Dshop", 1),
        (
            "/namespaces/web/deployments?labelSelector=team%3Dshop&status=true&limit=2",
            1,
        ),
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.json()[at], cart, "{path}: {}", answer.text());
    }
    let mut found = Vec::new();
    let mut path = Some("/deployments?limit=2&status=true".to_owned());
    while let Some(page) = path {
        let answer = get(&server, &page).await;
        let list = answer.json();
        assert!(
            list[0]["readyReplicas"].is_i64(),
            "{page}: {}",
            answer.text()
        );
        found.extend(names(&answer));
        path = next(&answer);
    }
    assert_eq!(found, ["pg", "api", "cart", "site", "x"]);
    let plain = get(&server, "/namespaces/web/deployments").await;
    assert!(!plain.text().contains("ready"), "{}", plain.text());
}

#[tokio::test(start_paused = true)]
async fn ready_pods_change_the_tag_of_lists_that_have_them_alone() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    let paths = ["/deployments", "/deployments?status=true"];
    let mut tags = Vec::new();
    for path in paths {
        tags.push(get(&server, path).await.header("etag").to_owned());
    }
    let version = cluster.set_ready("web", "cart", 0).unwrap().to_string();
    for ((path, tag), status) in paths.into_iter().zip(&tags).zip([304, 200]) {
        let headers = [
            ("if-none-match", &**tag),
            ("x-min-resource-version", &*version),
        ];
        let again = server.send(Method::GET, path, &headers, "").await;
        assert_eq!(again.status, status, "{path}");
    }
}
