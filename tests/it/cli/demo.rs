//! `headcount demo`: one command, and everything that it prints works.

use std::{
    net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, process::Command,
    time::Duration,
};

use crate::support::{
    Client, eventually,
    program::{Program, headcount},
};

#[tokio::test]
async fn the_demo_serves_with_what_it_prints_and_ends_on_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = headcount(["demo", "--listen=127.0.0.1:0", "--still"]);
    command.current_dir(folder.path());
    let program = Program::start(command);
    let printed = async || {
        program
            .stdout()
            .iter()
            .any(|line| line.starts_with("kubectl "))
    };
    eventually(Duration::from_secs(20), "instructions", printed).await;
    let words = program.stdout();
    let address = program
        .line("server.listening", 1)
        .await
        .text("address")
        .to_owned();
    assert!(
        words
            .iter()
            .any(|line| line.contains(&format!("headcount serves https://{address}/api/v1 "))),
        "{words:#?}"
    );
    let commands: Vec<_> = words
        .iter()
        .filter(|line| line.starts_with("curl "))
        .collect();
    let after = |command: &str, flag: &str| {
        let value = command
            .split_once(&format!(" {flag} "))?
            .1
            .split(' ')
            .next()?;
        Some(folder.path().join(value))
    };
    let address: SocketAddr = address.parse().unwrap();
    // The certificates of each printed command do what it says: four for alice, three that are refused.
    let mut let_in = Vec::new();
    for command in commands
        .iter()
        .filter(|command| command.contains("https://"))
    {
        let ca = after(command, "--cacert").unwrap();
        let client = match (after(command, "--cert"), after(command, "--key")) {
            (Some(chain), Some(key)) => Client::with_files(address, &ca, &chain, &key),
            _ => Client::new(address, &std::fs::read_to_string(ca).unwrap(), None),
        };
        let request = http::Request::get("/api/v1/health").header("host", "demo");
        let_in.push(
            client
                .try_send(request.body(Default::default()).unwrap())
                .await
                .is_ok(),
        );
    }
    assert_eq!(
        let_in,
        [true, true, true, true, false, false, false],
        "{commands:#?}"
    );

    let files = folder.path().join("headcount-demo");
    // So do the client's commands.
    let contexts = words
        .iter()
        .find_map(|line| line.strip_prefix("export HEADCOUNT_CONTEXTS="))
        .unwrap();
    for word in ["get shop", "get shop --context=demo"] {
        let mut command = headcount(word.split(' ').chain(["-o", "name"]));
        command.env("HEADCOUNT_CONTEXTS", folder.path().join(contexts));
        let ended = Program::start(command).ended().await;
        assert_eq!(
            (ended.code, &ended.stdout[..]),
            (Some(0), &["web/shop".to_owned()][..]),
            "{ended:#?}"
        );
    }
    // And the batches of the client's documentation.
    let batches = include_str!("../../../docs/client.md").lines();
    let batches =
        batches.filter(|line| line.starts_with("headcount batch ") && !line.contains('|'));
    let batches: Vec<_> = batches.filter(|line| !line.contains(" -f ")).collect();
    assert_eq!(batches.len(), 2, "{batches:#?}");
    for line in batches {
        let line = line.replacen("headcount", env!("CARGO_BIN_EXE_headcount"), 1);
        let works = async || {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{line} --dry-run")]);
            command.env("HEADCOUNT_CONTEXTS", folder.path().join(contexts));
            let ended = Program::start(command).ended().await;
            let many = ended
                .stdout
                .iter()
                .filter(|l| l.contains("would be scaled"));
            ended.code == Some(0) && many.count() > 2
        };
        eventually(Duration::from_secs(20), &line, works).await;
    }
    let pair = |name: &str| {
        (
            files.join(format!("{name}.crt")),
            files.join(format!("{name}.key")),
        )
    };
    for name in ["client", "client2"] {
        let (chain, key) = pair(name);
        let client = Client::with_files(address, &files.join("ca.crt"), &chain, &key);
        let healthy = async || client.get("/health").await.status == 200;
        eventually(Duration::from_secs(20), "health", healthy).await;
        assert_eq!(
            client
                .get("/deployments")
                .await
                .json()
                .as_array()
                .unwrap()
                .len(),
            24
        );
        let before = client.count("web", "shop").await.unwrap();
        assert_eq!(
            client.scale("web", "shop", before + 1, &[]).await.status,
            200
        );
        assert_eq!(client.count("web", "shop").await, Ok(before + 1));
    }
    for name in ["server", "client", "client2", "expired", "foreign"] {
        let (chain, key) = pair(name);
        assert_eq!((mode(&key), mode(&chain)), (0o600, 0o644), "{name}");
    }
    assert_eq!(mode(&files), 0o700);
    // The authority's key is nowhere.
    assert!(!files.join("ca.key").exists());

    program.signal("INT");
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[tokio::test]
async fn a_second_demo_that_cannot_start_leaves_the_first_ones_files_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let demo = |listen: &str| {
        let mut command = headcount(["demo", "--still", listen]);
        command.current_dir(folder.path());
        Program::start(command)
    };
    let first = demo("--listen=127.0.0.1:0");
    let listening = first.line("server.listening", 1).await;
    let read = || {
        ["ca.crt", "server.key", "client.crt", "kubeconfig"]
            .map(|name| std::fs::read(folder.path().join("headcount-demo").join(name)).unwrap())
    };
    let before = read();
    let second = demo(&format!("--listen={}", listening.text("address")));
    assert_eq!(second.ended().await.code, Some(1));
    assert!(read() == before, "the files are others");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_demo_lives_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = headcount(["demo", "--listen=127.0.0.1:0"]);
    command.current_dir(folder.path());
    let program = Program::start(command);
    program.line("informer.deployment.changed", 1).await;
    program.signal("TERM");
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_demo_without_a_folder_or_a_port_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    for (args, part) in [
        (
            ["demo", "--listen=127.0.0.1:0", "--dir=file/demo"],
            "failed to create the folder file/demo",
        ),
        (
            ["demo", &listen, "--dir=demo"],
            "failed to listen at 127.0.0.1:",
        ),
    ] {
        let mut command = headcount(args);
        command.current_dir(folder.path());
        let ended = Program::start(command).ended().await;
        assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:#?}");
        assert!(ended.stderr[0].contains(part), "{ended:#?}");
        assert_eq!(ended.stdout, [""; 0]);
    }
}
