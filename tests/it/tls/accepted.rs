//! Chains of every kind that is in order.

use super::{chains::*, rows::*};

pub(super) fn accepted() -> Vec<Row> {
    let mut long_serial = alice();
    long_serial.serial = vec![0x7f; 20];
    let mut zero = alice();
    zero.serial = vec![0];
    let mut negative = alice();
    negative.serial = vec![0xff, 0x01];
    let eku = |purposes: &[&str]| alice().with(Extension::extended_key_usage(purposes));
    let critical = Extension::extended_key_usage(&[CLIENT]).critical();
    let mut rows = vec![
        leaf("a plain one", alice()),
        leaf("clientAuth with serverAuth", eku(&[SERVER, CLIENT])),
        leaf("clientAuth with anyExtendedKeyUsage", eku(&[ANY, CLIENT])),
        leaf("a critical extended key usage", alice().with(critical)),
        leaf("no key usage", alice().without(KEY_USAGE)),
        leaf(
            "CA:false",
            alice().with(Extension::basic_constraints(false, None)),
        ),
        leaf(
            "an unknown extension",
            alice().with(Extension::new(UNKNOWN, false, vec![5, 0])),
        ),
        leaf("a serial number of 20 bytes", long_serial),
        leaf("the serial number 0", zero),
        leaf("a negative serial number", negative),
        leaf("a century", alice().valid(-1, 36_500)),
        below(
            "a root of version 1",
            Certificate::ca("version 1").version_1(),
        ),
        below(
            "a root without key usage",
            Certificate::ca("no usage").without(KEY_USAGE),
        ),
        below(
            "a root for clients",
            Certificate::ca("client root").with(Extension::extended_key_usage(&[CLIENT])),
        ),
        leaf(
            "names within no constraints",
            alice().with(Extension::dns_name("alice.example.com")),
        ),
    ];
    for (name, key) in [
        ("P-256", Key::p256()),
        ("P-384", Key::p384()),
        ("P-521", Key::p521()),
        ("Ed25519", Key::ed25519()),
        ("ML-DSA-65", Key::ml_dsa_65()),
        ("RSA of 2048 bits", Key::rsa_2048()),
    ] {
        let scene = Scene {
            root: Ca::root(Certificate::ca(name), key.clone()),
            key,
        };
        rows.push(scene.leaf(name, alice()));
    }
    let name = "SHA-512 and RSA of 3072 bits";
    let scene = Scene {
        root: Ca::root(Certificate::ca(name), Key::rsa(3072, Hash::Sha512, 4)),
        key: Key::p256(),
    };
    rows.push(scene.leaf(name, alice()));

    let name = "six intermediates";
    let scene = Scene::new(name);
    let mut subs =
        vec![scene.sub(Certificate::ca("sub 0").with(Extension::basic_constraints(true, Some(5))))];
    for number in 1..6 {
        let constraints = Extension::basic_constraints(true, Some(5 - number));
        let sub = Certificate::ca(&format!("sub {number}")).with(constraints);
        let sub = subs[0].sub(sub, Key::p256());
        subs.insert(0, sub);
    }
    let issuers: Vec<_> = subs.iter().collect();
    let chain = scene.chain(&alice(), &issuers);
    rows.push(scene.row(name, chain));

    let name = "intermediates in any order, with others";
    let scene = Scene::new(name);
    let upper = scene.sub(Certificate::ca("upper"));
    let lower = upper.sub(Certificate::ca("lower"), Key::p256());
    let mut chain = scene.chain(&alice(), &[&lower, &upper]);
    chain.insert(1, Scene::new("of no use").root.der);
    chain.swap(2, 3);
    rows.push(scene.row(name, chain));

    // The path to the expired root is refused, and the one to the other is found.
    let name = "cross-signed";
    let old = Scene::with(Certificate::ca("old root of two").valid(-30, -1));
    let new = Scene::new("new root of two");
    let ca = Certificate::ca("cross-signed");
    let sub = old.sub(ca.clone());
    let mut chain = old.chain(&alice(), &[&sub]);
    chain.push(new.root.issue(&ca, &sub.key));
    rows.push(Row {
        name,
        roots: vec![old.root.der, new.root.der],
        crls: vec![],
        chain,
        key: old.key,
    });

    let name = "permitted names";
    let constraints = Extension::name_constraints(0xa0, "example.com");
    for leaf in [
        alice().with(Extension::dns_name("alice.example.com")),
        Certificate::client("alice.example.com"),
        Certificate::client("alice"),
    ] {
        let root = Certificate::ca(&format!("root {}", fastrand::u32(..)));
        let scene = Scene::with(root.with(constraints.clone()));
        let sub = scene.sub(Certificate::ca("sub").with(constraints.clone()));
        let chain = scene.chain(&leaf, &[&sub]);
        rows.push(scene.row(name, chain));
    }

    let name = "not revoked";
    let scene = Scene::new(name);
    let sub = scene.sub(Certificate::ca("unrevoked sub"));
    let chain = scene.chain(&alice(), &[&sub]);
    let crls = vec![scene.root.crl(&[&[1]], -1, 1), sub.crl(&[], -1, 1)];
    rows.push(Row {
        crls,
        ..scene.row(name, chain)
    });
    rows
}
