//! Watches: where they begin, what they show, when they end.

use std::time::Duration;

use simkube::{Cluster, NewDeployment, Options};
use tokio::time::Instant;

use crate::support::{ALL, SHOP, get, open, piece, request, shop, silent};

fn event(kind: &str, name: &str, version: u64) -> (String, String, String) {
    (kind.to_owned(), name.to_owned(), version.to_string())
}

/// Opens a watch, runs `change`, and reads it to its end.
async fn watch(cluster: &Cluster, uri: &str, change: impl FnOnce()) -> crate::support::Answer {
    use http_body_util::BodyExt as _;
    let (parts, body) = open(cluster, request("GET", uri, &[], ""))
        .await
        .unwrap()
        .into_parts();
    change();
    crate::support::Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_from_the_version_on_in_order() {
    let cluster = shop();
    let version = cluster.resource_version();
    cluster.scale("shop", "cart", 4);
    let answer = watch(
        &cluster,
        &format!("{ALL}?watch=true&timeoutSeconds=5&resourceVersion={version}"),
        || {
            cluster.create(NewDeployment::new("shop", "new"));
            cluster.touch_status("shop", "new");
            cluster.delete("shop", "cart");
        },
    )
    .await;
    assert_eq!(
        answer.events(),
        [
            event("MODIFIED", "cart", version + 1),
            event("ADDED", "new", version + 2),
            event("MODIFIED", "new", version + 3),
            event("DELETED", "cart", version + 4),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_version_the_present_state_comes_first() {
    let cluster = shop();
    for version in ["", "&resourceVersion=0"] {
        let answer = watch(
            &cluster,
            &format!("{SHOP}?watch=1&timeoutSeconds=1{version}"),
            || {},
        )
        .await;
        let kinds: Vec<_> = answer
            .events()
            .into_iter()
            .map(|(kind, name, _)| (kind, name))
            .collect();
        let added = |name: &str| ("ADDED".to_owned(), name.to_owned());
        assert_eq!(kinds, [added("cart"), added("checkout"), added("search")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_over() {
    let cluster = shop();
    let began = Instant::now();
    watch(
        &cluster,
        &format!("{ALL}?watch=true&timeoutSeconds=25&resourceVersion=1004"),
        || {},
    )
    .await;
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    assert_eq!(cluster.counts().open_watches, 0);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_and_shortly_before_the_end() {
    let cluster = shop();
    let version = cluster.resource_version();
    let uri = format!(
        "{ALL}?watch=true&timeoutSeconds=150&allowWatchBookmarks=true&resourceVersion={version}"
    );
    let mut body = open(&cluster, request("GET", &uri, &[], ""))
        .await
        .unwrap()
        .into_body();
    let began = Instant::now();
    let mut times = Vec::new();
    while let Some(bytes) = piece(&mut body, Duration::from_secs(100)).await {
        let bytes = bytes.unwrap();
        assert!(
            std::str::from_utf8(&bytes)
                .unwrap()
                .starts_with("{\"type\":\"BOOKMARK\"")
        );
        times.push(began.elapsed().as_secs());
    }
    assert_eq!(times, [60, 120, 148]);
    assert_eq!(began.elapsed().as_secs(), 150);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_tells_the_clusters_version_even_where_nothing_matched() {
    let cluster = shop();
    let version = cluster.resource_version();
    let uri = format!(
        "/apis/apps/v1/namespaces/none/deployments?watch=true&timeoutSeconds=10&allowWatchBookmarks=true&resourceVersion={version}"
    );
    let answer = watch(&cluster, &uri, || {
        cluster.scale("shop", "cart", 9);
        cluster.advance_version(7);
    })
    .await;
    assert_eq!(answer.events(), [event("BOOKMARK", "", version + 8)]);
}

#[tokio::test(start_paused = true)]
async fn without_bookmarks_allowed_none_come() {
    let cluster = shop();
    let answer = watch(
        &cluster,
        &format!("{ALL}?watch=true&timeoutSeconds=200&resourceVersion=1004"),
        || {},
    )
    .await;
    assert!(answer.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_old_a_version_is_an_error_event_in_a_stream_of_200() {
    let cluster = shop();
    let version = cluster.resource_version();
    cluster.scale("shop", "cart", 4);
    cluster.compact();
    let answer = get(
        &cluster,
        &format!("{ALL}?watch=true&resourceVersion={version}"),
    )
    .await;
    assert_eq!(answer.status, 200);
    let event = answer.json();
    assert_eq!(event["type"], "ERROR");
    assert_eq!(event["object"]["code"], 410);
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(
        event["object"]["message"],
        format!("too old resource version: {version} ({})", version + 1)
    );
}

#[tokio::test(start_paused = true)]
async fn compaction_leaves_open_watches_alone() {
    let cluster = shop();
    let version = cluster.resource_version();
    let uri = format!("{ALL}?watch=true&timeoutSeconds=5&resourceVersion={version}");
    let mut body = open(&cluster, request("GET", &uri, &[], ""))
        .await
        .unwrap()
        .into_body();
    cluster.scale("shop", "cart", 4);
    piece(&mut body, Duration::from_secs(1))
        .await
        .unwrap()
        .unwrap();
    cluster.compact();
    cluster.scale("shop", "cart", 5);
    let bytes = piece(&mut body, Duration::from_secs(1))
        .await
        .unwrap()
        .unwrap();
    assert!(std::str::from_utf8(&bytes).unwrap().contains("MODIFIED"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_the_future_is_silent_until_then() {
    let cluster = shop();
    let version = cluster.resource_version();
    let uri = format!(
        "{ALL}?watch=true&timeoutSeconds=60&resourceVersion={}",
        version + 2
    );
    let mut body = open(&cluster, request("GET", &uri, &[], ""))
        .await
        .unwrap()
        .into_body();
    for replicas in [7, 8] {
        cluster.scale("shop", "cart", replicas);
        assert!(silent(&mut body, Duration::from_secs(1)).await);
    }
    cluster.scale("shop", "cart", 9);
    let bytes = piece(&mut body, Duration::from_secs(1))
        .await
        .unwrap()
        .unwrap();
    assert!(
        std::str::from_utf8(&bytes)
            .unwrap()
            .contains("\"replicas\":9")
    );
}

#[tokio::test(start_paused = true)]
async fn objects_enter_and_leave_a_selection() {
    let cluster = shop();
    let version = cluster.resource_version();
    let uri = format!(
        "{ALL}?watch=true&timeoutSeconds=5&labelSelector=app%3Dcart&resourceVersion={version}"
    );
    let answer = watch(&cluster, &uri, || {
        cluster.set_labels("shop", "search", &[("app", "cart")]);
        cluster.scale("shop", "search", 2);
        cluster.set_labels("shop", "search", &[("app", "search")]);
        cluster.scale("shop", "search", 3);
        cluster.delete("shop", "search");
        cluster.delete("shop", "cart");
    })
    .await;
    assert_eq!(
        answer.events(),
        [
            event("ADDED", "search", version + 1),
            event("MODIFIED", "search", version + 2),
            event("DELETED", "search", version + 3),
            event("DELETED", "cart", version + 6),
        ]
    );
    // What leaves is shown as it was when it last matched.
    let left: serde_json::Value = serde_json::from_str(
        std::str::from_utf8(&answer.body)
            .unwrap()
            .lines()
            .nth(2)
            .unwrap(),
    )
    .unwrap();
    assert_eq!(left["object"]["metadata"]["labels"]["app"], "cart");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let cluster = shop();
    let version = cluster.resource_version();
    let uri = format!(
        "{ALL}?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let answer = get(&cluster, &uri).await;
    assert_eq!(answer.events()[3], event("BOOKMARK", "", version));
    let last: serde_json::Value = serde_json::from_str(
        std::str::from_utf8(&answer.body)
            .unwrap()
            .lines()
            .nth(3)
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        last["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        get(
            &cluster,
            &format!("{ALL}?watch=true&sendInitialEvents=true")
        )
        .await
        .status,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_falls_behind_the_history_is_dropped() {
    let cluster = Cluster::new(Options::default().history(10));
    cluster.create(NewDeployment::new("shop", "cart"));
    let version = cluster.resource_version();
    let uri = format!("{ALL}?watch=true&timeoutSeconds=60&resourceVersion={version}");
    let mut body = open(&cluster, request("GET", &uri, &[], ""))
        .await
        .unwrap()
        .into_body();
    for _ in 0..20 {
        cluster.touch_status("shop", "cart");
    }
    assert!(piece(&mut body, Duration::from_secs(1)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_restore_ends_open_watches_and_versions_fall() {
    let cluster = shop();
    let snapshot = cluster.snapshot();
    cluster.scale("shop", "cart", 9);
    let uri = format!(
        "{ALL}?watch=true&timeoutSeconds=60&resourceVersion={}",
        cluster.resource_version()
    );
    let mut body = open(&cluster, request("GET", &uri, &[], ""))
        .await
        .unwrap()
        .into_body();
    cluster.restore(&snapshot);
    assert!(piece(&mut body, Duration::from_secs(1)).await.is_none());
    let mut body = open(&cluster, request("GET", &uri, &[], ""))
        .await
        .unwrap()
        .into_body();
    assert!(silent(&mut body, Duration::from_secs(30)).await);
}
