//! `headcount set --for`, `leases`, `extend` and `cancel`.

use std::{io::Write as _, time::Duration};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{Site, failed};
use crate::support::eventually;

/// A site whose server keeps leases, as the file says that has to stay while it runs.
pub(super) async fn leasing() -> (Site, NamedTempFile) {
    leasing_with(&[]).await
}

async fn leasing_with(flags: &[&str]) -> (Site, NamedTempFile) {
    let mut file = NamedTempFile::with_suffix(".yaml").unwrap();
    file.write_all(
        b"apiVersion: headcount/v1alpha1\nkind: Configuration\nleases: {namespace: web}\n",
    )
    .unwrap();
    let config = format!("--config={}", file.path().display());
    let site = Site::with(&[&[&*config], flags].concat()).await;
    (site, file)
}

fn parsed(lines: &[String]) -> Value {
    serde_json::from_str(&lines.join("\n")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_leased_shown_extended_and_ended_in_either_way() {
    let (site, _file) = leasing().await;
    let none = site.run(&["leases"]).await;
    assert_eq!((none.code, none.stdout.len()), (Some(0), 0), "{none:#?}");
    assert!(none.stderr[0].contains("no leases"), "{none:#?}");
    let dry = site
        .says(&["set", "shop", "5", "--for=2h", "--dry-run"])
        .await;
    assert!(
        dry[0].starts_with("web/shop scaled from 1 to 5 ")
            && dry[0].ends_with("(dry run: nothing was changed)"),
        "{dry:#?}"
    );
    assert_eq!(site.count().await, 1);

    let said = site
        .says(&["set", "shop", "5", "--for=2h", "--reason=the fair"])
        .await;
    assert!(
        said[0].starts_with("web/shop scaled from 1 to 5 until 20")
            && said[0].ends_with(", and 1 again then"),
        "{said:#?}"
    );
    let table = site.says(&["leases", "-o", "wide"]).await;
    let cells: Vec<_> = table[1].split_whitespace().collect();
    assert_eq!(
        table[0],
        "NAMESPACE  NAME  LEASED  BEFORE  HOLDER  UNTIL                 LEFT      STATE  TAKEN                 REASON"
    );
    assert_eq!(
        (&cells[..5], cells[7]),
        (&["web", "shop", "5", "1", "alice"][..], "held"),
        "{table:#?}"
    );
    assert!(
        table[1].ends_with("the fair") && cells[6].starts_with("1h59m"),
        "{table:#?}"
    );
    assert_eq!(
        site.says(&["leases", "-n", "web", "-o", "name"]).await,
        ["web/shop"]
    );
    assert!(site.run(&["leases", "-n", "jobs"]).await.stdout.is_empty());
    // Wherever the count is shown, so is how long.
    let until = cells[5];
    let shown = site.run(&["get", "shop"]).await;
    assert!(
        shown.stderr[0].starts_with("web/shop: its count is leased by alice until ")
            && shown.stderr[0].contains(until),
        "{shown:#?}"
    );
    for words in [
        &["get", "shop", "-o", "wide"][..],
        &["list"],
        &["list", "-o", "wide"],
    ] {
        let shown = site.says(words).await;
        assert!(shown[0].contains("LEASED-UNTIL"), "{shown:#?}");
        assert!(
            shown
                .iter()
                .any(|line| line.contains(&format!("{until} by alice"))),
            "{shown:#?}"
        );
    }

    let said = site.says(&["extend", "shop", "3h"]).await;
    assert!(
        said[0].starts_with("web/shop leased by alice until 20")
            && said[0].ends_with("Z (3h), and 1 again then")
            && !said[0].contains(until),
        "{said:#?}"
    );
    let all = parsed(&site.says(&["leases", "-o", "json"]).await);
    assert!(
        all[0]["remainingSeconds"].as_i64().unwrap() > 10_000,
        "{all:#}"
    );
    let said = site.says(&["cancel", "shop"]).await;
    assert_eq!(
        said,
        ["web/shop is leased no longer, and has 1 replica again"]
    );
    assert_eq!(site.count().await, 1);

    site.says(&["set", "shop", "4", "--for=1h", "-q"]).await;
    let said = site.says(&["cancel", "shop", "--keep"]).await;
    assert_eq!(
        said,
        ["web/shop is leased no longer, and keeps its 4 replicas"]
    );
    assert_eq!(site.count().await, 4);
    // In words of commands, not of the API.
    let none = ["web/shop has no lease: `headcount leases`"];
    failed(&site.run(&["cancel", "shop"]).await, 4, &none);
    failed(&site.run(&["extend", "shop", "1h"]).await, 4, &none);
    let missed = site.run(&["cancel", "shpo"]).await;
    failed(&missed, 4, &["did you mean web/shop?"]);
    let missed = site.run(&["history", "shpo"]).await;
    assert_eq!((missed.code, missed.stdout.len()), (Some(0), 0));
    assert!(
        missed.stderr[0].starts_with("of web/shpo no count that you may see was changed since ")
            && missed.stderr[0].ends_with("did you mean web/shop?"),
        "{missed:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_over_gives_the_count_back() {
    let (site, _file) = leasing().await;
    let done = parsed(
        &site
            .says(&["set", "shop", "7", "--for=10s", "-o", "json"])
            .await,
    );
    assert_eq!(
        (
            &done["replicaCount"],
            &done["lease"]["previousReplicaCount"]
        ),
        (&json!(7), &json!(1)),
        "{done:#}"
    );
    eventually(
        Duration::from_secs(60),
        "the count from before",
        async || site.count().await == 1,
    )
    .await;
    eventually(
        Duration::from_secs(20),
        "the end of the lease",
        async || site.run(&["leases"]).await.stdout.is_empty(),
    )
    .await;
    let history = site.says(&["history", "shop"]).await;
    assert!(
        history[0].starts_with("TIME") && history.len() == 3,
        "{history:#?}"
    );
    for line in &history[1..] {
        assert!(line.contains("  alice"), "{history:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_over_another_ones_is_said_to_renew_it_with_what_it_goes_back_to() {
    let (site, _file) = leasing().await;
    let pipeline = site.serving.files.client2.clone();
    let taken = site.says(&["set", "shop", "5", "--for=1h"]).await;
    assert!(!taken[0].contains("renews"), "{taken:#?}");
    for more in [&["--dry-run"][..], &[]] {
        let words = [&["set", "shop", "8", "--for=2h"], more].concat();
        let ended = site.run_as(&pipeline, &words).await;
        let said = ended.stdout.concat();
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 0), "{ended:#?}");
        assert!(
            said.starts_with("web/shop scaled from 5 to 8 until 20")
                && said.contains("Z, and 1 again then: this renews alice's lease"),
            "{said}"
        );
        assert_eq!(
            said.ends_with("(dry run: nothing was changed)"),
            more.len() == 1
        );
    }
    // Whoever renews it holds it.
    let extended = site.says(&["extend", "shop", "3h"]).await;
    assert!(
        extended[0].starts_with("web/shop leased by ci-pipeline until 20")
            && extended[0].ends_with(", and 1 again then"),
        "{extended:#?}"
    );

    // One whose count isn't there any more is over, and renewed by nobody.
    site.says(&["set", "admin", "3", "--for=1h"]).await;
    site.cluster.cluster.scale("web", "admin", Some(4)).unwrap();
    eventually(Duration::from_secs(20), "the other's count", async || {
        site.serving.client.count("web", "admin").await == Ok(4)
    })
    .await;
    let file = site.folder.path().join("before.json");
    let file = file.display().to_string();
    for (more, after, scaled) in [
        (vec!["--dry-run"], ["NOW", "THEN"], "would be scaled"),
        (vec!["--snapshot", &file], ["BEFORE", "NOW"], "scaled"),
    ] {
        let words = ["batch", "shop=9", "admin=9", "jobs/mailer=9", "--for=4h"];
        let ended = site.run(&[&words[..], &more].concat()).await;
        let [headers, shop, admin, mailer] = &ended.stdout[..] else {
            panic!("{ended:#?}");
        };
        let cells: Vec<_> = headers.split_whitespace().collect();
        assert_eq!(
            cells,
            ["NAMESPACE", "NAME", after[0], after[1], "UNTIL", "RESULT"]
        );
        assert!(
            shop.contains(&format!("Z  {scaled}; renews ci-pipeline's lease, then 1")),
            "{ended:#?}"
        );
        for other in [admin, mailer] {
            assert!(other.ends_with(&format!("Z  {scaled}")), "{ended:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_ends_somebodys_lease_is_said_to_also_where_it_is_the_same() {
    let (site, _file) = leasing().await;
    let pipeline = site.serving.files.client2.clone();
    let ends = "; alice's lease has ended: its 1 from before will not come back";
    for (words, done) in [
        (&["set", "shop", "6"][..], "scaled from 5 to 6"),
        (&["set", "shop", "5"], "keeps its 5 replicas"),
        (&["step", "shop", "+2"], "scaled from 5 to 7"),
    ] {
        site.says(&["set", "shop", "5", "--for=1h", "-q"]).await;
        let dry = [words, &["--dry-run"]].concat();
        let dry = site.run_as(&pipeline, &dry).await.stdout.concat();
        let would = "; alice's lease would end: its 1 from before would not come back (dry run";
        assert!(dry.starts_with(&format!("web/shop {done}{would}")), "{dry}");
        let ended = site.run_as(&pipeline, words).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(ended.stdout, [format!("web/shop {done}{ends}")]);
        assert!(site.run(&["leases"]).await.stdout.is_empty());
        // Without a lease nothing is said of one.
        site.says(&["set", "shop", "1", "-q"]).await;
        assert_eq!(
            site.says(&["set", "shop", "1"]).await,
            ["web/shop has 1 replica already"]
        );
    }
    // A batch ends it with the same count, too.
    site.says(&["set", "shop", "5", "--for=1h", "-q"]).await;
    let batch = ["batch", "shop=5", "--dry-run"];
    let ended = site.run_as(&pipeline, &batch).await;
    let would = "; alice's lease would end: its 1 from before would not come back";
    assert!(
        ended.stdout[1].ends_with(&format!("unchanged{would}")),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_count_cannot_go_back_is_said_to_be_left_by_the_command_that_keeps_it() {
    let (site, _file) = leasing_with(&["--max-replicas=10"]).await;
    site.cluster.cluster.scale("web", "shop", Some(12)).unwrap();
    eventually(Duration::from_secs(20), "the other's count", async || {
        site.count().await == 12
    })
    .await;
    site.says(&["set", "shop", "5", "--for=1h", "-q"]).await;
    let ended = site.run(&["cancel", "shop"]).await;
    let keep = "keep this one with `headcount cancel web/shop --keep` where the bounds let it";
    failed(&ended, 7, &["can't go back", keep]);
    assert!(!ended.stderr[0].contains("keep=true"), "{ended:#?}");
    site.says(&["cancel", "shop", "--keep"]).await;
    assert_eq!(site.count().await, 5);
}
