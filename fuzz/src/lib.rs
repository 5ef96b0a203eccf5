//! Bytes that nobody thought of, for everything that reads what others send.
//!
//! A target is a function of bytes that panics where what must always hold doesn't. Each is run on its committed inputs and on
//! mutations of them by the tests, and guided by coverage by `fuzz/run`.

mod answers;
mod chain;
mod configuration;
mod http1;
mod http2;
mod identity;
mod kubernetes;
mod pem;
mod policy;
mod stack;

/// Something that reads bytes.
pub struct Target {
    /// Its name, and its corpus's.
    pub name: &'static str,
    /// Reads the bytes; panics where something is wrong with what came of them.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "chain",
        run: chain::run,
    },
    Target {
        name: "configuration",
        run: configuration::run,
    },
    Target {
        name: "http1",
        run: http1::run,
    },
    Target {
        name: "http2",
        run: http2::run,
    },
    Target {
        name: "identity",
        run: identity::run,
    },
    Target {
        name: "list",
        run: kubernetes::list,
    },
    Target {
        name: "pem",
        run: pem::run,
    },
    Target {
        name: "policy",
        run: policy::run,
    },
    Target {
        name: "watch",
        run: kubernetes::watch,
    },
];
