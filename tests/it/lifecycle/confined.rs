//! Few rights and few file descriptors.

use std::{os::unix::fs::PermissionsExt as _, process::Command, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{
    SimCluster, eventually,
    program::{Program, Serving, serve},
    skipped,
};

/// The command, run by a shell that does something before it.
fn after(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("-ec")
        .arg(format!("{script}\nexec $RUN \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

#[tokio::test]
async fn more_connections_than_file_descriptors_take_nothing_from_those_who_are_there_and_it_recovers()
 {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    let command = after(
        "ulimit -n 256; RUN=",
        &serve(&files, cluster.kubeconfig(), &[]),
    );
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    let path = "/namespaces/web/deployments/shop/replicas";
    let get = || serving.client.request(http::Method::GET, path, &[], "");
    let mut kept = serving.client.open().await.unwrap();
    let mut flood = Vec::new();
    assert_eq!(kept.send(get()).await.unwrap().status, 200);
    for _ in 0..400 {
        // What the kernel has no queue for isn't waited for, and what is refused has cost nothing.
        let connected = TcpStream::connect(serving.address);
        if let Ok(Ok(stream)) = timeout(Duration::from_millis(10), connected).await {
            flood.push(stream);
        }
    }
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        assert_eq!(kept.send(get()).await.unwrap().status, 200);
    }
    // The watch goes on, too.
    cluster.cluster.scale("web", "shop", 4);
    let followed = async || {
        let told = serving.program.lines("informer.deployment.changed");
        told.len() == 1
    };
    eventually(Duration::from_secs(2), "the cluster's change", followed).await;
    drop(flood);
    let served = async || {
        let answer = serving.client.try_send(get()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    };
    eventually(Duration::from_secs(10), "new callers are served", served).await;
    assert_eq!(serving.admin("GET", "/readyz").await.0, 200);
    assert_eq!(serving.terminated().await.code, Some(0));
}

/// Whether this machine lets a test make namespaces; in CI it has to.
fn may_unshare() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let may = tried.is_ok_and(|output| output.status.success());
    assert!(
        may || std::env::var_os("CI").is_none(),
        "unshare and root are needed"
    );
    if !may {
        skipped("without unshare and root no read-only root can be made");
    }
    may
}

#[tokio::test]
async fn it_runs_with_a_read_only_root_as_nobody_and_without_capabilities() {
    if !may_unshare() {
        return;
    }
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let folder = tempfile::tempdir().unwrap();
    let files = headcount::pki::write_demo(folder.path()).unwrap();
    // A program and files that anybody may read, in a place that anybody may enter.
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    for file in [&files.server.certificate, &files.server.key, &files.ca] {
        open(file, 0o644);
    }
    let command = serve(&files, cluster.kubeconfig(), &[]);
    let program = folder.path().join("headcount");
    std::fs::copy(command.get_program(), &program).unwrap();
    open(&program, 0o755);
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::copy(cluster.kubeconfig(), &kubeconfig).unwrap();
    open(&kubeconfig, 0o644);
    let mut inner = Command::new(&program);
    inner.args(serve(&files, &kubeconfig, &[]).get_args());
    let script = "mount --make-rprivate /\n\
        mount -o bind,remount,ro /\n\
        if touch \"${0%/*}/x\" 2>/dev/null; then echo 'the root can be written to' >&2; exit 9; fi\n\
        RUN='setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all'";
    let shell = after(script, &inner);
    let mut confined = Command::new("unshare");
    confined
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("--mount")
        .arg(shell.get_program())
        .args(shell.get_args());
    let serving = Serving::of(Program::start(confined), files, folder).await;
    serving.becomes_ready().await;
    let status = serving.program.status();
    for (field, value) in [
        ("Uid", "65532"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        assert!(line.contains(value), "{line}");
    }
    assert_eq!(serving.client.count("web", "shop").await, Ok(3));
    let write = serving.client.scale("web", "shop", 5, &[]).await;
    assert_eq!(write.status, 200);
    assert_eq!(serving.terminated().await.code, Some(0));
}
