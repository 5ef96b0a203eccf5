//! An incident, played from the terminal: what is hot, ten things scaled for an hour, watched, whose it was, and back.

use std::time::Duration;

use serde_json::Value;
use simkube::NewDeployment;

use super::leases::leasing;
use crate::support::{eventually, program::Program};

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_met_from_the_terminal_and_leaves_nothing_behind() {
    let (site, _file) = leasing().await;
    let names: Vec<_> = (0..10).map(|n| format!("front-{n}")).collect();
    for name in &names {
        let new = NewDeployment::new("web", name).label("tier", "front");
        site.cluster.cluster.create(new).unwrap();
    }
    let counts = || {
        let of = |name: &String| {
            site.cluster
                .cluster
                .deployment("web", name)
                .unwrap()
                .replicas
                .unwrap_or(1)
        };
        names.iter().map(of).collect::<Vec<_>>()
    };
    let before = counts();
    // What is hot: fewer are ready than are wanted.
    eventually(
        Duration::from_secs(30),
        "all of them in the list",
        async || {
            site.run(&["list", "-l", "tier=front", "-o", "name"])
                .await
                .stdout
                .len()
                == 10
        },
    )
    .await;
    site.cluster.cluster.set_ready("web", "front-3", 0).unwrap();
    eventually(Duration::from_secs(30), "the one that is hot", async || {
        let wide = site.run(&["list", "-l", "tier=front", "-o", "wide"]).await;
        let of = |line: &&String| line.contains(" front-3 ") && !line.contains("complete");
        wide.stdout.iter().find(of).is_some()
    })
    .await;

    // Ten things for an hour, watched.
    let watch = Program::start(site.command(&["watch", "-n", "web", "-o", "json"]));
    eventually(Duration::from_secs(20), "the watch", async || {
        watch.stdout().len() == 12
    })
    .await;
    let file = site.folder.path().join("before.json");
    let file = file.to_str().unwrap();
    let dry = site
        .run(&["batch", "-l", "tier=front", "6", "--for=1h", "--dry-run"])
        .await;
    let ended = site
        .run(&[
            "batch",
            "-l",
            "tier=front",
            "6",
            "--for=1h",
            "--reason=the fair",
            "--snapshot",
            file,
        ])
        .await;
    assert_eq!(
        (dry.code, ended.code),
        (Some(0), Some(0)),
        "{dry:#?} {ended:#?}"
    );
    assert_eq!(
        (&dry.stdout, ended.stdout.len()),
        (&ended.stdout, 11),
        "{ended:#?}"
    );
    assert_eq!(counts(), [6; 10]);
    eventually(Duration::from_secs(20), "each change", async || {
        watch.stdout().len() == 22
    })
    .await;
    watch.signal("INT");
    assert_eq!(watch.ended().await.code, Some(0));

    // Who did it, and until when.
    let history = site
        .says(&["history", "-n", "web", "-o", "json"])
        .await
        .concat();
    let history: Value = serde_json::from_str(&history).unwrap();
    let changes = history["changes"].as_array().unwrap();
    for name in &names {
        let of = |change: &&Value| change["name"] == name.as_str() && change["to"] == 6;
        let change = changes
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("{name}: {history:#}"));
        assert_eq!(change["by"]["principal"], "alice", "{change:#}");
    }
    let leases = site.says(&["leases", "-n", "web"]).await;
    assert_eq!(leases.len(), 11, "{leases:#?}");
    for line in &leases[1..] {
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            (cells[2], cells[3], cells[4], cells[7]),
            ("6", &*before[0].to_string(), "alice", "held"),
            "{line}"
        );
        assert!(cells[6].starts_with("59m") || cells[6] == "1h", "{line}");
    }
    let shown = site.run(&["get", "front-3"]).await;
    assert!(
        shown
            .stderr
            .iter()
            .any(|line| line.contains("leased by alice until ")),
        "{shown:#?}"
    );

    // Somebody else has decided about one of them meanwhile, which stays.
    site.cluster
        .cluster
        .scale("web", "front-7", Some(9))
        .unwrap();
    eventually(Duration::from_secs(20), "the other's count", async || {
        site.serving.client.count("web", "front-7").await == Ok(9)
    })
    .await;
    let ended = site
        .run(&["restore", file, "--snapshot", &format!("{file}.2")])
        .await;
    assert_eq!(
        (ended.code, ended.stdout.len()),
        (Some(5), 11),
        "{ended:#?}"
    );
    let mut expected = before.clone();
    expected[7] = 9;
    assert_eq!(counts(), expected);
    eventually(
        Duration::from_secs(60),
        "the end of all leases",
        async || site.run(&["leases"]).await.stdout.is_empty(),
    )
    .await;
    assert_eq!(counts(), expected);
}
