//! What each command does and says.

use serde_json::{Value, json};

use super::{Site, failed};

fn parsed(lines: &[String]) -> Value {
    serde_json::from_str(&lines.join("\n")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_found_and_shown_in_each_format() {
    let site = Site::start().await;
    assert_eq!(
        site.says(&["list"]).await,
        [
            "NAMESPACE  NAME    DESIRED",
            "jobs       mailer  1",
            "web        admin   1",
            "web        shop    1"
        ]
    );
    assert_eq!(
        site.says(&["list", "-n", "web", "-o", "name"]).await,
        ["web/admin", "web/shop"]
    );
    // All are what one gets anyway, and may be asked for as of kubectl.
    let all = site.says(&["list"]).await;
    assert_eq!(site.says(&["list", "-A"]).await, all);
    let both = site.run(&["list", "-A", "-n", "web"]).await;
    assert_eq!((both.code, both.stdout.len()), (Some(64), 0), "{both:#?}");
    assert_ne!(site.run(&["leases", "-A"]).await.code, Some(64));
    let listed = parsed(&site.says(&["list", "-n", "jobs", "-o", "json"]).await);
    assert_eq!(
        listed,
        json!([{"namespace": "jobs", "name": "mailer", "replicaCount": 1}])
    );
    let ended = site.run(&["list", "-n", "nobody"]).await;
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 0), "{ended:#?}");
    assert!(
        ended.stderr[0].contains("no Deployments in the namespace nobody"),
        "{ended:#?}"
    );

    let table = site.says(&["get", "shop", "jobs/mailer"]).await;
    assert_eq!(
        table[0],
        "NAMESPACE  NAME    DESIRED  READY  STATUS    ALSO-SET-BY  SET-BY"
    );
    assert!(
        table[1].starts_with("web        shop    1        1      complete"),
        "{table:#?}"
    );
    assert!(
        table[2].starts_with("jobs       mailer  1        1      complete"),
        "{table:#?}"
    );
    let wide = site.says(&["get", "shop", "-o", "wide"]).await;
    assert!(
        wide[0].contains("AVAILABLE") && wide[1].contains("=example.org/app:1"),
        "{wide:#?}"
    );
    assert_eq!(
        site.says(&["get", "shop", "-n", "web", "-o", "name"]).await,
        ["web/shop"]
    );
    let yaml = site.says(&["get", "shop", "-o", "yaml"]).await.join("\n");
    let json = parsed(&site.says(&["get", "shop", "-o", "json"]).await);
    let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(
        (&yaml["name"], &yaml["replicas"]),
        (&json["name"], &json["replicas"])
    );
    assert_eq!(json["replicas"]["ready"], 1);
    let both = parsed(
        &site
            .says(&["get", "web/shop", "web/admin", "-o", "json"])
            .await,
    );
    assert_eq!(both.as_array().map(Vec::len), Some(2));

    let me = parsed(&site.says(&["whoami", "-o", "json"]).await);
    assert_eq!(me["principal"], "alice");
    assert_eq!(site.says(&["whoami", "-o", "name"]).await, ["alice"]);
    let told = site.says(&["health"]).await;
    assert_eq!(told, [r#"{"status":"healthy","kubernetes":"connected"}"#]);
    let told = site.run(&["health", "-v"]).await;
    assert!(
        told.stderr[0].starts_with("GET /api/v1/health 200 OK in "),
        "{told:#?}"
    );
    let yaml = site
        .says(&["--context", "dev", "health", "-o", "yaml"])
        .await;
    assert_eq!(yaml, ["kubernetes: connected", "status: healthy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_set_and_stepped_and_waited_for() {
    let site = Site::start().await;
    assert_eq!(
        site.says(&["set", "shop", "3"]).await,
        ["web/shop scaled from 1 to 3"]
    );
    assert_eq!(
        site.says(&["set", "web/shop", "3"]).await,
        ["web/shop has 3 replicas already"]
    );
    assert_eq!(
        site.says(&["set", "shop", "9", "--dry-run"]).await,
        ["web/shop scaled from 3 to 9 (dry run: nothing was changed)"]
    );
    assert_eq!(
        site.says(&["step", "shop", "+2"]).await,
        ["web/shop scaled from 3 to 5"]
    );
    assert_eq!(
        site.says(&["step", "shop", "-1", "--current", "5"]).await,
        ["web/shop scaled from 5 to 4"]
    );
    assert_eq!(site.says(&["set", "shop", "2", "-q"]).await, [""; 0]);
    let done = parsed(
        &site
            .says(&[
                "set",
                "shop",
                "6",
                "--current=2",
                "-o",
                "json",
                "--reason",
                "für die Messe",
            ])
            .await,
    );
    assert_eq!(
        (&done["replicaCount"], &done["previousReplicaCount"]),
        (&json!(6), &json!(2))
    );

    let ended = site.run(&["set", "shop", "4", "--wait=20s"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.stdout, ["web/shop scaled from 6 to 4"]);
    // No terminal, so lines; the last one says how it ended.
    assert_eq!(
        ended.stderr.last().unwrap(),
        "web/shop: all 4 replicas are updated and available",
        "{ended:#?}"
    );
    let waited = site.says(&["wait", "shop", "-q"]).await;
    assert!(waited.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn images_restarts_pauses_and_rollbacks_are_made_and_told() {
    let site = Site::start().await;
    let shop = parsed(&site.says(&["get", "shop", "-o", "json"]).await);
    let container = shop["containers"][0]["name"].as_str().unwrap();
    let set = format!("{container}=example.org/app:2");
    assert_eq!(
        site.says(&["image", "shop", &set]).await,
        [format!(
            "web/shop {container} has the image example.org/app:2, before example.org/app:1"
        )]
    );
    assert_eq!(
        site.says(&["image", "shop", &set]).await,
        [format!(
            "web/shop {container} has the image example.org/app:2 already"
        )]
    );
    let ended = site.run(&["restart", "shop", "--wait=20s"]).await;
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(0), &["web/shop is being restarted".to_owned()][..]),
        "{ended:#?}"
    );
    assert_eq!(site.says(&["pause", "shop"]).await, ["web/shop is paused"]);
    assert_eq!(
        site.says(&["pause", "shop"]).await,
        ["web/shop is paused already"]
    );
    assert_eq!(
        parsed(&site.says(&["get", "shop", "-o", "json"]).await)["paused"],
        true
    );
    // Kubernetes scales it all the same.
    let rollout = Some(std::time::Duration::from_secs(2));
    site.cluster.cluster.set_rollout(rollout);
    let ended = site.run(&["set", "shop", "6", "--wait=20s"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let ended = site.run(&["restart", "shop"]).await;
    failed(&ended, 5, &["`headcount resume web/shop`"]);
    assert!(!ended.stderr[0].contains("PUT"), "{ended:#?}");
    for said in ["web/shop is not paused", "web/shop was not paused"] {
        assert_eq!(site.says(&["resume", "shop"]).await, [said]);
    }
    let ended = site.run(&["image", "shop", "nope=example.org/app:2"]).await;
    failed(&ended, 4, &["no container", &format!("it has {container}")]);
    assert!(!ended.stderr[0].contains("/api/"), "{ended:#?}");
}
