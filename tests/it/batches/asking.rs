//! What a batch is asked for, and what of that is refused as a whole.

use headcount::access::{Authorization, Rules, Verb, Verbs, WriteRules};
use headcount::kubernetes::Managed;
use headcount::limits::Limits;
use http::Method;
use serde_json::json;
use simkube::{Cluster, NewDeployment, Options};

use super::{JSON, answered, count, counts, names, post, serving, statuses};
use crate::support::InProcess;

#[tokio::test(start_paused = true)]
async fn what_is_no_batch_is_refused_whole_and_changes_nothing() {
    let server = serving(&["a", "b"]).await;
    let item = |name: &str| format!(r#"{{"namespace":"web","name":"{name}","replicaCount":9}}"#);
    let (a, b) = (item("a"), item("b"));
    let of = |items: &str| format!(r#"{{"items":[{items}]}}"#);
    let selector = r#""labelSelector":"app=x""#;
    let bodies = [
        String::new(),
        "{}".into(),
        "null".into(),
        format!("[{a}]"),
        of(""),
        r#"{"items":null}"#.into(),
        r#"{"items":{}}"#.into(),
        of(r#"["web","a",9]"#),
        of("null"),
        of(&format!("{a},{a}")),
        of(&format!("{a},{b},{a}")),
        of(&a.replace("web", "WEB")),
        of(&a.replace("\"a\"", "\"..\"")),
        of(&a.replace("9", "-1")),
        of(&a.replace("9", "9.0")),
        of(&a.replace("9", "\"9\"")),
        of(&a.replace("9", "2147483648")),
        of(&a.replace("9", "null")),
        of(&a.replace("}", ",\"x\":1}")),
        of(&a.replace("}", ",\"replicaCount\":1}")),
        of(&a.replace(",\"replicaCount\":9", "")),
        format!("{{\"items\":[{a}],\"items\":[{b}]}}"),
        format!("{{\"items\":[{a}],\"replicaCount\":9}}"),
        format!("{{\"items\":[{a}],{selector}}}"),
        format!("{{\"items\":[{a}],\"namespace\":\"web\"}}"),
        format!("{{\"items\":[{a}],\"dryRun\":true}}"),
        format!("{{\"items\":[{a}],\"durationSeconds\":null}}"),
        format!("{{{selector}}}"),
        format!("{{{selector},\"replicaCount\":-1}}"),
        format!("{{{selector},\"replicaCount\":1,\"namespace\":null}}"),
        format!("{{{selector},\"replicaCount\":1,\"namespace\":\"a/b\"}}"),
        r#"{"labelSelector":"","replicaCount":1}"#.into(),
        r#"{"labelSelector":" ","replicaCount":1}"#.into(),
        r#"{"labelSelector":"a b c","replicaCount":1}"#.into(),
        r#"{"labelSelector":null,"replicaCount":1}"#.into(),
        format!("{}{}", of(&a), of(&b)),
    ];
    for body in bodies {
        let answer = post(&server, "/batches", &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let twice = post(&server, "/batches", &of(&format!("{a},{b},{a}"))).await;
    assert!(
        twice.error().contains("items[0] and items[2] are both"),
        "{}",
        twice.error()
    );
    assert_eq!(server.cluster.counts().scales, 0, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_snapshot_is_refused_whole_and_an_empty_one_is_nothing_to_do() {
    let server = serving(&["a"]).await;
    let uid = server.cluster.deployment("web", "a").unwrap().uid;
    let good = json!({
        "namespace": "web", "name": "a", "uid": uid, "replicaCount": 1, "setTo": 3, "mark": "0123456789abcdef",
    });
    for (key, value) in [
        ("uid", json!("x")),
        ("mark", json!("0123456789abcde")),
        ("mark", json!("0123456789abcdeg")),
        ("mark", json!(null)),
        ("replicaCount", json!(-1)),
        ("setTo", json!(-1)),
        ("name", json!("..")),
        ("more", json!(1)),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let body = json!({ "items": [bad] }).to_string();
        let answer = post(&server, "/batches/restore", &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    for body in [
        json!({ "items": [good, good] }),
        json!({ "items": [good], "takenAt": "yesterday" }),
        json!({ "items": [good], "takenAt": null }),
        json!({ "items": vec![good.clone(); 251] }),
        json!({}),
    ] {
        let answer = post(&server, "/batches/restore", &body.to_string()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let nothing = answered(post(&server, "/batches/restore", r#"{"items":[]}"#).await);
    assert_eq!(
        (&nothing["results"], &nothing["succeeded"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(server.cluster.counts().scales, 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_250_at_most_in_a_body_that_is_larger_than_others_may_be() {
    let long = |n: usize| format!("{}{n:03}", "n".repeat(250));
    let all: Vec<_> = (0..251).map(long).collect();
    let server = serving(&all[..250]).await;
    let wanted: Vec<_> = all.iter().map(|name| (name, 4)).collect();
    let body = counts(&wanted[..250]);
    assert!(body.len() > 64 * 1024, "{}", body.len());
    let done = answered(post(&server, "/batches", &body).await);
    assert_eq!(
        (&done["succeeded"], &done["failed"]),
        (&250.into(), &0.into())
    );
    // What it answers with can be sent back.
    let snapshot = done["snapshot"].to_string();
    let back = answered(post(&server, "/batches/restore", &snapshot).await);
    assert_eq!(back["succeeded"], 250);
    let more = post(&server, "/batches", &counts(&wanted)).await;
    assert_eq!(more.status, 400);
    assert!(more.error().contains("251") && more.error().contains("250"));
    for path in ["/batches", "/batches/restore"] {
        let large = format!("{{{}}}", " ".repeat(256 * 1024));
        assert_eq!(post(&server, path, &large).await.status, 413);
    }
    let elsewhere = format!("{{{}\"replicaCount\":4}}", " ".repeat(65 * 1024));
    let path = "/namespaces/web/deployments/a/replicas";
    let answer = server.send(Method::PUT, path, &[JSON], &elsewhere).await;
    assert_eq!(answer.status, 413, "other paths take no more than before");
}

#[tokio::test(start_paused = true)]
async fn headers_and_queries_that_mean_nothing_to_a_batch_are_refused_and_reasons_are_not() {
    let server = serving(&["a"]).await;
    let body = counts(&[("a", 5)]);
    for header in [("if-match", "*"), ("if-none-match", "\"x\"")] {
        let headers = [JSON, header];
        let answer = server.send(Method::POST, "/batches", &headers, &body).await;
        assert_eq!(answer.status, 400, "{header:?}");
    }
    for path in [
        "/batches?dryrun=true",
        "/batches?dryRun=1",
        "/batches/restore?x=1",
    ] {
        let body = if path.contains("restore") {
            r#"{"items":[]}"#
        } else {
            &body
        };
        assert_eq!(post(&server, path, body).await.status, 400, "{path}");
    }
    let untyped = server.send(Method::POST, "/batches", &[], &body).await;
    assert_eq!(untyped.status, 415);
    let got = server.send(Method::GET, "/batches", &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("allow")), (405, "POST"));
    for path in ["/batches/", "/batches/x", "/batches/restore/x"] {
        assert_eq!(post(&server, path, &body).await.status, 404, "{path}");
    }
    assert_eq!(count(&server, "a"), 3);
    let why = [JSON, ("x-reason", "incident 7")];
    let done = server.send(Method::POST, "/batches", &why, &body).await;
    assert_eq!(done.status, 200);
}

/// `app=shop` twice in `web` and once in `ops`, and others.
fn labelled() -> Cluster {
    let cluster = Cluster::new(Options::default());
    for (namespace, name, app) in [
        ("web", "a", "shop"),
        ("web", "b", "cart"),
        ("web", "c", "shop"),
        ("ops", "d", "shop"),
        ("ops", "e", "cron"),
    ] {
        let new = NewDeployment::new(namespace, name).replicas(3);
        cluster.create(new.label("app", app)).unwrap();
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_selector_selects_what_a_list_with_it_has() {
    let server = InProcess::synced(&labelled()).await;
    let select = async |body: serde_json::Value| {
        let done = answered(post(&server, "/batches", &body.to_string()).await);
        let results = done["results"].as_array().unwrap().iter();
        let of = |one: &serde_json::Value| {
            format!("{}/{}", one["namespace"], one["name"]).replace('"', "")
        };
        results.map(of).collect::<Vec<_>>()
    };
    let all = select(json!({"labelSelector": "app=shop", "replicaCount": 4})).await;
    assert_eq!(all, ["ops/d", "web/a", "web/c"]);
    let web = json!({"labelSelector": "app in (shop,cart)", "namespace": "web", "replicaCount": 5});
    assert_eq!(select(web).await, ["web/a", "web/b", "web/c"]);
    let none = json!({"labelSelector": "app=nothing", "replicaCount": 6});
    assert_eq!(select(none).await, [""; 0]);
    let has: Vec<_> = server
        .existing()
        .into_iter()
        .map(|one| (one.1, one.3))
        .collect();
    let has: Vec<_> = has.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_eq!(has, [("d", 4), ("e", 3), ("a", 5), ("b", 5), ("c", 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_selects_too_many_says_how_many_and_changes_none() {
    let cluster = Cluster::new(Options::default());
    for name in names(251) {
        let new = NewDeployment::new("web", name).replicas(3);
        cluster.create(new.label("app", "shop")).unwrap();
    }
    let server = InProcess::synced(&cluster).await;
    let body = r#"{"labelSelector":"app","replicaCount":4}"#;
    let answer = post(&server, "/batches", body).await;
    assert_eq!(answer.status, 422);
    assert!(answer.error().contains("selects 251"), "{}", answer.error());
    assert_eq!(server.cluster.counts().scales, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_managed_is_not_there() {
    let managed = Managed {
        namespaces: vec!["web".into()],
        ..Managed::default()
    };
    let cluster = labelled();
    let server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    let items = json!({"items": [
        {"namespace": "ops", "name": "d", "replicaCount": 4},
        {"namespace": "web", "name": "a", "replicaCount": 4},
    ]});
    let done = answered(post(&server, "/batches", &items.to_string()).await);
    assert_eq!(statuses(&done), [404, 200]);
    let body = r#"{"labelSelector":"app","namespace":"ops","replicaCount":4}"#;
    assert_eq!(post(&server, "/batches", body).await.status, 404);
    assert_eq!(cluster.deployment("ops", "d").unwrap().replicas, Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_may_scale_nothing_is_refused_whole_and_so_is_everybody_at_a_read_only_server() {
    let server = serving(&["a"]).await;
    let reader: Verbs = [Verb::Get, Verb::List].into_iter().collect();
    let scaler: Verbs = [Verb::Scale].into_iter().collect();
    let rules = |verbs, read_only| Rules {
        authorization: Authorization::Any(verbs),
        writes: WriteRules {
            read_only,
            ..WriteRules::default()
        },
        ..Rules::default()
    };
    let list = counts(&[("a", 5)]);
    let selector = r#"{"labelSelector":"app","replicaCount":4}"#;
    for (rules, body, status) in [
        (rules(reader, false), &*list, 403),
        (rules(reader, false), "no body", 403),
        (rules(scaler, false), selector, 403),
        (rules(Verbs::ALL, true), &*list, 503),
        (rules(Verbs::ALL, true), "no body", 400),
    ] {
        let session = server.session_of("bob", rules, &Limits::default());
        let sent = server.sending_as(&session, Method::POST, "/batches", &[JSON], body);
        let answer = sent.await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(count(&server, "a"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_for_all_is_refused_while_leases_are_off() {
    let server = serving(&["a"]).await;
    let body =
        r#"{"items":[{"namespace":"web","name":"a","replicaCount":9}],"durationSeconds":60}"#;
    let answer = post(&server, "/batches", body).await;
    assert_eq!(answer.status, 404);
    assert!(answer.error().contains("leases"), "{}", answer.error());
    assert_eq!(count(&server, "a"), 3);
}
