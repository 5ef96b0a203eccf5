//! Servers that are killed between any two of their requests, and others that go on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::support::Sent;

/// Whether a request is one of a lease's steps, and not of the copies of servers.
fn is_step(sent: &Sent) -> bool {
    let path = sent.uri.path();
    let of_lease =
        path.contains("/leases/count-") || path.ends_with("/leases") && sent.uri.query().is_none();
    of_lease || sent.is_of_one()
}

/// From now on the server dies before its nth step, if it gets there; whether it has.
fn dies_before(server: &InProcess, nth: usize) -> Arc<AtomicUsize> {
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    server.panic_on(move |sent| {
        if is_step(sent) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        // Whoever is dead elects nobody either.
        counted.load(Ordering::Relaxed) >= nth
            && (is_step(sent) || sent.uri.path().contains("/leases"))
    });
    steps
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_while_it_takes_a_lease_leaves_nothing_that_is_forgotten() {
    let mut died = 0;
    for nth in 1.. {
        let (cluster, clock) = (cluster(), Clock::default());
        let first = InProcess::leasing(&cluster, &rules(), &clock).await;
        let steps = dies_before(&first, nth);
        let taken = take(&first, 10, HOUR).await;
        let dead = steps.load(Ordering::Relaxed) >= nth;
        let leased = count(&cluster) == 10;
        drop(first);
        let _second = server(&cluster, &clock).await;
        pass(&clock, 31).await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(
            count(&cluster),
            if leased { 10 } else { 3 },
            "before step {nth}"
        );
        pass(&clock, HOUR).await;
        ends(&cluster, 10).await;
        assert_eq!(count(&cluster), 3, "before step {nth}");
        if !dead {
            assert_eq!(taken.status, 200);
            break;
        }
        died += 1;
    }
    assert!(died >= 4, "{died}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_while_it_brings_a_count_back_is_followed_by_another() {
    let mut died = 0;
    for nth in 1.. {
        let (cluster, clock) = (cluster(), Clock::default());
        let first = server(&cluster, &clock).await;
        sleep(Duration::from_secs(1)).await;
        take(&first, 10, HOUR).await;
        let second = server(&cluster, &clock).await;
        let steps = dies_before(&first, nth);
        pass(&clock, HOUR).await;
        let dead = steps.load(Ordering::Relaxed) >= nth;
        ends(&cluster, 60).await;
        assert_eq!(count(&cluster), 3, "before step {nth}");
        // What somebody sets now is no lease's.
        assert_eq!(second.put("web", "shop", 10, &[]).await.status, 200);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(count(&cluster), 10, "before step {nth}");
        if !dead {
            break;
        }
        died += 1;
    }
    assert!(died >= 4, "{died}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_nothing_and_a_shutdown_lets_the_next_one_go_on_at_once() {
    let (cluster, clock) = (cluster(), Clock::default());
    let mut first = server(&cluster, &clock).await;
    sleep(Duration::from_secs(1)).await;
    take(&first, 10, HOUR).await;
    let before = read(&first).await.json();
    first.stops_reverting().await;
    drop(first);
    let second = server(&cluster, &clock).await;
    assert_eq!(read(&second).await.json()["until"], before["until"]);
    pass(&clock, HOUR).await;
    ends(&cluster, 6).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn of_several_servers_one_brings_counts_back() {
    let (cluster, clock) = (cluster(), Clock::default());
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(server(&cluster, &clock).await);
    }
    sleep(Duration::from_secs(30)).await;
    take(&servers[2], 10, HOUR).await;
    sleep(Duration::from_secs(1)).await;
    let start = tokio::time::Instant::now();
    pass(&clock, HOUR).await;
    ends(&cluster, 6).await;
    let scaled = |s: &InProcess| s.sent_since(start, |sent| sent.uri.path().ends_with("/scale"));
    let scaled: Vec<_> = servers.iter().map(scaled).collect();
    assert_eq!(scaled.iter().sum::<usize>(), 1, "{scaled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_server_leaves_counts_to_others_as_soon_as_it_is_one() {
    for at_first in [true, false] {
        let (cluster, clock) = (cluster(), Clock::default());
        let mut first = InProcess::leasing(&cluster, &rules(), &clock).await;
        let read_only = Arc::new(AtomicBool::new(at_first));
        let now = Arc::clone(&read_only);
        first.reverts(move || WriteRules {
            read_only: now.load(Ordering::Relaxed),
            ..WriteRules::default()
        });
        sleep(Duration::from_secs(1)).await;
        let second = server(&cluster, &clock).await;
        take(&second, 10, HOUR).await;
        read_only.store(true, Ordering::Relaxed);
        pass(&clock, HOUR).await;
        ends(&cluster, 12).await;
        assert_eq!(count(&cluster), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_is_answered_is_never_cut_short() {
    let mut refused = 0;
    for late in 0..40 {
        let (cluster, clock) = (cluster(), Clock::default());
        let first = server(&cluster, &clock).await;
        let second = InProcess::leasing(&cluster, &rules(), &clock).await;
        sleep(Duration::from_secs(1)).await;
        take(&first, 10, HOUR).await;
        let cancelling = cluster.faults();
        let slow = simkube::Fault::Delay(Duration::from_millis(7));
        cancelling.add(simkube::Rule::new(simkube::On::Any, slow));
        clock.advance(Duration::from_secs(HOUR));
        sleep(Duration::from_millis(480 + 3 * late)).await;
        let extended = if late % 2 == 0 {
            extend(&second, HOUR).await
        } else {
            take(&second, 10, HOUR).await
        };
        sleep(Duration::from_secs(20)).await;
        match extended.status.as_u16() {
            200 => assert_eq!(
                (count(&cluster), objects(&cluster).len()),
                (10, 1),
                "{late}"
            ),
            404 | 409 => {
                refused += 1;
                assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0), "{late}");
            }
            other => panic!("{other}: {:?}", extended.body),
        }
    }
    assert!(refused > 0, "no extension came too late");
}
