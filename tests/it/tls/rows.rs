//! Chains of every kind, in order and not, each with the reason and the alert that it is refused with.

use std::rc::Rc;

use rustls::AlertDescription::{
    self, CertificateExpired, CertificateRevoked, CertificateUnknown, DecryptError, UnknownCA,
    UnsupportedCertificate,
};

use super::chains::*;

/// A client, and the CAs and lists among which it is judged.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) crls: Vec<Vec<u8>>,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) key: Rc<Key>,
}

/// Who issues, and the key of whom it is issued to.
pub(super) struct Scene {
    pub(super) root: Ca,
    pub(super) key: Rc<Key>,
}

impl Scene {
    /// A root of this name, so that rows can share a server.
    pub(super) fn new(name: &str) -> Self {
        Self::with(Certificate::ca(name))
    }

    pub(super) fn with(root: Certificate) -> Self {
        Self {
            root: Ca::root(root, Key::p256()),
            key: Key::p256(),
        }
    }

    pub(super) fn sub(&self, certificate: Certificate) -> Ca {
        self.root.sub(certificate, Key::p256())
    }

    /// The leaf by this CA, then the CAs between it and the root.
    pub(super) fn chain(&self, leaf: &Certificate, issuers: &[&Ca]) -> Vec<Vec<u8>> {
        let issuer = issuers.first().copied().unwrap_or(&self.root);
        let leaf = issuer.issue(leaf, &self.key);
        [leaf]
            .into_iter()
            .chain(issuers.iter().map(|ca| ca.der.clone()))
            .collect()
    }

    pub(super) fn row(self, name: &'static str, chain: Vec<Vec<u8>>) -> Row {
        Row {
            name,
            roots: vec![self.root.der],
            crls: vec![],
            chain,
            key: self.key,
        }
    }

    /// A row of a leaf that the root issued.
    pub(super) fn leaf(self, name: &'static str, leaf: Certificate) -> Row {
        let chain = self.chain(&leaf, &[]);
        self.row(name, chain)
    }
}

/// A leaf by a root of the row's name.
pub(super) fn leaf(name: &'static str, leaf: Certificate) -> Row {
    Scene::new(name).leaf(name, leaf)
}

/// A plain leaf by a root like this.
pub(super) fn below(name: &'static str, root: Certificate) -> Row {
    Scene::with(root).leaf(name, alice())
}

pub(super) fn alice() -> Certificate {
    Certificate::client("alice")
}

