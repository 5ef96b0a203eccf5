//! Will it stick: autoscalers and GitOps tools that also set counts, and what is told of them, on simkube.

use std::time::Duration;

use headcount::kubernetes::Managed;
use http::Method;
use serde_json::{Value, json};
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::sleep;

use crate::support::{Answer, InProcess};

const SHOP: &str = "/namespaces/web/deployments/shop";
const HEADER: &str = "x-also-set-by";
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

fn spec(deployment: &str, min: i32, max: i32) -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
        "minReplicas": min, "maxReplicas": max,
    })
}

fn cluster() -> Cluster {
    let cluster = Cluster::new(Options::default());
    let shop = NewDeployment::new("web", "shop").replicas(3);
    cluster.create(shop).unwrap();
    cluster
}

async fn following(cluster: &Cluster) -> InProcess {
    let mut server = InProcess::synced(cluster).await;
    server.follow_autoscalers();
    sleep(Duration::from_secs(1)).await;
    server
}

async fn shop(server: &InProcess) -> Answer {
    // What was read before is a second old at most.
    sleep(Duration::from_secs(2)).await;
    server.get("web", "shop", &[]).await
}

async fn sticks(server: &InProcess) -> Value {
    sleep(Duration::from_secs(2)).await;
    let answer = server.send(Method::GET, SHOP, &[], "").await;
    assert_eq!(answer.status, 200);
    answer.json()["willStick"].clone()
}

fn told(answer: &Answer) -> Option<&str> {
    answer.headers.get(HEADER).map(|v| v.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_count_that_nobody_else_sets_sticks_and_no_header_says_otherwise() {
    let cluster = cluster();
    cluster.set_autoscaler("web", "other", spec("other", 2, 10), json!([]));
    cluster.set_autoscaler("elsewhere", "shop", spec("shop", 2, 10), json!([]));
    let server = following(&cluster).await;
    let answer = shop(&server).await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (200, None));
    assert_eq!(sticks(&server).await, true);
    let put = server.put("web", "shop", 5, &[REPRESENTATION]).await;
    assert!(!put.headers.contains_key("warning") && put.json().get("warnings").is_none());
}

#[tokio::test(start_paused = true)]
async fn reads_tell_of_an_autoscaler_as_it_comes_changes_and_goes() {
    let cluster = cluster();
    let server = following(&cluster).await;
    assert_eq!(told(&shop(&server).await), None);
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let one = "HorizontalPodAutoscaler/scaler;min=2;max=10";
    assert_eq!(told(&shop(&server).await), Some(one));
    assert_eq!(sticks(&server).await, false);
    cluster.set_autoscaler("web", "also", spec("shop", 1, 3), json!([]));
    let two = format!("HorizontalPodAutoscaler/also;min=1;max=3, {one}");
    assert_eq!(told(&shop(&server).await), Some(&*two));
    cluster.delete_autoscaler("web", "also").unwrap();
    cluster.set_autoscaler("web", "scaler", spec("shop", 4, 20), json!([]));
    let changed = "HorizontalPodAutoscaler/scaler;min=4;max=20";
    assert_eq!(told(&shop(&server).await), Some(changed));
    let known = server.get("web", "shop", &[]).await;
    let same = [("if-none-match", known.header("etag"))];
    let same = server.get("web", "shop", &same).await;
    assert_eq!((same.status.as_u16(), told(&same)), (304, Some(changed)));
    cluster.set_autoscaler("web", "scaler", spec("other", 4, 20), json!([]));
    assert_eq!(told(&shop(&server).await), None);
    assert_eq!(sticks(&server).await, true);
}

#[tokio::test(start_paused = true)]
async fn the_detail_lists_all_who_set_the_count() {
    let cluster = cluster();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let keda =
        json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "orders"}]);
    cluster.set_autoscaler("web", "keda-hpa-orders", spec("shop", 1, 5), keda);
    let flux = [
        ("kustomize.toolkit.fluxcd.io/name", "apps"),
        ("kustomize.toolkit.fluxcd.io/namespace", "flux-system"),
        ("helm.toolkit.fluxcd.io/name", "shop-release"),
        ("helm.toolkit.fluxcd.io/namespace", "web"),
        ("app.kubernetes.io/managed-by", "Helm"),
    ];
    cluster.set_labels("web", "shop", &flux);
    let argo = [(
        "argocd.argoproj.io/tracking-id",
        "team_shop:apps/Deployment:web/shop",
    )];
    cluster.set_annotations("web", "shop", &argo);
    let server = following(&cluster).await;
    let answer = server.send(Method::GET, SHOP, &[], "").await;
    assert_eq!(
        answer.json()["alsoSetBy"],
        json!([
            {"kind": "ScaledObject", "name": "orders", "minReplicas": 1, "maxReplicas": 5},
            {"kind": "HorizontalPodAutoscaler", "name": "scaler", "minReplicas": 2, "maxReplicas": 10},
            {"kind": "Kustomization", "namespace": "flux-system", "name": "apps"},
            {"kind": "HelmRelease", "namespace": "web", "name": "shop-release"},
            {"kind": "Application", "name": "team_shop"},
        ])
    );
    assert_eq!(answer.json()["willStick"], false);
    assert!(told(&shop(&server).await).unwrap().ends_with(
        "Kustomization/flux-system/apps, HelmRelease/web/shop-release, Application/team_shop"
    ));
}

