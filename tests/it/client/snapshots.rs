//! What batches keep where many come at once, and what is told of those that are lost or gone.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::json;
use simkube::NewDeployment;

use super::{
    Site,
    batches::{ALL, read, slow_after_a_plan_of},
    failed,
    leases::leasing,
};
use crate::support::{eventually, proxy::Proxy};

#[tokio::test(flavor = "multi_thread")]
async fn of_many_batches_at_once_each_keeps_a_snapshot_and_one_alone_has_the_name_that_was_given() {
    const MANY: usize = 6;
    let site = Site::start().await;
    let names: Vec<_> = (0..MANY).map(|n| format!("front-{n}")).collect();
    for name in &names {
        let new = NewDeployment::new("web", name);
        site.cluster.cluster.create(new).unwrap();
        let there = async || site.serving.client.count("web", name).await.is_ok();
        eventually(Duration::from_secs(20), name, there).await;
    }
    let all_at_once = async |count: i32, more: &[&str]| {
        let start = |name| {
            let wanted = format!("{name}={count}");
            site.here(&[&["batch", &wanted], more].concat())
        };
        let programs: Vec<_> = names.iter().map(start).collect();
        let mut ended = Vec::new();
        for program in programs {
            ended.push(program.ended().await);
        }
        ended
    };
    for ended in all_at_once(3, &[]).await {
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
    let kept: BTreeSet<_> = site
        .snapshots()
        .iter()
        .map(|path| read(path)["items"][0]["name"].to_string())
        .collect();
    let expected: BTreeSet<_> = names.iter().map(|name| json!(name).to_string()).collect();
    assert_eq!(kept, expected, "{:?}", site.snapshots());

    let ended = all_at_once(4, &["--snapshot=same.json"]).await;
    let codes: Vec<_> = ended.iter().map(|ended| ended.code).collect();
    let made: Vec<_> = (0..MANY).filter(|n| codes[*n] == Some(0)).collect();
    let refused = codes.iter().filter(|code| **code == Some(64)).count();
    assert_eq!((made.len(), refused), (1, MANY - 1), "{ended:#?}");
    let same = read(&site.folder.path().join("same.json"));
    assert_eq!(same["items"][0]["name"], names[made[0]], "{same:#}");
    for (n, name) in names.iter().enumerate() {
        let count = if n == made[0] { 4 } else { 3 };
        let found = site.serving.client.count("web", name).await;
        assert_eq!(found, Ok(count), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leased_batch_whose_answer_is_lost_says_that_its_counts_go_back_by_themselves() {
    let (site, _file) = leasing().await;
    let proxy = Proxy::start(site.serving.address).await;
    let server = format!("https://{}", proxy.address);
    slow_after_a_plan_of(&site, 2);
    let words = ["batch", "shop=5", "jobs/mailer=6", "--for=2h", "--server"];
    let program = site.here(&[&words[..], &[&server]].concat());
    eventually(Duration::from_secs(20), "the writes", async || {
        site.counts(ALL).await == [5, 1, 6]
    })
    .await;
    proxy.cut();
    let words = [
        "which of the 2 Deployments were set isn't known",
        "what was set is leased, and goes back by itself when its time (2h) is over",
        "headcount leases",
    ];
    let ended = program.ended().await;
    failed(&ended, 8, &words);
    assert!(!ended.stderr[0].contains("could be kept"), "{ended:#?}");
    assert!(site.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_and_what_is_another_one_is_told_by_a_restoration() {
    let site = Site::start().await;
    let ended = site
        .run_here(&["batch", "shop=3", "admin=3", "--snapshot=s.json"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    site.cluster.cluster.delete("web", "shop").unwrap();
    let gone = async || site.serving.client.count("web", "shop").await.is_err();
    eventually(Duration::from_secs(20), "that it is gone", gone).await;
    let file = site.folder.path().join("s.json");
    let mut snapshot = read(&file);
    let items = snapshot["items"].as_array_mut().unwrap();
    let admin = items.iter_mut().find(|item| item["name"] == "admin");
    admin.unwrap()["uid"] = json!("8a4d1f0c-5a3e-4f6f-9a65-0d8b5f1d2c3e");
    fs::write(&file, snapshot.to_string()).unwrap();
    let ended = site.run_here(&["restore", "s.json"]).await;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let said = ended.stdout.join("\n");
    for part in [
        "failed: it is gone, or this server manages it no longer",
        "skipped: it is another Deployment than the snapshot's: left as it is",
    ] {
        assert!(said.contains(part), "{part}: {ended:#?}");
    }
    assert!(!said.contains("check both names"), "{ended:#?}");
    assert_eq!(site.serving.client.count("web", "admin").await, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_names_that_are_not_there_says_which_are_near() {
    let site = Site::start().await;
    let ended = site.run_here(&["batch", "shpo=3", "admin=2"]).await;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(
        ended.stdout[1].ends_with("; did you mean web/shop?"),
        "{ended:#?}"
    );
    let last = ended.stderr.last().unwrap();
    assert!(last.ends_with("; did you mean web/shop?"), "{ended:#?}");
    assert_eq!(site.counts(ALL).await, [1, 2, 1]);
}
