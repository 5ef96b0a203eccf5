//! The program in a root that holds what the image holds, and what a kubelet adds; nobody may write in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use headcount::pki;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::{all, checkout, stages};
use crate::support::{
    SecuredCluster,
    program::{Program, Serving},
    skipped,
};

/// The name that a caller in the cluster knows the server by.
const NAME: &str = "headcount.headcount.svc.cluster.local";

/// A folder with what the last stage of a Dockerfile copies.
struct Root {
    folder: TempDir,
    /// The program's path in it.
    program: String,
}

impl Drop for Root {
    fn drop(&mut self) {
        // Its folders can't be emptied otherwise.
        self.set_folders(0o755);
    }
}

impl Root {
    /// headcount's.
    fn new() -> Self {
        Self::of("deploy", Path::new(env!("CARGO_BIN_EXE_headcount")))
    }

    /// That of the Dockerfile and the script in a folder, for a program that is built already.
    fn of(folder: &str, program: &Path) -> Self {
        let deploy = checkout().join(folder);
        let dockerfile = fs::read_to_string(deploy.join("Dockerfile")).unwrap();
        let stages = stages(&dockerfile);
        let [build, last] = &stages[..] else {
            panic!("{stages:#?}")
        };
        assert_eq!(all(last, "FROM"), ["scratch"]);
        // All of it is one folder, which a script makes of the program in the stage before: here of one that is built already.
        assert_eq!(all(last, "COPY"), ["--from=build /image/ /"]);
        assert!(all(last, "ADD").is_empty() && all(last, "RUN").is_empty());
        let runs = all(build, "RUN").concat();
        let made: Vec<_> = runs.rsplit(' ').take(3).collect();
        assert!(
            made[0] == "/image" && made[2].ends_with("/image-root"),
            "{runs}"
        );
        let entry = all(last, "ENTRYPOINT").concat();
        let into = tempfile::tempdir().unwrap();
        let output = Command::new(deploy.join("image-root"))
            .arg(program)
            .arg(into.path().join("image"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        Self {
            folder: into,
            program: entry.trim_matches(['[', ']', '"']).to_owned(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Puts a file there, as a kubelet mounts it.
    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let below = path.strip_prefix(self.path()).unwrap();
                    files.push(below.to_str().unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }

    fn set_folders(&self, mode: u32) {
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(mode));
            let inside = fs::read_dir(folder).into_iter().flatten().flatten();
            folders.extend(inside.map(|e| e.path()).filter(|p| p.is_dir()));
        }
    }

    /// The program in it, as the image's user and without any capability; `None` where that isn't allowed.
    fn run(&self, arguments: &[&str]) -> Option<Command> {
        self.set_folders(0o555);
        let command = || {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-user=65532", "--map-group=65532"]);
            command.arg("--root").arg(self.path()).arg("--wd=/");
            command
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap());
            command.stdin(Stdio::null());
            command.arg(&self.program);
            command
        };
        let tried = command().arg("--version").output();
        match tried {
            Ok(output) if output.status.success() => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.starts_with("headcount"), "{said}");
            }
            Ok(output) if output.stderr.starts_with(b"unshare: ") => {
                let said = String::from_utf8_lossy(&output.stderr);
                skipped(&format!("the image's root is not tried: {said}"));
                return None;
            }
            other => panic!("{other:?}"),
        }
        let mut command = command();
        command.args(arguments);
        Some(command)
    }
}

