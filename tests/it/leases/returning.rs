//! Whether a count may go back, by whom, and what is told if it may not.

use headcount::{
    access::{AuthorizationFile, Rules},
    limits::Limits,
};
use simkube::{Fault, On, Rule};
use tokio::time::Instant;

use super::*;

fn says_no() -> Rule {
    let webhook = Fault::Webhook {
        name: "cap".into(),
        message: "too few".into(),
        code: 403,
    };
    Rule::new(On::Scale, webhook).times(1)
}

/// What bob may set.
fn at_most_10() -> Rules {
    let text = "mode: policy
rules:
- name: few
  effect: allow
  subjects: [bob]
  namespaces: ['*']
  verbs: [scale]
  bounds: {max: 10}
";
    let file: AuthorizationFile = serde_saphyr::from_str(text).unwrap();
    Rules {
        authorization: file.read().unwrap(),
        ..Rules::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_return_that_admission_refuses_leaves_the_lease_as_it_was() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    let before = objects(&cluster);
    for query in ["", "?dryRun=true"] {
        cluster.faults().add(says_no());
        let refused = cancel(&server, query).await;
        assert_eq!(refused.status, 422, "{:?}", refused.body);
        let why = refused.json()["error"].to_string();
        assert!(
            why.contains("too few") && why.contains("keep=true"),
            "{why}"
        );
        assert_eq!((count(&cluster), objects(&cluster)), (10, before.clone()));
    }
    assert_eq!(cancel(&server, "").await.status, 200);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_return_that_is_refused_once_it_was_claimed_says_that_the_lease_has_ended() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    cluster.faults().add(says_no().after(1));
    let refused = cancel(&server, "").await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    let why = refused.json()["error"].to_string();
    assert!(why.contains("the lease has ended"), "{why}");
    assert_eq!((count(&cluster), objects(&cluster).len()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_no_way_around_the_bounds_of_a_rule() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let bob = server.session_of("bob", at_most_10(), &Limits::default());
    let ends = async |query: &str| {
        let path = format!("{LEASE}{query}");
        let sent = server.sending_as(&bob, Method::DELETE, &path, &[], "");
        sent.await.status.as_u16()
    };
    let extends = async |seconds: u64| {
        let body = json!({"durationSeconds": seconds}).to_string();
        let sent = server.sending_as(&bob, Method::PATCH, LEASE, &[JSON], &body);
        sent.await.status.as_u16()
    };
    let takes = async |query: &str| {
        let path = format!("{LEASE}{query}");
        let body = json!({"replicaCount": 9, "durationSeconds": 600}).to_string();
        server
            .sending_as(&bob, Method::PUT, &path, &[JSON], &body)
            .await
    };
    // Of somebody else: 100 isn't brought back by one who may set 10.
    server.put("web", "shop", 100, &[]).await;
    assert_eq!(take(&server, 10, HOUR).await.status, 200);
    assert_eq!((ends("").await, count(&cluster)), (422, 10));
    assert_eq!(read(&server).await.json()["state"], "held");
    // Nor by way of taking it over, or of having it end sooner.
    for query in ["", "?dryRun=true"] {
        let refused = takes(query).await;
        assert_eq!(refused.status, 422);
        let why = refused.json()["error"].to_string();
        assert!(
            why.contains("somebody else's") && why.contains("100"),
            "{why}"
        );
    }
    assert_eq!(extends(600).await, 422);
    assert_eq!(read(&server).await.json()["holder"], "alice");
    assert_eq!(extends(2 * HOUR).await, 200);
    assert_eq!(cancel(&server, "").await.status, 200);
    assert_eq!(count(&cluster), 100);
    // Its own: what was is brought back.
    assert_eq!(takes("").await.status, 200);
    assert_eq!((ends("").await, count(&cluster)), (200, 100));
    // Nor is 50 made to stay.
    server.put("web", "shop", 5, &[]).await;
    assert_eq!(take(&server, 50, HOUR).await.status, 200);
    assert_eq!((extends(600).await, ends("?keep=true").await), (422, 422));
    assert_eq!((ends("").await, count(&cluster)), (200, 5));
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_protected_deployment_is_neither_extended_nor_kept() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    cluster.set_annotations("web", "shop", &[("headcount/protected", "true")]);
    assert_eq!(extend(&server, HOUR).await.status, 422);
    assert_eq!(cancel(&server, "?keep=true").await.status, 422);
    assert_eq!(objects(&cluster).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_same_count_set_at_a_server_whose_copy_of_leases_lags_ends_the_lease() {
    let (cluster, clock) = (cluster(), Clock::default());
    let first = server(&cluster, &clock).await;
    let lagging = InProcess::leasing(&cluster, &rules(), &clock).await;
    let elsewhere = Cluster::new(Options::default());
    elsewhere.create_namespace("headcount");
    lagging.detour(move |sent| {
        let of_all = sent.uri.path().ends_with("/leases");
        of_all.then(|| elsewhere.service())
    });
    cluster.end_lease_watches(false);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(take(&first, 10, HOUR).await.status, 200);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lagging.count("web", "shop"), Some(10));
    assert_eq!(read(&lagging).await.status, 404);
    assert_eq!(lagging.put("web", "shop", 10, &[]).await.status, 200);
    ends(&cluster, 15).await;
    pass(&clock, 2 * HOUR).await;
    assert_eq!(count(&cluster), 10);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_made_unanswered_and_overtaken_is_not_made_again() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let lost = Fault::after_commit(Fault::Hang);
    cluster.faults().add(Rule::new(On::Scale, lost).times(1));
    let overtaken = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(count(&cluster), 10);
        cluster.scale("web", "shop", 7);
    };
    let (taken, ()) = tokio::join!(take(&server, 10, HOUR), overtaken);
    assert_eq!(taken.status, 504, "{:?}", taken.body);
    assert_eq!(count(&cluster), 7);
    pass(&clock, 2 * HOUR).await;
    ends(&cluster, 60).await;
    assert_eq!(count(&cluster), 7);
}

#[tokio::test(start_paused = true)]
async fn an_end_of_which_nothing_was_carried_out_is_a_503() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    take(&server, 10, HOUR).await;
    let refused = Rule::new(On::LeaseWrite, Fault::status(503));
    let refused = cluster.faults().add(refused);
    let ended = cancel(&server, "").await;
    assert_eq!(ended.status, 503, "{:?}", ended.body);
    cluster.faults().remove(refused);
    assert_eq!((count(&cluster), objects(&cluster).len()), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn no_change_of_a_lease_waits_for_an_api_server_that_is_known_to_be_away() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    take(&server, 10, HOUR).await;
    cluster.faults().add(Rule::new(On::Any, Fault::Hang));
    sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    for answer in [
        take(&server, 20, HOUR).await,
        extend(&server, HOUR).await,
        cancel(&server, "").await,
    ] {
        assert_eq!(answer.status, 503, "{:?}", answer.body);
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_an_earlier_deployment_by_the_same_name_is_shown_of_none() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    take(&server, 10, HOUR).await;
    cluster.delete("web", "shop").unwrap();
    let again = NewDeployment::new("web", "shop").replicas(5);
    cluster.create(again).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(read(&server).await.status, 404);
    let all = server.send(Method::GET, "/leases", &[], "").await;
    assert_eq!(all.json(), json!([]));
    let path = "/namespaces/web/deployments/shop";
    let detail = server.send(Method::GET, path, &[], "").await;
    assert_eq!(detail.json()["replicas"]["desired"], 5);
    assert!(detail.json()["lease"].is_null());
}

#[tokio::test(start_paused = true)]
async fn leases_that_hang_do_not_stand_in_front_of_others() {
    let (cluster, clock) = (cluster(), Clock::default());
    let many = LeaseRules {
        most: 30,
        ..rules()
    };
    let mut server = InProcess::leasing(&cluster, &many, &clock).await;
    let names: Vec<_> = (0..17).map(|n| format!("d{n:02}")).collect();
    for name in &names {
        let one = NewDeployment::new("web", &**name).replicas(1);
        cluster.create(one).unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let body = json!({"replicaCount": 2, "durationSeconds": 60}).to_string();
    for name in &names {
        let path = format!("/namespaces/web/deployments/{name}/lease");
        let taken = server.send(Method::PUT, &path, &[JSON], &body).await;
        assert_eq!(taken.status, 200, "{:?}", taken.body);
    }
    let silent = Cluster::new(Options::default());
    silent.faults().add(Rule::new(On::Any, Fault::Hang));
    server.detour(move |sent| {
        let hangs = sent.is_of_one() && !sent.uri.to_string().contains("d16");
        hangs.then(|| silent.service())
    });
    server.reverts(WriteRules::default);
    pass(&clock, 60).await;
    sleep(Duration::from_secs(35)).await;
    let there = cluster.deployments();
    let last = there.iter().find(|d| d.name == "d16").unwrap();
    assert_eq!((last.replicas, objects(&cluster).len()), (Some(1), 16));
}

#[tokio::test(start_paused = true)]
async fn whoever_would_break_a_bound_changes_nothing_of_a_lease_that_is_half_taken() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    // Its object is there, and its count never came.
    cluster.faults().add(Rule::new(On::Scale, Fault::Hang));
    assert_eq!(take(&server, 10, HOUR).await.status, 504);
    cluster.faults().clear();
    sleep(Duration::from_secs(2)).await;
    let before = (cluster.deployments()[0].clone(), objects(&cluster));
    let bob = server.session_of("bob", at_most_10(), &Limits::default());
    let body = json!({"replicaCount": 11, "durationSeconds": HOUR}).to_string();
    let refused = server.sending_as(&bob, Method::PUT, LEASE, &[JSON], &body);
    let refused = refused.await;
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    assert_eq!(
        (cluster.deployments()[0].clone(), objects(&cluster)),
        before
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_ended_though_its_deployment_changes_all_the_time() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    let overtaken = Rule::new(On::Scale, Fault::Conflict).times(12);
    cluster.faults().add(overtaken);
    let ended = cancel(&server, "").await;
    assert_eq!(ended.status, 200, "{:?}", ended.body);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0));
}
