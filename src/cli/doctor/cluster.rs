//! The way to the Kubernetes API: name, connection, TLS, version, latency; and this machine's clock against its own.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::report::Report;
use crate::{
    config::Config,
    kubernetes::{self, About, ClusterConfig, NoAnswer, OwnRights},
    tls::Expiry,
};

/// How long a look-up, and a connection, may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long reading the credentials may take, a credential plugin included.
const CREDENTIALS: Duration = Duration::from_secs(10);
/// A call that takes longer is worth a word.
const SLOW: Duration = Duration::from_millis(500);
/// The least version that is expected to work: 1.31.
const LEAST: (u32, u32) = (1, 31);
/// From so many seconds on a clock is worth a word …
const SKEW: u64 = 5;
/// … and from so many on it is wrong: certificates begin five minutes before they are made.
const WRONG: u64 = 300;

const CREDENTIALS_CHECK: &str = "kubernetes.credentials";
const DNS: &str = "kubernetes.dns";
const TCP: &str = "kubernetes.tcp";
const API: &str = "kubernetes.api";
const LATENCY: &str = "kubernetes.latency";
const CLOCK: &str = "clock";

/// Whoever answers there; `None` when nobody can be asked anything.
pub(super) async fn check(
    report: &mut Report,
    config: &Config,
    future: &[Expiry],
) -> Option<(OwnRights, String)> {
    let (cluster, client) = match credentials(config).await {
        Ok(found) => found,
        Err(why) => {
            let fix =
                "correct --kubeconfig or --context, or run it where the account's token is mounted";
            report.fail(CREDENTIALS_CHECK, why, fix);
            for check in [DNS, TCP, API, LATENCY, CLOCK] {
                report.skip(check, "there is no way to the cluster");
            }
            return None;
        }
    };
    report.ok(
        CREDENTIALS_CHECK,
        format!("the cluster is {}", cluster.url()),
    );
    if cluster.has_proxy() {
        for check in [DNS, TCP] {
            report.skip(check, "a proxy leads to the cluster");
        }
    } else {
        way(report, &cluster).await;
    }
    let rights = OwnRights::new(client);
    let first = match rights.about().await {
        Ok(about) => about,
        Err(error) => {
            let fix = remedy(&error);
            report.fail(API, error.to_string(), fix);
            for check in [LATENCY, CLOCK] {
                report.skip(check, "the Kubernetes API doesn't answer");
            }
            return None;
        }
    };
    version(report, &first);
    latency(report, &rights).await;
    clock(report, &first, future);
    Some((rights, cluster.namespace().to_owned()))
}

async fn credentials(config: &Config) -> Result<(ClusterConfig, kube::Client), String> {
    let (kubeconfig, context) = (config.kubeconfig.clone(), config.context.clone());
    let connect = async move {
        let cluster = kubernetes::connection(kubeconfig.as_deref(), context.as_deref()).await;
        let cluster = cluster.map_err(|error| error.to_string())?;
        // A credential plugin blocks the thread that it is waited for on.
        let made = tokio::task::spawn_blocking(move || {
            let client = kubernetes::client(&cluster);
            client.map(|client| (cluster, client))
        });
        let made = made.await.map_err(|error| error.to_string())?;
        made.map_err(|error| error.to_string())
    };
    timeout(CREDENTIALS, connect).await.unwrap_or_else(|_| {
        let seconds = CREDENTIALS.as_secs();
        Err(format!(
            "the credentials took longer than {seconds} s: a credential plugin may hang"
        ))
    })
}

/// Name and connection, before anything is said over it.
async fn way(report: &mut Report, cluster: &ClusterConfig) {
    let url = cluster.url();
    let host = url.host().unwrap_or_default();
    // An IPv6 address stands in brackets in a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(match url.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    let start = Instant::now();
    let addresses: Vec<_> = match timeout(CONNECT, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return no_name(report, host, &error.to_string()),
        Err(_) => {
            return no_name(
                report,
                host,
                &format!("no answer within {} s", CONNECT.as_secs()),
            );
        }
    };
    let listed: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
    let took = start.elapsed().as_millis();
    report.ok(DNS, format!("{host} is {} ({took} ms)", listed.join(", ")));
    let tries = addresses.into_iter().map(connect);
    let (mut reached, mut failed) = (Vec::new(), Vec::new());
    for tried in join_all(tries).await {
        match tried {
            Ok(words) => reached.push(words),
            Err(words) => failed.push(words),
        }
    }
    let fix = "start the API server, correct its address in the kubeconfig, or let a firewall or NetworkPolicy pass it";
    if failed.is_empty() {
        report.ok(TCP, format!("connected to {}", reached.join(", ")));
    } else if reached.is_empty() {
        report.fail(
            TCP,
            format!("failed to connect to {}", failed.join("; ")),
            fix,
        );
    } else {
        report.warn(
            TCP,
            format!("failed to connect to {}", failed.join("; ")),
            fix,
        );
    }
}

