//! Probes, as a kubelet asks them: from the node, over HTTP, at the Pod's address.

use std::{net::Ipv4Addr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// One of a container's probes.
#[derive(Debug, Clone)]
pub(super) struct HttpProbe {
    address: Ipv4Addr,
    port: u16,
    path: String,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    /// So many successes in a row are one.
    successes: i32,
    /// So many failures in a row are one.
    failures: i32,
}

/// The number of a container's port.
pub(super) fn port(container: &Container, port: &IntOrString) -> u16 {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let mut named = ports.filter(|port| port.name.as_deref() == Some(name));
            named
                .next()
                .unwrap_or_else(|| panic!("no port {name}"))
                .container_port
        }
    };
    u16::try_from(number).unwrap()
}

impl HttpProbe {
    /// With Kubernetes' defaults, which the API server has filled in.
    pub(super) fn new(container: &Container, probe: &Probe, address: Ipv4Addr) -> Self {
        let get = probe.http_get.as_ref().expect("a probe over HTTP");
        assert_ne!(get.scheme.as_deref(), Some("HTTPS"));
        let seconds = |value: Option<i32>, default: i32| {
            Duration::from_secs(u64::try_from(value.unwrap_or(default)).unwrap())
        };
        Self {
            address,
            port: port(container, &get.port),
            path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: probe.success_threshold.unwrap_or(1),
            failures: probe.failure_threshold.unwrap_or(3),
        }
    }

    /// Asks until it is dropped; `found` is told of each verdict, again and again.
    pub(super) async fn ask(self, found: impl Fn(bool)) {
        sleep(self.delay).await;
        let mut turns = interval(self.period);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut successes, mut failures) = (0, 0);
        loop {
            turns.tick().await;
            let answer = timeout(self.timeout, self.answer()).await;
            if matches!(answer, Ok(Ok(200..=399))) {
                (successes, failures) = (successes + 1, 0);
                if successes >= self.successes {
                    found(true);
                }
            } else {
                (successes, failures) = (0, failures + 1);
                if failures >= self.failures {
                    found(false);
                }
            }
        }
    }

    /// Waits for the first success; whether there was one before there were too many failures.
    pub(super) async fn succeeds(self) -> bool {
        let (told, mut first) = tokio::sync::mpsc::unbounded_channel();
        let asking = self.ask(move |verdict| {
            let _ = told.send(verdict);
        });
        tokio::select! {
            () = asking => false,
            verdict = first.recv() => verdict.unwrap_or(false),
        }
    }

    async fn answer(&self) -> std::io::Result<u16> {
        let mut stream = TcpStream::connect((self.address, self.port)).await?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.path, self.address, self.port
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok(status.unwrap_or(0))
    }
}
