//! Where settings come from, and what the program says of itself.

use std::fs;

use super::{prepared, tls_flags};
use crate::support::{
    SimCluster,
    lines::Line,
    program::{Program, Serving, headcount},
};

#[tokio::test]
async fn flags_win_then_the_environment_then_the_file() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    cluster.create("jobs", "mailer", 1);
    let (folder, files, _) = prepared();
    let file = folder.path().join("headcount.yaml");
    let settings = "apiVersion: headcount/v1alpha1\nkind: Configuration\nlisten: 127.0.0.1:0\nadminListen: 127.0.0.1:0\n\
        maxReplicas: 1\nlogging: {format: text}\nreadOnly: true\nnamespace: [jobs]\n";
    fs::write(&file, settings).unwrap();
    let mut command = headcount(["serve", "--max-replicas=3", "--read-only=false"]);
    command.args(tls_flags(&files)).arg("--config").arg(&file);
    command.env("HEADCOUNT_KUBECONFIG", cluster.kubeconfig());
    command.envs([
        ("HEADCOUNT_MAX_REPLICAS", "2"),
        ("HEADCOUNT_LOG_FORMAT", "json"),
        ("HEADCOUNT_READ_ONLY", "true"),
    ]);
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    // The form is the environment's, the bound and the permission to write the flags', the namespace the file's.
    assert!(
        serving
            .program
            .stderr()
            .iter()
            .all(|line| line.starts_with('{'))
    );
    assert_eq!(
        serving.client.scale("jobs", "mailer", 3, &[]).await.status,
        200
    );
    let above = serving.client.scale("jobs", "mailer", 4, &[]).await;
    assert_eq!(above.status, 422);
    assert!(above.error().contains("maximum of 3"), "{}", above.error());
    assert_eq!(
        serving.client.count("web", "shop").await,
        Err(http::StatusCode::NOT_FOUND)
    );
}

#[tokio::test]
async fn the_environment_alone_is_enough() {
    let cluster = SimCluster::start().await;
    let (folder, files, _) = prepared();
    let file = folder.path().join("headcount.yaml");
    fs::write(
        &file,
        "apiVersion: headcount/v1alpha1\nkind: Configuration\nreadOnly: true\n",
    )
    .unwrap();
    let mut command = headcount(["serve"]);
    command
        .env("HEADCOUNT_CONFIG", &file)
        .env("HEADCOUNT_KUBECONFIG", cluster.kubeconfig());
    command
        .env("HEADCOUNT_TLS_CERT", &files.server.certificate)
        .env("HEADCOUNT_TLS_KEY", &files.server.key);
    command.env(
        "HEADCOUNT_CLIENT_CA",
        format!("{},{}", files.ca.display(), files.foreign_ca.display()),
    );
    command.envs([
        ("HEADCOUNT_LISTEN", "127.0.0.1:0"),
        ("HEADCOUNT_ADMIN_LISTEN", "127.0.0.1:0"),
    ]);
    // What Kubernetes puts beside a Service of that name is no setting.
    command.envs([
        ("HEADCOUNT_PORT", "tcp://10.0.0.1:443"),
        ("HEADCOUNT_SERVICE_HOST", "10.0.0.1"),
    ]);
    let serving = Serving::of(Program::start(command), files, folder).await;
    serving.becomes_ready().await;
    assert_eq!(
        serving.client.scale("web", "shop", 1, &[]).await.status,
        503
    );
}

#[tokio::test]
async fn several_namespaces_are_served_and_no_other() {
    let cluster = SimCluster::start().await;
    for namespace in ["web", "jobs", "search"] {
        cluster.create(namespace, "app", 2);
    }
    let serving = Serving::healthy(
        cluster.kubeconfig(),
        &["--namespace=web", "--namespace=jobs"],
    )
    .await;
    let list = serving.client.get("/deployments").await;
    let expected = r#"[{"namespace":"jobs","name":"app","replicaCount":2},{"namespace":"web","name":"app","replicaCount":2}]"#;
    assert_eq!(list.text(), expected);
    assert_eq!(serving.client.scale("web", "app", 3, &[]).await.status, 200);
    assert_eq!(
        serving.client.scale("search", "app", 3, &[]).await.status,
        404
    );
    assert_eq!(
        (cluster.count("web", "app"), cluster.count("search", "app")),
        (Some(3), Some(2))
    );
    let asked = cluster.cluster.requests();
    assert!(
        !asked
            .iter()
            .any(|request| request.path == "/apis/apps/v1/deployments"),
        "a Role isn't enough"
    );
}

