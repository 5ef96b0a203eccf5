//! `headcount demo`: certificates, a simulated Kubernetes and the server, in one process, until Ctrl-C.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use simkube::{Cluster, NewDeployment, Options};
use tokio::{net::TcpListener, time::sleep};

use super::{Signals, failed, not_started, on_runtime};
use crate::{
    Headcount,
    access::{Authorization, Verb},
    client::contexts::{Context, Contexts, ContextsError},
    config::{Config, LeaseSettings},
    pki::{self, DemoFiles},
    telemetry::log::{Format, LogSettings, Severity},
    tls::TlsFiles,
};

/// How often something happens in the simulated cluster.
const LIFE: Duration = Duration::from_secs(4);
/// How long a rollout takes there.
const ROLLOUT: Duration = Duration::from_secs(3);

/// The flags of the demo.
#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// Where the server listens; with port 0 a free one is taken
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
    /// The folder that certificates, keys and a kubeconfig are written to
    #[arg(long, value_name = "DIR", default_value = "headcount-demo")]
    dir: PathBuf,
    /// Form of the log lines on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// Least severity that is logged
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: Severity,
    /// Nothing happens in the simulated cluster by itself
    #[arg(long)]
    still: bool,
}

impl DemoArgs {
    fn log(&self) -> LogSettings {
        LogSettings {
            format: self.log_format,
            levels: self.log_level.into(),
            ..LogSettings::default()
        }
    }
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    on_runtime(&args.log(), demo(args))
}

async fn demo(args: &DemoArgs) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    // The folder may be that of a demo that runs, whose certificates would be overwritten for nothing.
    for address in [args.listen, args.admin_listen] {
        if let Err(error) = crate::listen(address) {
            return not_started(&error);
        }
    }
    let files = match pki::write_demo(&args.dir) {
        Ok(files) => files,
        Err(error) => return failed(&error),
    };
    let cluster = inhabited();
    let kubeconfig = match serve_cluster(&cluster, &args.dir).await {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return failed(&error),
    };
    let config = Config {
        kubeconfig: Some(kubeconfig.clone()),
        listen: args.listen,
        admin_listen: args.admin_listen,
        log: args.log(),
        // Everything is there to be tried.
        authorization: Authorization::Any(Verb::ALL.into_iter().collect()),
        leases: LeaseSettings {
            namespace: Some("headcount".into()),
            ..LeaseSettings::default()
        },
        // Nobody sends clients here but the person who ends it.
        drain_delay: Duration::ZERO,
        ..Config::of(TlsFiles {
            cert: files.server.certificate.clone(),
            key: files.server.key.clone(),
            client_ca: vec![files.ca.clone()],
            ..TlsFiles::default()
        })
    };
    let headcount = match Headcount::bind(config).await {
        Ok(headcount) => headcount,
        Err(error) => return not_started(&error),
    };
    let contexts = match write_contexts(&headcount, &args.dir) {
        Ok(contexts) => contexts,
        Err(error) => return failed(&error),
    };
    let words = instructions(&headcount, &files, &kubeconfig, &contexts);
    // A closed stdout takes nothing from the demo.
    let _ = io::stdout().write_all(words.as_bytes());
    let life = live(&cluster, args.still);
    tokio::select! {
        ended = headcount.run(signals.shutdown()) => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        () = life => ExitCode::FAILURE,
    }
}

/// A cluster with two dozen Deployments.
fn inhabited() -> Cluster {
    let cluster = Cluster::new(Options::default().rollout(ROLLOUT));
    let teams = [
        (
            "checkout",
            [
                "cart", "orders", "payments", "prices", "receipts", "vouchers",
            ],
        ),
        (
            "jobs",
            [
                "exports",
                "imports",
                "mailer",
                "reports",
                "thumbnails",
                "webhooks",
            ],
        ),
        (
            "search",
            [
                "crawler",
                "indexer",
                "queries",
                "ranking",
                "spelling",
                "suggestions",
            ],
        ),
        (
            "web",
            ["admin", "gateway", "help", "login", "shop", "status"],
        ),
    ];
    for (namespace, names) in teams {
        for (name, replicas) in names.iter().zip(1..) {
            cluster.create(
                NewDeployment::new(namespace, *name)
                    .replicas(replicas)
                    .image(&format!("registry.example/{name}:1"))
                    .label("team", namespace)
                    .label("app", name)
                    .label("tier", tier(namespace)),
            );
        }
    }
    cluster.create_namespace("headcount");
    cluster
}

/// What people see is in front.
fn tier(namespace: &str) -> &'static str {
    match namespace {
        "web" => "front",
        _ => "back",
    }
}

