//! What somebody else notices of one caller's flood of requests.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use futures_util::future::join_all;
use http::Method;
use instructions::{
    connection::CallerEnd,
    fixture,
    served::{Served, get},
};
use simkube::{Cluster, NewDeployment, Options};
use tokio::task::yield_now;

use crate::support::InProcess;

async fn ask(caller: &CallerEnd, request: &[u8]) {
    caller.prepare([request.to_owned()]).unwrap();
    caller.send(1).await;
}

#[tokio::test]
async fn of_hundreds_of_one_callers_requests_few_come_before_somebody_elses() {
    // As many of one caller's connections run at once.
    let runs = 2 * available_parallelism().unwrap().get();
    let served = Served::new(100).unwrap();
    let shop = fixture::deployment(7, 3, 1);
    let path = format!(
        "/namespaces/{}/deployments/{}/replicas",
        shop.namespace, shop.name
    );
    let read = get(&path, "");
    let answered = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..50 * runs)
        .map(|_| {
            let caller = served.plain("mallory");
            let (read, answered) = (read.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                loop {
                    ask(&caller, &read).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let caller = served.plain("alice");
    let somebody_else = tokio::spawn(async move {
        let mut before = Vec::new();
        for _ in 0..60 {
            let begun = answered.load(Ordering::Relaxed);
            ask(&caller, &read).await;
            before.push(answered.load(Ordering::Relaxed) - begun);
        }
        before
    });
    let before = somebody_else.await.unwrap();
    flood.iter().for_each(|task| task.abort());
    // Once the flood is under way.
    let most = before[10..].iter().max().unwrap();
    assert!(*most > 0, "there was no flood: {before:?}");
    assert!(*most <= 8 * runs, "{before:?}");
}

#[tokio::test]
async fn however_many_want_a_list_compressed_that_changes_all_the_time_nobody_waits_for_each_of_them()
 {
    let cluster = Cluster::new(Options::default());
    // So many that compressing them takes longer than the next change.
    for number in 0..20_000 {
        let new = NewDeployment::new("web", format!("shop-{number}"));
        cluster.create(new).unwrap();
    }
    let server = InProcess::synced(&cluster).await;
    let changing = tokio::spawn(async move {
        for count in 0.. {
            cluster.scale("web", "shop-7", count % 100).unwrap();
            yield_now().await;
        }
    });
    let gzip = [("accept-encoding", "gzip")];
    let asking = (0..50).map(|_| server.send(Method::GET, "/deployments", &gzip, ""));
    let answers = join_all(asking).await;
    changing.abort();
    assert!(answers.iter().all(|a| a.status == 200));
    let states: BTreeSet<_> = answers.iter().map(|a| a.header("etag")).collect();
    // The first one's, and that of all who came while it was compressed.
    assert!(states.len() <= 4, "{} were compressed", states.len());
}
