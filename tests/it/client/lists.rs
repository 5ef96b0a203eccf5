//! `headcount list`: of one namespace, by labels, page by page, and of an older server.

use std::time::Duration;

use simkube::NewDeployment;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Site, failed};
use crate::support::{eventually, secured::acceptor};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_of_the_labels_and_the_namespace_that_are_asked_for() {
    let site = Site::start().await;
    for (namespace, name, tier) in [
        ("web", "front", "a"),
        ("web", "back", "b"),
        ("jobs", "x", "a"),
    ] {
        let new = NewDeployment::new(namespace, name).label("tier", tier);
        site.cluster.cluster.create(new).unwrap();
        let there = async || site.serving.client.count(namespace, name).await.is_ok();
        eventually(Duration::from_secs(20), name, there).await;
    }
    for (words, expected) in [
        (&["-l", "tier=a"][..], &["jobs/x", "web/front"][..]),
        (&["-l", "tier=a", "-n", "web"], &["web/front"]),
        (
            &["-l", "tier in (a, b)", "-n", "web"],
            &["web/back", "web/front"],
        ),
        (&["-l", "!tier", "-n", "jobs"], &["jobs/mailer"]),
        (
            &["-l", "tier", "--chunk-size=1"],
            &["jobs/x", "web/back", "web/front"],
        ),
        (
            &["--chunk-size=2"],
            &[
                "jobs/mailer",
                "jobs/x",
                "web/admin",
                "web/back",
                "web/front",
                "web/shop",
            ],
        ),
        (
            &["--chunk-size", "10000", "-n", "jobs"],
            &["jobs/mailer", "jobs/x"],
        ),
    ] {
        let words = [&["list", "-o", "name"], words].concat();
        assert_eq!(site.says(&words).await, expected, "{words:?}");
    }
    let asked = site
        .run(&["list", "--chunk-size=2", "-v", "-o", "name"])
        .await;
    assert_eq!(asked.stderr.len(), 3, "{asked:#?}");
    let none = site.run(&["list", "-n", "web", "-l", "tier=c"]).await;
    assert_eq!((none.code, none.stdout.len()), (Some(0), 0), "{none:#?}");
    assert!(
        none.stderr[0].contains("no Deployments in the namespace web with the labels tier=c"),
        "{none:#?}"
    );
    failed(
        &site.run(&["list", "-l", "a=b=c"]).await,
        1,
        &["labelSelector"],
    );
    failed(
        &site.run(&["list", "--chunk-size=10001"]).await,
        64,
        &["10001"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_not_ready_are_listed_alone_in_every_form() {
    let site = Site::start().await;
    let not_ready = async |more: &[&str]| {
        let words = [&["list", "--not-ready"], more].concat();
        site.run(&words).await
    };
    let all_ready = async || not_ready(&["-o", "name"]).await.stdout.is_empty();
    eventually(Duration::from_secs(30), "all are ready", all_ready).await;
    for (more, said) in [
        (
            &[][..],
            "all replicas are ready of the 3 Deployments that this server manages and you may see",
        ),
        (
            &["-n", "jobs"],
            "all replicas are ready of the one Deployment in the namespace jobs that this server manages and you may see",
        ),
        (
            &["-l", "tier=c"],
            "no Deployments with the labels tier=c that this server manages and you may see",
        ),
    ] {
        let none = not_ready(more).await;
        assert_eq!((none.code, none.stdout.len()), (Some(0), 0), "{none:#?}");
        assert_eq!(none.stderr, [said]);
    }
    let none = not_ready(&["-o", "json"]).await;
    assert_eq!((none.code, none.stdout.concat().as_str()), (Some(0), "[]"));

    site.cluster.cluster.set_ready("web", "shop", 0).unwrap();
    // More are ready than desired while it is made smaller, and none of none is no lack.
    site.says(&["set", "jobs/mailer", "0"]).await;
    let shop = async || not_ready(&["-o", "name"]).await.stdout == ["web/shop"];
    eventually(Duration::from_secs(30), "the one that is not ready", shop).await;
    assert_eq!(
        not_ready(&[]).await.stdout,
        [
            "NAMESPACE  NAME  DESIRED  READY",
            "web        shop  1        0"
        ]
    );
    let told = not_ready(&["-o", "json", "--chunk-size=1"])
        .await
        .stdout
        .concat();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told,
        serde_json::json!([{"namespace": "web", "name": "shop", "replicaCount": 1, "readyReplicas": 0}])
    );
    let wide = not_ready(&["-o", "wide"]).await.stdout;
    assert!(
        wide.len() == 2 && wide[0].contains("IMAGES") && wide[1].contains("shop"),
        "{wide:#?}"
    );
    let elsewhere = not_ready(&["-n", "jobs"]).await;
    assert_eq!((elsewhere.code, elsewhere.stdout.len()), (Some(0), 0));

    // One that doesn't tell isn't one where all is well.
    let server = answering(&site, |_| answer("200 OK", "", LIST)).await;
    let ended = not_ready(&["--server", &server]).await;
    failed(&ended, 1, &["how many are ready", "older version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_list_has_what_reads_of_each_tell_in_the_lists_order() {
    let site = Site::start().await;
    let listed = site.says(&["list", "-o", "wide"]).await;
    let got = ["get", "jobs/mailer", "web/admin", "web/shop", "-o", "wide"];
    assert_eq!(listed, site.says(&got).await);
    assert!(
        listed[0].contains("IMAGES") && listed.len() == 4,
        "{listed:#?}"
    );
}

/// A server that answers each request by its path, over TLS with the site's certificates.
async fn answering(site: &Site, answers: fn(&str) -> String) -> String {
    let acceptor = acceptor(&site.serving.files, true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let mut text = Vec::new();
            while let Ok(read @ 1..) = stream.read_buf(&mut text).await {
                if read > 0 && text.ends_with(b"\r\n\r\n") {
                    let request = String::from_utf8(std::mem::take(&mut text)).unwrap();
                    let answer = answers(request.split(' ').nth(1).unwrap());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    });
    format!("https://{address}")
}

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

const LIST: &str = r#"[{"namespace":"web","name":"shop","replicaCount":2},{"namespace":"jobs","name":"mailer","replicaCount":1}]"#;
const NO_PATH: &str = r#"{"error":"there is no such path; the paths are others"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_is_asked_for_all_and_the_namespace_is_chosen_here() {
    let site = Site::start().await;
    let server = answering(&site, |path| match path {
        "/api/v1/deployments" => answer("200 OK", "", LIST),
        _ => answer("404 Not Found", "", NO_PATH),
    })
    .await;
    let words = ["list", "-o", "name", "--server", &server, "-n", "web"];
    let ended = site.run(&words).await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(0), &["web/shop".to_owned()][..]),
        "{ended:#?}"
    );
    assert!(
        ended.stderr[0].contains("of an older version"),
        "{ended:#?}"
    );
    // It would take no notice of a selector, and list more than was asked for.
    let ended = site.run(&[&words[..], &["-l", "a=b"]].concat()).await;
    failed(&ended, 4, &["there is no such path"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_state_is_gone_is_begun_anew_but_not_for_ever() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    const GONE: &str = r#"{"error":"the state is not kept any more"}"#;
    let site = Site::start().await;
    let answers = |path: &str| {
        let next = "link: </api/v1/deployments?limit=1&continue=t>; rel=\"next\"\r\n";
        match path {
            "/api/v1/deployments?limit=1" => answer("200 OK", next, LIST),
            _ if ASKED.fetch_add(1, Relaxed) == 1 => answer("200 OK", "", "[]"),
            _ => answer("410 Gone", "", GONE),
        }
    };
    let server = answering(&site, answers).await;
    let words = ["list", "-o", "name", "--chunk-size=1", "--server", &server];
    let ended = site.run(&words).await;
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 2), "{ended:#?}");
    assert!(ended.stderr[0].contains("begun anew"), "{ended:#?}");
    let ended = site.run(&words).await;
    assert_eq!(
        (ended.code, ended.stdout.len(), ended.stderr.len()),
        (Some(1), 0, 3),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_labels_first_is_asked_again_once_when_it_says() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    const NOT_YET: &str = r#"{"error":"the labels aren't in this server's copy yet"}"#;
    let site = Site::start().await;
    let server = answering(&site, |_| match ASKED.fetch_add(1, Relaxed) {
        1 => answer("200 OK", "", LIST),
        4 => answer("503 Service Unavailable", "retry-after: 11\r\n", NOT_YET),
        _ => answer("503 Service Unavailable", "retry-after: 0\r\n", NOT_YET),
    })
    .await;
    let words = ["list", "-o", "name", "--server", &server, "-l", "a=b"];
    let ended = site.run(&words).await;
    assert_eq!(
        (ended.code, ended.stdout.len(), ended.stderr.len()),
        (Some(0), 2, 1),
        "{ended:#?}"
    );
    assert!(ended.stderr[0].contains("asked again in 0 s"), "{ended:#?}");
    let ended = site.run(&words).await;
    assert_eq!(
        (ended.code, ended.stdout.len(), ended.stderr.len()),
        (Some(8), 0, 2),
        "{ended:#?}"
    );
    // Nobody waits that long for it.
    failed(&site.run(&words).await, 8, &["try again in 11 s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_the_server_does_not_manage_is_not_found() {
    let site = Site::with(&["--namespace=web"]).await;
    let ended = site.run(&["list", "-n", "jobs"]).await;
    failed(&ended, 4, &["jobs"]);
    assert_eq!(
        site.says(&["list", "-n", "web", "-o", "name"]).await.len(),
        2
    );
}
