//! Why verdicts differ, class by class. What none of these classes covers fails the comparison, and so does a class that nothing falls
//! into any more.

use Other::{Go, OpenSsl};

/// Whose verdict differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    OpenSsl,
    Go,
}

/// A class of disagreements.
pub(super) struct Explained {
    pub(super) other: Other,
    /// Our reason, or `OK`.
    pub(super) ours: &'static str,
    /// A part of what they say, or `OK`.
    pub(super) theirs: &'static str,
    pub(super) why: &'static str,
    /// Whether it may be that nothing falls into the class: it takes more scenes than are judged each time.
    pub(super) seldom: bool,
}

pub(super) const OK: &str = "OK";

const fn stricter(other: Other, ours: &'static str, why: &'static str) -> Explained {
    Explained {
        other,
        ours,
        theirs: OK,
        why,
        seldom: false,
    }
}

const fn laxer(other: Other, theirs: &'static str, why: &'static str) -> Explained {
    Explained {
        other,
        ours: OK,
        theirs,
        why,
        seldom: false,
    }
}

const fn seldom(explained: Explained) -> Explained {
    Explained {
        seldom: true,
        ..explained
    }
}

const PURPOSE: &str = "they take a certificate without extended key usage for one of every purpose (RFC 5280, 4.2.1.12, lets them)";
const ENCODING: &str = "what isn't DER is refused: bytes behind the certificate, booleans other than 0 and 255, written defaults";
const TWICE: &str =
    "an extension that is there twice says two things; they look at those that they know alone";
const VERSION: &str = "only version 3 can say what a certificate is for";
const CA: &str = "a CA's certificate is for signing, not for a client (they look at a client's basic constraints for servers' sake alone)";
const RSA: &str = "RSA keys have 2048 bits at least, and 2047 is less";
const COMMON_NAME: &str =
    "a common name that is a DNS name is held to the constraints of its issuers";
const CONSTRAINTS: &str = "webpki compares DNS names and addresses, and refuses all URIs, directory names and e-mail addresses where such are constrained; and a common name that is a DNS name is held to constraints even beside an alternative one, where OpenSSL looks at the latter alone: here a client may be known by either";
const POLICIES: &str = "webpki processes no policies, so it can't honour critical ones; let the CA mark them as not critical";
const SERIAL: &str =
    "RFC 5280, 4.1.2.2: users should be prepared to handle negative serial numbers gracefully";
const NO_POINT: &str = "nobody has the private key of a point that isn't on the curve: the handshake's proof of possession fails";

const ONE_PATH: &str = "OpenSSL judges one path, by one list of a name, where no key identifiers tell issuers of that name apart; here all are tried";

const NOT_ON_PATH: &str = "what a client sends and no path needs is passed over";
const ROOT: &str = "a root of version 1 with extensions, or with one of them twice, isn't loaded: the server says so and doesn't start";

/// The first that fits explains a disagreement.
pub(super) const EXPLAINED: &[Explained] = &[
    // Our checks.
    stricter(OpenSsl, "NoExtendedKeyUsage", PURPOSE),
    stricter(Go, "NoExtendedKeyUsage", PURPOSE),
    stricter(
        OpenSsl,
        "KeyUsage",
        "a client's key usage with keyCertSign is refused: who signs certificates is a CA",
    ),
    stricter(Go, "KeyUsage", "Go looks at no leaf's key usage"),
    stricter(
        Go,
        "InvalidPurpose",
        "Go takes anyExtendedKeyUsage for every purpose, and an empty list for none that is bounded",
    ),
    stricter(OpenSsl, "CaUsedAsClient", CA),
    stricter(Go, "CaUsedAsClient", CA),
    stricter(
        Go,
        "SelfSigned",
        "Go lets in whatever is among the CAs itself",
    ),
    stricter(
        OpenSsl,
        "SelfSigned",
        "OpenSSL lets in whatever is among the CAs itself",
    ),
    stricter(
        OpenSsl,
        "RootNotCa",
        "OpenSSL takes a root with keyCertSign and without basic constraints for a CA",
    ),
    stricter(OpenSsl, "WeakKey", RSA),
    stricter(Go, "WeakKey", "Go takes RSA keys from 1024 bits on"),
    stricter(
        Go,
        "UnsupportedKey",
        "a key of an unknown kind makes no handshake; Go judges the chain alone",
    ),
    stricter(
        Go,
        "RootPurpose",
        "a root's anyExtendedKeyUsage alone counts no more than anybody's",
    ),
    // Revocation, which Go's verification has nothing of.
    stricter(Go, "Revoked", "Go reads no lists"),
    stricter(Go, "CrlExpired", "Go reads no lists"),
    stricter(Go, "CrlInvalid", "Go reads no lists"),
    stricter(Go, "RevocationUnknown", "Go reads no lists"),
    // Form.
    stricter(OpenSsl, "BadEncoding", ENCODING),
    stricter(
        Go,
        "BadEncoding",
        "webpki takes no unique identifiers; CAs must not write them (RFC 5280, 4.1.2.8)",
    ),
    stricter(OpenSsl, "Unreadable", TWICE),
    seldom(stricter(
        Go,
        "Unreadable",
        "Go skips what stands behind a value in a name",
    )),
    stricter(OpenSsl, "Version", VERSION),
    stricter(Go, "Version", VERSION),
    stricter(OpenSsl, "NameConstraints", CONSTRAINTS),
    seldom(stricter(Go, "NameConstraints", COMMON_NAME)),
    seldom(stricter(
        OpenSsl,
        "RootExpired",
        "constraints of directory names on the root, whose expired twin is told of instead",
    )),
    seldom(stricter(OpenSsl, "BadSignature", POLICIES)),
    stricter(OpenSsl, "UnhandledCriticalExtension", POLICIES),
    stricter(Go, "UnhandledCriticalExtension", POLICIES),
    // What only they refuse.
    laxer(Go, "negative serial number", SERIAL),
    laxer(Go, "point not on curve", NO_POINT),
    laxer(OpenSsl, "EE certificate key too weak", NO_POINT),
    seldom(laxer(Go, "invalid uncompressed public key", NO_POINT)),
    laxer(
        OpenSsl,
        "unable to get local issuer certificate",
        "key identifiers are hints for finding issuers; webpki goes by names and signatures alone",
    ),
    laxer(OpenSsl, "certificate signature failure", ONE_PATH),
    laxer(OpenSsl, "CRL signature failure", ONE_PATH),
    laxer(OpenSsl, "unable to get certificate CRL", ONE_PATH),
    seldom(laxer(OpenSsl, "certificate has expired", ONE_PATH)),
    seldom(laxer(Go, "duplicate extension", NOT_ON_PATH)),
    seldom(laxer(
        Go,
        "invalid authority key identifier",
        "key identifiers are hints for finding issuers, and nothing is decided by them here",
    )),
    seldom(laxer(
        Go,
        "SAN dNSName is malformed",
        "alternative names are judged where a client's name is taken from them",
    )),
    seldom(stricter(OpenSsl, "RootUnusable", ROOT)),
    seldom(stricter(Go, "RootUnusable", ROOT)),
];
