//! What a server tells of leases that it has ended, extended or overtaken itself, and what is told of their end.

use simkube::{Fault, On, Rule};
use tokio::time::Instant;

use super::*;
use crate::support::lines::Captured;

/// Method, path, headers and body of a request.
type Asked<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], Value);

/// No news of Lease objects come to a server by its watch any more.
async fn without_news(server: &InProcess) {
    let silent = Cluster::new(Options::default());
    silent.faults().add(Rule::new(On::Any, Fault::Hang));
    server.detour(move |sent| {
        let of_leases = sent.is_watch() && sent.uri.path().ends_with("/leases");
        of_leases.then(|| silent.service())
    });
    server.cluster.end_lease_watches(false);
    sleep(Duration::from_secs(1)).await;
}

/// Whether each of its reads tells of a lease.
async fn shows(server: &InProcess) -> bool {
    let one = read(server).await;
    let all = server.send(Method::GET, "/leases", &[], "").await.json();
    let path = "/namespaces/web/deployments/shop";
    let detail = server.send(Method::GET, path, &[], "").await.json();
    let shown = one.status == 200;
    assert_eq!(all.as_array().unwrap().len(), usize::from(shown));
    assert_eq!(detail["lease"].is_object(), shown, "{detail}");
    shown
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_extends_or_ends_a_lease_reads_so_at_once_though_the_watch_lags() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    without_news(&server).await;
    let start = Instant::now();
    for query in ["", "?keep=true"] {
        assert_eq!(take(&server, 10, HOUR).await.status, 200);
        assert!(shows(&server).await);
        assert_eq!(read(&server).await.json()["state"], "held");
        let extended = extend(&server, 2 * HOUR).await.json();
        let until = read(&server).await.json()["until"].clone();
        assert_eq!(extended["lease"]["until"], until);
        assert_eq!(cancel(&server, query).await.status, 200);
        assert!(!shows(&server).await, "{query}");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "it waited");
}

