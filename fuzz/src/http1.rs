//! Any bytes as what a client sends over HTTP/1.1; the first one says how they are split.
//!
//! As long as the requests are well formed beyond doubt, each has exactly one answer. Behind that, no more answers come than heads may
//! have been there, and none behind the first that closes the connection.

use crate::{answers::Answer, stack};

pub(crate) fn run(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let said = stack::said(bytes, (usize::from(size) + 1) * 64, false);
    let (requests, rest) = plain_requests(bytes);
    let answers = Answer::all(&said, &requests);
    let closes = answers.iter().position(Answer::closes);
    if let Some(at) = closes {
        assert_eq!(at, answers.len() - 1, "an answer behind one that closes");
    } else {
        assert!(
            answers.len() >= requests.len(),
            "a request without an answer"
        );
    }
    // A head ends with an empty line; what isn't one is told so once.
    let heads = rest.windows(2).filter(|w| *w == b"\n\n").count()
        + rest.windows(3).filter(|w| *w == b"\n\r\n").count();
    assert!(
        answers.len() <= requests.len() + heads + 1,
        "{} answers to {} requests and {heads} heads at most",
        answers.len(),
        requests.len()
    );
}

/// A request about whose end there is no doubt.
#[derive(Debug)]
pub(crate) struct Plain {
    /// Its answer has no body.
    pub(crate) is_head: bool,
}

/// The requests at the start that are whole and plain, and what comes behind them.
fn plain_requests(mut bytes: &[u8]) -> (Vec<Plain>, &[u8]) {
    let mut requests = Vec::new();
    while let Some((request, rest)) = plain_request(bytes) {
        requests.push(request);
        bytes = rest;
    }
    (requests, bytes)
}

fn plain_request(bytes: &[u8]) -> Option<(Plain, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at(end);
    let head = str::from_utf8(head).ok()?;
    let rest = &rest[4..];
    let mut lines = head.split("\r\n");
    let line = lines.next()?.strip_suffix(" HTTP/1.1")?;
    let (method, target) = line.split_once(' ')?;
    let plain_target = |b: u8| b.is_ascii_alphanumeric() || b"/-._?=&%".contains(&b);
    if !["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"].contains(&method)
        || !target.starts_with('/')
        || !target.bytes().all(plain_target)
        || head.len() > 16 * 1024
    {
        return None;
    }
    let (mut hosts, mut length, mut count) = (0, 0, 0);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        let plain_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || !name.bytes().all(plain_name) {
            return None;
        }
        if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return None;
        }
        count += 1;
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length"
                if length == 0 && value.len() < 6 && value.bytes().all(|b| b.is_ascii_digit()) =>
            {
                // One of them, and not empty.
                length = value.parse::<usize>().ok().filter(|length| *length > 0)?;
            }
            "content-length" | "transfer-encoding" | "connection" | "expect" | "upgrade"
            | "trailer" | "te" => return None,
            _ => {}
        }
    }
    let is_head = method == "HEAD";
    let plain = hosts == 1 && count < 90 && rest.len() >= length;
    plain.then(|| (Plain { is_head }, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_starts_from_requests_without_a_doubt() {
        let inputs = crate::inputs("http1");
        let most = inputs
            .iter()
            .map(|input| plain_requests(&input[1..]).0.len());
        assert!(most.max() >= Some(3));
    }
}
