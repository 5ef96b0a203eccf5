//! Thousands of chains, judged by this server, by OpenSSL and by Go: they agree, or it is written down why not.

mod explained;
mod generator;
mod leaves;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use headcount::{
    pki::{Authority, Leaf},
    tls::{Checks, Refusal, TlsError, TlsFiles, TlsSettings, Verifier},
};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::chains::{certificates_pem, pem};
use explained::{EXPLAINED, Explained, OK, Other};
use generator::{Keys, NOW, Scene, scene};

const SCENES: u64 = 500;
const LEAVES: usize = 6;

/// One chain, and what each of the three makes of it: `OK` or a reason.
struct Verdicts {
    ours: String,
    openssl: String,
    go: String,
    leaf: Vec<u8>,
    what: String,
}

#[test]
fn every_chain_is_judged_as_openssl_and_go_judge_it_or_it_is_said_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let program = build_go(folder.path());
    let scenes = folder.path().join("scenes");
    let server = server_files(folder.path());
    let keys = Keys::new();
    let mut all = BTreeMap::new();
    // More of them for whoever has the time: CHAIN_SCENES=10000.
    let wanted = std::env::var("CHAIN_SCENES").map_or(SCENES, |n| n.parse().unwrap());
    for seed in 0..wanted {
        let path = scenes.join(format!("{seed:05}"));
        let scene = scene(seed, &keys, LEAVES);
        write(&scene, &path);
        let verifier = verifier(&scene, &path, &server);
        let openssl = openssl(&scene, &path);
        for (number, (leaf, what)) in scene.leaves.iter().enumerate() {
            let name = format!("{seed:05}/{number}.der");
            let verdicts = Verdicts {
                ours: ours(verifier.as_deref(), leaf, &scene.others),
                openssl: openssl[number].clone(),
                go: String::new(),
                leaf: leaf.clone(),
                what: format!("CAs: {}; leaf: {what}", scene.faults),
            };
            all.insert(name, verdicts);
        }
    }
    for (name, verdict) in go(&program, &scenes) {
        all.get_mut(&name).unwrap().go = verdict;
    }
    compare(&all);
}

fn build_go(folder: &Path) -> PathBuf {
    let program = folder.join("verdicts");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls/comparison/go");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .status()
        .expect("Go is needed to compare with its verdicts: https://go.dev/dl");
    assert!(built.success(), "go build");
    program
}

/// What a server needs besides the CAs of its clients.
fn server_files(folder: &Path) -> TlsFiles {
    let server = Authority::new("server CA").unwrap();
    let server = server.issue(&Leaf::server(&["localhost"])).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    TlsFiles {
        cert: file("server.crt", &server.chain_pem),
        key: file("server.key", &server.key_pem),
        ..TlsFiles::default()
    }
}

fn write(scene: &Scene, path: &Path) {
    fs::create_dir_all(path).unwrap();
    let file = |name: &str, content: &[u8]| fs::write(path.join(name), content).unwrap();
    file("roots.pem", certificates_pem(&scene.roots).as_bytes());
    file("others.pem", certificates_pem(&scene.others).as_bytes());
    for (number, (leaf, _)) in scene.leaves.iter().enumerate() {
        file(&format!("{number}.der"), leaf);
        file(
            &format!("{number}.pem"),
            pem("CERTIFICATE", leaf).as_bytes(),
        );
    }
    if let Some(crls) = &scene.crls {
        let text: String = crls.iter().map(|crl| pem("X509 CRL", crl)).collect();
        file("crls.pem", text.as_bytes());
    }
}

