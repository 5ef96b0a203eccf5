//! The wall clock jumps by a day. Deadlines, ages and waits go by the time that passes; only certificates go by the date.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Clock, SimCluster, eventually,
    program::{Program, Serving, serve},
};

const DAY: i64 = 24 * 60 * 60;

#[tokio::test]
async fn a_day_forwards_or_backwards_changes_only_who_is_let_in_by_date() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let clock = Clock::new();
    let mut command = serve(&files, cluster.kubeconfig(), &[]);
    clock.give(&mut command);
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    let path = "/namespaces/web/deployments/shop/replicas";
    let mut kept = serving.client.open().await.unwrap();
    let get = || serving.client.request(http::Method::GET, path, &[], "");
    assert_eq!(kept.send(get()).await.unwrap().status, 200);
    cluster.forget_requests();
    let start = Instant::now();
    // The demo's certificates have been valid for some minutes, and go on for weeks.
    for (count, seconds) in [(4, DAY), (5, 7 * DAY), (6, DAY), (7, 0)] {
        clock.jump(seconds);
        let answer = kept.send(get()).await.unwrap();
        assert_eq!(answer.status, 200, "{seconds} s");
        let age: u64 = answer.header("age").parse().unwrap();
        assert!(age < 60, "no clock makes the copy older: {age}");
        assert_eq!(serving.admin("GET", "/readyz").await.0, 200);
        assert_eq!(serving.client.get("/health").await.status, 200);
        let write = serving.client.scale("web", "shop", count, &[]).await;
        assert_eq!(write.status, 200, "{}", write.text());
        cluster.cluster.scale("web", "shop", 10 + count as i32);
        let followed = async || serving.client.count("web", "shop").await == Ok(10 + count);
        eventually(Duration::from_secs(2), "the cluster's change", followed).await;
    }
    // The expired client stays out, and one who isn't valid yet is, and neither takes anything from the others.
    clock.jump(-30 * DAY);
    let refused = async || serving.client.try_send(get()).await.is_err();
    eventually(Duration::from_secs(2), "not valid yet", refused).await;
    let refusal = serving.program.line("tls.client.refused", 1).await;
    assert_eq!(refusal.text("reason"), "NotValidYet");
    clock.jump(0);
    assert_eq!(serving.client.get(path).await.status, 200);
    // Nothing was listed or watched anew because of a clock.
    let lists = serving.program.lines("informer.relist").len();
    assert_eq!(lists, 1);
    assert!(serving.program.lines("informer.connection.lost").is_empty());
    let probes = cluster.requests() - cluster.writes();
    let most = start.elapsed().as_secs() as usize / 3 + 4;
    assert!(probes <= most, "{probes} reads, at most {most}");
    assert_eq!(serving.terminated().await.code, Some(0));
}