pub(super) type Expected = (&'static str, AlertDescription);

pub(super) fn refused_leaves() -> Vec<(Row, Expected)> {
    let purpose = ("InvalidPurpose", UnsupportedCertificate);
    let usage = ("KeyUsage", CertificateUnknown);
    let eku = |purposes: &[&str]| alice().with(Extension::extended_key_usage(purposes));
    let key_usage = |set: &[u8]| alice().with(Extension::key_usage(set));
    let mut twice = alice();
    twice
        .extensions
        .push(Extension::key_usage(&[DIGITAL_SIGNATURE]));
    let mut unknown_twice = alice();
    for value in [vec![5, 0], vec![5, 0]] {
        unknown_twice
            .extensions
            .push(Extension::new(UNKNOWN, false, value));
    }
    let mut backwards = alice();
    (backwards.not_before, backwards.not_after) = (backwards.not_after, backwards.not_before);
    let mut rows = vec![
        (
            leaf("expired", alice().valid(-30, -1)),
            ("Expired", CertificateExpired),
        ),
        (
            leaf("not yet valid", alice().valid(1, 30)),
            ("NotValidYet", CertificateExpired),
        ),
        (
            leaf("ends before it begins", backwards),
            ("Expired", CertificateExpired),
        ),
        (leaf("serverAuth alone", eku(&[SERVER])), purpose),
        (leaf("anyExtendedKeyUsage alone", eku(&[ANY])), purpose),
        (
            leaf("an empty extended key usage", eku(&[])),
            ("InvalidPurpose", CertificateUnknown),
        ),
        (
            leaf("no extended key usage", alice().without(EXTENDED_KEY_USAGE)),
            ("NoExtendedKeyUsage", CertificateUnknown),
        ),
        (
            leaf("no digitalSignature", key_usage(&[KEY_ENCIPHERMENT])),
            usage,
        ),
        (leaf("a key usage of nothing", key_usage(&[])), usage),
        (
            leaf("keyCertSign", key_usage(&[DIGITAL_SIGNATURE, CERT_SIGN])),
            usage,
        ),
        (
            leaf(
                "CA:true",
                alice().with(Extension::basic_constraints(true, None)),
            ),
            ("CaUsedAsClient", CertificateUnknown),
        ),
        (
            leaf(
                "an unknown critical extension",
                alice().with(Extension::new(UNKNOWN, true, vec![5, 0])),
            ),
            ("UnhandledCriticalExtension", CertificateUnknown),
        ),
        (
            leaf("version 1", alice().version_1()),
            ("Version", CertificateUnknown),
        ),
        (
            leaf("a key usage twice", twice),
            ("BadEncoding", CertificateUnknown),
        ),
        (
            leaf("an unknown extension twice", unknown_twice),
            ("Unreadable", CertificateUnknown),
        ),
        (
            leaf(
                "a serial number with zeros before it",
                Certificate {
                    serial: vec![0, 1],
                    ..alice()
                },
            ),
            ("Unreadable", CertificateUnknown),
        ),
        (
            leaf(
                "no serial number",
                Certificate {
                    serial: vec![],
                    ..alice()
                },
            ),
            ("Unreadable", CertificateUnknown),
        ),
        (
            leaf(
                "a key usage that is none",
                alice().with(Extension::new(KEY_USAGE, true, vec![5, 0])),
            ),
            ("Unreadable", CertificateUnknown),
        ),
    ];
    for (name, bits) in [("RSA of 1024 bits", 1024), ("RSA of 2047 bits", 2047)] {
        let scene = Scene::new(name);
        let chain = vec![scene.root.issue(&alice(), &Key::rsa(bits, Hash::Sha256, 1))];
        rows.push((scene.row(name, chain), ("WeakKey", CertificateUnknown)));
    }
    // Signed by itself, and among the CAs.
    let key = Key::p256();
    let own = Ca::root(alice(), key.clone());
    rows.push((
        Row {
            name: "self-signed and trusted",
            roots: vec![own.der.clone()],
            crls: vec![],
            chain: vec![own.der.clone()],
            key: key.clone(),
        },
        ("SelfSigned", CertificateUnknown),
    ));
    let stranger = Ca::root(Certificate::client("mallory"), key.clone());
    rows.push((
        Row {
            name: "self-signed and unknown",
            roots: vec![],
            crls: vec![],
            chain: vec![stranger.der],
            key,
        },
        ("SelfSigned", CertificateUnknown),
    ));
    rows
}

pub(super) fn refused_issuers() -> Vec<(Row, Expected)> {
    let mut rows = Vec::new();
    let mut below_sub = |name: &'static str, sub: Certificate, expected: Expected| {
        let scene = Scene::new(name);
        let sub = scene.sub(sub);
        let chain = scene.chain(&alice(), &[&sub]);
        rows.push((scene.row(name, chain), expected));
    };
    let ca = || Certificate::ca("sub");
    below_sub(
        "an expired intermediate",
        ca().valid(-30, -1),
        ("Expired", CertificateExpired),
    );
    below_sub(
        "an intermediate that is no CA",
        ca().with(Extension::basic_constraints(false, None)),
        ("IssuerNotCa", CertificateUnknown),
    );
    below_sub(
        "an intermediate without basic constraints",
        ca().without(BASIC_CONSTRAINTS),
        ("IssuerNotCa", CertificateUnknown),
    );
    below_sub(
        "an intermediate without keyCertSign",
        ca().with(Extension::key_usage(&[DIGITAL_SIGNATURE, CRL_SIGN])),
        ("IssuerKeyUsage", CertificateUnknown),
    );
    below_sub(
        "an intermediate for servers alone",
        ca().with(Extension::extended_key_usage(&[SERVER])),
        ("InvalidPurpose", UnsupportedCertificate),
    );
    below_sub(
        "an intermediate with an unknown critical extension",
        ca().with(Extension::new(UNKNOWN, true, vec![5, 0])),
        ("UnhandledCriticalExtension", CertificateUnknown),
    );
    below_sub(
        "an intermediate of version 1",
        ca().version_1(),
        ("Version", CertificateUnknown),
    );

    let name = "an intermediate's path length";
    let scene = Scene::new(name);
    let upper =
        scene.sub(Certificate::ca("upper").with(Extension::basic_constraints(true, Some(0))));
    let lower = upper.sub(Certificate::ca("lower"), Key::p256());
    let chain = scene.chain(&alice(), &[&lower, &upper]);
    rows.push((scene.row(name, chain), ("PathLength", CertificateUnknown)));

    let name = "a missing intermediate";
    let scene = Scene::new(name);
    let sub = scene.sub(Certificate::ca("sub"));
    let chain = vec![scene.chain(&alice(), &[&sub]).remove(0)];
    rows.push((scene.row(name, chain), ("UnknownIssuer", UnknownCA)));

    let name = "another CA of the same name";
    let scene = Scene::new(name);
    let impostor = Scene::new(name);
    let chain = impostor.chain(&alice(), &[]);
    rows.push((scene.row(name, chain), ("BadSignature", DecryptError)));

    let name = "an intermediate's weak key";
    let scene = Scene::new(name);
    let weak = scene
        .root
        .sub(Certificate::ca("weak"), Key::rsa(1024, Hash::Sha256, 2));
    let chain = scene.chain(&alice(), &[&weak]);
    rows.push((scene.row(name, chain), ("WeakKey", CertificateUnknown)));

    for (name, tag, domain) in [
        ("a name that isn't permitted", 0xa0, "example.org"),
        ("a name that is excluded", 0xa1, "example.com"),
    ] {
        let constraints = Extension::name_constraints(tag, domain);
        let bob = || Certificate::client("bob").with(Extension::dns_name("bob.example.com"));
        let scene = Scene::new(name);
        let sub = scene.sub(Certificate::ca("sub").with(constraints.clone()));
        let chain = scene.chain(&bob(), &[&sub]);
        let expected = ("NameConstraints", CertificateUnknown);
        rows.push((scene.row(name, chain), expected));
        let root = Certificate::ca(&format!("root: {name}")).with(constraints.clone());
        rows.push((Scene::with(root).leaf(name, bob()), expected));
        // The same name as a common name, without the alternative name that it should be.
        let scene = Scene::new(&format!("common name: {name}"));
        let sub = scene.sub(Certificate::ca("sub").with(constraints.clone()));
        let common = || Certificate::client("bob.example.com");
        let chain = scene.chain(&common(), &[&sub]);
        rows.push((scene.row(name, chain), expected));
        // And beside an alternative name that its issuer may vouch for.
        let scene = Scene::new(&format!("common name beside another: {name}"));
        let sub = scene.sub(Certificate::ca("sub").with(constraints));
        let alternative = Extension::dns_name("bob.example.org");
        let chain = scene.chain(&common().with(alternative), &[&sub]);
        rows.push((scene.row(name, chain), expected));
    }
    rows
}

