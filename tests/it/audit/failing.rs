//! A trail that can't be written: the file may grow no more, as on a full disk.

use std::{
    fs::OpenOptions,
    io::Read as _,
    process::Command,
    time::{Duration, Instant},
};

use http::Method;

use super::{
    Audited,
    leases::{LEASE, LEASES},
    of,
};
use crate::support::{
    SimCluster, eventually,
    program::{Program, Serving, serve},
};

/// Serves so that a file that may grow no more is an error, and not a signal that ends the program.
async fn serve_unkilled(audited: &Audited, cluster: &SimCluster) -> Serving {
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let serve = serve(&files, cluster.kubeconfig(), &[&audited.flag()]);
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(serve.get_program()).args(serve.get_args());
    let serving = Serving::of(Program::start(command), files, folder).await;
    let healthy = async || serving.client.get("/health").await.status == 200;
    eventually(Duration::from_secs(20), "health", healthy).await;
    serving
}

/// How large its files may be from now on: in bytes, or `unlimited`.
fn limit(serving: &Serving, size: &str) {
    let id = serving.program.id().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &id, &format!("--fsize={size}:unlimited")])
        .status();
    assert!(set.unwrap().success());
}

#[tokio::test]
async fn a_server_that_has_no_trail_leaves_leases_to_another_one() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.cluster.create_namespace("headcount");
    let (audited, of_the_other) = (Audited::new("", LEASES), Audited::new("", LEASES));
    let first = serve_unkilled(&audited, &cluster).await;
    first.program.line("leases.election.won", 1).await;
    let second = of_the_other.serve(&cluster).await;
    let body = r#"{"replicaCount":10,"durationSeconds":10}"#;
    let headers = [("content-type", "application/json")];
    let taken = second.client.send(Method::PUT, LEASE, &headers, body).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let size = std::fs::metadata(audited.file()).unwrap().len();
    limit(&first, &size.to_string());
    let back = async || second.client.count("web", "shop").await == Ok(3);
    eventually(Duration::from_secs(60), "the count is back", back).await;
    first.program.line("leases.election.lost", 1).await;
    second.program.line("lease.reverted", 1).await;
}

