//! Every line that was logged for a request has its ids, and so has what Kubernetes is called for it.

use std::{collections::BTreeSet, fs, path::Path};

use http::Method;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule, SeenRequest, Verdict};
use tempfile::TempDir;

use crate::support::{
    InProcess, Sent, SimCluster,
    lines::{Captured, Line},
    program::Serving,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SHOP: &str = "/namespaces/web/deployments/shop";

/// A server with these settings in its configuration file.
async fn serving(kubeconfig: &Path, settings: &str) -> (Serving, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
    fs::write(&path, format!("{head}{settings}")).unwrap();
    let flag = format!("--config={}", path.display());
    let serving = Serving::start(kubeconfig, &[&flag]).await;
    serving.program.line("informer.synced", 1).await;
    (serving, folder)
}

/// The line has the ids of a request with this id and the trace above; its span.
fn of_request(line: &Line, id: &str) -> String {
    assert_eq!(
        (line.text("request_id"), line.text("trace_id")),
        (id, TRACE)
    );
    let span = line.text("span_id");
    assert!(span.len() == 16 && !TRACEPARENT.contains(span), "{line:?}");
    span.to_owned()
}

fn ids(id: &str) -> [(&str, &str); 2] {
    [("x-request-id", id), ("traceparent", TRACEPARENT)]
}

#[tokio::test]
async fn what_is_denied_and_what_is_too_much_is_told_with_the_ids_of_its_request() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.create("ops", "cron", 3);
    let rule = "{name: web, subjects: ['*'], namespaces: [web], verbs: [get, scale]}";
    let policy = format!("authorization: {{mode: policy, rules: [{rule}]}}\n");
    let rates = "limits: {rates: {writes: {perSecond: 0.01, burst: 1}}}\n";
    let (serving, _folder) = serving(cluster.kubeconfig(), &(policy + rates)).await;
    let Serving {
        client, program, ..
    } = &serving;
    let denied = [
        (Method::GET, "/namespaces/ops/deployments/cron/replicas"),
        (Method::GET, "/namespaces/ops/deployments/cron/containers"),
        (Method::GET, "/deployments"),
    ];
    for (number, (method, path)) in (1..).zip(denied) {
        let id = format!("denied-{number}");
        let answer = client.send(method, path, &ids(&id), "").await;
        assert_eq!(answer.status, 403);
        of_request(&program.line("access.denied", number).await, &id);
    }
    // Ids of a caller that sends none are made, and it is told one of them.
    let answer = client.get("/deployments").await;
    let line = program.line("access.denied", 4).await;
    assert_eq!(line.text("request_id"), answer.header("x-request-id"));
    assert_eq!(line.text("trace_id").len(), 32);
    assert_ne!(line.text("trace_id"), TRACE);

    let answer = client.scale("ops", "cron", 1, &ids("write-1")).await;
    assert_eq!(answer.status, 403);
    of_request(&program.line("scale.failed", 1).await, "write-1");
    for (id, status) in [("write-2", 200), ("write-3", 429)] {
        let answer = client.scale("web", "shop", 4, &ids(id)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let reached = program.line("limit.reached", 1).await;
    assert_eq!(reached.text("limit"), "WriteRate");
    of_request(&reached, "write-3");
}

/// The trace contexts of those calls of Kubernetes.
fn contexts(cluster: &SimCluster, of: impl Fn(&SeenRequest) -> bool) -> BTreeSet<String> {
    let seen = cluster.cluster.requests();
    let calls = seen.iter().filter(|call| of(call));
    let context = |call: &SeenRequest| call.header("traceparent").unwrap_or("none").to_owned();
    calls.map(context).collect()
}

#[tokio::test]
async fn what_kubernetes_is_asked_for_a_request_goes_on_with_its_trace() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.cluster.set_authorizer(|_| Verdict::allowed(true));
    let settings = "authorization: {mode: kubernetes}\nlogging: {levels: {access: debug}}\n";
    let (serving, _folder) = serving(cluster.kubeconfig(), settings).await;
    let Serving {
        client, program, ..
    } = &serving;
    cluster.forget_requests();
    let path = format!("{SHOP}/containers");
    let answer = client.send(Method::GET, &path, &ids("read-1"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let span = of_request(&program.line("access.review.answered", 1).await, "read-1");
    let expected = format!("00-{TRACE}-{span}-01");
    let asks = |call: &SeenRequest| call.path.ends_with("/subjectaccessreviews");
    let reads = |call: &SeenRequest| call.query.contains("fieldSelector");
    assert_eq!(contexts(&cluster, asks), [expected.clone()].into());
    assert_eq!(contexts(&cluster, reads), [expected].into());

    let answer = client.scale("web", "shop", 5, &ids("write-1")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let span = of_request(&program.line("scale.applied", 1).await, "write-1");
    of_request(&program.line("access.review.answered", 2).await, "write-1");
    let writes = |call: &SeenRequest| call.path.ends_with("/scale");
    let expected = format!("00-{TRACE}-{span}-01");
    assert_eq!(contexts(&cluster, writes), [expected].into());

    let list = client
        .send(Method::GET, "/deployments", &ids("list-1"), "")
        .await;
    assert_eq!(list.status, 200);
    of_request(&program.line("access.review.answered", 3).await, "list-1");

    // What nobody asked for belongs to nobody.
    let follows = |call: &SeenRequest| call.is_list_or_watch() && !reads(call);
    assert!(contexts(&cluster, follows).is_subset(&["none".to_owned()].into()));

    let broken = Rule::new(On::Review, Fault::status(500));
    cluster.cluster.faults().add(broken);
    let answer = client.scale("web", "other", 1, &ids("write-2")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    of_request(&program.line("access.review.failed", 1).await, "write-2");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_a_defect_is_told_with_its_ids() {
    let cluster = Cluster::new(Options::default());
    cluster.create(NewDeployment::new("web", "shop").replicas(3));
    let captured = Captured::start();
    let this = InProcess::synced(&cluster).await;
    this.panic_on(Sent::is_of_one);
    let path = format!("{SHOP}/containers");
    let answer = this.send(Method::GET, &path, &ids("bad-luck"), "").await;
    assert_eq!(answer.status, 500);
    let line = captured.last("request.panicked").await;
    of_request(&line, "bad-luck");
    assert_eq!(
        (line.severity.as_str(), line.text("method")),
        ("ERROR", "GET")
    );
    assert_eq!(line.text("path"), format!("/api/v1{path}"));
}
