//! What nothing can be started with: one clear sentence, exit code 64, and nothing has listened.

use std::{fs, path::Path};

use headcount::pki::{Authority, Leaf};

use super::prepared;
use crate::support::{
    lines::Line,
    program::{Ended, Program, headcount},
    write_kubeconfig,
};

async fn run<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Ended {
    Program::start(headcount(args)).ended().await
}

/// Asserts that the program refused to start with one line of the log that has all these parts.
fn refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(
        (ended.code, &ended.stdout[..]),
        (Some(64), &[][..]),
        "{ended:#?}"
    );
    assert_eq!(ended.stderr.len(), 1, "{ended:#?}");
    let line = Line::read(&ended.stderr[0]);
    assert_eq!(
        (line.severity.as_str(), line.event.as_str()),
        ("ERROR", "config.invalid")
    );
    for part in parts {
        assert!(
            line.message.contains(part),
            "{part:?} isn't in {:?}",
            line.message
        );
    }
}

/// The program with everything it needs, and some flags and variables more.
async fn run_with(more: &[&str], environment: &[(&str, &str)]) -> Ended {
    let (folder, _, flags) = prepared();
    let kubeconfig = folder.path().join("kubeconfig");
    write_kubeconfig(&kubeconfig, "http://127.0.0.1:9");
    let mut command = headcount(flags);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(more)
        .envs(environment.iter().copied());
    Program::start(command).ended().await
}

/// The same with one of its files replaced by something else.
async fn run_with_file(flag: &str, path: &Path) -> Ended {
    let (folder, _, mut flags) = prepared();
    let kubeconfig = folder.path().join("kubeconfig");
    write_kubeconfig(&kubeconfig, "http://127.0.0.1:9");
    flags.retain(|given| !given.starts_with(&format!("{flag}=")));
    let mut command = headcount(flags);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg(format!("{flag}={}", path.display()));
    Program::start(command).ended().await
}

#[tokio::test]
async fn no_flags_at_all() {
    let ended = run(["serve"]).await;
    refused(
        &ended,
        &[
            "--client-ca is missing",
            "flag",
            "environment variable",
            "configuration file",
        ],
    );
    let (_folder, _, flags) = prepared();
    for missing in ["--tls-cert", "--tls-key", "--client-ca"] {
        let ended = run(flags.iter().filter(|flag| !flag.starts_with(missing))).await;
        refused(&ended, &[&format!("{missing} is missing")]);
    }
}

#[tokio::test]
async fn a_file_that_is_missing_unreadable_or_empty() {
    let folder = tempfile::tempdir().unwrap();
    let [missing, directory, empty, text] =
        ["missing.pem", "folder.pem", "empty.pem", "text.pem"].map(|n| folder.path().join(n));
    fs::create_dir(&directory).unwrap();
    fs::write(&empty, "").unwrap();
    fs::write(&text, "no PEM at all\n").unwrap();
    let truncated = folder.path().join("truncated.pem");
    fs::write(&truncated, "-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap();
    for (flag, what) in [
        ("--tls-cert", "server certificate"),
        ("--tls-key", "private key"),
        ("--client-ca", "client CA bundle"),
    ] {
        refused(
            &run_with_file(flag, &missing).await,
            &["failed to read", what, "missing.pem", "No such file"],
        );
        refused(
            &run_with_file(flag, &directory).await,
            &["failed to read", what, "folder.pem", "Is a directory"],
        );
        refused(
            &run_with_file(flag, &empty).await,
            &["failed to find", what, "empty.pem"],
        );
        refused(
            &run_with_file(flag, &text).await,
            &["failed to find", what, "text.pem"],
        );
        refused(
            &run_with_file(flag, &truncated).await,
            &[what, "truncated.pem"],
        );
    }
}

#[tokio::test]
async fn files_that_have_something_else_in_them() {
    let (folder, files, _) = prepared();
    let path = folder.path();
    refused(
        &run_with_file("--tls-key", &files.client.key).await,
        &["the key isn't the certificate's", "client.key"],
    );
    refused(
        &run_with_file("--client-ca", &files.client.key).await,
        &["client CA bundle", "client.key"],
    );
    refused(
        &run_with_file("--tls-cert", &files.client.key).await,
        &["server certificate", "client.key"],
    );
    refused(
        &run_with_file("--tls-key", &files.ca).await,
        &["private key", "ca.crt"],
    );
    let broken = path.join("broken.pem");
    let good = fs::read_to_string(&files.ca).unwrap();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&broken, format!("{good}{bad}")).unwrap();
    refused(
        &run_with_file("--client-ca", &broken).await,
        &["certificate 2", "client CA bundle", "broken.pem"],
    );
}

