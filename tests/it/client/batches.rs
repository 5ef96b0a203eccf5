//! `headcount batch` and `headcount restore`.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use simkube::{Fault, NewDeployment, On, Rule};

use super::{Site, failed};
use crate::support::{
    eventually,
    program::{Ended, Program},
    proxy::Proxy,
};

impl Site {
    /// In the site's folder, where snapshots are kept.
    pub(super) fn here(&self, args: &[&str]) -> Program {
        let mut command = self.command(args);
        command.current_dir(self.folder.path());
        Program::start(command)
    }

    pub(super) async fn run_here(&self, args: &[&str]) -> Ended {
        self.here(args).ended().await
    }

    /// The snapshots that there are.
    pub(super) fn snapshots(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = paths
            .filter(|path| path.to_string_lossy().contains("headcount-snapshot-"))
            .collect();
        all.sort();
        all
    }

    /// The counts of these, as the server has them.
    pub(super) async fn counts<const N: usize>(&self, of: [(&str, &str); N]) -> [i64; N] {
        let mut counts = [0; N];
        for (count, (namespace, name)) in counts.iter_mut().zip(of) {
            *count = self.serving.client.count(namespace, name).await.unwrap();
        }
        counts
    }
}

pub(super) const ALL: [(&str, &str); 3] = [("web", "shop"), ("web", "admin"), ("jobs", "mailer")];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(super) fn read(path: &Path) -> Value {
    parsed(&fs::read_to_string(path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sets_each_count_and_what_was_comes_back_but_not_over_what_others_have_set_since() {
    let site = Site::start().await;
    let words = [
        "batch",
        "shop=10",
        "admin=1",
        "jobs/mailer=3",
        "--reason=the fair",
    ];
    let ended = site.run_here(&words).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(
        ended.stdout,
        [
            "NAMESPACE  NAME    BEFORE  NOW  RESULT",
            "web        shop    1       10   scaled",
            "web        admin   1       1    unchanged",
            "jobs       mailer  1       3    scaled"
        ]
    );
    let [snapshot] = &site.snapshots()[..] else {
        panic!("{:?}", site.snapshots());
    };
    let file = snapshot.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        ended.stderr,
        [format!(
            "{file} has the counts from before: `headcount restore {file}` brings them back"
        )]
    );
    let mode = fs::metadata(snapshot).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = read(snapshot);
    assert_eq!(kept["items"].as_array().map(Vec::len), Some(2), "{kept:#}");
    assert_eq!(
        (
            &kept["items"][0]["replicaCount"],
            &kept["items"][0]["setTo"]
        ),
        (&json!(1), &json!(10))
    );

    // Somebody else's count stays.
    site.cluster
        .cluster
        .scale("jobs", "mailer", Some(4))
        .unwrap();
    eventually(Duration::from_secs(20), "the other's count", async || {
        site.counts(ALL).await == [10, 1, 4]
    })
    .await;
    let dry = site.run_here(&["restore", file, "--dry-run"]).await;
    let ended = site.run_here(&["restore", file]).await;
    for (ended, [restored, skipped, were]) in [
        (
            &dry,
            ["would be restored", "would be skipped", "wouldn't be"],
        ),
        (&ended, ["restored", "skipped", "weren't"]),
    ] {
        assert_eq!(ended.code, Some(5), "{ended:#?}");
        assert_eq!(ended.stdout.len(), 3, "{ended:#?}");
        let cells: Vec<_> = ended.stdout[1].split_whitespace().collect();
        assert_eq!(
            (&cells[..4], cells[4..].join(" ")),
            (&["web", "shop", "10", "1"][..], restored.to_owned()),
            "{ended:#?}"
        );
        assert!(
            ended.stdout[2].starts_with("jobs       mailer  - ")
                && ended.stdout[2].contains(&format!(" {skipped}: "))
                && ended.stdout[2].contains("changed since"),
            "{ended:#?}"
        );
        let failed = format!("error: 1 of 2 {were} brought back, the first one jobs/mailer: ");
        assert!(
            ended.stderr.last().unwrap().starts_with(&failed),
            "{ended:#?}"
        );
    }
    assert_eq!(site.counts(ALL).await, [1, 1, 4]);
    // Once more changes nothing.
    let again = site.run_here(&["restore", file]).await;
    assert!(again.stdout[1].ends_with("unchanged"), "{again:#?}");
    // And a restoration can be taken back as any batch.
    let others = site.snapshots();
    assert_eq!(others.len(), 2, "{others:?}");
    let of_restore = others
        .iter()
        .find(|other| other.file_name() != snapshot.file_name());
    let of_restore = of_restore.unwrap();
    let ended = site
        .run_here(&["restore", of_restore.to_str().unwrap(), "-o", "name"])
        .await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(0), &["web/shop".to_owned()][..]),
        "{ended:#?}"
    );
    assert_eq!(site.counts(ALL).await, [10, 1, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_the_batch_would_and_leaves_no_trace() {
    let site = Site::with(&["--max-replicas=10"]).await;
    let words = ["batch", "shop=3", "admin=11", "jobs/mailer=2"];
    let dry = site.run_here(&[&words[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry.code, site.snapshots().len()), (Some(7), 0), "{dry:#?}");
    assert_eq!(site.counts(ALL).await, [1, 1, 1]);
    let ended = site.run_here(&words).await;
    assert_eq!(
        (ended.code, site.snapshots().len()),
        (Some(7), 1),
        "{ended:#?}"
    );
    assert_eq!(
        dry.stdout[0].split_whitespace().collect::<Vec<_>>(),
        ["NAMESPACE", "NAME", "NOW", "THEN", "RESULT"]
    );
    for (line, would, done) in [
        (1, "  would be scaled", "  scaled"),
        (2, "  would fail: ", "  failed: "),
        (3, "  would be scaled", "  scaled"),
    ] {
        assert!(dry.stdout[line].contains(would), "{dry:#?}");
        assert!(ended.stdout[line].contains(done), "{ended:#?}");
    }
    assert!(
        ended.stdout[2].contains("failed: ") && ended.stdout[2].contains("10"),
        "{ended:#?}"
    );
    let last = ended.stderr.last().unwrap();
    assert!(
        last.starts_with("error: 1 of 3 weren't set, the first one web/admin: "),
        "{ended:#?}"
    );
    assert_eq!(site.counts(ALL).await, [3, 1, 2]);
    // Where there is no table, each failure is told besides.
    let ended = site
        .run_here(&["batch", "shop=4", "admin=11", "-o", "name"])
        .await;
    assert_eq!(ended.stdout, ["web/shop"], "{ended:#?}");
    assert!(
        ended
            .stderr
            .iter()
            .any(|line| line.starts_with("error: web/admin: ")),
        "{ended:#?}"
    );
    let ended = site.run_here(&["batch", "shop=5", "-o", "json"]).await;
    let told = parsed(&ended.stdout.concat());
    assert_eq!(
        (&told["succeeded"], &told["results"][0]["replicaCount"]),
        (&json!(1), &json!(5)),
        "{ended:#?}"
    );
    // The whole answer brings back what was, too.
    let file = site.folder.path().join("answer.json");
    fs::write(&file, ended.stdout.concat()).unwrap();
    let mut command = site.command(&["restore", "-", "-q", "--snapshot=back.json"]);
    command
        .current_dir(site.folder.path())
        .stdin(File::open(&file).unwrap());
    let output = command.output().unwrap();
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert_eq!(site.counts(ALL).await, [4, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_read_of_files_in_each_form_and_of_stdin() {
    let site = Site::start().await;
    let file = site.folder.path().join("counts");
    for (text, expected) in [
        (
            "# the fair\nshop 2\nweb/admin=2\njobs/mailer 2\n",
            [2, 2, 2],
        ),
        (
            "items:\n- {name: shop, replicaCount: 3}\n- {namespace: jobs, name: mailer, replicaCount: 3}\n",
            [3, 2, 3],
        ),
        (
            r#"[{"namespace":"web","name":"admin","replicaCount":0}]"#,
            [3, 0, 3],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let ended = site.run_here(&["batch", "-f", "counts", "-q"]).await;
        assert_eq!(
            (ended.code, ended.stdout.len(), ended.stderr.len()),
            (Some(0), 0, 0),
            "{ended:#?}"
        );
        assert_eq!(site.counts(ALL).await, expected);
    }
    // What a list has written is read, too.
    fs::write(&file, site.says(&["list", "-o", "json"]).await.concat()).unwrap();
    let mut command = site.command(&["batch", "-f", "-"]);
    command
        .current_dir(site.folder.path())
        .stdin(File::open(&file).unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("unchanged").count(), 3, "{output:?}");
    // Where nothing was changed there is nothing to bring back.
    assert_eq!(
        (site.snapshots().len(), output.stderr.len()),
        (3, 0),
        "{output:?}"
    );

    fs::write(&file, "shop 2\nadmin\n").unwrap();
    let ended = site.run_here(&["batch", "-f", "counts"]).await;
    failed(&ended, 64, &["\"counts\": line 2", "NAMESPACE/]NAME COUNT"]);
    assert_eq!(site.counts(ALL).await, [3, 0, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_selector_are_set_in_the_namespace_that_is_meant() {
    let site = Site::start().await;
    let labelled = [("web", "front"), ("web", "back"), ("jobs", "front")];
    for (namespace, name) in labelled {
        let new = NewDeployment::new(namespace, name).label("tier", name);
        site.cluster.cluster.create(new).unwrap();
        let there = async || site.serving.client.count(namespace, name).await.is_ok();
        eventually(Duration::from_secs(20), name, there).await;
    }
    for (words, expected) in [
        (&["-l", "tier=front", "2"][..], [2, 1, 1]),
        (&["-l", "tier=front", "3", "-n", "jobs"], [2, 1, 3]),
        (&["-l", "tier in (front, back)", "4", "-A"], [4, 4, 4]),
    ] {
        let ended = site.run_here(&[&["batch"], words].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(site.counts(labelled).await, expected, "{words:?}");
    }
    let ended = site.run_here(&["batch", "-l", "tier=middle", "5"]).await;
    // Nobody's count was set, which is no success.
    let none = ["no Deployments with the labels tier=middle in the namespace web"];
    failed(&ended, 4, &none);
    let dry = ["batch", "-l", "tier=middle", "5", "-A", "--dry-run"];
    failed(&site.run_here(&dry).await, 4, &["tier=middle that"]);
    assert_eq!(site.snapshots().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_or_kept_is_sixty_four_and_nothing_is_sent() {
    let site = Site::start().await;
    fs::write(site.folder.path().join("mine.json"), "mine").unwrap();
    fs::write(site.folder.path().join("none.json"), r#"{"items":[]}"#).unwrap();
    for (words, part) in [
        (&["batch"][..], "NAME=COUNT"),
        (&["batch", "shop"], "isn't NAME=COUNT"),
        (&["batch", "shop=-1"], "isn't a count"),
        (&["batch", "shop=x"], "isn't a count"),
        (&["batch", "Shop=1"], "NAMESPACE/NAME"),
        (&["batch", "-l", "a=b"], "COUNT"),
        (&["batch", "-l", "a=b", "shop=3"], "isn't a count"),
        (&["batch", "-l", "a=b", "3", "4"], "give one COUNT"),
        (&["batch", "-A", "shop=3"], "--selector"),
        (&["batch", "shop=3", "--for=9s"], "10s or more"),
        (&["batch", "shop=3", "--for=1500ms"], "whole seconds"),
        (
            &["batch", "shop=3", "--snapshot=mine.json"],
            "there is a file \"mine.json\" already",
        ),
        (
            &["batch", "shop=3", "--snapshot=no/folder.json"],
            "nothing was changed",
        ),
        (&["batch", "-f", "nowhere"], "failed to read \"nowhere\""),
        (&["restore", "mine.json"], "isn't a snapshot"),
        (&["restore", "nowhere"], "failed to read \"nowhere\""),
        (&["set", "shop", "3", "--for=1"], "10s or more"),
    ] {
        failed(&site.run_here(words).await, 64, &[part]);
    }
    failed(
        &site.run_here(&["restore", "none.json"]).await,
        4,
        &["changed none"],
    );
    assert_eq!(
        fs::read_to_string(site.folder.path().join("mine.json")).unwrap(),
        "mine"
    );
    assert_eq!(
        (site.counts(ALL).await, site.snapshots().len()),
        ([1, 1, 1], 0)
    );
    // A batch that is refused as a whole leaves no snapshot.
    let ended = site.run_here(&["batch", "-l", "a=b=c", "3"]).await;
    failed(&ended, 1, &["labelSelector"]);
    assert_eq!(site.snapshots().len(), 0);
}

/// Kubernetes carries out what is no dry run, and takes long to say so.
pub(super) fn slow_after_a_plan_of(site: &Site, many: u64) {
    let slow = Fault::after_commit(Fault::Delay(Duration::from_secs(3)));
    let slow = Rule::new(On::Scale, slow);
    site.cluster
        .cluster
        .faults()
        .add(slow.after(many).times(many));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_is_lost_can_be_brought_back_all_the_same() {
    let site = Site::start().await;
    let proxy = Proxy::start(site.serving.address).await;
    let server = format!("https://{}", proxy.address);
    slow_after_a_plan_of(&site, 2);
    let words = ["batch", "shop=5", "jobs/mailer=6", "--server", &server];
    let program = site.here(&words);
    eventually(Duration::from_secs(20), "the writes", async || {
        site.counts(ALL).await == [5, 1, 6]
    })
    .await;
    proxy.cut();
    let ended = program.ended().await;
    failed(
        &ended,
        8,
        &[
            "which of the 2 Deployments were set isn't known",
            "headcount history",
            "headcount leases",
        ],
    );
    let [snapshot] = &site.snapshots()[..] else {
        panic!("{:?}", site.snapshots());
    };
    let file = snapshot.file_name().unwrap().to_str().unwrap();
    assert!(
        ended.stderr[0].contains(&format!("`headcount restore {file}`")),
        "{ended:#?}"
    );
    site.cluster.cluster.faults().clear();
    let ended = site.run_here(&["restore", file]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(site.counts(ALL).await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_dry_run_is_lost_says_that_nothing_was_set() {
    let site = Site::start().await;
    let proxy = Proxy::start(site.serving.address).await;
    let server = format!("https://{}", proxy.address);
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_secs(5)));
    let faults = site.cluster.cluster.faults();
    let slow = faults.add(slow);
    let program = site.here(&["batch", "shop=5", "jobs/mailer=6", "--server", &server]);
    eventually(Duration::from_secs(20), "the dry run", async || {
        faults.fired(slow) > 0
    })
    .await;
    proxy.cut();
    let ended = program.ended().await;
    let words = [
        "the connection ended before an answer came",
        "nothing was set: so far it was only asked what would become of them",
    ];
    failed(&ended, 8, &words);
    assert!(!ended.stderr[0].contains("rustls"), "{ended:#?}");
    assert!(site.snapshots().is_empty());
    faults.clear();
    assert_eq!(site.counts(ALL).await, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_waits_for_what_became_of_a_batch_and_a_second_one_says_how_to_find_out() {
    let site = Site::start().await;
    slow_after_a_plan_of(&site, 1);
    let program = site.here(&["batch", "shop=5"]);
    let set = async |count| {
        eventually(Duration::from_secs(20), "the write", async || {
            site.counts(ALL).await == [count, 1, 1]
        })
        .await;
    };
    set(5).await;
    program.signal("INT");
    let ended = program.ended().await;
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 2), "{ended:#?}");
    assert!(ended.stderr[0].contains("Ctrl-C again"), "{ended:#?}");

    slow_after_a_plan_of(&site, 1);
    let program = site.here(&["batch", "shop=6"]);
    set(6).await;
    program.signal("INT");
    eventually(Duration::from_secs(20), "what is said of it", async || {
        !program.stderr().is_empty()
    })
    .await;
    program.signal("INT");
    let ended = program.ended().await;
    assert_eq!(
        (ended.code, ended.stdout.len()),
        (Some(130), 0),
        "{ended:#?}"
    );
    assert!(
        ended
            .stderr
            .last()
            .unwrap()
            .contains("whether the Deployment was set isn't known"),
        "{ended:#?}"
    );
    assert_eq!(site.snapshots().len(), 2);
}
