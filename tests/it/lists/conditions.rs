//! What headers and query parameters do to lists of a part.

use std::{io::Read as _, time::Duration};

use http::Method;
use simkube::NewDeployment;
use tokio::time::sleep;

use super::{cluster, get, names, next};
use crate::support::InProcess;

const PARTS: [&str; 5] = [
    "/namespaces/web/deployments",
    "/deployments?labelSelector=team%3Dshop",
    "/deployments?limit=2",
    "/namespaces/web/deployments?limit=2&labelSelector=team",
    "/deployments?limit=500",
];

#[tokio::test(start_paused = true)]
async fn every_part_has_a_head_a_zipped_form_and_a_tag_that_is_the_same_in_all_of_them() {
    let server = InProcess::synced(&cluster()).await;
    for path in PARTS {
        let plain = get(&server, path).await;
        assert_eq!(plain.status, 200, "{path}");
        let tag = plain.header("etag").to_owned();
        let head = server.send(Method::HEAD, path, &[], "").await;
        assert_eq!((head.status.as_u16(), head.text()), (200, ""), "{path}");
        let zip = [("accept-encoding", "gzip")];
        let zipped = server.send(Method::GET, path, &zip, "").await;
        assert_eq!(zipped.header("content-encoding"), "gzip", "{path}");
        let mut unzipped = String::new();
        flate2::read::GzDecoder::new(&zipped.body[..])
            .read_to_string(&mut unzipped)
            .unwrap();
        assert_eq!(unzipped, plain.text());
        let known = [("if-none-match", &*tag)];
        let same = server.send(Method::GET, path, &known, "").await;
        assert_eq!((same.status.as_u16(), same.text()), (304, ""), "{path}");
        let length = plain.body.len().to_string();
        assert_eq!(head.header("content-length"), length);
        for answer in [&head, &zipped, &same] {
            assert_eq!(answer.header("etag"), tag);
            assert_eq!(answer.header("vary"), "accept-encoding");
            assert_eq!(next(answer).is_some(), next(&plain).is_some(), "{path}");
            let version = answer.header("x-resource-version");
            assert_eq!(version, plain.header("x-resource-version"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_page_is_another_one_once_it_is_not_the_last_any_more() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    let path = "/deployments?limit=5";
    let last = get(&server, path).await;
    assert_eq!((names(&last).len(), next(&last)), (5, None));
    cluster.create(NewDeployment::new("zz", "new")).unwrap();
    sleep(Duration::from_secs(1)).await;
    let known = [("if-none-match", last.header("etag"))];
    let now = server.send(Method::GET, path, &known, "").await;
    assert_eq!(now.text(), last.text());
    let rest = get(&server, &next(&now).unwrap()).await;
    assert_eq!(names(&rest), ["new"]);
    let (namespace, selector) = (
        "/namespaces/web/deployments",
        "/deployments?labelSelector=team%3Dshop",
    );
    let before = [get(&server, namespace).await, get(&server, selector).await];
    cluster.scale("web-2", "x", 7).unwrap();
    sleep(Duration::from_secs(1)).await;
    for (path, before) in [namespace, selector].into_iter().zip(before) {
        let known = [("if-none-match", before.header("etag"))];
        let same = server.send(Method::GET, path, &known, "").await;
        assert_eq!(same.status, 304, "another Deployment changed: {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_page_says_how_old_it_is_and_is_gone_for_who_wants_a_newer_one() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    let first = get(&server, "/deployments?limit=2").await;
    assert_eq!(first.header("age"), "0");
    let version = first.header("x-resource-version").to_owned();
    cluster.scale("web", "api", 7).unwrap();
    sleep(Duration::from_secs(30)).await;
    let path = next(&first).unwrap();
    let second = get(&server, &path).await;
    let age: u64 = second.header("age").parse().unwrap();
    assert!((29..=31).contains(&age), "{age}");
    let least = |version: &str| [("x-min-resource-version", version.to_owned())];
    let newer = (version.parse::<u64>().unwrap() + 1).to_string();
    for (least, status) in [(least(&version), 200), (least(&newer), 410)] {
        let [(name, value)] = &least;
        let headers = [(*name, &**value)];
        let answer = server.send(Method::GET, &path, &headers, "").await;
        assert_eq!(answer.status, status, "{value}");
    }
    let headers = [("x-min-resource-version", &*newer)];
    for path in PARTS.into_iter().filter(|path| !path.contains("web")) {
        let answer = server.send(Method::GET, path, &headers, "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("x-resource-version").parse::<u64>().unwrap() > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_takes_no_part_and_says_so() {
    let server = InProcess::synced(&cluster()).await;
    for path in [
        "/deployments?watch&labelSelector=team",
        "/deployments?labelSelector=team&watch=true",
        "/namespaces/web/deployments?watch&limit=5",
        "/deployments?limit=5&w%61tch",
    ] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, 400, "{path}");
        let told = answer.error();
        assert!(told.contains("watch"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_selector_that_is_none_is_refused_with_its_place_and_a_blank_one_bounds_nothing() {
    let server = InProcess::synced(&cluster()).await;
    let sent = server.sent().len();
    for (selector, told) in [
        ("team+in+(shop", "at character 14 "),
        ("team%3Dshop,-x", "at character 11 "),
        ("team%3Da%20b", "at character 8 "),
    ] {
        let path = format!("/namespaces/web/deployments?labelSelector={selector}");
        let answer = get(&server, &path).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().contains(told), "{}", answer.error());
    }
    let blank = get(&server, "/deployments?labelSelector=+%09").await;
    assert_eq!(names(&blank).len(), 5);
    assert_eq!(server.sent().len(), sent, "nothing was learnt");
}

#[tokio::test(start_paused = true)]
async fn the_newest_thirty_two_walks_of_all_callers_go_on() {
    let cluster = cluster();
    let server = InProcess::synced(&cluster).await;
    let mut pages = Vec::new();
    for caller in 0..9 {
        let caller = server.somebody(&format!("caller-{caller}"));
        for _ in 0..4 {
            let path = "/deployments?limit=1";
            let first = server.sending_as(&caller, Method::GET, path, &[], "");
            pages.push((caller.clone(), next(&first.await).unwrap()));
            cluster.touch_status("web", "api").unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    }
    let mut served = Vec::new();
    for (caller, path) in &pages {
        let page = server.sending_as(caller, Method::GET, path, &[], "");
        served.push(page.await.status.as_u16());
    }
    assert_eq!(served, [[410; 4].as_slice(), &[200; 32]].concat());
}

#[tokio::test]
async fn a_list_that_is_not_to_be_watched_is_a_list() {
    let server = InProcess::synced(&cluster()).await;
    for path in [
        "/deployments?watch=false",
        "/namespaces/web/deployments?watch=false&limit=1",
    ] {
        assert_eq!(get(&server, path).await.status, 200, "{path}");
    }
}
