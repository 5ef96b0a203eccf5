//! Reading containers: one call for all who ask at once, none for what isn't managed, never older than what was seen.

use std::time::Duration;

use futures_util::future::join_all;
use headcount::kubernetes::Managed;
use http::Method;
use serde_json::json;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::{Instant, sleep};

use super::{CONTAINERS, image, read, setting, shop, told};
use crate::support::{Answer, InProcess};

#[tokio::test(start_paused = true)]
async fn containers_are_read_with_their_images() {
    let server = shop().await;
    let answer = read(&server, &[]).await;
    assert_eq!(
        answer.text(),
        r#"{"namespace":"web","name":"shop","containers":[{"name":"main","image":"shop:1"}]}"#
    );
    let version = server.version().to_string();
    assert_eq!(answer.header("x-resource-version"), version);
    assert_eq!(answer.header("age"), "0");
    let head = server.send(Method::HEAD, CONTAINERS, &[], "").await;
    assert_eq!(
        head.header("content-length"),
        answer.text().len().to_string()
    );
    assert_eq!(
        (head.header("etag"), head.text()),
        (answer.header("etag"), "")
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_the_containers_already_gets_a_304_until_an_image_changes() {
    let server = shop().await;
    let tag = read(&server, &[]).await.header("etag").to_owned();
    let guard = [("if-none-match", tag.as_str())];
    assert_eq!(told(&read(&server, &guard).await), (304, ""));
    // A count and a status leave it as it was.
    assert_eq!(server.put("web", "shop", 7, &[]).await.status, 200);
    server.cluster.touch_status("web", "shop");
    server.converges(Duration::from_secs(1)).await;
    assert_eq!(read(&server, &guard).await.status, 304);
    assert_eq!(setting(&server, "shop:2", &[]).await.status, 200);
    assert_eq!(read(&server, &guard).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_ask_at_once_make_one_call() {
    let server = shop().await;
    let slow = Rule::new(On::Get, Fault::Delay(Duration::from_millis(50)));
    server.cluster.faults().add(slow);
    let answers = join_all((0..1000).map(|_| read(&server, &[]))).await;
    assert!(answers.iter().all(|a| a.status == 200));
    assert_eq!(server.cluster.counts().gets, 1);
}

#[tokio::test(start_paused = true)]
async fn the_call_goes_on_for_the_others_when_the_first_caller_hangs_up() {
    let server = shop().await;
    let slow = Rule::new(On::Get, Fault::Delay(Duration::from_millis(50)));
    server.cluster.faults().add(slow);
    let first = tokio::spawn(server.sending(Method::GET, CONTAINERS, &[], ""));
    sleep(Duration::from_millis(10)).await;
    let second = tokio::spawn(server.sending(Method::GET, CONTAINERS, &[], ""));
    sleep(Duration::from_millis(10)).await;
    first.abort();
    assert_eq!(second.await.unwrap().status, 200);
    assert_eq!(server.cluster.counts().gets, 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_and_hangs_up_again_and_again_makes_no_more_calls_than_who_waits() {
    let server = shop().await;
    let slow = Rule::new(On::Get, Fault::Delay(Duration::from_secs(1)));
    server.cluster.faults().add(slow);
    for _ in 0..50 {
        let asking = tokio::spawn(server.sending(Method::GET, CONTAINERS, &[], ""));
        sleep(Duration::from_millis(10)).await;
        asking.abort();
    }
    // As many as one caller has turns.
    assert_eq!(server.cluster.counts().gets, 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_serves_others_for_a_second_and_no_longer() {
    let server = shop().await;
    read(&server, &[]).await;
    sleep(Duration::from_millis(900)).await;
    read(&server, &[]).await;
    assert_eq!(server.cluster.counts().gets, 1);
    sleep(Duration::from_millis(200)).await;
    read(&server, &[]).await;
    assert_eq!(server.cluster.counts().gets, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_never_older_than_what_the_copy_shows() {
    let server = shop().await;
    read(&server, &[]).await;
    for count in 5..9 {
        server.cluster.scale("web", "shop", count).unwrap();
        server.converges(Duration::from_secs(1)).await;
        let answer = read(&server, &[]).await;
        let shown: u64 = answer.header("x-resource-version").parse().unwrap();
        assert!(shown >= server.version(), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_kept() {
    let server = shop().await;
    let failing = Rule::new(On::Get, Fault::status(500)).times(1);
    server.cluster.faults().add(failing);
    assert_eq!(read(&server, &[]).await.status, 503);
    assert_eq!(image(&server).await, "shop:1");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_for_what_is_not_managed() {
    let cluster = Cluster::new(Options::default());
    cluster.create(NewDeployment::new("web", "shop").label("team", "web"));
    cluster.create(NewDeployment::new("web", "other"));
    let managed = Managed {
        namespaces: vec!["web".into()],
        label_selector: Some("team=web".into()),
    };
    let server = InProcess::managing(&cluster, managed);
    let early = read(&server, &[]).await;
    assert_eq!(early.status, 503, "{}", early.text());
    server.becomes_synced().await;
    for path in [
        "/namespaces/web/deployments/other/containers",
        "/namespaces/web/deployments/none/containers",
        "/namespaces/else/deployments/shop/containers",
    ] {
        let answer = server.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let bad = server
        .send(
            Method::GET,
            "/namespaces/WEB/deployments/shop/containers",
            &[],
            "",
        )
        .await;
    assert_eq!(bad.status, 400);
    assert_eq!(cluster.counts().gets, 0);
    assert_eq!(read(&server, &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_says_is_told_as_for_writes() {
    let forbidden = Fault::Forbidden {
        user: "system:serviceaccount:headcount:headcount".into(),
    };
    for (fault, status) in [
        (Fault::Unauthorized, 502),
        (forbidden, 502),
        (Fault::Refuse, 503),
        (Fault::retry_after(429, 7), 503),
        (Fault::Garbage, 503),
        (Fault::Truncate, 503),
        (Fault::Break, 503),
        (Fault::Hang, 503),
    ] {
        let server = shop().await;
        server
            .cluster
            .faults()
            .add(Rule::new(On::Get, fault.clone()));
        let start = Instant::now();
        let answer = read(&server, &[]).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{fault:?}: {}",
            answer.text()
        );
        assert!(
            !answer.error().contains("serviceaccount"),
            "{}",
            answer.text()
        );
        assert!(start.elapsed() <= Duration::from_secs(11), "{fault:?}");
        let waits = if matches!(fault, Fault::Status { .. }) {
            "7"
        } else {
            "3"
        };
        let expected = if status == 503 { waits } else { "" };
        assert_eq!(answer.header("retry-after"), expected, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn init_containers_have_a_list_of_their_own() {
    let server = shop().await;
    super::give_init_container(&server).await;
    let answer = read(&server, &[]).await.json();
    assert_eq!(
        answer["containers"],
        json!([{"name": "main", "image": "shop:1"}])
    );
    assert_eq!(
        answer["initContainers"],
        json!([{"name": "prepare", "image": "tools:1"}])
    );
}

/// A server with `web/0`, `web/1` and so on, and the paths of their containers.
async fn many(count: usize) -> (InProcess, Vec<String>) {
    let cluster = Cluster::new(Options::default());
    for n in 0..count {
        let new = NewDeployment::new("web", n.to_string());
        cluster.create(new).unwrap();
    }
    let path = |n| format!("/namespaces/web/deployments/{n}/containers");
    let server = InProcess::synced(&cluster).await;
    (server, (0..count).map(path).collect())
}

/// Asks for each of these as one of four callers.
async fn all_ask(server: &InProcess, paths: &[String]) -> Vec<Answer> {
    let callers = ["alice", "bob", "carol", "dave"].map(|name| server.somebody(name));
    let ask = |(path, caller): (&String, _)| server.sending_as(caller, Method::GET, path, &[], "");
    join_all(paths.iter().zip(callers.iter().cycle()).map(ask)).await
}

#[tokio::test(start_paused = true)]
async fn sixteen_are_read_at_once_and_the_rest_in_turn() {
    let (server, paths) = many(40).await;
    let slow = Rule::new(On::Get, Fault::Delay(Duration::from_millis(500)));
    server.cluster.faults().add(slow);
    let counting = async {
        let mut gets = Vec::new();
        for _ in 0..3 {
            sleep(Duration::from_millis(250)).await;
            gets.push(server.cluster.counts().gets);
            sleep(Duration::from_millis(250)).await;
        }
        gets
    };
    let (answers, gets) = tokio::join!(all_ask(&server, &paths), counting);
    assert_eq!(gets, [16, 32, 40]);
    assert!(answers.iter().all(|a| a.status == 200));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_asks_for_many_at_once_holds_up_nobody_else() {
    let (server, paths) = many(13).await;
    let slow = Rule::new(On::Get, Fault::Delay(Duration::from_millis(500)));
    server.cluster.faults().add(slow);
    let ask = |path: &String| server.sending(Method::GET, path, &[], "");
    let many = join_all(paths[1..].iter().map(ask));
    let other = async {
        sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        let bob = server.somebody("bob");
        let answer = server.sending_as(&bob, Method::GET, &paths[0], &[], "");
        (answer.await.status.as_u16(), start.elapsed().as_millis())
    };
    let start = Instant::now();
    let (many, other) = tokio::join!(many, other);
    assert_eq!(other, (200, 500));
    assert!(many.iter().all(|a| a.status == 200));
    assert_eq!(start.elapsed().as_millis(), 1500, "four at once");
}

#[tokio::test(start_paused = true)]
async fn reads_whose_callers_hung_up_hold_up_nobody() {
    let (server, paths) = many(17).await;
    let hang = Rule::new(On::Get, Fault::Hang).times(16);
    server.cluster.faults().add(hang);
    let leaving = all_ask(&server, &paths[..16]);
    let left = tokio::time::timeout(Duration::from_secs(1), leaving).await;
    assert!(left.is_err());
    let ask = |path: &str| server.sending(Method::GET, path, &[], "");
    let start = Instant::now();
    // One that nobody has asked for, and one that was left.
    assert_eq!(ask(&paths[16]).await.status, 200);
    assert_eq!(ask(&paths[0]).await.status, 200);
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_gets_no_turn_in_time_is_503_and_not_sent() {
    let (server, paths) = many(18).await;
    let hang = Rule::new(On::Get, Fault::Hang);
    server.cluster.faults().add(hang);
    let start = Instant::now();
    let after = async |who: &str, path: &String| {
        let who = server.somebody(who);
        let answer = server.sending_as(&who, Method::GET, path, &[], "").await;
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(answer.header("retry-after"), "1");
        (answer.status.as_u16(), answer.error())
    };
    let all = all_ask(&server, &paths[..16]);
    let (answers, other, own) =
        tokio::join!(all, after("erin", &paths[16]), after("alice", &paths[17]));
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(answers.iter().all(|a| a.status == 503));
    assert_eq!(other.0, 503);
    assert!(
        other
            .1
            .contains("there are too many reads of Deployments from Kubernetes")
    );
    assert_eq!(own.0, 429);
    assert!(
        own.1
            .contains("this caller has too many reads of Deployments from Kubernetes")
    );
    assert_eq!(server.cluster.counts().gets, 16);
}
