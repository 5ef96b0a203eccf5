//! `headcount watch`: what it shows, and how it comes back and ends.

use std::time::Duration;

use serde_json::{Value, json};
use simkube::NewDeployment;
use tokio::time::{sleep, timeout};

use super::{Site, failed};
use crate::support::{
    SimCluster,
    program::{Program, Serving},
};

/// Waits until a program that goes on has said so many lines.
async fn lines(of: impl Fn() -> Vec<String>, count: usize) -> Vec<String> {
    let said = timeout(Duration::from_secs(20), async {
        while of().len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(said.await.is_ok(), "{:#?}", of());
    of()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_what_is_there_and_then_each_change_until_ctrl_c() {
    let site = Site::start().await;
    let watch = Program::start(site.command(&["watch"]));
    let json = Program::start(site.command(&["watch", "-n", "web", "-o", "json"]));
    let one = Program::start(site.command(&["watch", "shop", "-o", "name"]));
    let first = lines(|| watch.stdout(), 4).await;
    assert_eq!(
        first,
        [
            "EVENT   NAMESPACE  NAME    DESIRED  BEFORE",
            "listed  jobs       mailer  1        -",
            "listed  web        admin   1        -",
            "listed  web        shop    1        -"
        ]
    );
    lines(|| json.stdout(), 2).await;
    lines(|| one.stdout(), 1).await;
    site.run(&["set", "shop", "4"]).await;
    site.run(&["set", "admin", "2"]).await;
    site.cluster.cluster.delete("jobs", "mailer").unwrap();
    let shown = lines(|| watch.stdout(), 7).await;
    assert_eq!(
        shown[4..],
        [
            "changed  web        shop    4        1",
            "changed  web        admin   2        1",
            "deleted  jobs       mailer  1        -"
        ]
    );
    let shown = lines(|| json.stdout(), 4).await;
    let shown: Vec<Value> = shown
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        shown[1],
        json!({"event": "listed", "namespace": "web", "name": "shop", "replicaCount": 1})
    );
    assert!(
        shown[2]["event"] == "changed"
            && shown[2]["previousReplicaCount"] == 1
            && shown[2]["resourceVersion"].is_string(),
        "{shown:#?}"
    );
    assert_eq!(lines(|| one.stdout(), 2).await, ["web/shop", "web/shop"]);
    for program in [watch, json, one] {
        program.signal("INT");
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{ended:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_comes_back_when_its_server_does_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let cluster = SimCluster::start().await;
    cluster
        .cluster
        .create(NewDeployment::new("web", "shop"))
        .unwrap();
    let serving = Serving::with(&files, cluster.kubeconfig(), &[]).await;
    serving.becomes_ready().await;
    let site = Site::of(cluster, serving).await;
    let watch = Program::start(site.command(&["watch", "shop", "-o", "json"]));
    lines(|| watch.stdout(), 1).await;
    let Site {
        cluster, serving, ..
    } = site;
    let listen = format!("--listen={}", serving.address);
    serving.terminated().await;
    cluster.cluster.scale("web", "shop", Some(6)).unwrap();
    let said = lines(|| watch.stderr(), 1).await;
    assert!(said[0].contains("it is asked again in "), "{said:#?}");
    let again = Serving::with(&files, cluster.kubeconfig(), &[&listen]).await;
    let shown = lines(|| watch.stdout(), 2).await;
    let change: Value = serde_json::from_str(&shown[1]).unwrap();
    assert_eq!(
        (&change["event"], &change["replicaCount"]),
        (&json!("changed"), &json!(6)),
        "{change}"
    );
    let said = lines(|| watch.stderr(), 2).await;
    assert_eq!(said[1], "watching again");
    drop(again);
    watch.signal("INT");
    let ended = watch.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_after_the_first_change_or_when_its_time_is_up() {
    let site = Site::start().await;
    let watch = Program::start(site.command(&["watch", "shop", "--once", "-o", "name"]));
    lines(|| watch.stdout(), 1).await;
    site.run(&["set", "admin", "3"]).await;
    site.run(&["set", "shop", "3"]).await;
    let ended = watch.ended().await;
    assert_eq!(
        (ended.code, ended.stdout.len(), ended.stderr.len()),
        (Some(0), 2, 0),
        "{ended:#?}"
    );
    let ended = site.run(&["watch", "--for=500ms"]).await;
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 4), "{ended:#?}");
    let ended = site.run(&["watch", "shop", "--for=500ms", "--once"]).await;
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    assert!(
        ended.stderr[0].contains("nothing has changed within 500ms"),
        "{ended:#?}"
    );
    let ended = site.run(&["watch", "shpo", "--for=500ms"]).await;
    assert!(
        ended.code == Some(0) && ended.stderr[0].contains("web/shpo isn't there"),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_whose_reader_is_gone_ends_without_a_change() {
    let site = Site::start().await;
    let mut command = site.command(&["watch", "-o", "name"]);
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut some = [0; 8];
    std::io::Read::read_exact(&mut stdout, &mut some).unwrap();
    drop(stdout);
    let output = timeout(
        Duration::from_secs(20),
        tokio::task::spawn_blocking(|| child.wait_with_output()),
    )
    .await
    .unwrap()
    .unwrap()
    .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_nobody_may_or_can_serve_fails_at_once() {
    let site = Site::start().await;
    let ended = site.run(&["watch", "-n", "Web"]).await;
    failed(&ended, 64, &["a namespace is"]);
    let expired = site.serving.files.expired.clone();
    let ended = site.run_as(&expired, &["watch"]).await;
    failed(&ended, 3, &["expired"]);
    let ended = site
        .run(&["watch", "--server", "https://127.0.0.1:1"])
        .await;
    failed(&ended, 8, &["failed to connect"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_nobody_reads_ends_at_ctrl_c_all_the_same() {
    let cluster = SimCluster::start().await;
    // More than a pipe holds.
    let long = "x".repeat(60);
    for n in 0..1500 {
        let new = NewDeployment::new("web", format!("{long}-{n}"));
        cluster.cluster.create(new).unwrap();
    }
    cluster
        .cluster
        .create(NewDeployment::new("web", "shop"))
        .unwrap();
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let site = Site::of(cluster, serving).await;
    let mut child = site
        .command(&["watch", "-o", "json"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let first = tokio::task::spawn_blocking(move || {
        let mut some = [0; 8];
        std::io::Read::read_exact(&mut stdout, &mut some).unwrap();
        stdout
    });
    let unread = first.await.unwrap();
    let id = child.id().to_string();
    let sent = std::process::Command::new("/bin/sh")
        .args(["-c", r#"kill -s INT "$0""#, &id])
        .status();
    assert!(sent.unwrap().success());
    let ended = timeout(
        Duration::from_secs(20),
        tokio::task::spawn_blocking(move || child.wait()),
    );
    assert!(ended.await.unwrap().unwrap().unwrap().success());
    drop(unread);
}
