//! What a running server gives away of its private key: nothing in a core dump, and no copy of the file in memory.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    time::Duration,
};

use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};

use crate::support::{SimCluster, eventually, program::Serving};

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_server_dumps_no_core() {
    let cluster = SimCluster::start().await;
    let server = Serving::start(cluster.kubeconfig(), &[]).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.program.id())).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "soft and hard: {words:?}");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn no_copy_of_the_private_keys_file_stays_in_memory() {
    let cluster = SimCluster::start().await;
    let server = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let id = server.program.id();
    let memory = match File::open(format!("/proc/{id}/mem")) {
        Ok(memory) => memory,
        // It isn't dumpable: only root may look.
        Err(error) => return eprintln!("SKIPPED: the server's memory can't be read: {error}"),
    };
    let pem = fs::read(&server.files.server.key).unwrap();
    let text = str::from_utf8(&pem).unwrap().lines().nth(1).unwrap();
    let der = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    // Of a key on P-256 in PKCS #8: behind the algorithm, an OCTET STRING of 32 bytes.
    let der = der.secret_der();
    let at = der.windows(2).position(|w| w == [4, 32]).unwrap() + 2;
    // The files are read again every two seconds; a moment in between has none of it.
    let has = |what: &[u8]| found(&memory, id, what);
    assert!(has(b"headcount"), "the search finds what is there");
    for (what, secret) in [("text", text.as_bytes()), ("number", &der[at..at + 32])] {
        eventually(Duration::from_secs(10), what, async || !has(secret)).await;
    }
}

/// Whether these bytes are somewhere in the memory that a process can write to.
fn found(memory: &File, id: u32, bytes: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let writable = maps.lines().filter(|line| line.contains(" rw-p "));
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let mut regions = writable.map(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        (number(start), number(end))
    });
    regions.any(|(start, end)| {
        let mut region = vec![0; (end - start) as usize];
        // What was unmapped meanwhile can't be read, and holds nothing.
        memory.read_exact_at(&mut region, start).is_ok()
            && region.windows(bytes.len()).any(|w| w == bytes)
    })
}