#[tokio::test(start_paused = true)]
async fn whoever_overtakes_a_lease_reads_of_none_at_once() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = InProcess::leasing(&cluster, &rules(), &clock).await;
    without_news(&server).await;
    let item = json!({"namespace": "web", "name": "shop", "replicaCount": 4});
    let step = [JSON, ("idempotency-key", "once")];
    let writes: [Asked<'_>; 4] = [
        (Method::PUT, REPLICAS, &[JSON], json!({"replicaCount": 7})),
        // The same, too.
        (Method::PUT, REPLICAS, &[JSON], json!({"replicaCount": 10})),
        (Method::PATCH, REPLICAS, &step, json!({"delta": 2})),
        (Method::POST, "/batches", &[JSON], json!({"items": [item]})),
    ];
    for (method, path, headers, body) in writes {
        server.put("web", "shop", 3, &[]).await;
        assert_eq!(take(&server, 10, HOUR).await.status, 200);
        let tried = format!("{path}?dryRun=true");
        let text = body.to_string();
        let tried = server.send(method.clone(), &tried, headers, &text).await;
        assert_eq!(tried.status, 200, "{:?}", tried.body);
        assert!(shows(&server).await, "{method} {path}");
        let written = server.send(method.clone(), path, headers, &text).await;
        assert_eq!(written.status, 200, "{:?}", written.body);
        assert!(!shows(&server).await, "{method} {path} {body}");
        assert_eq!(objects(&cluster).len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_answered_though_the_lease_that_it_overtakes_cannot_be_ended() {
    let (cluster, clock) = (cluster(), Clock::default());
    let mut server = InProcess::leasing(&cluster, &rules(), &clock).await;
    for fault in [Fault::Hang, Fault::status(503)] {
        take(&server, 10, HOUR).await;
        let broken = cluster.faults().add(Rule::new(On::LeaseWrite, fault));
        let start = Instant::now();
        assert_eq!(server.put("web", "shop", 7, &[]).await.status, 200);
        assert!(start.elapsed() < Duration::from_secs(3));
        cluster.faults().remove(broken);
        sleep(Duration::from_secs(10)).await;
        server.put("web", "shop", 3, &[]).await;
    }
    server.reverts(WriteRules::default);
    ends(&cluster, 15).await;
    assert_eq!(count(&cluster), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_overtakes_a_lease_is_named() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let captured = Captured::start();
    let overtaken = async |nth: usize| {
        for _ in 0..100 {
            let lines = captured.all("lease.overtaken");
            if lines.len() >= nth {
                assert_eq!(lines.len(), nth, "each is told of once");
                let line = &lines[nth - 1];
                assert_eq!(line.text("principal"), "alice");
                return line.text("by").to_owned();
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("no line of the end");
    };
    take(&server, 10, HOUR).await;
    let bob = server.somebody("bob");
    let body = json!({"replicaCount": 7}).to_string();
    let put = server.sending_as(&bob, Method::PUT, REPLICAS, &[JSON], &body);
    assert_eq!(put.await.status, 200);
    assert_eq!(overtaken(1).await, "bob");
    take(&server, 10, HOUR).await;
    sleep(Duration::from_secs(1)).await;
    cluster.scale_by("web", "shop", 5, ("kubectl", "scale"));
    assert_eq!(overtaken(2).await, "kubectl");
}

#[tokio::test(start_paused = true)]
async fn a_count_that_is_not_the_leases_any_more_ends_it_within_a_second() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    sleep(Duration::from_secs(1)).await;
    take(&server, 10, HOUR).await;
    // Its status moves all the time, at which the lease is looked at every few seconds.
    cluster.set_annotations("web", "shop", &[("example.org/status", "1")]);
    sleep(Duration::from_secs(1)).await;
    cluster.scale("web", "shop", 7);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(objects(&cluster).len(), 0);
    assert_eq!(read(&server).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn the_history_tells_a_count_that_came_back_from_one_that_was_set() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    take(&server, 10, HOUR).await;
    pass(&clock, HOUR).await;
    ends(&cluster, 5).await;
    take(&server, 8, HOUR).await;
    cancel(&server, "").await;
    let set = Value::Null;
    let expected = [
        (3, json!("cancelled"), "alice"),
        (8, set.clone(), "alice"),
        (3, json!("ended"), "alice"),
        (10, set, "alice"),
    ];
    assert_eq!(history(&server).await, expected.map(told));
}

/// What the history tells of each change: the count, what it has to do with a lease, and who made it.
async fn history(server: &InProcess) -> Vec<[Value; 3]> {
    let told = server.send(Method::GET, "/history", &[], "").await.json();
    let changes = told["changes"].as_array().unwrap().iter();
    let one = |one: &Value| {
        let who = one["by"]["principal"].clone();
        [one["to"].clone(), one["lease"].clone(), who]
    };
    changes.map(one).collect()
}

fn told((to, lease, by): (i32, Value, &str)) -> [Value; 3] {
    [json!(to), lease, json!(by)]
}

#[tokio::test(start_paused = true)]
async fn the_history_names_whoever_ended_a_lease_of_another_whichever_server_goes_back() {
    let (cluster, clock) = (cluster(), Clock::default());
    let server = server(&cluster, &clock).await;
    let body = json!({"replicaCount": 10, "durationSeconds": HOUR}).to_string();
    let bob = server.somebody("bob");
    let put = || server.sending_as(&bob, Method::PUT, LEASE, &[JSON], &body);
    assert_eq!(put().await.status, 200);
    assert_eq!(cancel(&server, "").await.status, 200);
    let expected = [(3, json!("cancelled"), "alice"), (10, Value::Null, "bob")];
    assert_eq!(history(&server).await, expected.map(told));
    // The one that was asked claims it, and another one brings the count back.
    assert_eq!(put().await.status, 200);
    let lease = objects(&cluster)[0]["metadata"]["name"].clone();
    let claimed = cluster.change_lease("headcount", lease.as_str().unwrap(), |claimed| {
        let annotations = &mut claimed["metadata"]["annotations"];
        annotations["headcount/state"] = json!("ending");
        annotations["headcount/ended-by"] = json!("carol");
    });
    assert!(claimed);
    ends(&cluster, 5).await;
    let latest = history(&server).await.swap_remove(0);
    assert_eq!(latest, told((3, json!("cancelled"), "carol")));
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_end_a_lease_at_the_same_time_both_answer_that_it_has_ended() {
    for late in 0..30 {
        let (cluster, clock) = (cluster(), Clock::default());
        let first = InProcess::leasing(&cluster, &rules(), &clock).await;
        let second = InProcess::leasing(&cluster, &rules(), &clock).await;
        take(&first, 10, HOUR).await;
        sleep(Duration::from_secs(1)).await;
        let slow = Fault::Delay(Duration::from_millis(7));
        cluster.faults().add(Rule::new(On::Any, slow));
        let later = async {
            sleep(Duration::from_millis(3 * late)).await;
            let there = objects(&cluster).len() == 1;
            (cancel(&second, "").await, there)
        };
        let (ended, (ended_too, there)) = tokio::join!(cancel(&first, ""), later);
        assert_eq!((count(&cluster), objects(&cluster).len()), (3, 0), "{late}");
        assert_eq!(ended.status, 200, "{late}: {:?}", ended.body);
        assert_eq!(ended.json()["reverted"], true, "{late}");
        // What isn't there any more when it is read is none.
        let fits = ended_too.status == 200 || !there || ended_too.status == 404 && late > 5;
        assert!(fits, "{late}: {:?}", ended_too.body);
        for server in [&first, &second] {
            assert_eq!(read(server).await.status, 404, "{late}");
        }
    }
}
