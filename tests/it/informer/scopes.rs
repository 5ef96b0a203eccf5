//! What is managed: a label selector, some namespaces only; and rights that are withdrawn.

use headcount::kubernetes::{Connection, Managed};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::{Instant, sleep};

use super::{create, empty, follows, seconds, small};
use crate::support::InProcess;

fn selecting(selector: &str) -> Managed {
    Managed {
        namespaces: Vec::new(),
        label_selector: Some(selector.into()),
    }
}

fn in_namespaces(namespaces: &[&str]) -> Managed {
    Managed {
        namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
        label_selector: None,
    }
}

fn names(informer: &InProcess) -> Vec<String> {
    informer
        .stored()
        .into_iter()
        .map(|s| format!("{}/{}", s.0, s.1))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_leaves_the_selector_disappears_and_comes_back_with_its_label() {
    let cluster = empty();
    cluster
        .create(
            NewDeployment::new("web", "shop")
                .replicas(3)
                .label("team", "web"),
        )
        .unwrap();
    cluster
        .create(
            NewDeployment::new("web", "cart")
                .replicas(1)
                .label("team", "db"),
        )
        .unwrap();
    let informer = InProcess::managing(&cluster, selecting("team in (web, ops)"));
    informer.becomes_synced().await;
    assert_eq!(names(&informer), ["web/shop"]);
    let shows = async |expected: &[&str]| {
        informer
            .until("the selection", seconds(1), || {
                names(&informer) == *expected
            })
            .await
    };
    cluster
        .set_labels("web", "shop", &[("team", "db")])
        .unwrap();
    shows(&[]).await;
    cluster
        .set_labels("web", "cart", &[("team", "ops")])
        .unwrap();
    shows(&["web/cart"]).await;
    cluster
        .set_labels("web", "shop", &[("team", "web")])
        .unwrap();
    shows(&["web/cart", "web/shop"]).await;
    // The same when it happens unwatched.
    let away = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Break));
    sleep(seconds(1)).await;
    cluster.set_labels("web", "shop", &[]).unwrap();
    cluster.compact();
    cluster.faults().remove(away);
    informer
        .until("the selection", seconds(6), || {
            names(&informer) == ["web/cart"]
        })
        .await;
    assert!(
        informer
            .sent()
            .iter()
            .all(|s| s.uri.query().unwrap().contains("labelSelector="))
    );
}