pub(super) fn refused_roots() -> Vec<(Row, Expected)> {
    let ca = Certificate::ca;
    let unknown = |reason| (reason, CertificateUnknown);
    let mut rows = vec![
        (
            below("an expired root", ca("expired root").valid(-30, -1)),
            unknown("RootExpired"),
        ),
        (
            below("a root of tomorrow", ca("tomorrow's root").valid(1, 30)),
            unknown("RootNotValidYet"),
        ),
        (
            below(
                "a root that is no CA",
                ca("no CA").with(Extension::basic_constraints(false, None)),
            ),
            unknown("RootNotCa"),
        ),
        (
            below(
                "a root without basic constraints",
                ca("silent root").without(BASIC_CONSTRAINTS),
            ),
            unknown("RootNotCa"),
        ),
        (
            below(
                "a root without keyCertSign",
                ca("crl root").with(Extension::key_usage(&[CRL_SIGN])),
            ),
            unknown("IssuerKeyUsage"),
        ),
        (
            below(
                "a root for servers alone",
                ca("server root").with(Extension::extended_key_usage(&[SERVER])),
            ),
            unknown("RootPurpose"),
        ),
        (
            below(
                "a root with an unknown critical extension",
                ca("critical root").with(Extension::new(UNKNOWN, true, vec![5, 0])),
            ),
            unknown("RootCriticalExtension"),
        ),
        (
            below(
                "a root of any purpose",
                ca("any root").with(Extension::extended_key_usage(&[ANY])),
            ),
            unknown("RootPurpose"),
        ),
    ];
    let name = "a root's path length";
    let scene = Scene::with(ca(name).with(Extension::basic_constraints(true, Some(0))));
    let sub = scene.sub(ca("sub"));
    let chain = scene.chain(&alice(), &[&sub]);
    rows.push((scene.row(name, chain), unknown("RootPathLength")));
    for (name, bits, hash, expected) in [
        (
            "a root's weak key",
            1024,
            Hash::Sha256,
            ("WeakKey", CertificateUnknown),
        ),
        (
            "SHA-1",
            2048,
            Hash::Sha1,
            ("SignatureAlgorithm", DecryptError),
        ),
    ] {
        let scene = Scene {
            root: Ca::root(ca(name), Key::rsa(bits, hash, 3)),
            key: Key::p256(),
        };
        let chain = scene.chain(&alice(), &[]);
        rows.push((scene.row(name, chain), expected));
    }
    rows
}

pub(super) fn revoked() -> Vec<(Row, Expected)> {
    let mut rows = Vec::new();
    let name = "a revoked leaf";
    let scene = Scene::new(name);
    let leaf = alice();
    let chain = scene.chain(&leaf, &[]);
    let crls = vec![scene.root.crl(&[&leaf.serial], -1, 1)];
    rows.push((
        Row {
            crls,
            ..scene.row(name, chain)
        },
        ("Revoked", CertificateRevoked),
    ));

    for name in [
        "a revoked intermediate",
        "a leaf that an intermediate revoked",
    ] {
        let scene = Scene::new(name);
        let (leaf, ca) = (alice(), Certificate::ca(&format!("{name}: CA")));
        let sub = scene.sub(ca.clone());
        let chain = scene.chain(&leaf, &[&sub]);
        let crls = if name == "a revoked intermediate" {
            vec![scene.root.crl(&[&ca.serial], -1, 1)]
        } else {
            vec![sub.crl(&[&leaf.serial], -1, 1)]
        };
        rows.push((
            Row {
                crls,
                ..scene.row(name, chain)
            },
            ("Revoked", CertificateRevoked),
        ));
    }

    let name = "an expired revocation list";
    let scene = Scene::new(name);
    let chain = scene.chain(&alice(), &[]);
    let crls = vec![scene.root.crl(&[], -2, -1)];
    rows.push((
        Row {
            crls,
            ..scene.row(name, chain)
        },
        ("CrlExpired", UnknownCA),
    ));
    rows
}
