//! What comes from outside is in the log as what it is: it makes no line and no field.

use headcount::pki::{Authority, Leaf, Pair, SERVER_NAMES, write_certificate, write_demo};
use simkube::{Fault, NewDeployment, On, Rule};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    Client, SimCluster,
    lines::Line,
    program::{Program, Serving, headcount},
};

/// Ends the line, begins another, clears the screen, closes the value, opens a field, turns the text around.
const EVIL: &str = "x\" event=\"forged\" y=\"\n2026-01-01T00:00:00Z ERROR forged.line forged\r\n\
    {\"timestamp\":\"2026-01-01T00:00:00Z\",\"event\":\"forged\"}\u{1b}[2J\u{1b}]0;owned\u{7}\u{85}\u{202e}\u{2028}\\";

#[tokio::test]
async fn names_ids_labels_and_the_clusters_words_forge_no_text() {
    forges_nothing(&["--log-level=debug"]).await;
}

#[tokio::test]
async fn names_ids_labels_and_the_clusters_words_forge_no_json() {
    forges_nothing(&["--log-level=debug", "--log-format=json"]).await;
}

async fn forges_nothing(flags: &[&str]) {
    let cluster = SimCluster::start().await;
    let labelled = NewDeployment::new("web", "shop")
        .replicas(3)
        .label("evil", EVIL);
    assert!(cluster.cluster.create(labelled).is_some());
    let authority = Authority::new(EVIL).unwrap();
    let mallory = authority
        .issue(&Leaf::client(EVIL).organization(EVIL))
        .unwrap();
    let serving = serve(&cluster, &authority, flags).await;
    let client = serving.client_with(&mallory);
    serving.as_healthy(&client).await;

    // The subject of an accepted client and of a write, the id and trace of a request, an admission webhook's words.
    let webhook = Fault::Webhook {
        name: "evil".into(),
        message: EVIL.into(),
        code: 403,
    };
    let rule = cluster.cluster.faults().add(Rule::new(On::Scale, webhook));
    assert_eq!(client.scale("web", "shop", 4, &[]).await.status, 422);
    cluster.cluster.faults().remove(rule);
    let forged_id = "a\" event=\"forged\" {\"event\":\"forged\"}";
    let headers = [
        ("x-request-id", forged_id),
        ("traceparent", forged_id),
        ("user-agent", forged_id),
    ];
    let answer = client.scale("web", "shop", 4, &headers).await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.header("x-request-id"), forged_id);
    // Bytes that no client library sends.
    let raw =
        "GET /api/v1/deployments?\u{1b}[2J HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\u{1b}[2J\r\n\r\n";
    let mut stream = client.connect().await.unwrap();
    stream.write_all(raw.as_bytes()).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;

    let ended = serving.terminated().await;
    assert_eq!(ended.code, Some(0));
    let lines: Vec<Line> = ended.stderr.iter().map(|line| Line::read(line)).collect();
    assert!(
        !lines
            .iter()
            .any(|line| line.event.contains("forged") || line.fields.contains_key("y"))
    );
    let one = |event: &str| {
        lines
            .iter()
            .find(|line| line.event == event)
            .unwrap_or_else(|| panic!("no {event}"))
    };
    let accepted = one("tls.client.accepted");
    assert_eq!(
        accepted.names(),
        ["address", "issuer", "principal", "serial", "subject"]
    );
    for field in [accepted.text("issuer"), accepted.text("subject")] {
        // It is all there, readable, in its place.
        assert!(
            field.contains("event=\"forged\"") && field.contains("[2J"),
            "{field:?}"
        );
    }
    let failed = one("scale.failed");
    assert!(failed.text("error").contains(EVIL), "{failed:?}");
    assert_eq!(
        one("scale.applied").text("request_id"),
        answer.header("x-request-id")
    );
}

/// A server whose clients' authority has such a name.
struct Evil(Serving);

async fn serve(cluster: &SimCluster, authority: &Authority, flags: &[&str]) -> Evil {
    let folder = tempfile::tempdir().unwrap();
    let files = write_demo(folder.path()).unwrap();
    let clients = folder.path().join("evil-ca.crt");
    write_certificate(&clients, &authority.certificate_pem()).unwrap();
    let own = Authority::new("server CA").unwrap();
    write_certificate(&files.ca, &own.certificate_pem()).unwrap();
    files
        .server
        .write(&own.issue(&Leaf::server(&SERVER_NAMES)).unwrap())
        .unwrap();
    let mut command = headcount([
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
    ]);
    command
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(flags);
    command
        .arg("--tls-cert")
        .arg(&files.server.certificate)
        .arg("--tls-key")
        .arg(&files.server.key);
    command.arg("--client-ca").arg(&clients);
    Evil(Serving::of(Program::start(command), files, folder).await)
}

impl Evil {
    fn client_with(&self, issued: &headcount::pki::Issued) -> Client {
        let pair = Pair::in_folder(&self.0.files.folder, "mallory");
        pair.write(issued).unwrap();
        Client::with_files(
            self.0.address,
            &self.0.files.ca,
            &pair.certificate,
            &pair.key,
        )
    }

    async fn as_healthy(&self, client: &Client) {
        let healthy = async || client.get("/health").await.status == 200;
        crate::support::eventually(std::time::Duration::from_secs(20), "health", healthy).await;
    }

    async fn terminated(self) -> crate::support::program::Ended {
        self.0.terminated().await
    }
}
