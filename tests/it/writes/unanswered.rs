//! Writes that get no answer: carried out or not, nobody is told what isn't known.

use std::time::Duration;

use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{UPDATED, in_cluster, shop, told, writes};
use crate::support::{InProcess, Shape};

/// What a write may take, without an answer, and reading again.
const DEADLINE: Duration = Duration::from_millis(10_100);

/// Answers that say nothing, or nothing that can be read, of what was carried out.
fn after_the_commit() -> Vec<Fault> {
    vec![
        Fault::after_commit(Fault::status(504)),
        Fault::after_commit(Fault::status(500)),
        Fault::after_commit(Fault::Refuse),
        Fault::after_commit(Fault::Hang),
        Fault::Truncate,
        Fault::Break,
        Fault::Garbage,
        Fault::WrongKind,
    ]
}

/// The same of what wasn't. A load balancer's 502 and 504 come after the request may have been passed on.
fn before_the_commit() -> Vec<Fault> {
    vec![
        Fault::Refuse,
        Fault::status(500),
        Fault::status(502),
        Fault::status(504),
    ]
}

async fn tag(server: &InProcess) -> String {
    let read = server.get("web", "shop", &[]).await;
    read.header("etag").to_owned()
}

fn spoil(server: &InProcess, rule: Rule) {
    server.cluster.faults().add(rule);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_carried_out_is_found_by_reading_again() {
    for fault in after_the_commit() {
        let server = shop().await;
        spoil(&server, Rule::new(On::Scale, fault.clone()));
        let before = server.cluster.resource_version();
        let start = Instant::now();
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(told(&answer), (200, UPDATED), "{fault:?}");
        assert!(start.elapsed() <= DEADLINE, "{:?}", start.elapsed());
        assert_eq!(server.count("web", "shop"), Some(9), "{fault:?}");
        assert_eq!(
            server.cluster.resource_version(),
            before + 1,
            "{fault:?}: it was carried out once"
        );
        let told = answer.header("x-resource-version");
        assert_eq!(told, (before + 1).to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_condition_it_is_504_since_nobody_knows_whose_write_it_was() {
    for fault in after_the_commit() {
        let server = shop().await;
        let tag = tag(&server).await;
        spoil(&server, Rule::new(On::Scale, fault.clone()));
        let start = Instant::now();
        let answer = server.put("web", "shop", 9, &[("if-match", &tag)]).await;
        assert_eq!(answer.status, 504, "{fault:?}: {}", answer.text());
        assert!(answer.error().contains("outcome isn't known"));
        assert!(start.elapsed() <= DEADLINE, "{:?}", start.elapsed());
        // The store tells in the end.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(server.count("web", "shop"), Some(9), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_lost_on_its_way_is_sent_again_on_the_same_condition() {
    for fault in before_the_commit() {
        for guarded in [false, true] {
            let server = shop().await;
            let tag = tag(&server).await;
            let guard = [("if-match", &*tag)];
            let headers = if guarded { &guard[..] } else { &[] };
            spoil(&server, Rule::new(On::Scale, fault.clone()).times(1));
            let answer = server.put("web", "shop", 9, headers).await;
            assert_eq!(told(&answer), (200, UPDATED), "{fault:?}");
            assert_eq!(writes(&server).len(), 2, "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_gets_no_answer_twice_and_changed_nothing_is_504() {
    for fault in before_the_commit() {
        let server = shop().await;
        spoil(&server, Rule::new(On::Scale, fault.clone()));
        let answer = server.put("web", "shop", 9, &[]).await;
        // The first may still be on its way.
        assert_eq!(answer.status, 504, "{fault:?}: {}", answer.text());
        assert_eq!(writes(&server).len(), 2, "{fault:?}");
        assert_eq!(in_cluster(&server, "shop"), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_second_writer_did_meanwhile_is_neither_lost_nor_taken_for_ones_own() {
    for (theirs, guarded, expected) in [(7, false, 504), (9, false, 200), (9, true, 504)] {
        let server = shop().await;
        let tag = tag(&server).await;
        let guard = [("if-match", &*tag)];
        let headers = if guarded { &guard[..] } else { &[] };
        spoil(&server, Rule::new(On::Scale, Fault::Refuse).times(1));
        let slow = Fault::Delay(Duration::from_millis(50));
        spoil(&server, Rule::new(On::Scale, slow));
        let writer = tokio::spawn(server.putting("web", "shop", 9, headers));
        sleep(Duration::from_millis(20)).await;
        server.cluster.scale("web", "shop", theirs).unwrap();
        let answer = writer.await.unwrap();
        assert_eq!(answer.status, expected, "{theirs}: {}", answer.text());
        assert_eq!(in_cluster(&server, "shop"), Some(theirs));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_gone_by_then_is_504() {
    let server = shop().await;
    spoil(&server, Rule::new(On::Scale, Fault::Refuse).times(1));
    let slow = Fault::Delay(Duration::from_millis(50));
    spoil(&server, Rule::new(On::Scale, slow));
    let writer = tokio::spawn(server.putting("web", "shop", 9, &[]));
    sleep(Duration::from_millis(20)).await;
    server.cluster.delete("web", "shop").unwrap();
    assert_eq!(writer.await.unwrap().status, 504);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_without_an_answer_is_503_since_it_changes_nothing() {
    let server = shop().await;
    spoil(&server, Rule::new(On::Scale, Fault::Refuse));
    let path = "/namespaces/web/deployments/shop/replicas?dryRun=true";
    let json = [("content-type", "application/json")];
    let body = r#"{"replicaCount":9}"#;
    let answer = server.send(http::Method::PUT, path, &json, body).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.error().contains("nothing was changed"));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_504_within_10_s_and_its_late_answer_changes_no_read() {
    for on in [On::Scale, On::Any] {
        let server = shop().await;
        let hung = server.cluster.faults().add(Rule::new(on, Fault::Hang));
        let start = Instant::now();
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(start.elapsed() <= DEADLINE, "{:?}", start.elapsed());
        server.cluster.faults().remove(hung);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(server.count("web", "shop"), in_cluster(&server, "shop"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_trickles_in_is_not_waited_for_longer_than_10_s() {
    let server = shop().await;
    server.shape(|sent| match sent.uri.path().ends_with("/scale") {
        true => Shape::Trickled(Duration::from_secs(1)),
        false => Shape::AsSent,
    });
    let start = Instant::now();
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(told(&answer), (200, UPDATED), "a reading shows it");
    assert!(start.elapsed() <= DEADLINE, "{:?}", start.elapsed());
}
