//! Every kind of chain that is refused, and every kind that is let in, each as a handshake with the running server.

use std::num::NonZeroU32;

use headcount::tls::{Checks, ExpiredCrl, Hash as Least};
use rustls::AlertDescription::{CertificateUnknown, UnknownCA};

use super::{
    Authority, Line, Served, TlsSettings, Trusted, accepted::accepted, chains::*, rows::*,
};
use crate::support::{SimCluster, eventually, program::admin};

/// A server that trusts all roots of these rows and has all their lists.
fn trusted<'a>(rows: impl Iterator<Item = &'a Row> + Clone, checks: Checks) -> Trusted {
    let crls: Vec<_> = rows.clone().flat_map(|row| row.crls.clone()).collect();
    Trusted {
        bundles: vec![certificates_pem(rows.flat_map(|row| &row.roots))],
        // Half of them in PEM and in one file, the others in DER.
        crls: {
            let (text, der) = crls.split_at(crls.len() / 2);
            let text: String = text.iter().map(|der| pem("X509 CRL", der)).collect();
            let text = (!text.is_empty()).then(|| text.into_bytes());
            text.into_iter().chain(der.iter().cloned()).collect()
        },
        settings: TlsSettings {
            checks,
            ..TlsSettings::default()
        },
        ..Trusted::default()
    }
}

impl Served {
    fn client_of(&self, row: &Row) -> rustls::ClientConfig {
        self.client(Some((&certificates_pem(&row.chain), &row.key.pem())))
    }
}