#[tokio::test]
async fn an_unknown_flag_or_command() {
    for (args, named) in [
        (&["serve", "--max-replica=5"][..], "--max-replica"),
        (&["serve", "--listen=localhost"], "localhost"),
        (&["serve", "--listen=127.0.0.1"], "127.0.0.1"),
        (&["serve", "--max-replicas=-1"], "-1"),
        (&["serve", "--log-level=loud"], "loud"),
        (&["serve", "--read-only=perhaps"], "perhaps"),
        (&["serve", "extra"], "extra"),
    ] {
        refused(&run(args).await, &[named]);
    }
    refused(
        &run(["serve", "--max-replica=5"]).await,
        &["a similar argument exists: '--max-replicas'"],
    );
    // Whoever starts no server reads words and no log lines.
    for (args, part) in [
        (&["sevre"][..], "sevre"),
        (&["help", "nope"], "nope"),
        (&["--nope"], "--nope"),
        (&["pki", "--nope"], "--nope"),
        (&[], "get, set or list to ask a server, serve to run one"),
        (&["--context", "dev"], "the command is missing"),
    ] {
        let ended = run(args).await;
        assert_eq!(
            (ended.code, ended.stderr.len(), ended.stdout.len()),
            (Some(64), 1, 0),
            "{args:?}: {ended:#?}"
        );
        assert!(
            ended.stderr[0].starts_with("error: ") && ended.stderr[0].contains(part),
            "{args:?}: {ended:#?}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_form_that_was_asked_for() {
    let (_folder, _, flags) = prepared();
    for wrong in ["--max-replica=5", "--log-level=loud", "--context=elsewhere"] {
        for asks in [&["--log-format=json"][..], &["--log-format", "json"]] {
            let ended = run(flags
                .iter()
                .map(String::as_str)
                .chain(asks.iter().copied())
                .chain([wrong]))
            .await;
            refused(&ended, &[]);
            assert!(ended.stderr[0].starts_with('{'), "{ended:#?}");
        }
    }
    for (name, value) in [
        ("HEADCOUNT_MAX_REPLICA", "5"),
        ("HEADCOUNT_LISTEN", "nowhere"),
    ] {
        let environment = [("HEADCOUNT_LOG_FORMAT", "json"), (name, value)];
        let ended = run_with(&[], &environment).await;
        refused(&ended, &[name]);
        assert!(ended.stderr[0].starts_with('{'), "{ended:#?}");
        // A flag wins over the environment here, too.
        let ended = run_with(&["--log-format=text"], &environment).await;
        assert!(!ended.stderr[0].starts_with('{'), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_setting_that_cannot_be() {
    refused(
        &run_with(&["--namespace=Not_A_Name"], &[]).await,
        &["--namespace", "Not_A_Name"],
    );
    for selector in ["a in (", "=", "a==b==c", "a notin b"] {
        let ended = run_with(&[&format!("--label-selector={selector}")], &[]).await;
        refused(&ended, &["--label-selector", selector]);
    }
}

#[tokio::test]
async fn an_unknown_key_of_the_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.yaml");
    let config = format!("--config={}", file.display());
    let head = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";
    for (text, parts) in [
        (
            format!("{head}# bounds\nmaxReplica: 5\n"),
            &["line 4", "maxReplica"][..],
        ),
        (
            format!("{head}max-replicas: 5\n"),
            &["line 3", "max-replicas"],
        ),
        (
            format!("{head}listen: 127.0.0.1:0\nlisten: 127.0.0.1:0\n"),
            &["line 4", "listen"],
        ),
        (format!("{head}maxReplicas: many\n"), &["line 3"]),
        (
            format!("{head}logging: {{level: loud}}\n"),
            &["line 3", "loud"],
        ),
        (
            head.replace("v1alpha1", "v1"),
            &["line 1", "apiVersion", "headcount/v1", "headcount/v1alpha1"],
        ),
        (
            head.replace("Configuration", "Policy"),
            &["line 2", "kind", "Policy", "Configuration"],
        ),
        ("kind: Configuration\n".to_owned(), &["no apiVersion"]),
        (format!("{head}namespace: [a\n"), &["line"]),
        (String::new(), &["headcount.yaml"]),
        ("- a list\n".to_owned(), &["headcount.yaml"]),
    ] {
        fs::write(&file, &text).unwrap();
        let ended = run_with(&[&config], &[]).await;
        refused(&ended, &[&["headcount.yaml"], parts].concat());
    }
    fs::remove_file(&file).unwrap();
    refused(
        &run_with(&[&config], &[]).await,
        &["headcount.yaml", "No such file"],
    );
}

#[tokio::test]
async fn an_environment_variable_that_is_no_setting() {
    for (name, value, part) in [
        ("HEADCOUNT_MAX_REPLICA", "5", "there is no such setting"),
        ("HEADCOUNT_MAX_REPLICAS", "many", "many"),
        ("HEADCOUNT_LISTEN", "nowhere", "nowhere"),
        ("HEADCOUNT_READ_ONLY", "perhaps", "perhaps"),
    ] {
        refused(&run_with(&[], &[(name, value)]).await, &[name, part]);
    }
}

#[tokio::test]
async fn a_kubeconfig_that_leads_nowhere() {
    let (folder, _, flags) = prepared();
    let run = async |kubeconfig: &Path, more: &[&str]| {
        let mut command = headcount(&flags);
        command.arg("--kubeconfig").arg(kubeconfig).args(more);
        Program::start(command).ended().await
    };
    let path = folder.path().join("cluster.yaml");
    refused(
        &run(&path, &[]).await,
        &["kubeconfig", "cluster.yaml", "No such file"],
    );
    for (text, part) in [
        ("", "cluster.yaml"),
        ("{ this is: [no YAML", "cluster.yaml"),
        ("just words", "cluster.yaml"),
        (
            "apiVersion: v1\nkind: Config\ncurrent-context: gone\n",
            "gone",
        ),
    ] {
        fs::write(&path, text).unwrap();
        refused(&run(&path, &[]).await, &["kubeconfig", part]);
    }
    write_kubeconfig(&path, "http://127.0.0.1:9");
    refused(
        &run(&path, &["--context=elsewhere"]).await,
        &["kubeconfig", "elsewhere"],
    );
    write_kubeconfig(&path, "no address");
    refused(&run(&path, &[]).await, &["kubeconfig"]);
    // Neither a kubeconfig nor a Pod's account.
    refused(
        &self::run(&flags).await,
        &["failed to find a cluster", "--kubeconfig"],
    );
    let elsewhere = [&flags[..], &["--context=elsewhere".to_owned()]].concat();
    refused(&self::run(&elsewhere).await, &["elsewhere"]);
}

#[tokio::test]
async fn a_certificate_without_a_use_for_servers_still_says_what_is_wrong() {
    // A chain in the wrong order: the key doesn't fit the first certificate.
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("server CA").unwrap();
    let server = authority.issue(&Leaf::server(&["localhost"])).unwrap();
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("chain.key"),
    );
    fs::write(
        &chain,
        format!("{}{}", authority.certificate_pem(), server.certificate_pem),
    )
    .unwrap();
    fs::write(&key, &server.key_pem).unwrap();
    let (_files, _, mut flags) = prepared();
    flags.retain(|flag| !flag.starts_with("--tls-"));
    flags.push(format!("--tls-cert={}", chain.display()));
    flags.push(format!("--tls-key={}", key.display()));
    refused(
        &run(&flags).await,
        &["the key isn't the certificate's", "chain.pem", "chain.key"],
    );
}

#[tokio::test]
async fn cipher_suites_and_groups_that_do_not_exist() {
    for (flag, name, variable) in [
        (
            "--tls-cipher-suite",
            "TLS_RSA_WITH_RC4_128_MD5",
            "HEADCOUNT_TLS_CIPHER_SUITE",
        ),
        // Of TLS 1.2, which isn't spoken.
        (
            "--tls-cipher-suite",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "HEADCOUNT_TLS_CIPHER_SUITE",
        ),
        ("--tls-group", "x448", "HEADCOUNT_TLS_GROUP"),
        ("--tls-group", "", "HEADCOUNT_TLS_GROUP"),
    ] {
        let known = if flag == "--tls-group" {
            "choose among x25519, "
        } else {
            "choose among TLS_AES_256_GCM_SHA384, "
        };
        let ended = run_with(&[&format!("{flag}={name}")], &[]).await;
        if !name.is_empty() {
            refused(&ended, &[flag, name, known]);
            refused(
                &run_with(&[], &[(variable, name)]).await,
                &[variable, name, known],
            );
        } else {
            refused(&ended, &[flag]);
        }
    }
}

#[tokio::test]
async fn revocation_lists_and_deny_lists_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let authority = Authority::new("client CA").unwrap();
    let missing = path("missing");
    for (flag, what) in [
        ("--client-crl", "revocation list"),
        ("--deny-list", "deny list"),
    ] {
        let ended = run_with(&[&format!("{flag}={}", missing.display())], &[]).await;
        refused(&ended, &["failed to read", what, "missing", "No such file"]);
    }
    for (name, content, part) in [
        ("empty.crl", Vec::new(), "it holds no revocation list"),
        (
            "text.crl",
            b"no list at all\n".to_vec(),
            "it holds no revocation list",
        ),
        (
            "junk.crl",
            vec![0xff; 1024 * 1024],
            "it holds no revocation list",
        ),
        ("zeros.crl", vec![0x30; 64], "its list is damaged"),
        (
            "ca.crl",
            authority.certificate_pem().into_bytes(),
            "it holds no revocation list",
        ),
        (
            "ca.der",
            authority.certificate().to_vec(),
            "its list is damaged",
        ),
        (
            "half.crl",
            b"-----BEGIN X509 CRL-----\nMIIB\n".to_vec(),
            "its PEM is damaged",
        ),
    ] {
        fs::write(path(name), content).unwrap();
        let ended = run_with(&[&format!("--client-crl={}", path(name).display())], &[]).await;
        refused(&ended, &["failed to use the revocation list", name, part]);
    }
    for (name, content, part) in [
        ("empty.yaml", "", "deny list"),
        (
            "other.yaml",
            "apiVersion: headcount/v1alpha1\nkind: Configuration\n",
            "DenyList",
        ),
        (
            "odd.yaml",
            "apiVersion: headcount/v1alpha1\nkind: DenyList\nserial: []\n",
            "line 3",
        ),
    ] {
        fs::write(path(name), content).unwrap();
        let ended = run_with(&[&format!("--deny-list={}", path(name).display())], &[]).await;
        refused(&ended, &["failed to use the deny list", name, part]);
    }
}
