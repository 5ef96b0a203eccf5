//! Cipher suites and key-exchange groups: a handshake for each of them, and none by one that isn't allowed.

use headcount::{
    pki::{Authority, Issued, Leaf},
    tls::{CipherSuite, Group},
};
use rustls::{
    AlertDescription::HandshakeFailure,
    ClientConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    version::TLS13,
};
use tokio::io::AsyncWriteExt as _;

use super::{Served, TlsSettings, Trusted};

/// A server with these algorithms, and a client that it trusts.
async fn serving(cipher_suites: Vec<CipherSuite>, groups: Vec<Group>) -> (Served, Issued) {
    let authority = Authority::new("client CA").unwrap();
    let served = Served::judging(Trusted {
        bundles: vec![authority.certificate_pem()],
        settings: TlsSettings {
            cipher_suites,
            groups,
            ..TlsSettings::default()
        },
        ..Trusted::default()
    })
    .await;
    let alice = authority.issue(&Leaf::client("alice")).unwrap();
    (served, alice)
}

/// A client that offers these algorithms and no others.
fn offering(
    served: &Served,
    alice: &Issued,
    suites: &[CipherSuite],
    groups: &[Group],
) -> ClientConfig {
    let provider = CryptoProvider {
        cipher_suites: suites.iter().map(CipherSuite::implementation).collect(),
        kx_groups: groups.iter().map(Group::implementation).collect(),
        ..aws_lc_rs::default_provider()
    };
    let pair = (alice.chain_pem.as_str(), alice.key_pem.as_str());
    served.client_by(provider, &TLS13, Some(pair))
}

/// Asserts that a client is let in by these algorithms.
async fn agrees(served: &Served, client: &ClientConfig, suite: CipherSuite, group: Group) {
    served.accepts(client).await;
    let mut stream = served.connect(client).await;
    let connection = stream.get_ref().1;
    let agreed = (
        connection.negotiated_cipher_suite(),
        connection.negotiated_key_exchange_group().map(|g| g.name()),
    );
    let wanted = (
        Some(suite.implementation()),
        Some(group.implementation().name()),
    );
    assert_eq!(agreed, wanted, "{suite} with {group}");
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn every_suite_is_spoken_with_every_group() {
    let (served, alice) = serving(CipherSuite::all(), Group::all()).await;
    for suite in CipherSuite::all() {
        for group in Group::all() {
            let client = offering(&served, &alice, &[suite], &[group]);
            agrees(&served, &client, suite, group).await;
        }
    }
}

#[tokio::test]
async fn a_suite_that_alone_is_allowed_is_agreed_on_and_without_it_there_is_no_handshake() {
    for suite in CipherSuite::all() {
        let (served, alice) = serving(vec![suite], Group::usual()).await;
        let client = offering(&served, &alice, &CipherSuite::all(), &Group::usual());
        agrees(&served, &client, suite, Group::usual()[0]).await;
        let mut others = CipherSuite::all();
        others.retain(|other| *other != suite);
        let client = offering(&served, &alice, &others, &Group::usual());
        let refused = served.refuses(&client).await;
        refused.because("Incompatible", "INFO", HandshakeFailure);
    }
}

#[tokio::test]
async fn a_group_that_alone_is_allowed_is_agreed_on_and_without_it_there_is_no_handshake() {
    for group in Group::all() {
        let (served, alice) = serving(CipherSuite::all(), vec![group]).await;
        let client = offering(&served, &alice, &CipherSuite::all(), &Group::all());
        agrees(&served, &client, CipherSuite::all()[0], group).await;
        let mut others = Group::all();
        others.retain(|other| *other != group);
        let client = offering(&served, &alice, &CipherSuite::all(), &others);
        let refused = served.refuses(&client).await;
        refused.because("Incompatible", "INFO", HandshakeFailure);
    }
}

#[tokio::test]
async fn by_default_the_groups_that_every_client_has_are_spoken_and_a_hybrid_one() {
    let (served, alice) = serving(CipherSuite::all(), Group::usual()).await;
    for name in ["x25519", "secp256r1", "secp384r1", "X25519MLKEM768"] {
        let group: Group = name.parse().unwrap();
        let client = offering(&served, &alice, &CipherSuite::all(), &[group]);
        agrees(&served, &client, CipherSuite::all()[0], group).await;
    }
}
