//! The program, run with exactly what a Pod that the API server has says of it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard},
};

use k8s_openapi::{
    api::core::v1::{Container, Pod, Service},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, api::ListParams};
use tempfile::TempDir;

use super::{
    environment::{environment, expanded},
    image::{Image, libraries, program, setpriv},
    network::{Link, Network},
    probes,
    volumes::Volumes,
};
use crate::support::{lines::Line, program::Program};

/// What is in every container, from the node's.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// A Pod whose program runs; it is killed when this is dropped.
pub(crate) struct RenderedPod {
    pub(crate) name: String,
    /// Not loopback's.
    pub(crate) address: Ipv4Addr,
    pub(super) container: Container,
    program: Mutex<Option<Program>>,
    pub(super) volumes: Volumes,
    _folder: TempDir,
}

impl RenderedPod {
    /// Starts the program of a Pod; an error is what is missing in the cluster still, such as a Secret.
    pub(crate) async fn start(
        pod: &Pod,
        client: &Client,
        network: &Network,
    ) -> Result<Self, String> {
        let spec = pod.spec.as_ref().unwrap();
        let container = spec.containers[0].clone();
        assert!(container.lifecycle.is_none(), "tests don't know hooks");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let volumes = Volumes::mount(client, pod, &made(&path.join("volumes"))).await?;
        let services = Api::<Service>::all(client.clone())
            .list(&ListParams::default())
            .await;
        let services = services.map_err(|error| error.to_string())?.items;
        let link = network.link();
        let environment = environment(pod, &container, link.pod, &services);

        let image = Image::read();
        let words: Vec<_> = image
            .words(container.command.clone(), container.args.clone())
            .iter()
            .map(|word| expanded(word, &environment))
            .collect();
        let name = pod.metadata.name.clone().unwrap();
        let etc = made(&path.join("etc"));
        fs::write(etc.join("hosts"), hosts(pod, link.pod, &services)).unwrap();
        fs::write(path.join("network"), wiring(network, &link, &name)).unwrap();
        fs::write(
            path.join("mounts"),
            mounts(&container, &volumes, &image, &etc),
        )
        .unwrap();
        fs::write(
            path.join("privileges"),
            privileges(pod, &container).join("\n"),
        )
        .unwrap();
        let variables = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}\0"));
        fs::write(path.join("environment"), variables.collect::<String>()).unwrap();
        let mut sandboxed = Command::new("unshare");
        sandboxed
            .args(["--net", "--mount", "--uts"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/node/sandbox"))
            .arg(path)
            .args(words);
        Ok(Self {
            name,
            address: link.pod,
            container,
            program: Mutex::new(Some(Program::start(sandboxed))),
            volumes,
            _folder: folder,
        })
    }

    /// Where one of its ports is, by name.
    pub(crate) fn port(&self, name: &str) -> SocketAddr {
        let port = probes::port(&self.container, &IntOrString::String(name.to_owned()));
        (self.address, port).into()
    }

    /// The lines of one event so far.
    pub(crate) fn lines(&self, event: &str) -> Vec<Line> {
        self.program()
            .as_ref()
            .map_or(vec![], |program| program.lines(event))
    }

    /// The program, until its end is waited for.
    pub(crate) fn program(&self) -> MutexGuard<'_, Option<Program>> {
        self.program.lock().unwrap()
    }
}

/// A new folder.
fn made(path: &Path) -> std::path::PathBuf {
    fs::create_dir(path).unwrap();
    path.to_owned()
}

/// The sandbox's `network`.
fn wiring(network: &Network, link: &Link, name: &str) -> String {
    let Link {
        pod,
        node,
        interface,
    } = link;
    format!("{} {pod} {node} {interface} {name}\n", network.process())
}

/// The sandbox's `mounts`.
fn mounts(container: &Container, volumes: &Volumes, image: &Image, etc: &Path) -> String {
    let mut lines = String::new();
    let mut line = |mode: &str, source: &Path, target: &str| {
        lines += &format!("{mode}\t{}\t{target}\n", source.display());
    };
    let setpriv = setpriv();
    line("ro", Path::new(program()), image.program());
    line("ro", Path::new(&setpriv), "/setpriv");
    for library in libraries(&[program(), &setpriv]) {
        line("ro", &library, library.to_str().unwrap());
    }
    line("rw", Path::new("/proc"), "/proc");
    for device in DEVICES {
        line("rw", Path::new(device), device);
    }
    line("ro", &etc.join("hosts"), "/etc/hosts");
    for mount in container.volume_mounts.iter().flatten() {
        assert!(
            mount.sub_path.is_none(),
            "a subPath isn't kept current: {mount:?}"
        );
        let (folder, always) = volumes.folder(&mount.name);
        let read_only = always || mount.read_only == Some(true);
        line(
            if read_only { "ro" } else { "rw" },
            folder,
            &mount.mount_path,
        );
    }
    lines
}

/// What cluster DNS would answer, beside the Pod's own name.
fn hosts(pod: &Pod, address: Ipv4Addr, services: &[Service]) -> String {
    let mut lines = format!(
        "127.0.0.1 localhost\n{address} {}\n",
        pod.metadata.name.as_ref().unwrap()
    );
    for service in services {
        let metadata = &service.metadata;
        let (name, namespace) = (
            metadata.name.as_ref().unwrap(),
            metadata.namespace.as_ref().unwrap(),
        );
        let ip = service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.as_deref());
        let Some(ip) = ip.filter(|ip| *ip != "None") else {
            continue;
        };
        let long = format!("{name}.{namespace}");
        lines += &format!("{ip} {long}.svc.cluster.local {long}.svc {long}");
        if metadata.namespace == pod.metadata.namespace {
            lines += &format!(" {name}");
        }
        lines.push('\n');
    }
    lines
}

/// What `setpriv` is told: the user and the rights of a container's security context, the Pod's where it has none of its own.
fn privileges(pod: &Pod, container: &Container) -> Vec<String> {
    let (of_pod, own) = (
        pod.spec
            .as_ref()
            .unwrap()
            .security_context
            .clone()
            .unwrap_or_default(),
        container.security_context.clone().unwrap_or_default(),
    );
    assert_eq!(
        own.read_only_root_filesystem,
        Some(true),
        "the sandbox's root is read-only"
    );
    let user = own.run_as_user.or(of_pod.run_as_user).expect("a user");
    let group = own.run_as_group.or(of_pod.run_as_group).unwrap_or(0);
    let mut groups: Vec<_> = of_pod
        .supplemental_groups
        .into_iter()
        .flatten()
        .chain(of_pod.fs_group)
        .collect();
    groups.sort_unstable();
    let mut told = vec![format!("--reuid={user}"), format!("--regid={group}")];
    told.push(if groups.is_empty() {
        "--clear-groups".to_owned()
    } else {
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        format!("--groups={}", groups.join(","))
    });
    if own.allow_privilege_escalation == Some(false) {
        told.push("--no-new-privs".to_owned());
    }
    let capabilities = own.capabilities.unwrap_or_default();
    assert!(capabilities.add.is_none(), "{capabilities:?}");
    if capabilities.drop.is_some_and(|dropped| dropped == ["ALL"]) {
        told.extend(
            [
                "--inh-caps=-all",
                "--ambient-caps=-all",
                "--bounding-set=-all",
            ]
            .map(str::to_owned),
        );
    }
    told
}
