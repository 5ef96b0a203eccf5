//! Answers without an end, or larger than any can be: given up, long before memory or a deadline is.

use std::time::Duration;

use http::Method;
use simkube::{Cluster, Fault, On, Options, Rule};
use tokio::time::{Instant, sleep};

use super::{create, seconds, small};
use crate::support::{InProcess, Sent};

/// A cluster with so many Deployments that each piece of an endless list has twenty.
fn twenty() -> Cluster {
    let cluster = Cluster::new(Options::default().managed_fields(0));
    for i in 0..20 {
        create(&cluster, "web", &format!("app-{i:02}"), 3);
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_page_without_end_is_given_up_at_a_bound() {
    let cluster = twenty();
    let endless = cluster.faults().add(Rule::new(On::List, Fault::Endless));
    let informer = InProcess::start(&cluster);
    let start = Instant::now();
    let took = informer
        .until("the next try", seconds(30), || {
            informer.sent_since(start, Sent::is_list) == 2
        })
        .await;
    // At twenty items a millisecond, and not when the page's minute is over.
    assert!(took < seconds(5), "{took:?}");
    let health = informer.send(Method::GET, "/health", &[], "").await;
    assert_eq!(health.status, 503);
    assert!(health.text().contains("50000 items"), "{}", health.text());
    cluster.faults().remove(endless);
    informer.converges(seconds(30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_last_page_is_given_up_at_a_bound() {
    let cluster = small();
    let endless = cluster.faults().add(Rule::new(On::List, Fault::NoLastPage));
    let informer = InProcess::start(&cluster);
    // Sooner than the next try.
    sleep(Duration::from_millis(50)).await;
    let pages = informer.sent().iter().filter(|s| s.is_list()).count();
    assert_eq!(pages, 1000);
    assert_eq!(informer.stored(), []);
    let health = informer.send(Method::GET, "/health", &[], "").await;
    assert!(health.text().contains("1000 pages"), "{}", health.text());
    cluster.faults().remove(endless);
    informer.converges(seconds(30)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_write_without_end_is_given_up_at_a_bound() {
    let cluster = twenty();
    let informer = InProcess::synced(&cluster).await;
    sleep(Duration::from_millis(10)).await;
    cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Endless).times(1));
    let start = Instant::now();
    let answer = informer.put("web", "app-00", 9, &[]).await;
    // It was carried out, and a reading shows that.
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(start.elapsed() < seconds(1), "{:?}", start.elapsed());
    assert_eq!(informer.count("web", "app-00"), Some(9));
}
