//! What goes wrong between a server and the API server while leases are taken and brought back.

use simkube::{Fault, On, Rule};

use super::*;
use crate::support::lines::Captured;

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_when_a_lease_is_over_is_asked_until_it_is_back() {
    let (cluster, clock) = (cluster(), Clock::default());
    let _server = server(&cluster, &clock).await;
    take(&_server, 10, HOUR).await;
    let away = cluster.faults().add(Rule::new(On::Any, Fault::Refuse));
    pass(&clock, HOUR).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(count(&cluster), 10);
    cluster.faults().remove(away);
    ends(&cluster, 90).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_made_and_not_answered_is_recognised_by_its_mark() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let lost = Fault::AfterCommit(Box::new(Fault::status(504)));
    cluster.faults().add(Rule::new(On::Scale, lost).times(1));
    let taken = take(&server, 10, HOUR).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    assert_eq!(read(&server).await.json()["state"], "held");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_outcome_is_unknown_is_settled_and_never_arrives_later() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let hung = cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Hang).times(2));
    let taken = take(&server, 10, HOUR).await;
    assert_eq!(taken.status, 504, "{:?}", taken.body);
    assert_eq!(read(&server).await.json()["state"], "pending");
    pass(&clock, 31).await;
    ends(&cluster, 20).await;
    cluster.faults().remove(hung);
    sleep(Duration::from_secs(5)).await;
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_refuses_leaves_no_lease_and_the_one_before() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let webhook = || {
        let says_no = Fault::Webhook {
            name: "cap".into(),
            message: "too many".into(),
            code: 403,
        };
        Rule::new(On::Scale, says_no).times(1)
    };
    cluster.faults().add(webhook());
    assert_eq!(take(&server, 10, HOUR).await.status, 422);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0));
    take(&server, 10, HOUR).await;
    let before = read(&server).await.json()["until"].clone();
    cluster.faults().add(webhook());
    assert_eq!(take(&server, 20, 2 * HOUR).await.status, 422);
    let after = read(&server).await.json();
    assert_eq!(
        (&after["until"], &after["replicaCount"]),
        (&before, &json!(10))
    );
    pass(&clock, HOUR).await;
    ends(&cluster, 5).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn writes_of_the_object_that_fail_or_are_lost_change_no_count_unseen() {
    for fault in [
        Fault::status(500),
        Fault::status(503),
        Fault::Conflict,
        Fault::AfterCommit(Box::new(Fault::status(504))),
    ] {
        let (cluster, clock) = (cluster(), Clock::default());
        let server = server(&cluster, &clock).await;
        sleep(Duration::from_secs(1)).await;
        cluster
            .faults()
            .add(Rule::new(On::LeaseWrite, fault.clone()).times(1));
        let taken = take(&server, 10, HOUR).await;
        if taken.status == 200 {
            assert_eq!(
                (count(&cluster), objects(&cluster).len()),
                (10, 1),
                "{fault:?}"
            );
        } else {
            assert_eq!(count(&cluster), 3, "{fault:?}");
        }
        pass(&clock, 2 * HOUR).await;
        ends(&cluster, 60).await;
        assert_eq!(count(&cluster), 3, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_leases_they_are_refused_and_counts_are_set_all_the_same() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let user = "system:serviceaccount:headcount:headcount".to_owned();
    let denied = Fault::Forbidden { user };
    cluster.faults().add(Rule::new(On::Leases, denied.clone()));
    cluster.faults().add(Rule::new(On::LeaseWrite, denied));
    assert_eq!(take(&server, 10, HOUR).await.status, 502);
    assert_eq!(server.put("web", "shop", 4, &[]).await.status, 200);
    assert_eq!(count(&cluster), 4);
}

#[tokio::test(start_paused = true)]
async fn leases_are_followed_through_watches_that_break_and_expire() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    for expired in [false, true] {
        cluster.end_lease_watches(expired);
        assert_eq!(take(&server, 10, HOUR).await.status, 200);
        assert_eq!(read(&server).await.status, 200);
        assert_eq!(cancel(&server, "").await.status, 200);
        assert_eq!(read(&server).await.status, 404);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_written_unanswered_and_then_refused_leaves_the_lease_before() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    let before = read(&server).await.json();
    let lost = Fault::after_commit(Fault::status(504));
    cluster
        .faults()
        .add(Rule::new(On::LeaseWrite, lost).times(1));
    let says_no = Fault::Webhook {
        name: "cap".into(),
        message: "too many".into(),
        code: 403,
    };
    cluster.faults().add(Rule::new(On::Scale, says_no).times(1));
    // Whoever finds a lease half taken leaves it alone for a second.
    let passes = async {
        sleep(Duration::from_millis(500)).await;
        pass(&clock, 2).await;
    };
    let (refused, ()) = tokio::join!(take(&server, 20, 2 * HOUR), passes);
    assert_eq!(refused.status, 422, "{:?}", refused.body);
    let after = read(&server).await.json();
    for field in ["until", "replicaCount", "state"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_may_have_been_written_and_cannot_be_looked_for_is_a_504() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    let lost = Fault::after_commit(Fault::status(504));
    cluster
        .faults()
        .add(Rule::new(On::LeaseWrite, lost).times(1));
    let unread = Rule::new(On::Leases, Fault::status(500)).after(1);
    let unread = cluster.faults().add(unread);
    let taken = take(&server, 20, 2 * HOUR).await;
    assert_eq!(taken.status, 504, "{:?}", taken.body);
    cluster.faults().remove(unread);
}

#[tokio::test(start_paused = true)]
async fn counts_come_back_though_the_election_is_slow() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    sleep(Duration::from_secs(1)).await;
    // An election makes two calls, which take longer than it is until the next one.
    for of in [On::Leases, On::LeaseWrite] {
        let slow = Fault::Delay(Duration::from_secs(3));
        cluster.faults().add(Rule::new(of, slow));
    }
    sleep(Duration::from_secs(60)).await;
    pass(&clock, HOUR).await;
    ends(&cluster, 12).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_overtaken_while_its_deployment_could_not_be_read_ends_soon_after() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    sleep(Duration::from_secs(1)).await;
    let unread = Rule::new(On::Get, Fault::status(500));
    let unread = cluster.faults().add(unread);
    cluster.scale("web", "shop", 7);
    sleep(Duration::from_secs(2)).await;
    cluster.faults().remove(unread);
    assert_eq!(objects(&cluster).len(), 1);
    ends(&cluster, 10).await;
    assert_eq!(count(&cluster), 7);
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_last_answer_is_lost_is_told_of_all_the_same() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let captured = Captured::start();
    for (nth, overtaken) in [(1, false), (2, true)] {
        take(&server, 10, HOUR).await;
        sleep(Duration::from_secs(1)).await;
        // The claim of one that goes back is a write of its own.
        let lost = Rule::new(On::LeaseWrite, Fault::after_commit(Fault::status(504)));
        cluster
            .faults()
            .add(lost.after(u64::from(!overtaken)).times(1));
        let name = if overtaken {
            cluster.scale("web", "shop", 7);
            "lease.overtaken"
        } else {
            pass(&clock, HOUR).await;
            "lease.reverted"
        };
        ends(&cluster, 10).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(captured.all(name).len(), 1, "{name}, {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_stops_while_a_lease_is_taken_is_no_rival() {
    let late = Fault::Delay(Duration::from_secs(60));
    for (stopped, fault) in [(On::LeaseWrite, Fault::Hang), (On::Event, late)] {
        let (cluster, clock) = (cluster(), Clock::default());
        let server = InProcess::leasing(&cluster, &rules(), &clock).await;
        cluster.faults().add(Rule::new(stopped, fault));
        // What is read is newer than this server's copy, if no events come.
        cluster.set_annotations("web", "shop", &[("example.org/status", "1")]);
        let taken = take(&server, 10, HOUR).await;
        assert_eq!(taken.status, 503, "{stopped:?}: {:?}", taken.body);
        assert_eq!(count(&cluster), 3);
    }
}
