//! The server's certificate and key, the clients' CAs, revocation lists and deny list: what clients will meet.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{heard::warnings_of, report::Report};
use crate::{
    config::Config,
    tls::{ExpiredCrl, Expiring, Expiry, OwnChain, TlsConfig, at},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Anybody may write.
const OTHERS_WRITE: u32 = 0o002;
/// In such a folder only a file's owner may replace it.
const STICKY: u32 = 0o1000;

const FILES: &str = "certificates.files";
const SERVER: &str = "certificates.server";
const NAMES: &str = "certificates.names";
const CHAIN: &str = "certificates.chain";
const CLIENT_CAS: &str = "certificates.client_cas";
const REVOCATION: &str = "certificates.revocation";
const DENY_LIST: &str = "certificates.deny_list";
const PERMISSIONS: &str = "files.permissions";

/// What the other checks need to know of them.
#[derive(Default)]
pub(super) struct Certificates {
    /// The server's leaf, to recognize who presents it.
    pub(super) leaf: Option<Vec<u8>>,
    /// What isn't valid yet by this machine's clock.
    pub(super) future: Vec<Expiry>,
}

pub(super) fn check(report: &mut Report, config: &Config) -> Certificates {
    let now = SystemTime::now();
    let (built, warnings) = warnings_of(|| {
        let material = config.tls.read()?;
        let tls = material.build(&config.tls_settings)?;
        let leaf = material
            .server_certificates()?
            .first()
            .map(|leaf| leaf.to_vec());
        Ok::<_, crate::tls::TlsError>((tls, material.own_chain()?, leaf))
    });
    let (tls, chain, leaf) = match built {
        Ok(built) => built,
        Err(error) => {
            report.fail(
                FILES,
                error.to_string(),
                "correct that file, or name another one",
            );
            for check in [SERVER, NAMES, CHAIN, CLIENT_CAS] {
                report.skip(check, "the files can't be used");
            }
            permissions(report, config);
            return Certificates::default();
        }
    };
    report.ok(
        FILES,
        "all of them can be read, and the key is the certificate's",
    );
    own(report, &chain, now);
    client_cas(report, &tls, now);
    lists(report, config, &tls, now);
    if let Some(path) = &config.tls.deny_list {
        report.ok(DENY_LIST, format!("{} can be used", path.display()));
    }
    for warning in warnings {
        // What has a check of its own.
        if !matches!(warning.event, "tls.crl.expired" | "tls.key.exposed") {
            let fix = "see docs/tls.md, or replace the file that is named";
            report.warn(check_of(warning.event), warning.words, fix);
        }
    }
    permissions(report, config);
    let mut expiries = tls.expiries;
    expiries.retain(|expiry| expiry.from > now);
    Certificates {
        leaf,
        future: expiries,
    }
}

fn check_of(event: &str) -> &'static str {
    match event {
        _ if event.starts_with("tls.deny_list") => DENY_LIST,
        _ if event.starts_with("tls.crl") => REVOCATION,
        _ if event.starts_with("tls.ca") => CLIENT_CAS,
        _ => FILES,
    }
}

fn own(report: &mut Report, chain: &OwnChain, now: SystemTime) {
    let renew = "renew it (`headcount pki renew` or cert-manager); a running server takes the new files by itself";
    for (expiry, position) in chain.certificates.iter().zip(1..) {
        let which = match position {
            1 => "the server's certificate".to_owned(),
            _ => format!("certificate {position} of the server's chain"),
        };
        let name = &expiry.name;
        let found = format!("{which}, {name:?}, {}", validity(expiry, now));
        match state(expiry, now) {
            State::Valid => report.ok(SERVER, found),
            State::Near => report.warn(SERVER, found, renew),
            State::Expired => report.fail(SERVER, found, renew),
            State::Future => {
                let fix = "set this machine's clock, or wait until then";
                report.fail(SERVER, found, fix);
            }
        }
    }
    if chain.names.is_empty() {
        let found = "the server's certificate names no DNS name and no address, so clients accept it under none";
        report.fail(NAMES, found, "issue one with subject alternative names");
    } else {
        report.ok(
            NAMES,
            format!("clients may connect to {}", chain.names.join(", ")),
        );
    }
    match (chain.gap, chain.is_for_servers) {
        (Some(position), _) => report.warn(
            CHAIN,
            format!(
                "certificate {} of the server's chain isn't the issuer of certificate {position}",
                position + 1
            ),
            "order the file leaf first, each followed by its issuer",
        ),
        (None, false) => report.fail(
            CHAIN,
            "the server's certificate isn't for servers: its extended key usage lacks serverAuth",
            "issue one with serverAuth",
        ),
        (None, true) => {
            let count = chain.certificates.len();
            report.ok(
                CHAIN,
                format!("certificates in the server's chain: {count}, in order"),
            );
        }
    }
}