/// `None` when a root can't be used at all, and no server starts with it.
///
/// Where a scene has lists, they are demanded: OpenSSL knows no other way.
fn verifier(scene: &Scene, path: &Path, server: &TlsFiles) -> Option<Arc<Verifier>> {
    let crls = scene.crls.as_ref().is_some_and(|crls| !crls.is_empty());
    let files = TlsFiles {
        client_ca: vec![path.join("roots.pem")],
        client_crl: crls.then(|| path.join("crls.pem")).into_iter().collect(),
        ..server.clone()
    };
    let checks = Checks {
        require_crl: scene.crls.is_some(),
        ..Checks::default()
    };
    let settings = TlsSettings {
        checks,
        ..TlsSettings::default()
    };
    match files.load(&settings) {
        Ok(tls) => Some(tls.verifier),
        Err(TlsError::Authority { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

fn ours(verifier: Option<&Verifier>, leaf: &[u8], others: &[Vec<u8>]) -> String {
    let Some(verifier) = verifier else {
        return "RootUnusable".to_owned();
    };
    let chain: Vec<_> = [leaf]
        .into_iter()
        .chain(others.iter().map(Vec::as_slice))
        .map(CertificateDer::from)
        .collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW as u64));
    match verifier.judge(&chain, now) {
        Ok(_) => OK.to_owned(),
        Err(error) => Refusal::of_tls(&error).reason.to_owned(),
    }
}

/// OpenSSL's verdicts on all leaves of a scene, as a server at the security level that TLS has in most systems.
fn openssl(scene: &Scene, path: &Path) -> Vec<String> {
    let mut command = Command::new("openssl");
    command.current_dir(path);
    command.args(["verify", "-purpose", "sslclient", "-auth_level", "2"]);
    command.args(["-attime", &NOW.to_string()]);
    command.args(["-no-CApath", "-no-CAstore", "-CAfile", "roots.pem"]);
    if !scene.others.is_empty() {
        command.args(["-untrusted", "others.pem"]);
    }
    if let Some(crls) = &scene.crls {
        command.arg("-crl_check_all");
        if !crls.is_empty() {
            command.args(["-CRLfile", "crls.pem"]);
        }
    }
    let names: Vec<_> = (0..scene.leaves.len())
        .map(|n| format!("{n}.pem"))
        .collect();
    let done = command
        .args(&names)
        .output()
        .expect("OpenSSL is needed to compare with its verdicts");
    let (out, errors) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    // Each leaf's errors come before the line that says that it failed.
    let mut failed = BTreeMap::new();
    let mut why: Vec<&str> = Vec::new();
    for line in errors.lines() {
        if let Some((_, error)) = line.split_once("lookup: ") {
            why.push(error);
        } else if let Some(name) = line
            .strip_prefix("error ")
            .and_then(|rest| rest.strip_suffix(": verification failed"))
        {
            failed.insert(name.to_owned(), why.join(", "));
            why.clear();
        }
    }
    names
        .iter()
        .map(|name| {
            if out.lines().any(|line| line == format!("{name}: OK")) {
                OK.to_owned()
            } else {
                failed
                    .remove(name)
                    .unwrap_or_else(|| format!("can't be read: {errors}"))
            }
        })
        .collect()
}

fn go(program: &Path, scenes: &Path) -> Vec<(String, String)> {
    let done = Command::new(program)
        .arg(scenes)
        .arg(NOW.to_string())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (name, verdict) = line.split_once('\t').unwrap();
            (name.to_owned(), verdict.to_owned())
        })
        .collect()
}

fn compare(all: &BTreeMap<String, Verdicts>) {
    let mut used = vec![0; EXPLAINED.len()];
    let mut unexplained: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, verdicts) in all {
        let Verdicts { ours, what, .. } = verdicts;
        for (other, theirs) in [
            (Other::OpenSsl, &verdicts.openssl),
            (Other::Go, &verdicts.go),
        ] {
            if (ours == OK) == (theirs == OK) {
                continue;
            }
            let explained = EXPLAINED.iter().position(|explained| {
                explained.other == other
                    && explained.ours == ours
                    && theirs.contains(explained.theirs)
            });
            match explained {
                Some(position) => used[position] += 1,
                None => unexplained
                    .entry(format!("we say {ours}, {other:?} says {theirs}"))
                    .or_default()
                    .push(format!(
                        "{name}: {what}\n{}",
                        pem("CERTIFICATE", &verdicts.leaf)
                    )),
            }
        }
    }
    let count = |holds: fn(&&Verdicts) -> bool| all.values().filter(holds).count();
    let agreed = (
        count(|v| {
            [&v.ours, &v.openssl, &v.go]
                .iter()
                .all(|verdict| *verdict == OK)
        }),
        count(|v| {
            [&v.ours, &v.openssl, &v.go]
                .iter()
                .all(|verdict| *verdict != OK)
        }),
    );
    let mut report = format!(
        "{} chains, accepted and refused by all: {agreed:?}\n",
        all.len()
    );
    for (explained, used) in EXPLAINED.iter().zip(&used) {
        let Explained {
            other,
            ours,
            theirs,
            why,
            seldom: _,
        } = explained;
        report += &format!("{used:5} we: {ours}, {other:?}: {theirs} ({why})\n");
    }
    for (class, chains) in &unexplained {
        report += &format!(
            "{:5} unexplained: {class}, as in {}\n",
            chains.len(),
            chains[0]
        );
    }
    assert!(unexplained.is_empty(), "{report}");
    if all.len() >= LEAVES * SCENES as usize {
        let stale = EXPLAINED
            .iter()
            .zip(&used)
            .any(|(explained, used)| *used == 0 && !explained.seldom);
        assert!(!stale, "nothing falls into a class: {report}");
        // Neither is the comparison one of refusals, nor the generator one of proper chains alone.
        let quarter = all.len() / 4;
        assert!(agreed.0 > quarter && agreed.1 > quarter, "{report}");
    }
}
