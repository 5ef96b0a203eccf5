//! The commands that the release's notes print, run as they stand.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::cluster::{Cluster, ended, words};

/// In the place of kubectl for the one thing that takes a kubelet's own server; all else is kubectl's.
const KUBECTL: &str = r#"#!/bin/sh
for word; do
	if [ "$word" = port-forward ]; then
		printf '%s\n' "$@" >"$FORWARD.new" && mv "$FORWARD.new" "$FORWARD"
		exec sleep 600
	fi
done
exec "$KUBECTL" "$@"
"#;

/// The indented commands under a sentence of the notes.
fn commands(notes: &str, sentence: &str) -> String {
    let (_, after) = notes
        .split_once(sentence)
        .unwrap_or_else(|| panic!("{notes}"));
    let lines = after.lines().skip(1).skip_while(|line| line.is_empty());
    let commands: Vec<_> = lines.map_while(|line| line.strip_prefix("  ")).collect();
    assert!(!commands.is_empty(), "{notes}");
    commands.join("\n")
}

/// Runs them; what the last of them wrote is the list of Deployments.
pub(super) async fn as_the_notes_say(cluster: &Cluster, notes: &str) -> Value {
    let folder = tempfile::tempdir_in(cluster.folder.path()).unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("kubectl"), KUBECTL).unwrap();
    fs::set_permissions(bin.join("kubectl"), fs::Permissions::from_mode(0o755)).unwrap();
    let forward = folder.path().join("forward");
    let forwarding = forwarding(cluster, &forward);

    let rollout = commands(notes, "See it become ready:");
    let request = commands(notes, "A first request, from this machine:");
    let mut shell = cluster.shell("bash");
    let path = shell.as_std().get_envs().find_map(|(name, value)| {
        (name == "PATH").then(|| value.unwrap().to_str().unwrap().to_owned())
    });
    let path = path.unwrap();
    let (real, _) = path.split_once(':').unwrap();
    shell
        .env("KUBECTL", format!("{real}/kubectl"))
        .env("FORWARD", &forward)
        .env("PATH", format!("{}:{path}", bin.display()))
        .current_dir(folder.path())
        .args(["-euc", &format!("{rollout} >&2\n{request}")]);
    let output = ended(&mut shell).await;
    forwarding.abort();
    let (words, errors) = words(&output);
    assert!(output.status.success(), "{request}\n{words}\n{errors}");
    let key = fs::metadata(folder.path().join("client.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&words).unwrap_or_else(|error| panic!("{error}: {words}\n{errors}"))
}

/// Forwards what kubectl was asked to, to the Service that it was asked to.
fn forwarding(cluster: &Cluster, request: &Path) -> JoinHandle<()> {
    let (client, request) = (cluster.control_plane.client(), request.to_owned());
    tokio::spawn(async move {
        let words = loop {
            match fs::read_to_string(&request) {
                Ok(words) => break words,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let words: Vec<_> = words.lines().collect();
        let ["--namespace", namespace, "port-forward", service, ports] = words[..] else {
            panic!("{words:?}")
        };
        let name = service.strip_prefix("service/").unwrap();
        let (here, there) = ports.split_once(':').unwrap();
        let (here, there): (u16, u16) = (here.parse().unwrap(), there.parse().unwrap());
        let services =
            kube::Api::<k8s_openapi::api::core::v1::Service>::namespaced(client, namespace);
        let spec = services.get(name).await.unwrap().spec.unwrap();
        let mut known = spec.ports.iter().flatten();
        assert!(known.any(|port| port.port == i32::from(there)), "{words:?}");
        let ip: std::net::Ipv4Addr = spec.cluster_ip.unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", here)).await.unwrap();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect((ip, there)).await.unwrap();
            // The client hangs up when it has its answer.
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
    })
}
