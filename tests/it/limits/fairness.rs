//! What somebody else notices of one caller's flood of requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use instructions::{
    connection::CallerEnd,
    fixture,
    served::{Served, get},
};

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
