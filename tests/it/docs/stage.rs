//! Where the commands of a page run: a copy of the project, a cluster, and in PATH what a reader has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{page::project, script::Script};
use crate::chart::{HEADCOUNT, World};

/// For all commands of a page.
const PATIENCE: Duration = Duration::from_secs(300);
/// What commands of the documentation use of the project.
const COPIED: [&str; 5] = [
    ".ci",
    "Cargo.toml",
    "Makefile",
    "deploy",
    "tests/controlplane/go/go.mod",
];

/// A world for one page after the other, each of which begins with nothing in it.
pub(super) struct Stage {
    world: World,
    /// The cluster's own.
    namespaces: BTreeSet<String>,
    /// All that may be in one.
    kinds: String,
}

impl Stage {
    pub(super) async fn set(world: World) -> Self {
        let kinds = [
            "api-resources",
            "--namespaced",
            "--verbs=delete,list",
            "--output=name",
        ];
        let kinds = world.cluster.kubectl(&kinds).await;
        let mut stage = Self {
            world,
            namespaces: BTreeSet::new(),
            kinds: kinds.lines().collect::<Vec<_>>().join(","),
        };
        stage.end(HEADCOUNT).await;
        stage.namespaces = stage.namespaces().await;
        stage
    }

    async fn namespaces(&self) -> BTreeSet<String> {
        let names = self
            .world
            .cluster
            .kubectl(&["get", "namespaces", "--output=name"])
            .await;
        names.lines().map(str::to_owned).collect()
    }

    /// Runs a page's commands in a folder of their own: what they wrote, or what is wrong with them.
    #[allow(clippy::print_stdout, reason = "for whoever asks for one page")]
    pub(super) async fn run(&self, script: &Script) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let forwarding = forward(folder.path().join("forwards"));
        let ended = self.ended(script, &folder).await;
        forwarding.abort();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        for (number, said) in script.said.iter().enumerate() {
            // None, where the script ended before it.
            let Ok(text) = fs::read_to_string(folder.path().join(format!("said-{number}"))) else {
                break;
            };
            if !said.is(&text) {
                let (place, command, output) = (&said.place, &said.command, &said.output);
                return Err(format!(
                    "{place}: {command}\nis shown to say\n{output}\nand says\n{text}"
                ));
            }
        }
        ended.map(|()| read("output")).map_err(|how| {
            let mut text = format!(
                "{}: {how}\n{}\n{}",
                read("at").trim(),
                read("output"),
                read("server")
            );
            for (name, ended) in self.world.kubelet.ended() {
                if ended.code != Some(0) {
                    text += &format!("\n{name} ended with {:?}: {:#?}", ended.code, ended.stderr);
                }
            }
            text
        })
    }

    async fn ended(&self, script: &Script, folder: &TempDir) -> Result<(), String> {
        let path = folder.path();
        let (copied, programs) = (path.join("headcount"), path.join("programs"));
        fs::create_dir(&copied).unwrap();
        for name in COPIED {
            let to = copied.join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            copy(&project(name), &to);
        }
        copy(&project("tests/it/docs/programs"), &programs);
        symlink(env!("CARGO_BIN_EXE_headcount"), programs.join("headcount")).unwrap();
        fs::create_dir(path.join("forwards")).unwrap();
        fs::write(path.join("script"), &script.text).unwrap();
        let output = fs::File::create(path.join("output")).unwrap();

        let mut bash = self.world.cluster.shell("bash");
        let given: BTreeMap<_, _> = bash
            .as_std()
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let usual = given[std::ffi::OsStr::new("PATH")].to_str().unwrap();
        let (real, _) = usual.split_once(':').unwrap();
        bash.arg(path.join("script"))
            .current_dir(&copied)
            .env("PATH", format!("{}:{usual}", programs.display()))
            .env("STAGE", path)
            .env("RUSTUP_HOME", rustup())
            .env("FORWARDS", path.join("forwards"))
            .env("REAL_KUBECTL", format!("{real}/kubectl"))
            .env("PROGRAM", env!("CARGO_BIN_EXE_headcount"))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        let mut child = bash.spawn().unwrap();
        let group = child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()))
            .unwrap();
        let end = |signal| {
            // It may be gone.
            let _ = rustix::process::kill_process_group(group, signal);
        };
        let status = match timeout(PATIENCE, child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => {
                end(rustix::process::Signal::TERM);
                let _ = timeout(Duration::from_secs(5), child.wait()).await;
                end(rustix::process::Signal::KILL);
                return Err(format!("it goes on after {PATIENCE:?}"));
            }
        };
        // Whatever a script that was ended early left running.
        end(rustix::process::Signal::KILL);
        match status.success() {
            true => Ok(()),
            false => Err(format!("it ended with {status}")),
        }
    }

    /// Leaves the cluster as it was before the page.
    pub(super) async fn clear(&self) {
        self.world.kubelet.has_not_failed();
        let cluster = &self.world.cluster;
        let labelled = "--selector=app.kubernetes.io/name=headcount";
        cluster
            .kubectl(&["delete", "clusterrole,clusterrolebinding", labelled])
            .await;
        let left = self.namespaces().await;
        for namespace in left.difference(&self.namespaces) {
            self.end(namespace.strip_prefix("namespace/").unwrap())
                .await;
        }
    }

    /// Ends a namespace with all that is in it at once: the controller would wait for five seconds, and for each Pod's end.
    async fn end(&self, namespace: &str) {
        let cluster = &self.world.cluster;
        cluster
            .kubectl(&["delete", "namespace", namespace, "--wait=false"])
            .await;
        let within = format!("--namespace={namespace}");
        let all = [
            &within,
            "--all",
            "--force",
            "--grace-period=0",
            "--wait=false",
        ];
        cluster
            .kubectl(&[&["delete", &self.kinds], &all[..]].concat())
            .await;
        let nothing = cluster.folder.path().join("finalized.json");
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}, "spec": {"finalizers": []}});
        fs::write(&nothing, object.to_string()).unwrap();
        let path = format!("/api/v1/namespaces/{namespace}/finalize");
        let nothing = format!("--filename={}", nothing.display());
        let replace = ["replace", "--raw", &path, &nothing];
        // The controller may have been faster.
        if let Err(error) = cluster.control_plane.kubectl(&replace).await {
            assert!(error.to_string().contains("NotFound"), "{error}");
        }
    }
}

/// Where the compiler is looked for, since the commands have another home.
fn rustup() -> std::ffi::OsString {
    let home = std::env::var_os("HOME").unwrap_or_default();
    std::env::var_os("RUSTUP_HOME").unwrap_or_else(|| Path::new(&home).join(".rustup").into())
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

/// Forwards ports of 127.0.0.1: a file in the folder is named after one, holds where to, and is removed at the end.
fn forward(folder: PathBuf) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut forwarded: BTreeMap<u16, JoinSet<()>> = BTreeMap::new();
        loop {
            let asked = fs::read_dir(&folder).into_iter().flatten();
            let asked: BTreeMap<u16, String> = asked
                .filter_map(|entry| {
                    let path = entry.ok()?.path();
                    let port = path.file_name()?.to_str()?.parse().ok()?;
                    Some((port, fs::read_to_string(&path).ok()?.trim().to_owned()))
                })
                .collect();
            // Dropped, it listens no more.
            forwarded.retain(|port, _| asked.contains_key(port));
            for (port, target) in asked {
                forwarded
                    .entry(port)
                    .or_insert_with(|| JoinSet::from_iter([listen(port, target)]));
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
}

async fn listen(port: u16, target: String) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let target = target.clone();
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(target).await {
                // The client hangs up when it has its answer.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
