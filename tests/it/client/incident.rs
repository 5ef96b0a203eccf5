//! An incident, played from the terminal: what is hot, ten things scaled, watched, whose it was, and back.

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

    // Ten things, watched.
    let watch = Program::start(site.command(&["watch", "-n", "web", "-o", "json"]));
    eventually(Duration::from_secs(20), "the watch", async || {
        watch.stdout().len() == 12
    })
    .await;
    let file = site.folder.path().join("before.json");
    let file = file.to_str().unwrap();
    let dry = site
        .run(&["batch", "-l", "tier=front", "6", "--dry-run"])
        .await;
    let ended = site
        .run(&[
            "batch",
            "-l",
            "tier=front",
            "6",
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
    for (ended, scaled) in [(&dry, "  would be scaled"), (&ended, "  scaled")] {
        assert_eq!(ended.stdout.len(), 11, "{ended:#?}");
        let each = ended.stdout[1..].iter().all(|line| line.ends_with(scaled));
        assert!(each, "{ended:#?}");
    }
    assert_eq!(counts(), [6; 10]);
    eventually(Duration::from_secs(20), "each change", async || {
        watch.stdout().len() == 22
    })
    .await;
    watch.signal("INT");
    assert_eq!(watch.ended().await.code, Some(0));

    // Who did it.
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
    // One of them is needed for longer than the others.
    site.says(&["set", "front-0", "8", "--for=1h", "-q"]).await;
    let shown = site.run(&["get", "front-0"]).await;
    assert!(
        shown
            .stderr
            .iter()
            .any(|line| line.contains("leased by alice until ") && line.ends_with("6 again then")),
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
    (expected[0], expected[7]) = (8, 9);
    assert_eq!(counts(), expected);
    // What was decided since goes on by itself, until it is over.
    site.says(&["cancel", "front-0", "-q"]).await;
    expected[0] = 6;
    assert_eq!(counts(), expected);
}
