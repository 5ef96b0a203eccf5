//! The log file: what is in it, how it is rotated, and that neither it nor stderr ever makes anybody wait.

use std::{
    collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::PathBuf, process::Command,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::support::{
    SimCluster, eventually,
    lines::Line,
    program::{Program, Serving, serve},
};

/// A configuration file whose log goes to a file beside it.
struct Logged {
    folder: TempDir,
    format: &'static str,
}

impl Logged {
    fn with(format: &'static str, logging: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let head = "apiVersion: headcount/v1alpha1\nkind: Configuration";
        let path = folder.path().join("headcount.log");
        let file = format!("file: {{path: {}, maxSize: 64Ki, keep: 2}}", path.display());
        let text = format!("{head}\nlogging:\n  format: {format}\n  {file}\n{logging}");
        fs::write(folder.path().join("config.yaml"), text).unwrap();
        Self { folder, format }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("headcount.log")
    }

    fn flag(&self) -> String {
        format!(
            "--config={}",
            self.folder.path().join("config.yaml").display()
        )
    }

    /// The lines of all files that are there, the oldest first.
    fn lines(&self) -> Vec<String> {
        let files = ["headcount.log.2", "headcount.log.1", "headcount.log"];
        let text = |file: &str| fs::read_to_string(self.folder.path().join(file));
        let texts: String = files
            .into_iter()
            .filter_map(|file| text(file).ok())
            .collect();
        texts.lines().map(str::to_owned).collect()
    }

    fn without_id(&self, line: &str) -> String {
        let (start, end) = match self.format {
            "json" => (",\"record_id\":\"", "\"}"),
            _ => (" record_id=\"", "\""),
        };
        let (line, id) = line.rsplit_once(start).unwrap();
        let closed = if self.format == "json" { "}" } else { "" };
        assert!(id.ends_with(end), "{id}");
        format!("{line}{closed}")
    }
}

/// The process and the number of each line.
fn ids(lines: &[String]) -> Vec<(String, u64)> {
    let id = |line: &String| {
        let line = Line::read(line);
        let (process, number) = line.text("record_id").split_once('-').unwrap();
        (process.to_owned(), number.parse().unwrap())
    };
    lines.iter().map(id).collect()
}

#[tokio::test]
async fn the_file_has_what_stderr_has_and_an_id_on_every_line() {
    for format in ["text", "json"] {
        let cluster = SimCluster::start().await;
        cluster.create("web", "shop", 3);
        let logged = Logged::with(format, "");
        let flags = [&*logged.flag()];
        let serving = Serving::healthy(cluster.kubeconfig(), &flags).await;
        assert_eq!(
            serving.client.scale("web", "shop", 5, &[]).await.status,
            200
        );
        let first = serving.terminated().await;
        let in_file = logged.lines();
        let mut plain: Vec<_> = in_file.iter().map(|line| logged.without_id(line)).collect();
        let mut on_stderr = first.stderr;
        // Lines of two threads at the same moment may come in another order.
        plain.sort();
        on_stderr.sort();
        assert_eq!(plain, on_stderr);
        let ids_of_first = ids(&in_file);
        let numbers = ids_of_first.iter().map(|(_, number)| *number);
        assert!(numbers.eq(1..=in_file.len() as u64));

        // Another process goes on in the same file, and its ids are others.
        let second = Serving::healthy(cluster.kubeconfig(), &flags).await;
        second.terminated().await;
        let all = ids(&logged.lines());
        assert_eq!(all[..ids_of_first.len()], ids_of_first);
        assert!(all.len() > ids_of_first.len());
        assert_eq!(BTreeSet::from_iter(&all).len(), all.len());
        let mode = fs::metadata(logged.path()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn the_file_is_rotated_by_size_and_no_number_is_missing() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let logged = Logged::with("json", "  stderr: false\n");
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let program = Program::start(serve(&files, cluster.kubeconfig(), &[&logged.flag()]));
    let synced = async || {
        let lines = logged.lines();
        lines.iter().any(|line| line.contains("informer.synced"))
    };
    eventually(Duration::from_secs(30), "the first list", synced).await;
    let earlier = logged.folder.path().join("headcount.log.2");
    let mut replicas = 0;
    while !earlier.exists() {
        replicas += 1;
        assert!(replicas < 5000, "nothing is rotated");
        cluster.cluster.scale("web", "shop", replicas);
        if replicas % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    program.signal("TERM");
    let ended = program.ended().await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0));
    for file in fs::read_dir(logged.folder.path()).unwrap() {
        assert!(file.unwrap().metadata().unwrap().len() <= 64 * 1024);
    }
    let numbers: Vec<_> = ids(&logged.lines()).into_iter().map(|(_, n)| n).collect();
    let first = numbers[0];
    assert!(
        numbers
            .iter()
            .copied()
            .eq(first..first + numbers.len() as u64)
    );
    let last = Line::read(logged.lines().last().unwrap());
    assert_eq!(last.event, "server.stopped");
}

#[tokio::test]
async fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let logged = Logged::with("text", "");
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let serve = serve(&files, cluster.kubeconfig(), &[&logged.flag()]);
    // What a write beyond the limit below would end it by.
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(serve.get_program())
        .args(serve.get_args());
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.program.line("informer.synced", 1).await;
    let before = fs::metadata(logged.path()).unwrap().len();
    // Files of this process can't grow further, as on a disk that is full.
    let id = Pid::from_raw(serving.program.id() as i32);
    let limit = |current| Rlimit {
        current,
        maximum: None,
    };
    prlimit(id, Resource::Fsize, limit(Some(before + 10))).unwrap();
    for replicas in [4, 5, 6] {
        let answer = serving.client.scale("web", "shop", replicas, &[]).await;
        assert_eq!(answer.status, 200);
    }
    let failed = serving.program.line("log.write.failed", 1).await;
    assert_eq!(
        (failed.severity.as_str(), failed.text("output")),
        ("WARN", "file")
    );
    let counted = async || dropped(&serving.metrics().await, "file") >= 3;
    eventually(Duration::from_secs(10), "dropped lines", counted).await;
    assert_eq!(dropped(&serving.metrics().await, "stderr"), 0);
    // No part of a line is in the file, once the last of them was tried.
    let whole = async || fs::metadata(logged.path()).unwrap().len() == before;
    eventually(Duration::from_secs(10), "no part of a line", whole).await;

    prlimit(id, Resource::Fsize, limit(None)).unwrap();
    assert_eq!(
        serving.client.scale("web", "shop", 7, &[]).await.status,
        200
    );
    let told = serving.program.line("log.lines.dropped", 1).await;
    assert_eq!(told.text("output"), "file");
    let missing = told.number("count");
    let total = dropped(&serving.metrics().await, "file");
    let ended = serving.terminated().await;
    assert_eq!(total, missing);
    let lines = logged.lines();
    assert_eq!(ended.stderr.len() as i64, lines.len() as i64 + missing);
    let applied = lines.iter().filter(|line| line.contains(" scale.applied "));
    assert_eq!(applied.count(), 1);
}

#[tokio::test]
async fn a_stuck_stderr_makes_neither_requests_nor_the_informer_wait() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let logged = Logged::with("text", "");
    let serving = Serving::healthy(cluster.kubeconfig(), &[&logged.flag()]).await;
    serving.program.read_stderr(false);
    // More than a pipe and the queue hold.
    let mut replicas = 3;
    while dropped(&serving.metrics().await, "stderr") < 100 {
        assert!(replicas < 100_000, "nothing is dropped");
        for _ in 0..500 {
            replicas += 1;
            cluster.cluster.scale("web", "shop", replicas);
        }
        // The informer follows all that, and requests are answered.
        let last = i64::from(replicas);
        let followed = async || serving.client.count("web", "shop").await == Ok(last);
        eventually(Duration::from_secs(20), "the last count", followed).await;
    }
    let answer = serving.client.scale("web", "shop", 1, &[]).await;
    assert_eq!(answer.status, 200);
    serving.program.read_stderr(true);
    let all_told = async || {
        let told = serving.program.lines("log.lines.dropped");
        assert!(told.iter().all(|line| line.text("output") == "stderr"));
        let told: i64 = told.iter().map(|line| line.number("count")).sum();
        told == dropped(&serving.metrics().await, "stderr")
    };
    eventually(Duration::from_secs(20), "what was dropped", all_told).await;
    let ended = serving.terminated().await;
    assert_eq!(ended.code, Some(0));
    // What is left to tell of bursts comes behind it.
    let mut lines = ended.stderr.iter().map(|line| Line::read(line).event);
    let last = lines.rfind(|event| event != "log.repeated");
    assert_eq!(last.as_deref(), Some("server.stopped"));
}

#[tokio::test]
async fn a_stuck_stderr_doesnt_keep_the_program_from_ending() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    serving.program.read_stderr(false);
    for replicas in 10..2000 {
        cluster.cluster.scale("web", "shop", replicas);
    }
    let asked = std::time::Instant::now();
    let ended = serving.terminated().await;
    assert_eq!(ended.code, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_log_file_that_cant_be_opened_refuses_the_start() {
    let cluster = SimCluster::start().await;
    let logged = Logged::with("text", "");
    fs::create_dir(logged.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let command = serve(&files, cluster.kubeconfig(), &[&logged.flag()]);
    let ended = Program::start(command).ended().await;
    assert_eq!((ended.code, ended.stderr.len()), (Some(64), 1));
    let line = Line::read(&ended.stderr[0]);
    assert_eq!(line.event, "config.invalid");
    let path = logged.path();
    assert!(
        line.message.contains(&*path.to_string_lossy()) && line.message.contains("regular file"),
        "{line:?}"
    );
}

fn dropped(metrics: &str, output: &str) -> i64 {
    let name = format!("headcount_log_lines_dropped_total{{output=\"{output}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.unwrap().parse().unwrap()
}
