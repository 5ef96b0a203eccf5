//! A network namespace of the test's own: nothing outside is reached from it, and its Pods have addresses that aren't loopback.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::skipped;

/// Holds the namespace until its input ends, which is when this process does. kube-apiserver looks for a default route, whose other
/// end is nobody's. With IPv6 it would have one more address after a while, which a browser takes for another network.
const HOLDER: &str = "ip link set lo up &&
    ip link add uplink type veth peer name nowhere &&
    for end in uplink nowhere; do echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6 || true; done 2>/dev/null &&
    ip address add 192.0.2.1/24 dev uplink && ip link set nowhere up && ip link set uplink up &&
    ip route add default via 192.0.2.254 && echo up && exec cat";

/// The namespace, which ends with this.
pub(crate) struct Network {
    holder: Child,
    pods: AtomicU32,
}

/// What connects a Pod with its node.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) pod: Ipv4Addr,
    pub(super) node: Ipv4Addr,
    /// The interface on the node.
    pub(super) interface: String,
}

impl Drop for Network {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Network {
    /// `None` where this machine doesn't let a test make one; in CI it has to.
    fn create() -> Option<Self> {
        let tried = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--uts",
                "setpriv",
                "--bounding-set=-all",
                "ip",
                "link",
            ])
            .output();
        if !tried.is_ok_and(|output| output.status.success()) {
            assert!(
                std::env::var_os("CI").is_none(),
                "root, unshare, nsenter, setpriv and ip are needed: apt-get install util-linux iproute2"
            );
            return None;
        }
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(holder.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        Some(Self {
            holder,
            pods: AtomicU32::new(0),
        })
    }

    /// The calling thread, and all that it starts, is in this network from now on.
    fn enter(&self) {
        let namespace = File::open(format!("/proc/{}/ns/net", self.process())).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// A process in it.
    pub(super) fn process(&self) -> u32 {
        self.holder.id()
    }

    /// The addresses of one more Pod.
    pub(super) fn link(&self) -> Link {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        let [.., high, low] = (number * 4).to_be_bytes();
        Link {
            pod: Ipv4Addr::new(10, 244, high, low + 2),
            node: Ipv4Addr::new(10, 244, high, low + 1),
            interface: format!("pod{number}"),
        }
    }
}

/// Runs a test in a network of its own, where this machine lets it.
pub(crate) fn in_a_network<F: Future<Output = ()>>(test: impl FnOnce(Arc<Network>) -> F + Send) {
    let Some(network) = Network::create().map(Arc::new) else {
        skipped(
            "without root, unshare, nsenter, setpriv and ip there is no network of the test's own for Pods",
        );
        return;
    };
    run(Some(&network), || test(Arc::clone(&network)));
}

/// Runs a test in a network that nothing else of this machine changes, or in the machine's where none can be made.
pub(crate) fn in_a_quiet_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    run(Network::create().as_ref(), test);
}

/// Runs a test on a thread of its own, which has the name of this one for panics.
fn run<F: Future<Output = ()>>(network: Option<&Network>, test: impl FnOnce() -> F + Send) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let ended = thread::scope(|scope| {
        let inside = thread::Builder::new().name(name).spawn_scoped(scope, || {
            if let Some(network) = network {
                network.enter();
            }
            // Its threads are started by this one.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
            runtime.unwrap().block_on(test());
        });
        inside.unwrap().join()
    });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}
