//! Files that change while the server runs: in force within seconds, for open connections too, whole or not at all.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use headcount::pki::{Authority, Leaf, Reason, RevocationList};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

use super::{
    Served, Trusted,
    sender::{End, Sender, sentence},
};
use crate::support::{eventually, program::admin};

/// Within this everything that changed is in force, and whoever is let in no more is gone.
const PROMISED: Duration = Duration::from_secs(5);

impl Served {
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn issue(&self, name: &str) -> (String, String) {
        let leaf = self
            .server_authority
            .issue(&Leaf::server(&["127.0.0.1", name]));
        let leaf = leaf.unwrap();
        (leaf.chain_pem, leaf.key_pem)
    }

    async fn readyz(&self) -> String {
        admin(self.admin_address, "GET", "/readyz?verbose").await.1
    }

    /// Waits for the detail line of a reload that failed, which tells why.
    async fn says_failed(&self, why: &str) {
        eventually(PROMISED, why, async || {
            let said = self.readyz().await;
            said.contains("[-]reload failed at ") && said.contains(why)
        })
        .await;
        let line = self.log.last("reload.failed").await;
        assert!(line.text("error").contains(why), "{line:?}");
        let (_, metrics) = admin(self.admin_address, "GET", "/metrics").await;
        assert!(metrics.contains("headcount_reload_failing 1"), "{metrics}");
    }

    async fn says_fine(&self) {
        eventually(PROMISED, "no failed reload", async || {
            self.readyz().await.contains("[+]reload ok")
        })
        .await;
    }
}

/// Open connections of one client, over both protocols, that have had an answer.
async fn open(served: &Served, client: &rustls::ClientConfig) -> Vec<(Sender, End, &'static str)> {
    let mut connections = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let (mut sender, ended) = Sender::connect(served, client, protocol).await;
        let response = sender.get().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        sentence(response).await;
        connections.push((sender, ended, protocol));
    }
    connections
}