/// Serves the cluster on a free port; the path of a kubeconfig for it, which kubectl can use too.
async fn serve_cluster(cluster: &Cluster, folder: &Path) -> io::Result<PathBuf> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let server = format!("http://{}", listener.local_addr()?);
    let served = cluster.clone();
    tokio::spawn(async move { served.serve(listener, std::future::pending()).await });
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "demo",
        "clusters": [{"name": "demo", "cluster": {"server": server}}],
        "users": [{"name": "demo", "user": {}}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo"}}],
    });
    let path = folder.join("kubeconfig");
    std::fs::write(&path, format!("{kubeconfig:#}\n"))?;
    Ok(path)
}

/// Makes `demo` the context of the client in the folder's own file of contexts.
fn write_contexts(headcount: &Headcount, folder: &Path) -> Result<PathBuf, ContextsError> {
    let path = folder.join("contexts.yaml");
    let server = format!("https://{}", headcount.address());
    let server = server.parse().map_err(|error| ContextsError::Wrong {
        path: path.clone(),
        line: None,
        why: format!("{error}"),
    })?;
    let demo = Context {
        server,
        ca: "ca.crt".into(),
        cert: "client.crt".into(),
        key: "client.key".into(),
        namespace: Some("web".into()),
    };
    Contexts::change(&path, |contexts| {
        contexts.contexts.insert("demo".into(), demo);
        contexts.current = Some("demo".into());
        Ok::<_, ContextsError>(())
    })?;
    Ok(path)
}

/// Something happens in the namespace `jobs` now and then; the others are the visitor's.
async fn live(cluster: &Cluster, still: bool) {
    if still {
        std::future::pending::<()>().await;
    }
    let names = ["exports", "imports", "mailer", "reports", "thumbnails"];
    for turn in 0usize.. {
        sleep(LIFE).await;
        match turn % 6 {
            4 => drop(cluster.delete("jobs", "webhooks")),
            5 => drop(
                cluster.create(
                    NewDeployment::new("jobs", "webhooks")
                        .replicas(6)
                        .label("team", "jobs")
                        .label("tier", tier("jobs")),
                ),
            ),
            _ => drop(cluster.scale(
                "jobs",
                names[turn % names.len()],
                Some(fastrand::i32(0..12)),
            )),
        }
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn instructions(
    headcount: &Headcount,
    files: &DemoFiles,
    kubeconfig: &Path,
    contexts: &Path,
) -> String {
    let quoted = |path: &Path| quoted(&path.display().to_string());
    let address = headcount.address();
    let url = format!("https://{address}/api/v1");
    let curl = |certificate: &Path, key: &Path| {
        format!(
            "curl --cacert {} --cert {} --key {}",
            quoted(&files.ca),
            quoted(certificate),
            quoted(key)
        )
    };
    let alice = curl(&files.client.certificate, &files.client.key);
    let mut words = String::new();
    let mut line = |text: &str| {
        // Writing into a String can't fail.
        let _ = writeln!(words, "{text}");
    };
    line("");
    line(&format!(
        "headcount serves {url} until Ctrl-C. Paste into another terminal, in this folder:"
    ));
    line("");
    line("# every Deployment, one count, and the health of the connection to the cluster");
    line(&format!("{alice} {url}/deployments"));
    line(&format!(
        "{alice} {url}/namespaces/web/deployments/shop/replicas"
    ));
    line(&format!("{alice} {url}/health"));
    line("");
    line("# the same with the client, which waits for the rollout");
    line(&format!("export HEADCOUNT_CONTEXTS={}", quoted(contexts)));
    line("headcount list -n web");
    line("headcount set shop 3 --wait");
    line("headcount image shop main=registry.example/shop:2 --wait");
    line("headcount rollback shop --wait");
    line("headcount get shop -o wide");
    line("");
    line("# set a count");
    line(&format!(
        "{alice} -X PUT -H 'Content-Type: application/json' -d '{{\"replicaCount\":3}}' {url}/namespaces/web/deployments/shop/replicas"
    ));
    line("");
    line("# refused: no certificate, an expired one, one of another CA");
    line(&format!(
        "curl --cacert {} {url}/deployments",
        quoted(&files.ca)
    ));
    line(&format!(
        "{} {url}/deployments",
        curl(&files.expired.certificate, &files.expired.key)
    ));
    line(&format!(
        "{} {url}/deployments",
        curl(&files.foreign.certificate, &files.foreign.key)
    ));
    line("");
    line("# what a kubelet and a Prometheus see, and the simulated cluster itself");
    line(&format!(
        "curl http://{}/metrics",
        headcount.admin_address()
    ));
    line(&format!(
        "kubectl --kubeconfig {} get deployments -A -o name",
        quoted(kubeconfig)
    ));
    line("");
    words
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            ("headcount-demo/ca.crt", "headcount-demo/ca.crt"),
            ("a b/ca.crt", "'a b/ca.crt'"),
            ("it's/$x", r"'it'\''s/$x'"),
        ] {
            assert_eq!(quoted(path), word);
        }
    }
}
