//! Ends, crashes and starts: one chain goes through all of them.

use std::{collections::HashSet, fs::OpenOptions, io::Write as _, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{Audited, of, records};
use crate::support::{
    SimCluster,
    program::{Program, Serving, serve},
};

#[tokio::test]
async fn a_restarted_server_goes_on_with_the_same_chain() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let audited = Audited::new("", "");
    for count in [2, 3] {
        let serving = audited.serve(&cluster).await;
        assert_eq!(
            serving.client.scale("web", "shop", count, &[]).await.status,
            200
        );
        audited.keep_log(&serving.terminated().await);
    }
    let records = audited.records();
    assert_eq!(of(&records, "audit.started").len(), 2);
    assert_eq!(of(&records, "audit.file").len(), 1);
    let log = audited.folder.path().join("headcount.stderr");
    let (code, words) = audited.verify(&["--log", log.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_of_writes_leaves_a_trail_with_every_answered_one() {
    let cluster = SimCluster::start().await;
    for name in 0..6 {
        cluster.create("web", &format!("shop-{name}"), 1);
    }
    let audited = Audited::new(
        "",
        "limits: {rates: {writes: {perSecond: 10000}, podsPerMinute: unlimited}}\n",
    );
    let (mut answered, mut log) = (0, String::new());
    for _ in 0..3 {
        let serving = audited.serve(&cluster).await;
        let client = serving.client.clone();
        let writing = tokio::spawn(join_all((0..6).map(move |name| {
            let client = client.clone();
            async move {
                let (mut done, path) = (
                    0,
                    format!("/namespaces/web/deployments/shop-{name}/replicas"),
                );
                for count in 0..100_000 {
                    let body = format!("{{\"replicaCount\":{}}}", count % 2);
                    let request = client.request(
                        http::Method::PUT,
                        &path,
                        &[("content-type", "application/json")],
                        &body,
                    );
                    match client.try_send(request).await {
                        Ok(answer) if answer.status == 200 => done += 1,
                        Ok(answer) => panic!("{}", answer.text()),
                        Err(_) => break,
                    }
                }
                done
            }
        })));
        sleep(Duration::from_millis(700)).await;
        serving.program.signal("KILL");
        answered += writing.await.unwrap().into_iter().sum::<usize>();
        let ended = serving.program.ended().await;
        log.push_str(&(ended.stderr.join("\n") + "\n"));
    }
    // A start goes on from whatever was left.
    let serving = audited.serve(&cluster).await;
    let ended = serving.terminated().await;
    log.push_str(&(ended.stderr.join("\n") + "\n"));
    let path = audited.folder.path().join("headcount.stderr");
    std::fs::write(&path, log).unwrap();
    let (code, words) = audited.verify(&["--log", path.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{words}");
    let requested = of(&audited.records(), "scale.requested").len();
    assert!(
        answered > 20 && requested >= answered,
        "{requested} of {answered}"
    );
    // Whatever reached the cluster, answered or not, was on record before.
    let spans: HashSet<String> = of(&audited.records(), "scale.requested")
        .iter()
        .map(|record| record["span_id"].as_str().unwrap().to_owned())
        .collect();
    for sent in cluster.cluster.requests() {
        if sent.method == http::Method::PUT {
            let span = sent
                .header("traceparent")
                .unwrap()
                .split('-')
                .nth(2)
                .unwrap();
            assert!(
                spans.contains(span),
                "a write that isn't on record reached the cluster"
            );
        }
    }
}

#[tokio::test]
async fn half_a_record_that_a_crash_left_is_told_apart_and_gone_on_after() {
    let cluster = SimCluster::start().await;
    let audited = Audited::new("", "");
    audited.serve(&cluster).await.terminated().await;
    let whole = std::fs::read_to_string(audited.file()).unwrap();
    let half = &whole[..100];
    OpenOptions::new()
        .append(true)
        .open(audited.file())
        .unwrap()
        .write_all(half.as_bytes())
        .unwrap();
    let (code, words) = audited.verify(&[]).await;
    assert_eq!(code, 4, "{words}");
    assert!(words.ends_with("whole but for its last line"), "{words}");
    audited.serve(&cluster).await.terminated().await;
    let (code, words) = audited.verify(&[]).await;
    assert_eq!(code, 0, "{words}");
    assert!(
        words.contains("100 bytes of what couldn't be written whole"),
        "{words}"
    );
    // What is said of it can't be said of something else.
    let text = std::fs::read_to_string(audited.file()).unwrap();
    std::fs::write(
        audited.file(),
        text.replacen(half, &half.replace('0', "1"), 2),
    )
    .unwrap();
    assert_eq!(audited.verify(&[]).await.0, 1);
}

#[tokio::test]
async fn nothing_follows_on_a_record_that_was_changed() {
    let cluster = SimCluster::start().await;
    let audited = Audited::new("", "");
    audited.serve(&cluster).await.terminated().await;
    let text = std::fs::read_to_string(audited.file()).unwrap();
    let changed = text.replace("audit.stopped", "audit.dropped");
    std::fs::write(audited.file(), &changed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let command = serve(&files, cluster.kubeconfig(), &[&audited.flag()]);
    let ended = Program::start(command).ended().await;
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.stderr.concat().contains("headcount audit verify"),
        "{:?}",
        ended.stderr
    );
    // Where writes go on without a trail, so does the server, with another one.
    let config = audited.folder.path().join("headcount.yaml");
    let open = std::fs::read_to_string(&config).unwrap() + "  failurePolicy: open\n";
    std::fs::write(&config, open).unwrap();
    let serving = Serving::healthy(cluster.kubeconfig(), &[&audited.flag()]).await;
    let line = serving.program.line("audit.file.damaged", 1).await;
    let aside = std::path::PathBuf::from(line.text("file"));
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), changed);
    serving.terminated().await;
    assert_eq!(records(&audited.file())[0]["record"], 1);
}
