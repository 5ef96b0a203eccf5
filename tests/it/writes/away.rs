//! The circuit: while the API server answers nobody, nobody waits for it, and once it does everything goes on.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use simkube::{Fault, NewDeployment, On, Rule};
use tokio::time::Instant;

use super::{UPDATED, shop, told};
use crate::support::{SimCluster, eventually, program::Serving};

const CONTAINERS: &str = "/namespaces/web/deployments/shop/containers";
const AT_ONCE: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn calls_in_a_row_without_an_answer_open_the_circuit_and_the_probe_closes_it() {
    let server = shop().await;
    let faults = server.cluster.faults();
    let cut = faults.add(Rule::new(On::Any, Fault::Refuse));
    let status = server.put("web", "shop", 9, &[]).await.status;
    assert_eq!(status, 504, "it was sent, and nobody knows");
    let sent = server.sent().len();
    for path in ["replicas", "containers"] {
        let start = Instant::now();
        let answer = match path {
            "replicas" => server.put("web", "shop", 9, &[]).await,
            _ => server.send(Method::GET, CONTAINERS, &[], "").await,
        };
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!(
            (1..=3).contains(&seconds),
            "until the next probe: {seconds} s"
        );
        assert!(start.elapsed() < AT_ONCE, "{path}: {:?}", start.elapsed());
    }
    assert_eq!(server.sent().len(), sent, "nothing was sent");
    assert_eq!(
        server.get("web", "shop", &[]).await.status,
        200,
        "reads go on"
    );
    faults.remove(cut);
    let closed = || server.status.circuit().open().is_none();
    server.until("closed", Duration::from_secs(4), closed).await;
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(told(&answer), (200, UPDATED));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_falls_silent_opens_the_circuit_within_six_seconds() {
    let server = shop().await;
    let faults = server.cluster.faults();
    let hung = faults.add(Rule::new(On::Any, Fault::Hang));
    let open = || server.status.circuit().open().is_some();
    server
        .until("open", Duration::from_millis(6_100), open)
        .await;
    let start = Instant::now();
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.error().contains("nothing was sent"));
    assert!(start.elapsed() < AT_ONCE);
    faults.remove(hung);
    server
        .until("closed", Duration::from_secs(4), || !open())
        .await;
}

#[tokio::test(start_paused = true)]
async fn slow_webhooks_of_one_kind_of_write_stop_no_others() {
    let server = shop().await;
    server.cluster.create(NewDeployment::new("web", "cart"));
    server.converges(Duration::from_secs(1)).await;
    let hung = Rule::new(On::Scale, Fault::Hang).times(10);
    server.cluster.faults().add(hung);
    let slow = (0..10).map(|_| server.put("web", "shop", 9, &[("if-match", "*")]));
    let answers = join_all(slow).await;
    assert!(answers.iter().all(|a| a.status == 504));
    assert_eq!(server.status.circuit().open(), None, "others were answered");
    let answer = server.put("web", "cart", 5, &[]).await;
    assert_eq!(told(&answer), (200, UPDATED));
}

#[tokio::test]
async fn the_circuit_is_in_the_log_the_metrics_and_the_verbose_readiness() {
    let mut sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let serving = Serving::healthy(sim.kubeconfig(), &[]).await;
    let shown = async |open: u8, line: &str| {
        let metric = format!("headcount_kubernetes_circuit_open {open}\n");
        let (status, verbose) = serving.admin("GET", "/readyz?verbose").await;
        assert_eq!(status, 200, "nobody is served by a server that isn't ready");
        assert!(verbose.contains(line), "{verbose}");
        assert!(serving.metrics().await.contains(&metric));
    };
    shown(0, "[+]circuit ok").await;
    sim.kill();
    let opened = serving.program.line("kubernetes.circuit.opened", 1).await;
    assert_eq!(opened.severity, "WARN");
    assert!(!opened.text("error").is_empty());
    shown(1, "[-]circuit open, writes are refused: ").await;
    sim.serve_again().await;
    let closed = serving.program.line("kubernetes.circuit.closed", 1).await;
    assert_eq!(closed.severity, "INFO");
    shown(0, "[+]circuit ok").await;
    eventually(Duration::from_secs(10), "a write", async || {
        serving.client.scale("web", "shop", 8, &[]).await.status == 200
    })
    .await;
}
