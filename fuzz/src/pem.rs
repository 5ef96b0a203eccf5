//! Any bytes as each of the files that TLS is made of.

use std::{fs, path::PathBuf, sync::LazyLock};

use headcount::{
    pki::{Authority, Leaf},
    tls::{TlsFiles, TlsSettings},
};
use tempfile::TempDir;

static FINE: LazyLock<(TempDir, TlsFiles)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("clients").expect("an authority");
    let server = authority
        .issue(&Leaf::server(&["localhost"]))
        .expect("a certificate");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let files = TlsFiles {
        cert: write("tls.crt", &server.chain_pem),
        key: write("tls.key", &server.key_pem),
        client_ca: vec![write("ca.crt", &authority.certificate_pem())],
        ..TlsFiles::default()
    };
    (folder, files)
});

pub(crate) fn run(bytes: &[u8]) {
    let (folder, fine) = &*FINE;
    let broken = folder.path().join("broken");
    fs::write(&broken, bytes).expect("written");
    let mut each = vec![fine.clone(); 5];
    each[0].cert = broken.clone();
    each[1].key = broken.clone();
    each[2].client_ca = vec![broken.clone()];
    each[3].client_crl = vec![broken.clone()];
    each[4].deny_list = Some(broken);
    for files in each {
        if let Err(error) = files.load(&TlsSettings::default()) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
