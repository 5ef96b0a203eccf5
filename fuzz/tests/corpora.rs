//! Every committed input, and mutations of them that are the same in every run.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't go on says where"
)]

use std::{fs, path::Path};

use fastrand::Rng;
use fuzz::{TARGETS, Target, inputs};

/// Mutations of each target's inputs: seconds in all.
const MUTATIONS: usize = 1500;
/// Bytes that mean something somewhere.
const TELLING: [u8; 12] = [
    0, 1, 0x7f, 0x80, 0xff, b'\n', b'\r', b' ', b':', b'"', b'-', b'/',
];

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

/// An input changed in a few places, or joined with another one.
fn mutated(inputs: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut bytes = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        let end = at + random.usize(..=(bytes.len() - at).min(16));
        match random.u8(..7) {
            0 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << random.u8(..8)),
            1 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = TELLING[random.usize(..TELLING.len())]),
            2 => bytes.insert(at, random.u8(..)),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.extend_from_within(at..end),
            5 => bytes.truncate(at),
            _ => {
                let other = &inputs[random.usize(..inputs.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
            }
        }
    }
    bytes
}

fn holds(name: &str) {
    let target = target(name);
    let inputs = inputs(name);
    assert!(inputs.len() >= 3, "few inputs of {name}");
    let mut random = Rng::with_seed(4);
    let mutations = (0..MUTATIONS).map(|_| mutated(&inputs, &mut random));
    for bytes in inputs.iter().cloned().chain(mutations) {
        let run = || (target.run)(&bytes);
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failing"));
            fs::write(&path, &bytes).unwrap();
            eprintln!("{name} fails on the bytes in {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn any_chain_is_judged() {
    holds("chain");
}

#[test]
fn any_configuration_is_read_or_refused_in_one_sentence() {
    holds("configuration");
}

#[test]
fn any_bytes_over_http1_leave_the_connection_in_step() {
    holds("http1");
}

#[test]
fn any_frames_over_http2_are_answered_once_or_refused() {
    holds("http2");
}

#[test]
fn any_certificate_names_somebody_or_nobody() {
    holds("identity");
}

#[test]
fn a_list_is_the_same_however_it_arrives() {
    holds("list");
}

#[test]
fn any_tls_file_is_used_or_refused_in_one_sentence() {
    holds("pem");
}

#[test]
fn any_policy_decides_without_contradiction() {
    holds("policy");
}

#[test]
fn a_watch_is_the_same_however_it_arrives() {
    holds("watch");
}

#[test]
fn every_target_has_a_test_here() {
    let tests = include_str!("corpora.rs");
    for target in &TARGETS {
        assert!(
            tests.contains(&format!("holds(\"{}\")", target.name)),
            "{}",
            target.name
        );
    }
}
