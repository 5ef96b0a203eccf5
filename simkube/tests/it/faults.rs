//! What goes wrong on demand.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use simkube::{Body, Cluster, Fault, On, Rule};
use tokio::time::Instant;

use crate::support::{ALL, PROTOBUF, SHOP, get, get_as, open, patch, piece, request, shop, silent};

const SCALE: &str = "/apis/apps/v1/namespaces/shop/deployments/cart/scale";

pub(crate) async fn open_watch(cluster: &Cluster, accept: &str) -> Body {
    let uri = format!(
        "{ALL}?watch=true&timeoutSeconds=60&resourceVersion={}",
        cluster.resource_version()
    );
    open(cluster, request("GET", &uri, &[("accept", accept)], ""))
        .await
        .unwrap()
        .into_body()
}

async fn scale(cluster: &Cluster, replicas: i32) -> crate::support::Answer {
    patch(cluster, SCALE, json!({ "spec": { "replicas": replicas } })).await
}

/// The names of all JSON events until the stream ends or is silent for a while.
pub(crate) async fn replicas_seen(body: &mut Body) -> Vec<i64> {
    let mut seen = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(Duration::from_secs(5), body.frame()).await
    {
        let event: Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
        seen.push(event["object"]["spec"]["replicas"].as_i64().unwrap());
    }
    seen
}

#[tokio::test]
async fn a_status_comes_as_often_as_it_should() {
    let cluster = shop();
    let rule = cluster.faults().add(
        Rule::new(On::List, Fault::retry_after(429, 7))
            .after(1)
            .times(2),
    );
    let statuses = [
        get(&cluster, ALL).await,
        get(&cluster, ALL).await,
        get(&cluster, ALL).await,
        get(&cluster, ALL).await,
    ];
    assert_eq!(
        statuses.each_ref().map(|answer| answer.status.as_u16()),
        [200, 429, 429, 200]
    );
    assert_eq!(statuses[1].headers["retry-after"], "7");
    assert_eq!(statuses[1].json()["details"]["retryAfterSeconds"], 7);
    assert_eq!(cluster.faults().fired(rule), 2);
}

