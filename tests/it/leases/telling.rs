//! Leases that somebody else's count has ended: told of by whoever finds that, whatever it was about to do.

use simkube::{Fault, On, Rule};

use super::*;
use crate::support::lines::Captured;

#[tokio::test(start_paused = true)]
async fn a_lease_taken_in_place_of_one_that_was_overtaken_tells_of_its_end() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let captured = Captured::start();
    take(&server, 10, HOUR).await;
    cluster.scale_by("web", "shop", 5, ("kubectl", "scale"));
    server.converges(Duration::from_secs(5)).await;
    let taken = take(&server, 8, HOUR).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    assert_eq!(taken.json()["lease"]["previousReplicaCount"], 5);
    let told = captured.all("lease.overtaken");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].text("by"), objects(&cluster).len()),
        ("kubectl", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_in_place_of_one_whose_count_is_back_already_tells_of_its_return() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let captured = Captured::start();
    take(&server, 10, HOUR).await;
    // Whoever brings it back dies before the object is deleted.
    let dying = super::server(&cluster, &clock).await;
    sleep(Duration::from_secs(1)).await;
    let kept = Rule::new(On::LeaseWrite, Fault::status(503)).after(1);
    let kept = cluster.faults().add(kept);
    pass(&clock, HOUR).await;
    sleep(Duration::from_secs(1)).await;
    drop(dying);
    cluster.faults().remove(kept);
    assert_eq!((count(&cluster), objects(&cluster).len()), (3, 1));
    server.converges(Duration::from_secs(5)).await;
    let taken = take(&server, 8, HOUR).await;
    assert_eq!(taken.status, 200, "{:?}", taken.body);
    assert_eq!(captured.all("lease.reverted").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_a_lease_that_was_overtaken_is_told_so_and_has_not_ended_it() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    let captured = Captured::start();
    take(&server, 10, HOUR).await;
    cluster.scale_by("web", "shop", 5, ("kubectl", "scale"));
    let ended = cancel(&server, "").await;
    assert_eq!(ended.status, 200, "{:?}", ended.body);
    let body = ended.json();
    assert_eq!(
        (&body["reverted"], &body["replicaCount"]),
        (&json!(false), &json!(5))
    );
    assert_eq!(captured.all("lease.overtaken").len(), 1);
    assert_eq!(objects(&cluster).len(), 0);
}