async fn connect(address: SocketAddr) -> Result<String, String> {
    let start = Instant::now();
    match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(format!("{address} ({} ms)", start.elapsed().as_millis())),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!(
            "{address}: no answer within {} s",
            CONNECT.as_secs()
        )),
    }
}

fn no_name(report: &mut Report, host: &str, why: &str) {
    let fix = "correct the server's name in the kubeconfig, or this machine's resolver (in a Pod: dnsPolicy)";
    report.fail(DNS, format!("failed to look up {host} ({why})"), fix);
    report.skip(TCP, "the name leads nowhere");
}

fn remedy(error: &NoAnswer) -> &'static str {
    match error.code {
        401 => {
            "give credentials that this cluster knows: they may have expired, or be another cluster's"
        }
        0 if error.words.contains("certificate") => {
            "have the kubeconfig's certificate-authority be the cluster's CA, and its server a name that the certificate has"
        }
        0 => {
            "see the checks before this one; an API server that restarts answers again within a minute"
        }
        _ => "look at the API server's own log",
    }
}

fn version(report: &mut Report, about: &About) {
    let Some(version) = &about.version else {
        let found = "the Kubernetes API answers, and keeps its version to itself";
        report.ok(API, found);
        return;
    };
    let found = format!("Kubernetes {version} answers");
    match parts(version) {
        Some(version) if version < LEAST => {
            let fix = format!(
                "update the cluster: {}.{} and later are expected to work",
                LEAST.0, LEAST.1
            );
            report.warn(API, found, fix);
        }
        _ => report.ok(API, found),
    }
}

/// Major and minor of `v1.36.3+build`.
fn parts(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The middle one of three calls over a connection that is there already.
async fn latency(report: &mut Report, rights: &OwnRights) {
    let mut calls = Vec::new();
    for _ in 0..3 {
        match rights.about().await {
            Ok(about) => calls.push(about.took),
            Err(error) => {
                let found = format!("the Kubernetes API answered once and not again: {error}");
                report.fail(LATENCY, found, remedy(&error));
                return;
            }
        }
    }
    calls.sort();
    let middle = calls[1];
    let found = format!("a call takes {:.1} ms", middle.as_secs_f64() * 1000.0);
    if middle < SLOW {
        report.ok(LATENCY, found);
    } else {
        let fix = "look at the network and at the API server's load: every write takes as long";
        report.warn(LATENCY, found, fix);
    }
}

fn clock(report: &mut Report, about: &About, future: &[Expiry]) {
    let Some(date) = about.date else {
        report.skip(CLOCK, "the Kubernetes API's answers have no Date");
        return;
    };
    let (skew, direction) = skew(about.here, about.took, date);
    let waiting: Vec<_> = future
        .iter()
        .filter(|expiry| expiry.from <= date)
        .map(|expiry| format!("{:?}", expiry.name))
        .collect();
    let effect = if waiting.is_empty() {
        String::new()
    } else {
        format!(
            "; by the API server's clock {} is valid, and by this one not yet",
            waiting.join(", ")
        )
    };
    let found = format!("this machine's clock is {skew} s {direction} the API server's{effect}");
    let fix = "synchronize both with NTP: certificates are judged by this machine's clock";
    match skew {
        _ if !waiting.is_empty() => report.fail(CLOCK, found, fix),
        WRONG.. => report.fail(CLOCK, found, fix),
        SKEW.. => report.warn(CLOCK, found, fix),
        0 => report.ok(
            CLOCK,
            "this machine's clock and the API server's agree to the second",
        ),
        _ => report.ok(CLOCK, found),
    }
}

/// By how many seconds, at least, and in which direction. The API server's time has whole seconds, and was read at some time of
/// the call.
fn skew(here: SystemTime, took: Duration, date: SystemTime) -> (u64, &'static str) {
    let error = took / 2;
    let ahead = |later: SystemTime, earlier: SystemTime| {
        later.duration_since(earlier).unwrap_or_default().as_secs()
    };
    let before = ahead(here - error, date + Duration::from_secs(1));
    let behind = ahead(date, here + error);
    if before > 0 {
        (before, "ahead of")
    } else {
        (behind, "behind")
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_clock_within_what_a_call_can_tell_agrees() {
        let took = Duration::from_millis(100);
        for here in [9_950, 10_000, 10_999, 11_900] {
            assert_eq!(skew(at(here), took, at(10_000)).0, 0, "{here}");
        }
    }

    #[test]
    fn a_clock_is_behind_or_ahead_by_whole_seconds() {
        let took = Duration::from_millis(100);
        assert_eq!(skew(at(3_000), took, at(10_000)), (6, "behind"));
        assert_eq!(skew(at(18_000), took, at(10_000)), (6, "ahead of"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(parts("v1.36.3+simkube"), Some((1, 36)));
        assert_eq!(parts("v1.9.0"), Some((1, 9)));
        assert!((1, 9) < LEAST);
        assert_eq!(parts("unknown"), None);
    }
}