#[tokio::test]
async fn rules_tell_lists_pages_probes_watches_and_scales_apart() {
    let cluster = shop();
    let check = async |on: On, failing: &[&str]| {
        let rule = cluster.faults().add(Rule::new(on, Fault::status(503)));
        let first = get(&shop(), &format!("{ALL}?limit=2")).await.json();
        let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
        let mut failed = Vec::new();
        for (kind, uri) in [
            ("list", format!("{ALL}?limit=2")),
            ("second page", format!("{ALL}?limit=2&continue={token}")),
            ("probe", format!("{ALL}?limit=1")),
            ("get", format!("{SHOP}/cart")),
            ("version", "/version".to_owned()),
        ] {
            if get(&cluster, &uri).await.status == 503 {
                failed.push(kind);
            }
        }
        let uri = format!("{ALL}?watch=true&resourceVersion=1004");
        if open(&cluster, request("GET", &uri, &[], ""))
            .await
            .unwrap()
            .status()
            == 503
        {
            failed.push("watch");
        }
        if scale(&cluster, 3).await.status == 503 {
            failed.push("scale");
        }
        assert_eq!(failed, failing, "{on:?}");
        cluster.faults().remove(rule);
    };
    check(
        On::Any,
        &[
            "list",
            "second page",
            "probe",
            "get",
            "version",
            "watch",
            "scale",
        ],
    )
    .await;
    check(On::List, &["list", "second page"]).await;
    check(On::Page(2), &["second page"]).await;
    check(On::Probe, &["probe"]).await;
    check(On::Get, &["get"]).await;
    check(On::Watch, &["watch"]).await;
    check(On::Scale, &["scale"]).await;
    check(On::Write, &["scale"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_answers_when_it_goes_on() {
    let cluster = shop();
    let mut body = open_watch(&cluster, "*/*").await;
    let rule = cluster.faults().add(Rule::new(On::Any, Fault::Hang));
    cluster.scale("shop", "cart", 4);
    assert!(silent(&mut body, Duration::from_secs(100)).await);
    let list = get(&cluster, ALL);
    let resume = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        cluster.faults().remove(rule);
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(list, resume);
    assert_eq!(
        (answer.status.as_u16(), began.elapsed().as_secs()),
        (200, 30)
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_open_watch_is_silent_and_its_successor_is_not() {
    let cluster = shop();
    let mut old = open_watch(&cluster, "*/*").await;
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Hang));
    let mut new = open_watch(&cluster, "*/*").await;
    cluster.scale("shop", "cart", 4);
    assert_eq!(replicas_seen(&mut new).await, [4]);
    assert!(
        silent(&mut old, Duration::from_secs(1000)).await,
        "not even its end comes"
    );
}

#[tokio::test(start_paused = true)]
async fn open_watches_are_cut_cleanly_or_in_the_middle_of_a_frame() {
    let cluster = shop();
    let second = Duration::from_secs(1);
    let mut body = open_watch(&cluster, PROTOBUF).await;
    cluster.faults().add(Rule::new(On::OpenWatches, Fault::End));
    assert!(piece(&mut body, second).await.is_none());
    let mut body = open_watch(&cluster, PROTOBUF).await;
    assert!(silent(&mut body, second).await);
    cluster.faults().clear();
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    assert_eq!(piece(&mut body, second).await.unwrap().unwrap().len(), 2);
    assert!(piece(&mut body, second).await.unwrap().is_err());
    assert!(piece(&mut body, second).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn events_are_dropped_doubled_and_reordered() {
    let cluster = shop();
    let check = async |fault: Fault, expected: &[i64]| {
        let mut body = open_watch(&cluster, "*/*").await;
        cluster.faults().clear();
        cluster
            .faults()
            .add(Rule::new(On::Event, fault.clone()).times(1));
        for replicas in [11, 12, 13] {
            cluster.scale("shop", "cart", replicas);
        }
        assert_eq!(replicas_seen(&mut body).await, expected, "{fault:?}");
    };
    check(Fault::Drop, &[12, 13]).await;
    check(Fault::Duplicate, &[11, 11, 12, 13]).await;
    check(Fault::Reorder, &[12, 11, 13]).await;
    check(Fault::Delay(Duration::from_secs(2)), &[11, 12, 13]).await;
}

#[tokio::test(start_paused = true)]
async fn events_carry_what_cannot_be_decoded() {
    let cluster = shop();
    let second = Duration::from_secs(1);
    for (fault, ends) in [
        (Fault::BadObject, false),
        (Fault::WrongKind, false),
        (Fault::Expired, true),
        (Fault::Garbage, true),
        (Fault::Truncate, true),
    ] {
        let mut body = open_watch(&cluster, "*/*").await;
        cluster
            .faults()
            .add(Rule::new(On::Event, fault.clone()).times(1));
        cluster.touch_status("shop", "cart");
        let bytes = piece(&mut body, second).await.unwrap().unwrap();
        let event: Option<Value> = serde_json::from_slice(&bytes).ok();
        let kind = event.as_ref().and_then(|event| event["type"].as_str());
        match fault {
            Fault::BadObject => {
                assert_eq!(event.as_ref().unwrap()["object"]["metadata"]["name"], 7)
            }
            Fault::WrongKind => assert_eq!(event.as_ref().unwrap()["object"]["kind"], "ConfigMap"),
            Fault::Expired => assert_eq!(
                (kind, &event.as_ref().unwrap()["object"]["code"]),
                (Some("ERROR"), &410.into())
            ),
            _ => assert_eq!(event, None),
        }
        cluster.touch_status("shop", "cart");
        if ends {
            assert!(piece(&mut body, second).await.is_none(), "{fault:?}");
        } else {
            assert!(piece(&mut body, second).await.unwrap().is_ok(), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn expiry_comes_in_the_stream_as_a_status_and_in_the_middle_of_a_list() {
    let cluster = shop();
    let faults = cluster.faults();
    faults.add(Rule::new(On::Watch, Fault::Expired).times(1));
    let uri = format!(
        "{ALL}?watch=true&resourceVersion={}",
        cluster.resource_version()
    );
    let stream = get(&cluster, &uri).await;
    assert_eq!(
        (
            stream.status.as_u16(),
            stream.json()["object"]["code"].as_u64()
        ),
        (200, Some(410))
    );
    faults.add(Rule::new(On::Watch, Fault::status(410)).times(1));
    assert_eq!(get(&cluster, &uri).await.status, 410);
    faults.add(Rule::new(On::Page(2), Fault::Expired));
    let first = get(&cluster, &format!("{ALL}?limit=1")).await;
    let token = first.json()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = get(&cluster, &format!("{ALL}?limit=1&continue={token}")).await;
    assert_eq!(
        (second.status.as_u16(), second.json()["reason"].as_str()),
        (410, Some("Expired"))
    );
}

#[tokio::test]
async fn bodies_are_cut_short_broken_garbage_or_of_another_kind() {
    let cluster = shop();
    let whole = get_as(&cluster, ALL, PROTOBUF).await.body;
    let faulty = async |fault: Fault| {
        cluster.faults().clear();
        cluster.faults().add(Rule::new(On::List, fault).times(1));
        let body = open(&cluster, request("GET", ALL, &[("accept", PROTOBUF)], ""))
            .await
            .unwrap()
            .into_body();
        body.collect().await.map(|body| body.to_bytes())
    };
    assert_eq!(
        faulty(Fault::Truncate).await.unwrap(),
        whole.slice(..whole.len() / 2)
    );
    assert!(faulty(Fault::Break).await.is_err());
    assert!(!faulty(Fault::Garbage).await.unwrap().starts_with(b"k8s\0"));
    let other = faulty(Fault::WrongKind).await.unwrap();
    assert!(other.starts_with(b"k8s\0") && other.windows(13).any(|w| w == b"ConfigMapList"));
    let bad = faulty(Fault::BadObject).await.unwrap();
    assert!(bad.starts_with(b"k8s\0") && bad.len() < whole.len());
    cluster.faults().clear();
    cluster
        .faults()
        .add(Rule::new(On::List, Fault::BadObject).times(1));
    let list = get(&cluster, ALL).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    assert_eq!(list["items"][0]["metadata"]["name"], 7);
    assert_eq!(list["items"][1]["metadata"]["name"], "checkout");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_committed_and_its_outcome_is_not_told() {
    let cluster = shop();
    cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::after_commit(Fault::status(504))).times(1));
    assert_eq!(scale(&cluster, 7).await.status, 504);
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(7)
    );
    cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::after_commit(Fault::Hang)));
    assert!(
        tokio::time::timeout(Duration::from_secs(60), scale(&cluster, 8))
            .await
            .is_err()
    );
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(8)
    );
    cluster.faults().clear();
    cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::after_commit(Fault::Refuse)).times(1));
    let body = json!({ "spec": { "replicas": 9 } }).to_string();
    let headers = [("content-type", "application/merge-patch+json")];
    assert!(
        open(&cluster, request("PATCH", SCALE, &headers, body))
            .await
            .is_err()
    );
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(9)
    );
}

#[tokio::test]
async fn refusals_are_in_the_words_of_kubernetes() {
    let cluster = shop();
    let check = async |on: On, fault: Fault, code: u16, message: &str| {
        cluster.faults().clear();
        cluster.faults().add(Rule::new(on, fault));
        let answer = if on == On::Scale {
            scale(&cluster, 4).await
        } else {
            get(&cluster, ALL).await
        };
        assert_eq!(answer.status, code);
        assert_eq!(answer.json()["message"], message);
    };
    let user = || "system:serviceaccount:headcount:headcount".to_owned();
    check(
        On::List,
        Fault::Forbidden { user: user() },
        403,
        "deployments.apps is forbidden: User \"system:serviceaccount:headcount:headcount\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope",
    )
    .await;
    check(
        On::Scale,
        Fault::Forbidden { user: user() },
        403,
        "deployments.apps \"cart\" is forbidden: User \"system:serviceaccount:headcount:headcount\" cannot patch resource \"deployments/scale\" in API group \"apps\" in the namespace \"shop\"",
    )
    .await;
    check(On::List, Fault::Unauthorized, 401, "Unauthorized").await;
    let webhook = |code| Fault::Webhook {
        name: "limits.example.org".to_owned(),
        message: "too many".to_owned(),
        code,
    };
    check(
        On::Scale,
        webhook(403),
        403,
        "admission webhook \"limits.example.org\" denied the request: too many",
    )
    .await;
    check(
        On::Scale,
        webhook(400),
        400,
        "admission webhook \"limits.example.org\" denied the request: too many",
    )
    .await;
    check(
        On::Scale,
        Fault::Conflict,
        409,
        "Operation cannot be fulfilled on deployments.apps \"cart\": the object has been modified; please apply your changes to the latest version and try again",
    )
    .await;
    cluster.faults().clear();
    cluster.faults().add(Rule::new(
        On::Scale,
        Fault::Quota {
            name: "small".to_owned(),
        },
    ));
    assert!(
        scale(&cluster, 4).await.json()["message"]
            .as_str()
            .unwrap()
            .contains("is forbidden: exceeded quota: small")
    );
    assert_eq!(
        cluster.deployment("shop", "cart").unwrap().replicas,
        Some(3)
    );
}

#[tokio::test(start_paused = true)]
async fn delays_add_up_and_the_answer_still_comes() {
    let cluster = shop();
    for _ in 0..2 {
        cluster
            .faults()
            .add(Rule::new(On::List, Fault::Delay(Duration::from_secs(2))));
    }
    let began = Instant::now();
    assert_eq!(get(&cluster, ALL).await.status, 200);
    assert_eq!(began.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_stale_replica_lags_in_cached_lists_and_watches() {
    let cluster = shop();
    let version = cluster.resource_version();
    let rule = cluster
        .faults()
        .add(Rule::new(On::Any, Fault::Stale { at: version }));
    let mut body = open_watch(&cluster, "*/*").await;
    cluster.scale("shop", "cart", 40);
    let cached = get(&cluster, &format!("{ALL}?resourceVersion=0"))
        .await
        .json();
    assert_eq!(
        (
            &cached["items"][0]["spec"]["replicas"],
            &cached["metadata"]["resourceVersion"]
        ),
        (&3.into(), &version.to_string().into())
    );
    assert_eq!(
        get(&cluster, ALL).await.json()["items"][0]["spec"]["replicas"],
        40
    );
    assert_eq!(
        get(&cluster, &format!("{ALL}?resourceVersion={}", version + 1))
            .await
            .status,
        504
    );
    assert!(silent(&mut body, Duration::from_secs(10)).await);
    cluster.faults().remove(rule);
    assert_eq!(replicas_seen(&mut body).await, [40]);
}