#[test]
fn the_image_holds_the_program_its_four_libraries_and_what_tells_of_them() {
    let root = Root::new();
    let files = root.files();
    let below = |folder: &str| -> Vec<_> {
        let inside = files.iter().filter(|file| file.starts_with(folder));
        inside
            .map(|file| file.rsplit('/').next().unwrap())
            .collect()
    };
    let mut libraries = [below("lib/"), below("lib64/")].concat();
    libraries.sort_unstable();
    let loader = libraries.iter().position(|l| l.starts_with("ld-linux-"));
    libraries.remove(loader.unwrap());
    assert_eq!(libraries, ["libc.so.6", "libgcc_s.so.1", "libm.so.6"]);
    assert_eq!(below("usr/local/"), ["headcount"]);
    assert_eq!(below("usr/share/doc/headcount/"), ["LICENSE"]);
    let bill = root.path().join("usr/share/sbom/headcount.cdx.json");
    let bill: Value = serde_json::from_slice(&fs::read(bill).unwrap()).unwrap();
    assert_eq!(
        bill["metadata"]["component"]["version"],
        env!("CARGO_PKG_VERSION")
    );
    // Who made the libraries, for scanners and for lawyers, where the build machine knows.
    if Path::new("/var/lib/dpkg/status").exists() {
        assert_eq!(below("var/lib/dpkg/status.d/"), ["libc6", "libgcc-s1"]);
        assert_eq!(below("usr/share/doc/libc6/"), ["copyright"]);
        assert_eq!(below("etc/"), ["os-release"]);
    }
    for (file, start) in [("bin", "shell"), ("usr/bin", "tool"), ("sbin", "tool")] {
        assert!(!root.path().join(file).exists(), "{start}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_from_a_root_of_nothing_but_the_image_and_asks_by_a_name_in_dns() {
    let root = Root::new();
    let token = "token-of-the-pod";
    let cluster = SecuredCluster::start(
        simkube::Cluster::new(simkube::Options::default()),
        Some(token),
    )
    .await;
    let kubeconfig: Value =
        serde_json::from_slice(&fs::read(cluster.kubeconfig()).unwrap()).unwrap();
    let api = &kubeconfig["clusters"][0]["cluster"];
    let port = api["server"].as_str().unwrap().rsplit(':').next().unwrap();

    // What a kubelet adds: the account, the Secrets, the names.
    let account = "var/run/secrets/kubernetes.io/serviceaccount";
    let ca = fs::read(api["certificate-authority"].as_str().unwrap()).unwrap();
    root.put(&format!("{account}/ca.crt"), ca);
    root.put(&format!("{account}/token"), token);
    root.put(&format!("{account}/namespace"), "headcount");
    let folder = tempfile::tempdir().unwrap();
    let files = pki::write_demo(folder.path()).unwrap();
    for (place, file) in [
        ("tls.crt", &files.server.certificate),
        ("tls.key", &files.server.key),
        ("client-ca.crt", &files.ca),
        ("client.crt", &files.client.certificate),
        ("client.key", &files.client.key),
    ] {
        root.put(&format!("etc/headcount/{place}"), fs::read(file).unwrap());
    }
    let nameserver = nameserver().await;
    root.put("etc/hosts", "127.0.0.1 localhost\n");
    if let Some(address) = &nameserver {
        let search = "search headcount.svc.cluster.local svc.cluster.local cluster.local";
        root.put(
            "etc/resolv.conf",
            format!("nameserver {address}\n{search}\noptions ndots:5\n"),
        );
    }

    let Some(mut command) = root.run(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--drain-delay=0s",
        "--tls-cert=/etc/headcount/tls.crt",
        "--tls-key=/etc/headcount/tls.key",
        "--client-ca=/etc/headcount/client-ca.crt",
    ]) else {
        return;
    };
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    command.env("KUBERNETES_SERVICE_PORT", port);
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    let status = serving.program.status();
    assert!(status.contains("\nCapEff:\t0000000000000000"), "{status}");

    let mut names = vec!["localhost"];
    match nameserver {
        Some(_) => names.push(NAME),
        None => {
            skipped("no name is asked of DNS in the image's root, because port 53 can't be had")
        }
    }
    for name in names {
        let asked = root.run(&[
            "health",
            &format!("--server=https://{name}:{}", serving.address.port()),
            "--ca=/etc/headcount/client-ca.crt",
            "--cert=/etc/headcount/client.crt",
            "--key=/etc/headcount/client.key",
        ]);
        let ended = Program::start(asked.unwrap()).ended().await;
        assert_eq!(ended.code, Some(0), "{name}: {ended:#?}");
        assert_eq!(
            ended.stdout,
            [r#"{"status":"healthy","kubernetes":"connected"}"#]
        );
    }
    let ended = serving.terminated().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[test]
fn the_log_sidecar_runs_from_a_root_of_its_program_its_configuration_and_public_authorities() {
    let built = Command::new(checkout().join("deploy/collector/build"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let program = String::from_utf8(built.stdout).unwrap();
    let root = Root::of("deploy/collector", Path::new(program.trim()));
    assert_eq!(
        root.files(),
        [
            "etc/headcount-collector/config.yaml",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/local/bin/headcount-collector",
        ]
    );
    let Some(mut command) = root.run(&["components"]) else {
        return;
    };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("file_log"),
        "{output:?}"
    );
}

/// A DNS server that knows one name, at an address of its own; `None` where its port can't be had.
async fn nameserver() -> Option<String> {
    const ADDRESS: &str = "127.53.53.53";
    let socket = UdpSocket::bind((ADDRESS, 53)).await.ok()?;
    let mut known = Vec::new();
    for label in NAME.split('.') {
        known.push(label.len() as u8);
        known.extend(label.as_bytes());
    }
    known.push(0);
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            // RFC 1035, 4.1: a header of twelve bytes, then the question: a name, its type, its class.
            let question = &query[12..length];
            let end = question.iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
            let is_known = question[..end - 4] == known;
            let is_address = question[end - 3] == 1;
            let mut answer = query[..12].to_vec();
            answer[2..4].copy_from_slice(if is_known {
                &[0x81, 0x80]
            } else {
                &[0x81, 0x83]
            });
            answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_known && is_address), 0, 0, 0, 0]);
            answer.extend(&question[..end]);
            if is_known && is_address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    Some(ADDRESS.to_owned())
}

#[test]
fn a_root_is_made_of_a_program_into_a_new_folder_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    for (program, place, part) in [
        (
            "/nonexistent/headcount",
            "new",
            "is no program: build it first",
        ),
        (env!("CARGO_BIN_EXE_headcount"), "", "must be a new folder"),
    ] {
        let made = Command::new(checkout().join("deploy/image-root"))
            .arg(program)
            .arg(folder.path().join(place))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert_eq!(made.status.code(), Some(1), "{said}");
        assert!(said.contains(part), "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
