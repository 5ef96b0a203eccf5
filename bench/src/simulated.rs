//! The measurements on a simulated cluster: more Deployments than a real one holds here, and events at a given rate.

use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use simkube::{Cluster, NewDeployment, Options};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::figures::{Aim, Figures, Side};
use crate::server::{Place, Server};
use crate::sizes::Sizes;

const SETTLE: Duration = Duration::from_secs(2);
const THREAD: &str = "informer";
/// Fewer than the simulated cluster keeps, so that no watch is too slow for them.
const BURST: u32 = 20_000;
const CHANGED: &str = "informer.deployment.changed";

/// What is asked of one simulated cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) memory: bool,
    pub(crate) events: bool,
}

/// Serves a simulated cluster until its task is aborted; where a kubeconfig of it is.
pub(crate) async fn serve(
    cluster: &Cluster,
    place: &Place,
) -> Result<(JoinHandle<()>, PathBuf), Error> {
    let failed = || Error::io("listen");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    let cluster = cluster.clone();
    let serving = tokio::spawn(async move { cluster.serve(listener, pending()).await });
    let kubeconfig = write_kubeconfig(&place.folder, &format!("http://{address}"))?;
    Ok((serving, kubeconfig))
}

/// Where the simulated cluster is.
fn write_kubeconfig(folder: &Path, server: &str) -> Result<PathBuf, Error> {
    let file = folder.join("simulated.kubeconfig");
    let content = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: simulated, cluster: {{server: \"{server}\"}}}}]
users: [{{name: nobody, user: {{}}}}]
contexts: [{{name: simulated, context: {{cluster: simulated, user: nobody}}}}]
current-context: simulated
"
    );
    fs::write(&file, content).map_err(Error::file(&file))?;
    Ok(file)
}

fn key(i: u32) -> (String, String) {
    (format!("team-{:03}", i % 50), format!("orders-api-{i:07}"))
}

/// Memory of a copy of `n` Deployments, and the informer's CPU for one event.
pub(crate) async fn run(
    place: &Place,
    sizes: &Sizes,
    figures: &mut Figures,
    n: u32,
    wanted: Wanted,
) -> Result<(), Error> {
    crate::say(&format!("{n} simulated Deployments"));
    let cluster = filled(n);
    let (serving, kubeconfig) = serve(&cluster, place).await?;
    let large = n >= 1_000_000;
    let rounds = if large { 1 } else { sizes.rounds };
    for round in 0..rounds {
        let (server, sync) = place.synced(Side::Headcount, &kubeconfig)?;
        if wanted.memory {
            sleep(SETTLE);
            let resident = server.proc().resident()?;
            let peak = server.proc().peak()?;
            let mut note = |what: &str, unit, aims: &[Aim], side, value| {
                figures.note(&format!("{n} simulated: {what}"), unit, aims, side, value);
            };
            let aims = [Aim::AtMost(250.0)];
            let aims = if large { aims.as_slice() } else { &[] };
            note("resident", "MB", aims, Side::Headcount, resident);
            let title = "peak of the first sync (limit: resident)";
            note(title, "MB", &[], Side::Headcount, peak);
            note(title, "MB", &[], Side::Limit, resident);
            note("first sync, time", "s", &[], Side::Headcount, sync.seconds);
        }
        if wanted.events {
            let rounds = if large { sizes.rounds } else { 1 };
            for repetition in 0..rounds {
                let count = 10 + (round + repetition) as i32;
                let rate = sizes.events_per_second;
                let told = server.lines_with(CHANGED)?;
                let before = server.proc().cpu(Some(THREAD))?;
                change(&cluster, n, sizes.events, Some(rate), count);
                server.logged_times(CHANGED, told + sizes.events as usize)?;
                let used = server.proc().cpu(Some(THREAD))? - before;
                let title = format!(
                    "event at {n}, {rate} a second, each logged: CPU of the informer's thread"
                );
                let each = used * 1e6 / f64::from(sizes.events);
                figures.note(&title, "µs", &[], Side::Headcount, each);
            }
        }
        drop(server);
        if wanted.events {
            let server = place.synced_quietly(&kubeconfig)?;
            let rounds = if large { sizes.rounds } else { 1 };
            for repetition in 0..rounds {
                let count = 100 + (round + repetition) as i32;
                let before = server.proc().cpu(Some(THREAD))?;
                change(&cluster, n, BURST, None, count);
                let used = calm(&server)? - before;
                let aims = [Aim::AtMost(if large { 12.0 } else { 8.0 })];
                let title = format!(
                    "event at {n}, {BURST} at once, --log-level warn: CPU of the informer's thread"
                );
                let each = used * 1e6 / f64::from(BURST);
                figures.note(&title, "µs", &aims, Side::Headcount, each);
            }
        }
    }
    serving.abort();
    Ok(())
}

/// Changes the counts of so many Deployments, so many a second or at once.
fn change(cluster: &Cluster, n: u32, events: u32, rate: Option<u32>, count: i32) {
    let begun = Instant::now();
    for i in 0..events {
        if let Some(rate) = rate {
            let due = begun + Duration::from_secs(1) * i / rate;
            sleep(due.saturating_duration_since(Instant::now()));
        }
        // A prime far from everything: each event meets another part of the store.
        let at = (u64::from(i) * 7_368_787 % u64::from(n)) as u32;
        let (namespace, name) = key(at);
        cluster.scale(&namespace, &name, count);
    }
}

/// Waits until the informer has nothing more to do; the CPU time that it has used by then.
fn calm(server: &Server) -> Result<f64, Error> {
    let mut before = server.proc().cpu(Some(THREAD))?;
    loop {
        sleep(Duration::from_millis(200));
        let now = server.proc().cpu(Some(THREAD))?;
        // A probe costs less than this.
        if now - before < 0.002 {
            return Ok(now);
        }
        before = now;
    }
}

fn filled(n: u32) -> Cluster {
    let cluster = Cluster::new(Options::default());
    let template = NewDeployment::new("", "")
        .label("app.kubernetes.io/managed-by", "Helm")
        .label("tier", "backend");
    for i in 0..n {
        let (namespace, name) = key(i);
        cluster.create(
            template
                .clone()
                .named(namespace, name)
                .replicas(i as i32 % 10),
        );
    }
    cluster
}