/// Asks until the answer is another one than that of a cluster that is away.
async fn until_refused(sender: &mut Sender) -> (StatusCode, String) {
    let deadline = Instant::now() + PROMISED;
    loop {
        let response = sender.get().await.unwrap();
        let (status, told) = (response.status(), sentence(response).await);
        if status != StatusCode::SERVICE_UNAVAILABLE {
            return (status, told);
        }
        assert!(Instant::now() < deadline, "still served after {PROMISED:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// After `change` the open connections of `gone`, in use or idle, are refused and end in time; those of `staying` go on.
async fn dismisses(
    served: &Served,
    (gone, reason): (&rustls::ClientConfig, &str),
    staying: &rustls::ClientConfig,
    change: impl FnOnce(),
) {
    let asking = open(served, gone).await;
    let idle = open(served, gone).await;
    let staying = open(served, staying).await;
    change();
    let changed = Instant::now();
    for (mut sender, ended, protocol) in asking {
        let (status, told) = until_refused(&mut sender).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{protocol}");
        let why = format!("isn't accepted any more ({reason})");
        assert!(told.contains(&why), "{told}");
        let ended = timeout(PROMISED, ended).await.expect("it ends").unwrap();
        assert!(ended.is_ok(), "{protocol}: it ends in order");
    }
    for (_sender, ended, protocol) in idle {
        let ended = timeout(PROMISED, ended).await.expect("it ends").unwrap();
        assert!(ended.is_ok(), "{protocol}: it ends in order");
    }
    assert!(changed.elapsed() < PROMISED, "{:?}", changed.elapsed());
    for (mut sender, ended, protocol) in staying {
        let response = sender.get().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!ended.is_finished(), "{protocol}");
    }
    let line = served.log.last("tls.client.dismissed").await;
    let told = (line.text("subject"), line.text("reason"));
    assert_eq!(told, ("CN=alice", reason));
    let refused = served.refuses(gone).await;
    assert_eq!(refused.line.text("reason"), reason);
}

#[tokio::test]
async fn a_client_whose_ca_is_removed_is_401_on_open_connections_and_these_end() {
    let (old, new) = (
        Authority::new("old").unwrap(),
        Authority::new("new").unwrap(),
    );
    let served = Served::trusting(&old).await;
    let alice = served.client_with(&old.issue(&Leaf::client("alice")).unwrap());
    let bob = served.client_with(&new.issue(&Leaf::client("bob")).unwrap());
    served.refuses(&bob).await;
    // Both overlap, and then the old one goes.
    served.write("ca0", old.certificate_pem() + &new.certificate_pem());
    eventually(PROMISED, "the new CA", async || served.lets_in(&bob).await).await;
    served.accepts(&alice).await;
    dismisses(&served, (&alice, "UnknownIssuer"), &bob, || {
        served.write("ca0", new.certificate_pem());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_revoked_is_401_on_open_connections_and_these_end() {
    let authority = Authority::new("clients").unwrap();
    let mut leaf = Leaf::client("alice");
    leaf.serial = Some(vec![0x2a, 0x07]);
    let alice = authority.issue(&leaf).unwrap();
    let bob = authority.issue(&Leaf::client("bob")).unwrap();
    let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 60 * 60));
    let mut list = RevocationList::empty(0);
    let trusted = Trusted {
        bundles: vec![authority.certificate_pem()],
        crls: vec![list.sign(&authority, now, day).unwrap().into_bytes()],
        ..Trusted::default()
    };
    let served = Served::judging(trusted).await;
    let (alice_client, bob) = (served.client_with(&alice), served.client_with(&bob));
    dismisses(&served, (&alice_client, "Revoked"), &bob, || {
        assert!(list.revoke(&[0x2a, 0x07], Reason::KeyCompromise, now));
        served.write("crl0", list.sign(&authority, now, day).unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_let_in_no_more_is_cut_though_it_never_ends_its_request() {
    let authority = Authority::new("clients").unwrap();
    let served = Served::trusting(&authority).await;
    let alice = served.client_with(&authority.issue(&Leaf::client("alice")).unwrap());
    let half: [&[u8]; 2] = [
        b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\nX-",
        b"PUT /api/v1/namespaces/a/deployments/b/replicas HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    ];
    let mut open = Vec::new();
    for bytes in half {
        let mut stream = served.connect(&alice).await;
        stream.write_all(bytes).await.unwrap();
        open.push(stream);
    }
    let other = Authority::new("others").unwrap();
    served.write("ca0", other.certificate_pem());
    for mut stream in open {
        let mut answer = Vec::new();
        let ended = timeout(PROMISED, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open");
    }
}

/// HTTP/2 frames of a client that answers no PING: preface, settings, and requests for `/api/v1/health`.
fn rude(request: u32) -> Vec<u8> {
    let path = b"/api/v1/health";
    let mut headers = vec![0x82, 0x87, 0x41, 1, b'a', 0x44, path.len() as u8];
    headers.extend_from_slice(path);
    let mut frames = Vec::new();
    if request == 0 {
        frames.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    }
    // A frame's length, its kind (HEADERS), its flags (END_STREAM, END_HEADERS) and its stream.
    frames.extend_from_slice(&[0, 0, headers.len() as u8, 1, 5]);
    frames.extend_from_slice(&(2 * request + 1).to_be_bytes());
    frames.extend_from_slice(&headers);
    frames
}

#[tokio::test]
async fn a_client_that_is_let_in_no_more_is_cut_though_it_takes_no_leave() {
    let authority = Authority::new("clients").unwrap();
    let served = Served::trusting(&authority).await;
    let mut alice = served.client_with(&authority.issue(&Leaf::client("alice")).unwrap());
    alice.alpn_protocols = vec![b"h2".to_vec()];
    let other = Authority::new("others").unwrap();
    let mut open = Vec::new();
    for asks in [true, false] {
        let mut stream = served.connect(&alice).await;
        stream.write_all(&rude(0)).await.unwrap();
        open.push((asks, stream));
    }
    served.write("ca0", other.certificate_pem());
    let ends = open.into_iter().map(async |(asks, stream)| {
        let (mut reads, mut writes) = tokio::io::split(stream);
        let asking = async {
            for request in 1.. {
                sleep(Duration::from_millis(300)).await;
                if asks && writes.write_all(&rude(request)).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let mut answers = Vec::new();
        let ended = tokio::select! {
            ended = timeout(PROMISED, reads.read_to_end(&mut answers)) => ended,
            () = asking => unreachable!(),
        };
        assert!(!answers.is_empty(), "the first request was answered");
        assert!(ended.is_ok(), "still open, asking: {asks}");
    });
    futures_util::future::join_all(ends).await;
}

#[tokio::test]
async fn a_client_that_is_put_on_the_deny_list_is_401_on_open_connections_and_these_end() {
    let authority = Authority::new("clients").unwrap();
    let list = "apiVersion: headcount/v1alpha1\nkind: DenyList\nnames: [mallory]\n";
    let trusted = Trusted {
        bundles: vec![authority.certificate_pem()],
        deny_list: Some(list.into()),
        ..Trusted::default()
    };
    let served = Served::judging(trusted).await;
    let client = |name| served.client_with(&authority.issue(&Leaf::client(name)).unwrap());
    let (alice, bob) = (client("alice"), client("bob"));
    dismisses(&served, (&alice, "Denied"), &bob, || {
        served.write("deny.yaml", list.replace("mallory", "mallory, alice"));
    })
    .await;
    // And she comes back when the entry goes.
    served.write("deny.yaml", list);
    eventually(PROMISED, "alice", async || served.lets_in(&alice).await).await;
}

#[tokio::test]
async fn a_revocation_list_that_expires_refuses_the_clients_of_its_ca_until_there_is_a_newer_one() {
    let authority = Authority::new("clients").unwrap();
    let alice = authority.issue(&Leaf::client("alice")).unwrap();
    let now = SystemTime::now();
    let mut list = RevocationList::empty(0);
    let mut sign = |seconds| {
        let lifetime = Duration::from_secs(seconds);
        list.sign(&authority, now, lifetime).unwrap()
    };
    let trusted = Trusted {
        bundles: vec![authority.certificate_pem()],
        crls: vec![sign(2).into_bytes()],
        ..Trusted::default()
    };
    let served = Served::judging(trusted).await;
    let alice = served.client_with(&alice);
    for (mut sender, _, protocol) in open(&served, &alice).await {
        let (status, told) = until_refused(&mut sender).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{protocol}");
        assert!(told.contains("(CrlExpired)"), "{told}");
    }
    served.refuses(&alice).await;
    served.write("crl0", sign(3600));
    eventually(PROMISED, "the newer list", async || {
        served.lets_in(&alice).await
    })
    .await;
}

#[tokio::test]
async fn a_set_that_cannot_be_used_leaves_what_is_in_force_and_is_told_until_it_is_mended() {
    let authority = Authority::new("clients").unwrap();
    let served = Served::trusting(&authority).await;
    let alice = served.client_with(&authority.issue(&Leaf::client("alice")).unwrap());
    let pem = authority.certificate_pem();
    let read = |name: &str| std::fs::read_to_string(served.folder.path().join(name)).unwrap();
    let (certificate, key) = (read("server.crt"), read("server.key"));
    let (_, foreign_key) = served.issue("other");
    let truncated = &certificate[..certificate.len() / 2];
    let junk = vec![0xa5u8; 1 << 20];
    let bad: [(&str, &[u8], &str); 6] = [
        (
            "server.key",
            foreign_key.as_bytes(),
            "the key isn't the certificate's",
        ),
        ("server.crt", truncated.as_bytes(), "server.crt"),
        ("server.crt", b"", "server.crt"),
        ("server.key", &junk, "server.key"),
        ("ca0", &junk, "ca0"),
        ("ca0", truncated.as_bytes(), "ca0"),
    ];
    for (name, content, why) in bad {
        served.write(name, content);
        served.says_failed(why).await;
        served.accepts(&alice).await;
        for (name, content) in [
            ("server.crt", &certificate),
            ("server.key", &key),
            ("ca0", &pem),
        ] {
            served.write(name, content);
        }
        served.says_fine().await;
    }
    std::fs::remove_file(served.folder.path().join("server.key")).unwrap();
    served.says_failed("server.key").await;
    served.accepts(&alice).await;
    assert!(
        served.readyz().await.contains("not ready: the first list"),
        "readiness is about the list alone"
    );
}

#[tokio::test]
async fn a_volume_is_swapped_as_one_and_touching_a_file_changes_nothing() {
    let authority = Authority::new("clients").unwrap();
    let served = Served::trusting(&authority).await;
    let alice = served.client_with(&authority.issue(&Leaf::client("alice")).unwrap());
    let before = served.presented(&alice).await;
    let content = std::fs::read(served.folder.path().join("server.crt")).unwrap();
    served.write("server.crt", content);
    sleep(Duration::from_millis(200)).await;
    assert!(
        served.log.all("reload.applied").is_empty(),
        "the content is the same"
    );
    let (chain, key) = served.issue("renewed");
    served.write("server.key", key);
    sleep(Duration::from_millis(30)).await;
    served.write("server.crt", chain);
    eventually(PROMISED, "the renewed certificate", async || {
        served.presented(&alice).await != before
    })
    .await;
}

/// What a kubelet does: a folder of its own for each generation, and one link that is replaced.
fn swap(volume: &Path, number: usize, files: &[(&str, &str)]) {
    let folder = volume.join(format!("..{number}"));
    std::fs::create_dir(&folder).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let next = volume.join("..data_tmp");
    std::os::unix::fs::symlink(format!("..{number}"), &next).unwrap();
    std::fs::rename(&next, volume.join("..data")).unwrap();
    for (name, _) in files {
        let link = volume.join(name);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
        }
    }
    if let Some(before) = number.checked_sub(1) {
        let _ = std::fs::remove_dir_all(volume.join(format!("..{before}")));
    }
}

#[tokio::test]
async fn a_thousand_swaps_under_load_fail_no_request() {
    let authority = Authority::new("clients").unwrap();
    let volume = tempfile::tempdir().unwrap();
    let server_authority = Authority::new("server CA").unwrap();
    let pairs: Vec<_> = (0..2)
        .map(|_| {
            server_authority
                .issue(&Leaf::server(&["127.0.0.1"]))
                .unwrap()
        })
        .collect();
    let files = |at: usize| {
        let pair = &pairs[at % 2];
        [
            ("tls.crt", pair.chain_pem.as_str()),
            ("tls.key", pair.key_pem.as_str()),
        ]
    };
    swap(volume.path(), 0, &files(0));
    let served = Served::from_volume(server_authority, volume.path(), &authority).await;
    let alice = served.client_with(&authority.issue(&Leaf::client("alice")).unwrap());
    let kept = open(&served, &alice).await;
    let swapping = async {
        for number in 1..=1000 {
            swap(volume.path(), number, &files(number));
            sleep(Duration::from_millis(5)).await;
        }
    };
    let mut answered = 0;
    let asking = async {
        let mut kept = kept;
        loop {
            for (sender, ..) in &mut kept {
                let response = sender.get().await.unwrap();
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                sentence(response).await;
                answered += 1;
            }
            served.answer(&alice).await.unwrap();
            answered += 1;
        }
    };
    tokio::select! {
        () = swapping => {}
        () = asking => {}
    }
    assert!(answered > 300, "{answered}");
    let applied = served.log.all("reload.applied").len();
    assert!(
        applied >= 10,
        "{applied} of 1000 swaps were seen while they lasted"
    );
    assert!(served.log.all("reload.failed").is_empty());
    served.says_fine().await;
}

#[tokio::test]
async fn when_things_expire_is_in_the_metrics_and_the_details_and_said_ahead_of_time() {
    let authority = Authority::new("clients").unwrap();
    let now = SystemTime::now();
    let mut list = RevocationList::empty(0);
    let day = Duration::from_secs(24 * 60 * 60);
    let trusted = Trusted {
        bundles: vec![authority.certificate_pem()],
        crls: vec![list.sign(&authority, now, day).unwrap().into_bytes()],
        ..Trusted::default()
    };
    let served = Served::judging(trusted).await;
    // Of six minutes one is left, and of the other things most.
    let leaf = Leaf::client("alice").valid_until(now + Duration::from_secs(60));
    served
        .accepts(&served.client_with(&authority.issue(&leaf).unwrap()))
        .await;
    let (_, metrics) = admin(served.admin_address, "GET", "/metrics").await;
    for kind in ["server", "client_ca", "crl", "client"] {
        let name = format!("headcount_certificate_expiry_timestamp_seconds{{kind=\"{kind}\"}} ");
        assert!(metrics.contains(&name), "{kind}: {metrics}");
    }
    let said = served.readyz().await;
    for line in [
        "[+]expiry of server 2",
        "[+]expiry of crl 2",
        "[-]expiry of client 2",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let line = served.log.last("tls.expiring").await;
    assert_eq!(
        (line.text("kind"), line.text("subject")),
        ("client", "CN=alice")
    );
}
