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

use std::{collections::BTreeSet, fs, path::Path};

/// The committed inputs of a target, in the order of their names.
///
/// # Panics
///
/// When they can't be read.
pub fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let entries = fs::read_dir(folder.join(target)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths: BTreeSet<_> = paths.collect();
    let contents = paths.iter().map(|path| fs::read(path).expect("a file"));
    contents.collect()
}

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
