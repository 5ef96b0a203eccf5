//! Lists: versions, pages, order, selectors.

use simkube::{Cluster, NewDeployment, Options};
use tokio::time::{Duration, Instant};

use crate::support::{ALL, SHOP, get, get_as, shop};

fn continue_of(answer: &crate::support::Answer) -> String {
    answer.json()["metadata"]["continue"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn the_order_is_that_of_the_joined_key() {
    let cluster = Cluster::new(Options::default());
    for (namespace, name) in [("a", "x"), ("a-b", "y"), ("a", "b-c"), ("a", "b")] {
        cluster.create(NewDeployment::new(namespace, name));
    }
    assert_eq!(get(&cluster, ALL).await.names(), ["y", "b", "b-c", "x"]);
    assert_eq!(
        get(&cluster, "/apis/apps/v1/namespaces/a/deployments")
            .await
            .names(),
        ["b", "b-c", "x"]
    );
}

#[tokio::test]
async fn later_pages_show_the_version_of_the_first() {
    let cluster = shop();
    cluster.create(NewDeployment::new("other", "z").replicas(9));
    let first = get(&cluster, &format!("{SHOP}?limit=1")).await;
    let version = first.json()["metadata"]["resourceVersion"].clone();
    assert_eq!(first.json()["metadata"]["remainingItemCount"], 2);

    cluster.scale("shop", "checkout", 50);
    cluster.scale("shop", "checkout", 51);
    cluster.delete("shop", "search");
    cluster.create(NewDeployment::new("shop", "checkout-new"));
    cluster.create(NewDeployment::new("shop", "a-new"));

    let second = get(
        &cluster,
        &format!("{SHOP}?limit=1&continue={}", continue_of(&first)),
    )
    .await;
    assert_eq!(second.json()["metadata"]["resourceVersion"], version);
    assert_eq!(second.json()["metadata"]["remainingItemCount"], 1);
    assert_eq!(second.names(), ["checkout"]);
    assert_eq!(second.json()["items"][0]["spec"]["replicas"], 2);

    cluster.create(NewDeployment::new("shop", "search"));
    let third = get(
        &cluster,
        &format!("{SHOP}?limit=1&continue={}", continue_of(&second)),
    )
    .await;
    assert_eq!(third.names(), ["search"]);
    assert_eq!(third.json()["items"][0]["spec"]["replicas"], 1);
    assert_eq!(continue_of(&third), "");
    assert!(third.json()["metadata"].get("remainingItemCount").is_none());
    assert_eq!(
        get(&cluster, SHOP).await.names(),
        ["a-new", "cart", "checkout", "checkout-new", "search"]
    );
}

#[tokio::test]
async fn a_compacted_continue_token_is_410_and_offers_an_inconsistent_rest() {
    let cluster = shop();
    let first = get(&cluster, &format!("{ALL}?limit=1")).await;
    cluster.scale("shop", "search", 8);
    cluster.compact();
    let expired = get(
        &cluster,
        &format!("{ALL}?limit=1&continue={}", continue_of(&first)),
    )
    .await;
    assert_eq!(expired.status, 410);
    assert_eq!(expired.json()["reason"], "Expired");
    assert!(
        expired.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("The provided continue parameter is too old")
    );
    let rest = get(
        &cluster,
        &format!("{ALL}?continue={}", continue_of(&expired)),
    )
    .await;
    assert_eq!(rest.names(), ["checkout", "search"]);
    assert_eq!(rest.json()["items"][1]["spec"]["replicas"], 8);
}

#[tokio::test]
async fn continue_tokens_expire_on_demand() {
    let cluster = shop();
    let first = get(&cluster, &format!("{ALL}?limit=2")).await;
    cluster.expire_continue_tokens();
    let next = format!("{ALL}?limit=2&continue={}", continue_of(&first));
    assert_eq!(get(&cluster, &next).await.status, 410);
    let again = get(&cluster, &format!("{ALL}?limit=2")).await;
    assert_eq!(
        get(
            &cluster,
            &format!("{ALL}?limit=2&continue={}", continue_of(&again))
        )
        .await
        .names(),
        ["search"]
    );
}

#[tokio::test]
async fn history_that_was_overrun_expires_tokens_too() {
    for (changes, status) in [(4, 200), (5, 410)] {
        let cluster = Cluster::new(Options::default().history(4));
        for name in ["a", "b", "c"] {
            cluster.create(NewDeployment::new("shop", name));
        }
        let first = get(&cluster, &format!("{ALL}?limit=1")).await;
        let next = format!("{ALL}?limit=1&continue={}", continue_of(&first));
        for _ in 0..changes {
            cluster.touch_status("shop", "c");
        }
        assert_eq!(get(&cluster, &next).await.status, status);
    }
}

#[tokio::test]
async fn version_zero_ignores_the_limit() {
    let list = get(&shop(), &format!("{ALL}?limit=1&resourceVersion=0")).await;
    assert_eq!(list.names().len(), 3);
    assert_eq!(continue_of(&list), "");
}

#[tokio::test]
async fn an_exact_version_shows_the_past() {
    let cluster = shop();
    let version = cluster.resource_version();
    cluster.delete("shop", "cart");
    let exact = get(
        &cluster,
        &format!("{ALL}?resourceVersion={version}&resourceVersionMatch=Exact"),
    )
    .await;
    assert_eq!(exact.names(), ["cart", "checkout", "search"]);
    let limited = get(
        &cluster,
        &format!("{ALL}?resourceVersion={version}&limit=2"),
    )
    .await;
    assert_eq!(limited.names(), ["cart", "checkout"]);
    assert_eq!(limited.json()["metadata"]["remainingItemCount"], 1);
    let newer = get(&cluster, &format!("{ALL}?resourceVersion={version}")).await;
    assert_eq!(newer.names(), ["checkout", "search"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_from_the_future_times_out_after_three_seconds() {
    let cluster = shop();
    let current = cluster.resource_version();
    let began = Instant::now();
    let answer = get(
        &cluster,
        &format!("{ALL}?resourceVersion={}", current + 100),
    )
    .await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(answer.status, 504);
    let json = answer.json();
    assert_eq!(json["reason"], "Timeout");
    assert_eq!(
        json["message"],
        format!(
            "Timeout: Too large resource version: {}, current: {current}",
            current + 100
        )
    );
    assert_eq!(
        json["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(json["details"]["retryAfterSeconds"], 1);
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_comes_within_the_wait_is_served() {
    let cluster = shop();
    let wanted = cluster.resource_version() + 1;
    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.scale("shop", "cart", 4);
    };
    let uri = format!("{ALL}?resourceVersion={wanted}");
    let (answer, ()) = tokio::join!(get(&cluster, &uri), write);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["items"][0]["spec"]["replicas"], 4);
}

#[tokio::test]
async fn selectors_choose_by_labels_and_by_name() {
    let cluster = shop();
    cluster.create(NewDeployment::new("shop", "bare"));
    let check = async |selector: &str, expected: &[&str]| {
        let encoded: String = selector.bytes().map(|b| format!("%{b:02X}")).collect();
        assert_eq!(
            get(&cluster, &format!("{ALL}?labelSelector={encoded}"))
                .await
                .names(),
            expected,
            "{selector}"
        );
    };
    check("app=cart", &["cart"]).await;
    check("app==cart", &["cart"]).await;
    check("app!=cart", &["bare", "checkout", "search"]).await;
    check("app in (cart, search)", &["cart", "search"]).await;
    check("app notin (cart,search),tier", &["checkout"]).await;
    check("tier", &["cart", "checkout", "search"]).await;
    check("!tier", &["bare"]).await;
    check("tier=web,app!=cart", &["checkout", "search"]).await;
    check("app in (cart,)", &["cart"]).await;
    check("app=", &[]).await;
    assert_eq!(
        get(&cluster, &format!("{ALL}?labelSelector=app+like+cart"))
            .await
            .status,
        400
    );
    assert_eq!(
        get(
            &cluster,
            &format!("{ALL}?fieldSelector=metadata.name%3Dcart")
        )
        .await
        .names(),
        ["cart"]
    );
    assert_eq!(
        get(&cluster, &format!("{ALL}?fieldSelector=spec.replicas%3D1"))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_page_of_a_selection_counts_what_matches_and_tells_no_remainder() {
    let cluster = shop();
    cluster.create(NewDeployment::new("shop", "a-bare"));
    let first = get(&cluster, &format!("{ALL}?labelSelector=tier&limit=2")).await;
    assert_eq!(first.names(), ["cart", "checkout"]);
    assert!(first.json()["metadata"].get("remainingItemCount").is_none());
    let rest = get(
        &cluster,
        &format!(
            "{ALL}?labelSelector=tier&limit=2&continue={}",
            continue_of(&first)
        ),
    )
    .await;
    assert_eq!(rest.names(), ["search"]);
}

#[tokio::test]
async fn bad_parameters_are_400() {
    let cluster = shop();
    for query in [
        "resourceVersion=x",
        "continue=%21",
        "limit=x",
        "continue=e30",
    ] {
        assert_eq!(
            get(&cluster, &format!("{ALL}?{query}")).await.status,
            400,
            "{query}"
        );
    }
    let token = continue_of(&get(&cluster, &format!("{ALL}?limit=1")).await);
    let both = get(
        &cluster,
        &format!("{ALL}?resourceVersion=1001&continue={token}"),
    )
    .await;
    assert_eq!(
        both.json()["message"],
        "specifying resource version is not allowed when using continue"
    );
}

#[tokio::test]
async fn accept_is_negotiated() {
    let cluster = shop();
    let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    for (accept, expected) in [
        ("*/*", "application/json"),
        (kubectl, "application/json"),
        (
            "application/vnd.kubernetes.protobuf,application/json",
            "application/vnd.kubernetes.protobuf",
        ),
        (
            "application/json;q=0.5,application/vnd.kubernetes.protobuf",
            "application/vnd.kubernetes.protobuf",
        ),
    ] {
        assert_eq!(
            get_as(&cluster, ALL, accept).await.headers["content-type"],
            expected,
            "{accept}"
        );
    }
    assert_eq!(get_as(&cluster, ALL, "text/html").await.status, 406);
}

#[tokio::test]
async fn a_page_comes_in_many_pieces() {
    use http_body_util::BodyExt as _;
    let cluster = Cluster::new(Options::default());
    for n in 0..500 {
        cluster.create(NewDeployment::new("shop", format!("d{n:03}")));
    }
    for accept in ["application/json", crate::support::PROTOBUF] {
        let request = crate::support::request("GET", ALL, &[("accept", accept)], "");
        let mut body = crate::support::open(&cluster, request)
            .await
            .unwrap()
            .into_body();
        let mut pieces = 0;
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            pieces += 1;
        }
        assert!(pieces > 20, "{pieces} pieces of {accept}");
    }
}

#[tokio::test]
async fn after_a_restore_old_tokens_from_the_future_fail() {
    let cluster = shop();
    let snapshot = cluster.snapshot();
    cluster.scale("shop", "cart", 4);
    let token = continue_of(&get(&cluster, &format!("{ALL}?limit=1")).await);
    cluster.restore(&snapshot);
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(3)
    );
    assert_eq!(cluster.resource_version(), snapshot.resource_version());
    assert_eq!(
        get(&cluster, &format!("{ALL}?limit=1&continue={token}"))
            .await
            .status,
        500
    );
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Changes one Deployment somehow.
    fn change(&mut self, cluster: &Cluster) {
        let namespace = format!("n{}", self.below(3));
        let name = format!("d{}", self.below(30));
        match self.below(4) {
            0 => cluster.delete(&namespace, &name),
            1 => cluster.create(NewDeployment::new(namespace, name)),
            _ => cluster.scale(&namespace, &name, self.below(100) as i32),
        };
    }
}

#[tokio::test]
async fn whatever_happens_between_pages_the_list_is_that_of_its_version() {
    let mut dice = Dice(7);
    for round in 0..60 {
        let cluster = Cluster::new(Options::default());
        for _ in 0..100 {
            dice.change(&cluster);
        }
        let one = dice.below(2) == 0;
        let uri = if one {
            "/apis/apps/v1/namespaces/n1/deployments"
        } else {
            ALL
        };
        let expected: Vec<_> = cluster
            .deployments()
            .into_iter()
            .filter(|d| !one || d.namespace == "n1")
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|d| (d.uid.as_str(), d.replicas.map(i64::from)))
            .collect();
        let (mut token, mut seen, mut remaining) = (String::new(), Vec::new(), None);
        loop {
            let limit = 1 + dice.below(9);
            let page = get(&cluster, &format!("{uri}?limit={limit}&continue={token}"))
                .await
                .json();
            for item in page["items"].as_array().unwrap() {
                let uid = item["metadata"]["uid"].as_str().unwrap().to_owned();
                seen.push((uid, item["spec"]["replicas"].as_i64()));
            }
            let left = page["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) as usize;
            assert_eq!(left, expected.len() - seen.len(), "round {round}");
            assert!(remaining.is_none_or(|before| left < before));
            remaining = Some(left);
            token = page["metadata"]["continue"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                break;
            }
            for _ in 0..dice.below(20) {
                dice.change(&cluster);
            }
        }
        let seen: Vec<_> = seen
            .iter()
            .map(|(uid, replicas)| (uid.as_str(), *replicas))
            .collect();
        assert_eq!(seen, expected, "round {round}");
    }
}
