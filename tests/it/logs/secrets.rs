//! Keys and tokens are in no line, however much is logged.

use std::{fs, path::Path, process::Command};

use crate::support::{Client, SimCluster, lines::Line, program::Serving};

use super::{TOKEN, kubeconfig_with_token};

#[tokio::test]
async fn no_line_of_the_trace_level_has_a_key_or_a_token() {
    for format in ["text", "json"] {
        let cluster = SimCluster::start().await;
        cluster.create("web", "shop", 3);
        let flags = ["--log-level=trace", &format!("--log-format={format}")];
        let serving = Serving::healthy(&kubeconfig_with_token(&cluster), &flags).await;
        for protocol in ["http/1.1", "h2"] {
            let client = serving.client.alpn(&[protocol]);
            let secret = [
                ("authorization", format!("Bearer {TOKEN}")),
                ("cookie", TOKEN.to_owned()),
            ];
            let headers: Vec<_> = secret
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            assert_eq!(client.scale("web", "shop", 4, &headers).await.status, 200);
            let json = [("content-type", "application/json")];
            let path = "/namespaces/web/deployments/shop/replicas";
            for body in [
                format!("{{\"replicaCount\":1,\"password\":\"{TOKEN}\"}}"),
                format!("{{\"replicaCount\":\"{TOKEN}\"}}"),
            ] {
                let answer = client.send(http::Method::PUT, path, &json, &body).await;
                assert_eq!(answer.status, 400);
            }
        }
        let files = serving.files.clone();
        let foreign = (&files.foreign.certificate, &files.foreign.key);
        let foreign = Client::with_files(serving.address, &files.ca, foreign.0, foreign.1);
        assert!(foreign.try_send(http::Request::default()).await.is_err());
        let keys: String = [&files.server.key, &files.client.key, &files.foreign.key]
            .map(|path| std::fs::read_to_string(path).unwrap())
            .concat();
        let ended = serving.terminated().await;
        assert_eq!(ended.code, Some(0));
        let output = ended.stderr.join("\n");
        // The libraries speak at this level, so there was something to find.
        assert!(
            ended
                .stderr
                .iter()
                .map(|line| Line::read(line))
                .any(|line| line.event == "library.event")
        );
        assert!(ended.stderr.len() > 50, "{output}");
        for part in TOKEN
            .split('.')
            .chain(keys.lines().filter(|line| line.len() > 20))
        {
            assert!(!output.contains(part), "{part} is in the log: {output}");
        }
        assert!(!output.contains("PRIVATE KEY"), "{output}");
        for key in keys
            .split_inclusive("-----END PRIVATE KEY-----")
            .filter(|key| key.contains("BEGIN"))
        {
            use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
            let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let hex: String = der
                .secret_der()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            // Bytes in their debug form, and in hexadecimal.
            let debug = format!("{:?}", &der.secret_der()[36..52]);
            assert!(
                !output.contains(debug.trim_matches(['[', ']'])) && !output.contains(&hex[72..104])
            );
        }
    }
}

/// What the search of a folder says, and whether it found nothing.
fn search(folder: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/secrets");
    let found = Command::new(script).arg(folder).output().unwrap();
    let said = String::from_utf8(found.stdout).unwrap();
    (found.status.success(), said)
}

#[test]
fn the_search_of_all_output_finds_a_key_a_token_and_what_looks_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let (output, secrets) = (
        folder.path().join("1.output"),
        folder.path().join("1.secrets"),
    );
    let searched = |text: &str| {
        fs::write(&output, text).unwrap();
        search(folder.path())
    };
    // A search for nothing, or in nothing, has shown nothing.
    assert!(!searched("a line\n").0);
    fs::write(&secrets, "s3cr3t-of-this-test\n").unwrap();
    assert!(!searched("").0);
    let (clean, said) = searched("a line\nanother one: PRIVATE KEY, Bearer, eyJ\n");
    assert!(clean, "{said}");
    assert_eq!(said, "secrets: none of 1 in the output of 1 programs\n");
    for leak in [
        "x s3cr3t-of-this-test x",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----",
        "authorization: Bearer 0123456789abcdef",
        TOKEN,
    ] {
        let (clean, said) = searched(&format!("a line\n{leak}\n"));
        assert!(!clean && said.contains("1.output"), "{leak}: {said}");
        assert!(!said.contains(leak), "{said}");
    }
}