#[tokio::test(start_paused = true)]
async fn what_marks_another_object_or_is_no_name_is_no_mark() {
    let cluster = cluster();
    let server = following(&cluster).await;
    for tracking in [
        "shop:apps/Deployment:web/other",
        "shop:apps/StatefulSet:web/shop",
        "shop",
        "a\"b:apps/Deployment:web/shop",
        ":apps/Deployment:web/shop",
    ] {
        let argo = [("argocd.argoproj.io/tracking-id", tracking)];
        cluster.set_annotations("web", "shop", &argo);
        assert_eq!(told(&shop(&server).await), None, "{tracking}");
    }
    let half = [("kustomize.toolkit.fluxcd.io/name", "apps")];
    cluster.set_labels("web", "shop", &half);
    assert_eq!(told(&shop(&server).await), None);
    assert_eq!(sticks(&server).await, true);
}

#[tokio::test(start_paused = true)]
async fn a_write_warns_of_what_becomes_of_its_count_also_when_it_is_dry_or_a_step() {
    let cluster = cluster();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let server = following(&cluster).await;
    for (count, words) in [
        (1, "will raise it to 2; set its minReplicas instead"),
        (11, "will lower it to 10; set its maxReplicas instead"),
        (5, "will change it; set its minReplicas instead"),
        (0, "does nothing while the count is 0"),
    ] {
        let answer = server.put("web", "shop", count, &[REPRESENTATION]).await;
        assert_eq!(answer.status, 200);
        let warning = answer.json()["warnings"][0].as_str().unwrap().to_owned();
        assert!(warning.contains(words), "{warning}");
        assert_eq!(answer.header("warning"), format!("299 - \"{warning}\""));
    }
    assert_eq!(sticks(&server).await, true, "the autoscaler rests at 0");
    let path = format!("{SHOP}/replicas");
    let json = ("content-type", "application/json");
    let dry = server
        .send(
            Method::PUT,
            &format!("{path}?dryRun=true"),
            &[json],
            r#"{"replicaCount":1}"#,
        )
        .await;
    assert!(dry.header("warning").contains("will raise it to 2"));
    let keyed = [json, ("idempotency-key", "one")];
    let step = server
        .send(Method::PATCH, &path, &keyed, r#"{"delta":1}"#)
        .await;
    assert!(step.header("warning").contains("will raise it to 2"));
    let restart = server
        .send(Method::POST, &format!("{SHOP}/restart"), &[], "")
        .await;
    assert!(!restart.headers.contains_key("warning"), "it sets no count");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_it_is_not_known_until_that_is_given() {
    let cluster = cluster();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let user = "headcount".to_owned();
    let denied = Rule::new(On::Autoscalers, Fault::Forbidden { user });
    let denied = cluster.faults().add(denied);
    let server = following(&cluster).await;
    assert_eq!(sticks(&server).await, Value::Null);
    assert_eq!(told(&shop(&server).await), None);
    assert_eq!(server.put("web", "shop", 4, &[]).await.status, 200);
    server.cluster.clear_requests();
    sleep(Duration::from_secs(600)).await;
    let asked = server.cluster.requests();
    let asked = asked
        .iter()
        .filter(|r| r.path.contains("autoscalers"))
        .count();
    assert!(
        (8..=12).contains(&asked),
        "asked {asked} times in ten minutes"
    );
    cluster.faults().remove(denied);
    sleep(Duration::from_secs(75)).await;
    assert_eq!(sticks(&server).await, false);
}

#[tokio::test(start_paused = true)]
async fn a_gitops_mark_is_told_of_although_autoscalers_are_not_known() {
    let cluster = cluster();
    let argo = [(
        "argocd.argoproj.io/tracking-id",
        "shop:apps/Deployment:web/shop",
    )];
    cluster.set_annotations("web", "shop", &argo);
    let server = InProcess::synced(&cluster).await;
    assert_eq!(sticks(&server).await, false);
    assert_eq!(told(&shop(&server).await), Some("Application/shop"));
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_leaves_nothing_that_looks_known() {
    let cluster = cluster();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let server = following(&cluster).await;
    assert_eq!(sticks(&server).await, false);
    let user = "headcount".to_owned();
    cluster
        .faults()
        .add(Rule::new(On::Autoscalers, Fault::Forbidden { user }));
    cluster.end_autoscaler_watches(false);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(sticks(&server).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_or_expires_misses_nothing() {
    let cluster = cluster();
    let server = following(&cluster).await;
    for (round, expired) in [false, true, true].into_iter().enumerate() {
        let max = 10 + round as i32;
        cluster
            .faults()
            .add(Rule::new(On::Autoscalers, Fault::status(503)).times(2));
        cluster.end_autoscaler_watches(expired);
        cluster.set_autoscaler("web", "scaler", spec("shop", 2, max), json!([]));
        sleep(Duration::from_secs(20)).await;
        let header = format!("HorizontalPodAutoscaler/scaler;min=2;max={max}");
        assert_eq!(told(&shop(&server).await), Some(&*header), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_known_stays_while_the_api_server_is_away() {
    let cluster = cluster();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let server = following(&cluster).await;
    cluster
        .faults()
        .add(Rule::new(On::Autoscalers, Fault::Refuse));
    cluster.end_autoscaler_watches(true);
    sleep(Duration::from_secs(120)).await;
    assert!(told(&shop(&server).await).is_some());
    assert_eq!(server.put("web", "shop", 4, &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_silent_about_autoscalers_holds_up_nothing() {
    let cluster = cluster();
    let silent = cluster
        .faults()
        .add(Rule::new(On::Autoscalers, Fault::Hang));
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let server = following(&cluster).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(server.put("web", "shop", 4, &[]).await.status, 200);
    assert_eq!(sticks(&server).await, Value::Null);
    cluster.faults().remove(silent);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(sticks(&server).await, false);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_page_of_autoscalers_are_all_known_and_watched_for_hours() {
    let cluster = cluster();
    for n in 0..600 {
        let name = format!("scaler-{n:03}");
        cluster.set_autoscaler("web", &name, spec(&format!("other-{n}"), 1, 2), json!([]));
    }
    cluster.set_autoscaler("web", "zz", spec("shop", 2, 10), json!([]));
    let server = following(&cluster).await;
    assert!(told(&shop(&server).await).is_some());
    server.cluster.clear_requests();
    sleep(Duration::from_secs(3600)).await;
    let asked = server.cluster.requests();
    let lists = asked
        .iter()
        .filter(|r| r.path.contains("autoscalers") && !r.query.contains("watch"));
    assert_eq!(lists.count(), 0, "watches go on from where they ended");
}

#[tokio::test(start_paused = true)]
async fn with_namespaces_each_has_its_own_and_no_other_is_asked_for() {
    let cluster = cluster();
    cluster.create(NewDeployment::new("shop", "cart")).unwrap();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    cluster.set_autoscaler("shop", "scaler", spec("cart", 1, 3), json!([]));
    let managed = Managed {
        namespaces: vec!["shop".into(), "web".into()],
        label_selector: None,
    };
    let mut server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    server.follow_autoscalers();
    assert!(told(&shop(&server).await).is_some());
    let cart = server.get("shop", "cart", &[]).await;
    assert_eq!(
        told(&cart),
        Some("HorizontalPodAutoscaler/scaler;min=1;max=3")
    );
    let asked = server.cluster.requests();
    let mut asked = asked.iter().filter(|r| r.path.contains("autoscalers"));
    assert!(asked.all(|r| r.path.starts_with("/apis/autoscaling/v2/namespaces/")));
}

#[tokio::test(start_paused = true)]
async fn a_restored_cluster_is_asked_anew_although_its_versions_went_back() {
    let cluster = cluster();
    let before = cluster.snapshot();
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    for _ in 0..50 {
        cluster.touch_status("web", "shop").unwrap();
    }
    let server = following(&cluster).await;
    assert!(told(&shop(&server).await).is_some());
    cluster.restore(&before);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(told(&shop(&server).await), None);
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 7), json!([]));
    let header = "HorizontalPodAutoscaler/scaler;min=2;max=7";
    assert_eq!(told(&shop(&server).await), Some(header));
}

#[tokio::test(start_paused = true)]
async fn the_tag_of_a_detail_changes_with_who_else_sets_the_count_and_a_write_may_still_name_it() {
    let cluster = cluster();
    let server = following(&cluster).await;
    let before = server.send(Method::GET, SHOP, &[], "").await;
    let tag = before.header("etag").to_owned();
    let known = [("if-none-match", &*tag)];
    let again = async || {
        sleep(Duration::from_secs(2)).await;
        server.send(Method::GET, SHOP, &known, "").await
    };
    assert_eq!(again().await.status, 304);
    cluster.set_autoscaler("web", "scaler", spec("shop", 2, 10), json!([]));
    let after = again().await;
    assert_eq!(after.status, 200);
    assert_eq!(after.json()["willStick"], false);
    assert_eq!(
        after.json()["resourceVersion"],
        before.json()["resourceVersion"]
    );
    let restart = format!("{SHOP}/restart");
    let held = [("if-match", &*tag)];
    let first = server.send(Method::POST, &restart, &held, "").await;
    assert_eq!(first.status, 200, "the Deployment is as it was");
    sleep(Duration::from_secs(2)).await;
    let second = server.send(Method::POST, &restart, &held, "").await;
    assert_eq!(second.status, 412);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_an_autoscaler_may_not_change_sticks() {
    let cluster = cluster();
    let server = following(&cluster).await;
    let disabled = json!({"selectPolicy": "Disabled"});
    let frozen = json!({"scaleUp": disabled, "scaleDown": disabled});
    let mut at_rest = spec("shop", 1, 10);
    at_rest["behavior"] = frozen;
    let mut other_kind = spec("shop", 5, 10);
    other_kind["scaleTargetRef"]["kind"] = "StatefulSet".into();
    let mut other_group = spec("shop", 5, 10);
    other_group["scaleTargetRef"]["apiVersion"] = "example.org/v1".into();
    let mut older = spec("shop", 1, 10);
    older["scaleTargetRef"]["apiVersion"] = "apps/v1beta2".into();
    for (spec, told_of, stays) in [
        (spec("shop", 3, 3), true, true),
        (spec("shop", 4, 4), true, false),
        (at_rest, true, true),
        (other_kind, false, true),
        (other_group, false, true),
        (older, true, false),
    ] {
        cluster.set_autoscaler("web", "scaler", spec.clone(), json!([]));
        assert_eq!(sticks(&server).await, stays, "{spec}");
        let header = shop(&server).await;
        assert_eq!(header.headers.contains_key(HEADER), told_of, "{spec}");
    }
    cluster.set_autoscaler("web", "scaler", spec("shop", 3, 3), json!([]));
    cluster.set_autoscaler("web", "second", spec("shop", 1, 3), json!([]));
    assert_eq!(sticks(&server).await, false, "one of two may");
    cluster.delete_autoscaler("web", "second").unwrap();
    let owner =
        json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "orders"}]);
    cluster.set_autoscaler("web", "scaler", spec("shop", 1, 1), owner);
    cluster.scale("web", "shop", 0).unwrap();
    assert_eq!(sticks(&server).await, false, "KEDA scales from 0");
}

/// Run by hand: what very many autoscalers cost.
#[tokio::test]
#[ignore = "a measurement"]
async fn measured() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096 / 1_000_000
    };
    let cluster = cluster();
    for i in 0..100_000 {
        let (namespace, name) = (format!("ns-{:03}", i / 500), format!("deployment-{i:06}"));
        cluster.set_autoscaler(&namespace, &name, spec(&name, 2, 10), json!([]));
    }
    let before = resident();
    let began = std::time::Instant::now();
    let mut server = InProcess::synced(&cluster).await;
    server.follow_autoscalers();
    let autoscalers = server.status.autoscalers();
    while !autoscalers.are_known("ns-000") {
        sleep(Duration::from_millis(10)).await;
    }
    let (took, grown) = (began.elapsed(), resident() - before);
    println!("100,000 autoscalers known after {took:?}, {grown} MB more resident");
    let began = std::time::Instant::now();
    let name = "deployment-000007";
    cluster.set_autoscaler("ns-000", name, spec(name, 3, 7), json!([]));
    let changed = || {
        let mut least = 0;
        autoscalers.each_of("ns-000", name, |one| least = one.min);
        least == 3
    };
    while !changed() {
        tokio::task::yield_now().await;
    }
    println!("a change of one known after {:?}", began.elapsed());
}