fn client_cas(report: &mut Report, tls: &TlsConfig, now: SystemTime) {
    let cas = tls.expiries.iter().filter(|e| e.what == Expiring::ClientCa);
    let cas: Vec<_> = cas.collect();
    let usable = cas
        .iter()
        .any(|ca| matches!(state(ca, now), State::Valid | State::Near));
    for ca in cas {
        let found = format!("the client CA {:?} {}", ca.name, validity(ca, now));
        match state(ca, now) {
            State::Valid => report.ok(CLIENT_CAS, found),
            State::Near => report.warn(CLIENT_CAS, found, "add its successor to --client-ca"),
            // Others let their clients in.
            State::Expired | State::Future if usable => {
                let fix = "remove it from --client-ca, or replace it";
                report.warn(CLIENT_CAS, found, fix);
            }
            State::Expired | State::Future => {
                let fix = "replace it: no client is let in";
                report.fail(CLIENT_CAS, found, fix);
            }
        }
    }
}

fn lists(report: &mut Report, config: &Config, tls: &TlsConfig, now: SystemTime) {
    let lists = tls.expiries.iter().filter(|e| e.what == Expiring::Crl);
    let newer = "fetch a newer one from its CA";
    for list in lists {
        let found = format!("the revocation list {} {}", list.name, validity(list, now));
        match state(list, now) {
            State::Valid => report.ok(REVOCATION, found),
            State::Expired if config.tls_settings.checks.expired_crl == ExpiredCrl::Refuse => {
                let found = format!("{found}, and clients of its CA are refused");
                report.fail(REVOCATION, found, newer);
            }
            State::Near | State::Expired => report.warn(REVOCATION, found, newer),
            State::Future => {
                let fix = "set this machine's clock, or wait until then";
                report.warn(REVOCATION, found, fix);
            }
        }
    }
}

enum State {
    Valid,
    Near,
    Expired,
    Future,
}

fn state(expiry: &Expiry, now: SystemTime) -> State {
    match () {
        () if now < expiry.from => State::Future,
        () if now > expiry.until => State::Expired,
        () if expiry.is_near(now) => State::Near,
        () => State::Valid,
    }
}

fn validity(expiry: &Expiry, now: SystemTime) -> String {
    let days = |time: Duration| match time.as_secs() / DAY.as_secs() {
        0 => format!("{} h", time.as_secs() / 3600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let left = |until: SystemTime| until.duration_since(now).unwrap_or_default();
    let since = now.duration_since(expiry.until).unwrap_or_default();
    match state(expiry, now) {
        State::Future => format!("isn't valid before {}", at(expiry.from)),
        State::Expired => format!("expired {} ago, at {}", days(since), at(expiry.until)),
        State::Valid | State::Near => {
            format!(
                "is valid for {}, until {}",
                days(left(expiry.until)),
                at(expiry.until)
            )
        }
    }
}

/// Who may read the key, and who may put something else in a file's place.
fn permissions(report: &mut Report, config: &Config) {
    let mode = |path: &Path| {
        fs::metadata(path)
            .map(|found| found.permissions().mode())
            .ok()
    };
    let mut exposed = false;
    if mode(&config.tls.key).is_some_and(|mode| mode & 0o004 != 0) {
        exposed = true;
        report.warn(
            PERMISSIONS,
            format!(
                "everyone on this machine can read the private key {}",
                config.tls.key.display()
            ),
            "chmod 0600 it, or set the volume's defaultMode to 0440",
        );
    }
    for path in config.files() {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let open = mode(path).is_some_and(|mode| mode & OTHERS_WRITE != 0);
        let open_folder =
            mode(folder).is_some_and(|mode| mode & (OTHERS_WRITE | STICKY) == OTHERS_WRITE);
        if open || open_folder {
            exposed = true;
            report.warn(
                PERMISSIONS,
                format!("everyone on this machine can change {}", path.display()),
                "chmod o-w the file and its folder",
            );
        }
    }
    if !exposed {
        report.ok(
            PERMISSIONS,
            "nobody else can change the files, or read the key",
        );
    }
}
