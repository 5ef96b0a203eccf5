//! Any bytes as frames behind the start of an HTTP/2 connection; the first byte says how they are split.
//!
//! Whatever comes, the server sends whole frames, answers only streams that were opened, each once, and ends the connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::{answers, stack};

/// The client's preface and its empty SETTINGS.
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The largest frame that can be allowed (RFC 9113, 6.5.2).
const LARGEST: usize = (1 << 24) - 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    content: &'a [u8],
}

/// The whole frames at the start, and what comes behind them.
fn frames(mut bytes: &[u8]) -> (Vec<Frame<'_>>, &[u8]) {
    let mut all = Vec::new();
    while let Some((&[a, b, c, kind, flags, s1, s2, s3, s4], rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let Some((content, rest)) = rest.split_at_checked(length) else {
            break;
        };
        let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
        all.push(Frame {
            kind,
            flags,
            stream,
            content,
        });
        bytes = rest;
    }
    (all, bytes)
}

/// What was answered on a stream.
#[derive(Default)]
struct Answered {
    heads: usize,
    body: Vec<u8>,
    ended: bool,
    reset: bool,
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let sent = [START, bytes].concat();
    let said = stack::said(&sent, (usize::from(size) + 1) * 64, true);
    let (requests, _) = frames(bytes);
    let opening = requests.iter().filter(|f| f.kind == HEADERS);
    let opened: BTreeSet<u32> = opening.map(|f| f.stream).collect();
    let named: BTreeSet<u32> = requests.iter().map(|f| f.stream).collect();
    let (answers, rest) = frames(&said);
    assert!(rest.is_empty(), "a frame was cut");
    assert!(
        answers.first().is_some_and(|f| f.kind == SETTINGS),
        "SETTINGS come first"
    );
    let mut streams: BTreeMap<u32, Answered> = BTreeMap::new();
    let mut continued = None;
    let mut failed = false;
    for frame in answers {
        assert!(frame.content.len() <= LARGEST && frame.kind <= CONTINUATION);
        assert_eq!(
            frame.kind == CONTINUATION,
            continued.is_some(),
            "a head in pieces stays together"
        );
        if let Some(stream) = continued {
            assert_eq!(stream, frame.stream);
        }
        if [HEADERS, CONTINUATION].contains(&frame.kind) {
            continued = (frame.flags & END_HEADERS == 0).then_some(frame.stream);
        }
        assert!(!failed, "a frame behind the error that ends the connection");
        if frame.kind == GOAWAY {
            let code = frame.content.get(4..8).expect("a code");
            failed = code != [0; 4];
        }
        if ![DATA, HEADERS, RST_STREAM, WINDOW_UPDATE].contains(&frame.kind) || frame.stream == 0 {
            continue;
        }
        // What is said of a stream that isn't open is told that it isn't.
        let known = match frame.kind {
            RST_STREAM => &named,
            _ => &opened,
        };
        assert!(known.contains(&frame.stream), "an answer to nothing");
        let stream = streams.entry(frame.stream).or_default();
        match frame.kind {
            HEADERS => {
                // A stream may be told to go on before its answer; the answers themselves have no trailers.
                stream.heads += 1;
                assert!(stream.heads <= 2, "two answers");
            }
            DATA => {
                assert!(stream.heads > 0 && frame.flags & PADDED == 0);
                stream.body.extend_from_slice(frame.content);
            }
            RST_STREAM => stream.reset = true,
            _ => continue,
        }
        if frame.kind != RST_STREAM {
            assert!(!stream.ended, "more behind the end of a stream");
            stream.ended = frame.flags & END_STREAM != 0;
        }
    }
    for answered in streams.values().filter(|s| s.ended && !s.body.is_empty()) {
        let status = if answered.body.starts_with(b"{\"error\"") {
            400
        } else {
            200
        };
        answers::check(
            status,
            answered.body.starts_with(&[0x1f, 0x8b]),
            &answered.body,
        );
    }
}