#[tokio::test]
async fn a_label_selector_bounds_reads_and_writes() {
    let cluster = SimCluster::start().await;
    let labelled = |name: &str, team: &str| {
        simkube::NewDeployment::new("web", name)
            .replicas(2)
            .label("team", team)
    };
    assert!(cluster.cluster.create(labelled("shop", "a")).is_some());
    assert!(cluster.cluster.create(labelled("cart", "b")).is_some());
    let serving =
        Serving::healthy(cluster.kubeconfig(), &["--label-selector=team in (a, c)"]).await;
    let list = serving.client.get("/deployments").await;
    assert_eq!(
        list.text(),
        r#"[{"namespace":"web","name":"shop","replicaCount":2}]"#
    );
    assert_eq!(
        serving.client.scale("web", "cart", 3, &[]).await.status,
        404
    );
    assert_eq!(cluster.writes(), 0);
}

#[tokio::test]
async fn ipv6_works_and_the_port_taken_is_logged() {
    let cluster = SimCluster::start().await;
    let serving = Serving::start(
        cluster.kubeconfig(),
        &["--listen=[::1]:0", "--admin-listen=[::1]:0"],
    )
    .await;
    for address in [serving.address, serving.admin_address] {
        assert!(address.is_ipv6() && address.port() != 0, "{address}");
    }
    serving.becomes_ready().await;
    assert_eq!(serving.client.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_failure_with_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cluster = SimCluster::start().await;
    for flag in ["listen", "admin-listen"] {
        let (_folder, _, mut flags) = prepared();
        flags.retain(|given| !given.starts_with(&format!("--{flag}=")));
        let mut command = headcount(flags);
        command
            .arg(format!("--{flag}={address}"))
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig());
        let ended = Program::start(command).ended().await;
        assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:#?}");
        let line = Line::read(&ended.stderr[0]);
        assert_eq!(
            (line.severity.as_str(), line.event.as_str()),
            ("ERROR", "server.failed")
        );
        let words = format!("failed to listen at {address}: Address already in use");
        assert!(line.message.starts_with(&words), "{}", line.message);
    }
}

#[tokio::test]
async fn a_key_that_everyone_can_read_is_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = SimCluster::start().await;
    let (folder, files, flags) = prepared();
    fs::set_permissions(&files.server.key, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = headcount(flags);
    command.arg("--kubeconfig").arg(cluster.kubeconfig());
    let serving = Serving::of(Program::start(command), files, folder).await;
    let warning = &serving.program.lines("tls.key.exposed")[0];
    assert!(
        warning.severity == "WARN" && warning.text("path").ends_with("server.key"),
        "{warning:?}"
    );
}

#[tokio::test]
async fn help_and_version_are_answers_on_stdout() {
    let flags = [
        "--config",
        "--kubeconfig",
        "--context",
        "--listen",
        "--admin-listen",
        "--tls-cert",
        "--tls-key",
        "--client-ca",
        "--namespace",
        "--label-selector",
        "--read-only",
        "--drain-delay",
        "--log-format",
        "--log-level",
        "--max-replicas",
    ];
    for (args, parts) in [
        (&["--help"][..], &["serve", "demo"][..]),
        (&["serve", "--help"], &flags),
        (&["demo", "--help"], &["--dir", "--listen"]),
        (
            &["--version"],
            &[concat!("headcount ", env!("CARGO_PKG_VERSION"))],
        ),
    ] {
        let ended = Program::start(headcount(args)).ended().await;
        assert_eq!(
            (ended.code, &ended.stderr[..]),
            (Some(0), &[][..]),
            "{ended:#?}"
        );
        let text = ended.stdout.join("\n");
        for part in parts {
            assert!(text.contains(part), "{part} isn't in {text}");
        }
    }
}
