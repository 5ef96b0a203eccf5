//! Serves a cluster of some Deployments on a free port, to try with kubectl or curl.
//!
//! `cargo run -p simkube --example serve -- [DEPLOYMENTS] [EVENTS_PER_SECOND [ROLLOUT_SECONDS]]`

use std::time::Duration;

use simkube::{Cluster, NewDeployment, Options};
use tokio::net::TcpListener;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "tells its address")]
async fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let (count, rate) = (numbers.next().unwrap_or(24), numbers.next().unwrap_or(0));
    let rollout = Duration::from_secs(numbers.next().unwrap_or(3).into());
    let cluster = Cluster::new(Options::default().rollout(rollout));
    let template = NewDeployment::new("", "").label("tier", "web");
    for n in 0..count {
        cluster.create(
            template
                .clone()
                .named(format!("team-{:03}", n % 100), format!("app-{n:07}"))
                .replicas(1 + n as i32 % 5),
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    if let Some(pause) = Duration::from_secs(1).checked_div(rate) {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            for n in (0..count.max(1)).cycle() {
                ticks.tick().await;
                cluster.touch_status(&format!("team-{:03}", n % 100), &format!("app-{n:07}"));
            }
        });
    }
    cluster.serve(listener, std::future::pending()).await;
    Ok(())
}