#[tokio::test]
async fn every_chain_that_is_not_in_order_is_refused_by_its_reason() {
    let rows: Vec<_> = [
        refused_leaves(),
        refused_issuers(),
        refused_roots(),
        revoked(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let served = Served::judging(trusted(rows.iter().map(|(row, _)| row), Checks::default())).await;
    let mut wrong = Vec::new();
    for (row, (reason, alert)) in &rows {
        let refused = served.refuses(&served.client_of(row)).await;
        let found = (refused.line.text("reason"), refused.alert);
        if found != (*reason, Some(*alert)) {
            wrong.push(format!(
                "{}: {found:?} instead of {reason}, {alert:?}: {:?}",
                row.name, refused.line
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_chain_that_is_in_order_is_answered() {
    let rows = accepted();
    let cluster = SimCluster::start().await;
    let mut trusted = trusted(rows.iter(), Checks::default());
    trusted.kubeconfig = Some(cluster.kubeconfig().to_owned());
    let served = Served::judging(trusted).await;
    eventually(
        std::time::Duration::from_secs(20),
        "readiness",
        async || admin(served.admin_address, "GET", "/readyz").await.0 == 200,
    )
    .await;
    for row in &rows {
        let (answer, _) = served.answers(&served.client_of(row)).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{}: {answer}",
            row.name
        );
    }
}

#[tokio::test]
async fn a_check_that_is_switched_off_lets_in_what_it_refuses() {
    let rows: Vec<_> = [
        refused_leaves(),
        refused_issuers(),
        refused_roots(),
        revoked(),
    ]
    .into_iter()
    .flatten()
    .map(|(row, _)| row)
    .collect();
    let find = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let on = Checks::default;
    for (checks, row) in [
        (
            Checks {
                require_extended_key_usage: false,
                ..on()
            },
            find("no extended key usage"),
        ),
        (
            Checks {
                key_usage: false,
                ..on()
            },
            find("no digitalSignature"),
        ),
        (
            Checks {
                key_usage: false,
                ..on()
            },
            find("keyCertSign"),
        ),
        (
            Checks {
                key_usage: false,
                ..on()
            },
            find("an intermediate without keyCertSign"),
        ),
        (
            Checks {
                refuse_self_signed: false,
                ..on()
            },
            find("self-signed and trusted"),
        ),
        (
            Checks {
                root_validity: false,
                ..on()
            },
            find("an expired root"),
        ),
        (
            Checks {
                root_validity: false,
                ..on()
            },
            find("a root of tomorrow"),
        ),
        (
            Checks {
                root_path_length: false,
                ..on()
            },
            find("a root's path length"),
        ),
        (
            Checks {
                root_usage: false,
                ..on()
            },
            find("a root that is no CA"),
        ),
        (
            Checks {
                root_usage: false,
                ..on()
            },
            find("a root for servers alone"),
        ),
        (
            Checks {
                expired_crl: ExpiredCrl::Accept,
                ..on()
            },
            find("an expired revocation list"),
        ),
    ] {
        let served = Served::judging(trusted([row].into_iter(), checks)).await;
        served.accepts(&served.client_of(row)).await;
    }
}

#[tokio::test]
async fn a_self_signed_client_that_is_let_in_is_no_ca_for_others() {
    let key = Key::p256();
    let own = Ca::root(alice(), key.clone());
    let bob = own.issue(&Certificate::client("bob"), &key);
    let row = Row {
        name: "bob",
        roots: vec![own.der],
        crls: vec![],
        chain: vec![bob],
        key,
    };
    for checks in [
        Checks {
            refuse_self_signed: false,
            ..Checks::default()
        },
        Checks {
            refuse_self_signed: false,
            key_usage: false,
            ..Checks::default()
        },
    ] {
        let reason = if checks.key_usage {
            "IssuerKeyUsage"
        } else {
            "RootNotCa"
        };
        let served = Served::judging(trusted([&row].into_iter(), checks)).await;
        served
            .refuses(&served.client_of(&row))
            .await
            .because(reason, "WARN", CertificateUnknown);
    }
}

#[tokio::test]
async fn a_stricter_setting_refuses_what_is_let_in_without_it() {
    let rsa = Key::rsa_2048();
    let p384 = Scene {
        root: Ca::root(Certificate::ca("P-384 root"), Key::p384()),
        key: Key::p256(),
    }
    .leaf("P-384", alice());
    let by_rsa = Scene {
        root: Ca::root(Certificate::ca("RSA root"), rsa.clone()),
        key: Key::p256(),
    }
    .leaf("RSA root", alice());
    let of_rsa = Scene {
        root: Ca::root(Certificate::ca("EC root"), Key::p384()),
        key: rsa,
    }
    .leaf("RSA leaf", alice());
    let plain = leaf("plain", alice());
    let listed = {
        let scene = Scene::new("listed");
        let chain = scene.chain(&alice(), &[]);
        let crls = vec![scene.root.crl(&[], -1, 1)];
        Row {
            crls,
            ..scene.row("listed", chain)
        }
    };
    let days = |days| Checks {
        maximum_lifetime_days: NonZeroU32::new(days),
        ..Checks::default()
    };
    let bits = Checks {
        minimum_rsa_bits: 2049.try_into().unwrap(),
        ..Checks::default()
    };
    let hash = Checks {
        minimum_hash: Least::Sha384,
        ..Checks::default()
    };
    let lists = Checks {
        require_crl: true,
        ..Checks::default()
    };
    let unknown = |reason| Some((reason, CertificateUnknown));
    for (checks, row, refused) in [
        // It is valid from yesterday for 30 days on.
        (days(30), &plain, unknown("LifetimeTooLong")),
        (days(31), &plain, None),
        (bits.clone(), &by_rsa, unknown("WeakKey")),
        (bits.clone(), &of_rsa, unknown("WeakKey")),
        (bits, &p384, None),
        (hash.clone(), &plain, unknown("SignatureHash")),
        (hash, &p384, None),
        (
            lists.clone(),
            &plain,
            Some(("RevocationUnknown", UnknownCA)),
        ),
        (lists, &listed, None),
    ] {
        let served = Served::judging(trusted([row].into_iter(), Checks::default())).await;
        served.accepts(&served.client_of(row)).await;
        let served = Served::judging(trusted([row].into_iter(), checks)).await;
        match refused {
            Some((reason, alert)) => served
                .refuses(&served.client_of(row))
                .await
                .because(reason, "WARN", alert),
            None => drop(served.accepts(&served.client_of(row)).await),
        }
    }
}

#[tokio::test]
async fn the_deny_list_counts_in_handshakes() {
    let scene = Scene::new("denying");
    let sub = scene.sub(Certificate::ca("sub"));
    let chain = scene.chain(&alice(), &[&sub]);
    let bob = vec![scene.root.issue(&Certificate::client("bob"), &scene.key)];
    let (alice, bob) = (
        Row {
            name: "alice",
            roots: vec![scene.root.der.clone()],
            crls: vec![],
            chain,
            key: scene.key.clone(),
        },
        Row {
            name: "bob",
            roots: vec![],
            crls: vec![],
            chain: bob,
            key: scene.key,
        },
    );
    for name in ["alice", "sub"] {
        let mut trusted = trusted([&alice].into_iter(), Checks::default());
        trusted.deny_list = Some(format!(
            "apiVersion: headcount/v1alpha1\nkind: DenyList\nnames: [{name}]\n"
        ));
        let served = Served::judging(trusted).await;
        let refused = served.refuses(&served.client_of(&alice)).await;
        refused.because("Denied", "WARN", CertificateUnknown);
        assert!(refused.line.text("error").contains(name), "{refused:?}");
        served.accepts(&served.client_of(&bob)).await;
    }
}

#[tokio::test]
async fn a_serial_number_is_warned_of_when_no_client_ca_has_its_issuers_name() {
    let authority = Authority::new("team-a CA").unwrap();
    let warned = async |issuer: &str| {
        let served = Served::judging(Trusted {
            bundles: vec![authority.certificate_pem()],
            deny_list: Some(format!(
                "apiVersion: headcount/v1alpha1\nkind: DenyList\nserials:\n  - {{issuer: '{issuer}', serial: 7}}\n  - {{issuer: '{issuer}', serial: 8}}\n"
            )),
            ..Trusted::default()
        })
        .await;
        let lines = served.log.all("tls.deny_list.unknown_issuer");
        let told = |line: &Line| {
            (
                line.severity.clone(),
                line.text("issuer").to_owned(),
                line.number("serials"),
            )
        };
        lines.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(warned("CN=team-a CA").await, []);
    assert_eq!(
        warned("CN = team-a CA").await,
        [("WARN".into(), "CN = team-a CA".into(), 2)]
    );
}