#[tokio::test]
async fn with_the_policy_closed_no_write_is_sent_that_is_not_on_record() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let audited = Audited::new("", "");
    let serving = serve_unkilled(&audited, &cluster).await;
    let scale = async |count| serving.client.scale("web", "shop", count, &[]).await;
    assert_eq!(scale(4).await.status, 200);
    let size = std::fs::metadata(audited.file()).unwrap().len();
    // The middle of a record.
    limit(&serving, &(size + 150).to_string());
    cluster.forget_requests();
    for count in [5, 6] {
        let answer = scale(count).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            answer.error().contains("audit.failurePolicy"),
            "{}",
            answer.error()
        );
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(cluster.writes(), 0, "nothing may be sent");
    assert_eq!(
        serving.client.count("web", "shop").await,
        Ok(4),
        "reads go on"
    );
    let failed = serving.program.line("audit.failed", 1).await;
    assert_eq!(
        (failed.severity.as_str(), failed.text("policy")),
        ("ERROR", "closed")
    );
    let (status, ready) = serving.admin("GET", "/readyz?verbose").await;
    assert_eq!(status, 200);
    assert!(ready.contains("[-]audit can't be written since"), "{ready}");
    let metrics = serving.metrics().await;
    assert!(metrics.contains("headcount_audit_failing 1"), "{metrics}");
    limit(&serving, "unlimited");
    serving.program.line("audit.recovered", 1).await;
    assert_eq!(scale(7).await.status, 200);
    let metrics = serving.metrics().await;
    assert!(metrics.contains("headcount_audit_failing 0"), "{metrics}");
    assert!(
        metrics.contains("headcount_audit_records_lost_total 0"),
        "{metrics}"
    );
    let log = audited.keep_log(&serving.terminated().await);
    let (code, words) = audited.verify(&["--log", log.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{words}");
    let records = audited.records();
    let refused: Vec<_> = of(&records, "scale.failed")
        .iter()
        .map(|r| r["status"].clone())
        .collect();
    assert_eq!(
        refused,
        [503, 503],
        "what was refused is told once it can be"
    );
}

#[tokio::test]
async fn with_the_policy_open_writes_go_on_and_lost_records_are_counted() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let more = "  failurePolicy: open\nlimits: {rates: {writes: {perSecond: 100000}, podsPerMinute: unlimited}}\n";
    let audited = Audited::new("", more);
    let serving = serve_unkilled(&audited, &cluster).await;
    limit(&serving, "1000");
    for count in [5, 6] {
        assert_eq!(
            serving.client.scale("web", "shop", count, &[]).await.status,
            200
        );
    }
    assert_eq!(
        serving.program.line("audit.failed", 1).await.text("policy"),
        "open"
    );
    // As much as may wait, and more.
    let reason = "x".repeat(256);
    let path = "/namespaces/web/deployments/shop/replicas";
    let mut connection = serving.client.open().await.unwrap();
    let flood = async |connection: &mut crate::support::Connection| {
        for _ in 0..1000 {
            let request =
                serving
                    .client
                    .request(http::Method::PUT, path, &[("x-reason", &reason)], "");
            assert_eq!(connection.send(request).await.unwrap().status, 415);
        }
    };
    let lost = async || {
        let metrics = serving.metrics().await;
        let line = metrics
            .lines()
            .find_map(|l| l.strip_prefix("headcount_audit_records_lost_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    for _ in 0..20 {
        flood(&mut connection).await;
        if lost().await > 0 {
            break;
        }
    }
    let counted = lost().await;
    assert!(counted > 0);
    serving.program.line("audit.lost", 1).await;
    assert_eq!(
        serving.client.scale("web", "shop", 7, &[]).await.status,
        200
    );
    limit(&serving, "unlimited");
    serving.program.line("audit.recovered", 1).await;
    let total = lost().await;
    serving.terminated().await;
    let (code, words) = audited.verify(&[]).await;
    assert_eq!(code, 0, "{words}");
    let records = audited.records();
    let told: u64 = of(&records, "audit.lost")
        .iter()
        .map(|r| r["records"].as_u64().unwrap())
        .sum();
    assert_eq!(told, total, "the trail tells what it lacks");
    // Those of writes had room kept for them.
    assert_eq!(of(&records, "scale.applied").len(), 3);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_said_before_anything_listens() {
    let cluster = SimCluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    for (audit, why) in [
        (
            "file: {path: /nonexistent/audit.log}",
            "in a folder that exists",
        ),
        ("file: {path: /dev/full}", "it is no regular file"),
        ("file: {path: a, maxSize: 1}", "write 65536"),
        ("stdout: false", "names no sink"),
    ] {
        let path = folder.path().join("headcount.yaml");
        let text =
            format!("apiVersion: headcount/v1alpha1\nkind: Configuration\naudit:\n  {audit}\n");
        std::fs::write(&path, text).unwrap();
        let config = format!("--config={}", path.display());
        let command = serve(&files, cluster.kubeconfig(), &[&config]);
        let ended = Program::start(command).ended().await;
        assert_eq!(ended.code, Some(64), "{audit}: {:?}", ended.stderr);
        assert!(
            ended.stderr.concat().contains(why),
            "{audit}: {:?}",
            ended.stderr
        );
    }
}

#[tokio::test]
async fn two_servers_do_not_write_to_one_file() {
    let cluster = SimCluster::start().await;
    let audited = Audited::new("", "");
    let serving = audited.serve(&cluster).await;
    let command = serve(&serving.files, cluster.kubeconfig(), &[&audited.flag()]);
    let ended = Program::start(command).ended().await;
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.stderr.concat().contains("a file of its own"),
        "{:?}",
        ended.stderr
    );
}

/// Serves with standard output going to a path.
async fn serve_to(stdout: &str, audited: &Audited, cluster: &SimCluster) -> Serving {
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let serve = serve(&files, cluster.kubeconfig(), &[&audited.flag()]);
    let mut command = Command::new("/bin/sh");
    let exec = format!("exec \"$0\" \"$@\" >{stdout}");
    command.env_clear().args(["-c", &exec]);
    command.arg(serve.get_program()).args(serve.get_args());
    let serving = Serving::of(Program::start(command), files, folder).await;
    let healthy = async || serving.client.get("/health").await.status == 200;
    eventually(Duration::from_secs(20), "health", healthy).await;
    serving
}

#[tokio::test]
async fn a_full_standard_output_refuses_writes_or_lets_them_go_on() {
    for (policy, status) in [("closed", 503), ("open", 200)] {
        let cluster = SimCluster::start().await;
        cluster.create("web", "shop", 3);
        let more = format!("  stdout: true\n  failurePolicy: {policy}\n");
        let audited = Audited::new("", &more);
        let serving = serve_to("/dev/full", &audited, &cluster).await;
        for count in [5, 6] {
            let answer = serving.client.scale("web", "shop", count, &[]).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        let failed = serving.program.line("audit.failed", 1).await;
        assert!(failed.text("error").contains("standard output"));
        serving.terminated().await;
        // The file has everything all the same.
        assert_eq!(audited.verify(&[]).await.0, 0);
        assert_eq!(of(&audited.records(), "scale.requested").len(), 2);
    }
}

#[tokio::test]
async fn a_sink_that_takes_nothing_holds_a_write_for_two_seconds_and_the_next_one_not_at_all() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let audited = Audited::new("", "  stdout: true\n");
    let pipe = audited.folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Open at both ends, and read by nobody.
    let mut reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let serving = serve_to(pipe.to_str().unwrap(), &audited, &cluster).await;
    let path = "/namespaces/web/deployments/shop/replicas";
    for _ in 0..150 {
        let answer = serving.client.send(http::Method::PUT, path, &[], "").await;
        assert_eq!(answer.status, 415);
    }
    let scale = async |count| {
        let start = Instant::now();
        let answer = serving.client.scale("web", "shop", count, &[]).await;
        (answer.status.as_u16(), start.elapsed())
    };
    let (status, took) = scale(5).await;
    assert_eq!(status, 503);
    assert!((2..4).contains(&took.as_secs()), "{took:?}");
    let (status, took) = scale(5).await;
    assert_eq!(status, 503);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        serving.client.count("web", "shop").await,
        Ok(3),
        "reads go on"
    );
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        // Until the trail's end, since this end keeps it open too.
        while !String::from_utf8_lossy(&all).contains("audit.stopped") {
            let read = reader.read(&mut some).unwrap();
            all.extend_from_slice(&some[..read]);
        }
        all
    });
    serving.program.line("audit.recovered", 1).await;
    assert_eq!(scale(6).await.0, 200);
    assert_eq!(serving.terminated().await.code, Some(0));
    let said = reading.join().unwrap();
    assert!(
        std::fs::read(audited.file())
            .unwrap()
            .starts_with(&said[..said.len() - 4096])
    );
}
