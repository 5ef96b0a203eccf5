//! An API server that refuses everything: what it is sent again is bounded, however many callers wait for it.

use std::time::Duration;

use futures_util::future::join_all;
use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{UPDATED, shop, told, writes};
use crate::support::InProcess;

const CALLERS: usize = 200;
/// A fifth more, the reserve, and what of it comes back within the five seconds that a write is tried.
const MOST: usize = CALLERS + CALLERS / 5 + 10 + 5;

async fn all_at_once(server: &InProcess) -> Vec<u16> {
    let calls = (0..CALLERS).map(|_| server.put("web", "shop", 9, &[]));
    let answers = join_all(calls).await;
    answers.iter().map(|a| a.status.as_u16()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_is_not_multiplied() {
    let server = shop().await;
    let overloaded = Fault::retry_after(429, 1);
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, overloaded));
    let start = Instant::now();
    assert_eq!(all_at_once(&server).await, [503; CALLERS]);
    assert!(start.elapsed() <= Duration::from_millis(5_100));
    let sent = writes(&server).len();
    assert!((CALLERS + 20..=MOST).contains(&sent), "{sent} requests");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_500_is_not_multiplied_by_writes_or_readings() {
    let server = shop().await;
    for on in [On::Scale, On::Get] {
        server
            .cluster
            .faults()
            .add(Rule::new(on, Fault::status(500)));
    }
    let before = server.cluster.requests().len();
    assert_eq!(all_at_once(&server).await, [504; CALLERS]);
    let sent = server.cluster.requests().len() - before;
    assert!((CALLERS + 20..=MOST).contains(&sent), "{sent} requests");
}

#[tokio::test(start_paused = true)]
async fn after_a_storm_a_short_overload_is_sat_out_again() {
    let server = shop().await;
    let faults = server.cluster.faults();
    let storm = faults.add(Rule::new(On::Scale, Fault::retry_after(429, 1)));
    all_at_once(&server).await;
    faults.remove(storm);
    sleep(Duration::from_secs(3)).await;
    faults.add(Rule::new(On::Scale, Fault::retry_after(429, 1)).times(2));
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(told(&answer), (200, UPDATED));
}