#[tokio::test(start_paused = true)]
async fn with_namespaces_only_those_are_asked_for() {
    let cluster = small();
    create(&cluster, "db", "store", 2);
    create(&cluster, "ops", "secret", 2);
    let informer = InProcess::managing(&cluster, in_namespaces(&["web", "db"]));
    informer.becomes_synced().await;
    assert_eq!(names(&informer), ["db/store", "web/cart", "web/shop"]);
    create(&cluster, "db", "cache", 1);
    create(&cluster, "ops", "more", 1);
    cluster.delete("web", "cart").unwrap();
    informer
        .until("both", seconds(1), || {
            names(&informer) == ["db/cache", "db/store", "web/shop"]
        })
        .await;
    sleep(seconds(60)).await;
    assert_eq!(names(&informer), ["db/cache", "db/store", "web/shop"]);
    // So a Role in each of them is enough.
    for request in cluster.requests() {
        assert!(request.is_list_or_watch());
        let allowed = [
            "/apis/apps/v1/namespaces/web/deployments",
            "/apis/apps/v1/namespaces/db/deployments",
        ];
        assert!(allowed.contains(&request.path.as_str()), "{}", request.path);
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_fails_does_not_stop_the_other() {
    // Two clusters stand for one, so that one namespace can fail alone.
    let (web, db) = (small(), Cluster::new(Options::default()));
    create(&db, "db", "store", 2);
    let informer = InProcess::managing(&web, in_namespaces(&["web", "db"]));
    let other = db.service();
    informer.detour(move |sent| {
        sent.uri
            .path()
            .contains("/namespaces/db/")
            .then(|| other.clone())
    });
    informer.becomes_synced().await;
    let denied = db.faults().add(Rule::new(
        On::Any,
        Fault::Forbidden {
            user: "headcount".into(),
        },
    ));
    db.faults().add(Rule::new(On::OpenWatches, Fault::Break));
    let start = Instant::now();
    while start.elapsed() < seconds(60) {
        let count = web
            .scale("web", "shop", start.elapsed().as_secs() as i32 + 10)
            .unwrap();
        let written = informer.put("web", "cart", 5, &[]).await;
        assert_eq!(written.status, 200, "{}", written.text());
        informer
            .until("the healthy namespace", seconds(1), || {
                informer
                    .status
                    .store()
                    .snapshot()
                    .resource_version_in("web")
                    >= count
            })
            .await;
        sleep(seconds(1)).await;
    }
    assert_eq!(informer.count("db", "store"), Some(2));
    // The copy is as old as its oldest part.
    assert!(
        informer.status.age() > seconds(50),
        "{:?}",
        informer.status.age()
    );
    let (_, why) = informer.is_lost(seconds(1)).await;
    assert!(why.contains("403"), "{why}");
    db.scale("db", "store", 5).unwrap();
    db.faults().remove(denied);
    informer
        .until("the other one", seconds(6), || {
            informer.count("db", "store") == Some(5)
        })
        .await;
    informer.is_connected(seconds(6)).await;
}

#[tokio::test(start_paused = true)]
async fn health_tells_of_the_namespace_that_has_been_without_a_watch_for_longest() {
    // Two clusters stand for one, so that one namespace can fail alone.
    let (web, db) = (small(), Cluster::new(Options::default()));
    create(&db, "db", "store", 2);
    db.faults().add(Rule::new(On::Watch, Fault::Hang));
    let informer = InProcess::managing(&web, in_namespaces(&["web", "db"]));
    let other = db.service();
    informer.detour(move |sent| {
        let away = sent.uri.path().contains("/namespaces/db/");
        away.then(|| other.clone())
    });
    informer.becomes_synced().await;
    informer.is_lost(seconds(10)).await;
    // The first one loses its watch, too, and that is no reason to call the second one well.
    web.faults().add(Rule::new(On::Watch, Fault::Hang));
    web.faults().add(Rule::new(On::OpenWatches, Fault::End));
    for _ in 0..120 {
        sleep(seconds(1)).await;
        let connection = informer.status.connection();
        assert!(matches!(connection, Connection::Lost(_)), "{connection:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_was_never_listed_keeps_all_from_being_synced() {
    let (web, db) = (small(), Cluster::new(Options::default()));
    db.faults().add(Rule::new(
        On::Any,
        Fault::Forbidden {
            user: "headcount".into(),
        },
    ));
    let informer = InProcess::managing(&web, in_namespaces(&["web", "db"]));
    let other = db.service();
    informer.detour(move |sent| {
        sent.uri
            .path()
            .contains("/namespaces/db/")
            .then(|| other.clone())
    });
    sleep(seconds(60)).await;
    let Connection::NotSynced(why) = informer.status.connection() else {
        panic!("{:?}", informer.status.connection())
    };
    assert!(why.contains("403"), "{why}");
    assert!(!informer.status.store().snapshot().synced());
}

#[tokio::test(start_paused = true)]
async fn rights_that_are_withdrawn_are_told_by_health_and_reads_go_on() {
    const ACCOUNT: &str = "system:serviceaccount:headcount:headcount";
    for fault in [
        Fault::Forbidden {
            user: ACCOUNT.into(),
        },
        Fault::Unauthorized,
    ] {
        let cluster = small();
        let informer = InProcess::synced(&cluster).await;
        let denied = cluster.faults().add(Rule::new(On::Any, fault.clone()));
        let (_, why) = informer.is_lost(seconds(10)).await;
        assert!(why.contains("403") || why.contains("401"), "{why}");
        assert!(!why.contains(ACCOUNT), "callers see this: {why}");
        sleep(seconds(120)).await;
        assert_eq!(informer.count("web", "shop"), Some(3));
        cluster.faults().remove(denied);
        follows(&informer, 8, seconds(10)).await;
        informer.is_connected(seconds(10)).await;
    }
}
