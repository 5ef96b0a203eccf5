//! Answers as a strict client reads them over HTTP/1.1.

use crate::http1::Plain;

/// One answer, checked as such.
pub(crate) struct Answer {
    closes: bool,
}

impl Answer {
    /// All that was said, taken apart. The first answers are to these requests.
    pub(crate) fn all(mut said: &[u8], requests: &[Plain]) -> Vec<Self> {
        let mut answers = Vec::new();
        while !said.is_empty() {
            let is_head = requests.get(answers.len()).map(|request| request.is_head);
            let (answer, rest) = Self::first(said, is_head);
            answers.extend(answer);
            said = rest;
        }
        answers
    }

    /// Whether it says that nothing comes behind it.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// The first answer, `None` for one that only says to go on, and what comes behind it.
    fn first(said: &[u8], is_head: Option<bool>) -> (Option<Self>, &[u8]) {
        let text = String::from_utf8_lossy(said);
        let end = said.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("an answer without an end: {text}"));
        let (head, rest) = (
            str::from_utf8(&said[..end]).expect("text"),
            &said[end + 4..],
        );
        assert!(
            !head.chars().any(|c| c.is_control() && !"\r\n".contains(c)),
            "{head:?}"
        );
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        // The version is the request's.
        let old = line.starts_with("HTTP/1.0 ");
        let status = line.strip_prefix(if old { "HTTP/1.0 " } else { "HTTP/1.1 " });
        let status = status.and_then(|line| line.get(..3)?.parse::<u16>().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {text}"));
        let headers: Vec<(&str, &str)> = lines
            .map(|line| {
                line.split_once(": ")
                    .unwrap_or_else(|| panic!("no header: {line:?}"))
            })
            .collect();
        let header = |name: &str| {
            let mut found = headers
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, value)| *value);
            let first = found.next();
            assert!(found.next().is_none(), "two of {name}: {head}");
            first
        };
        if status == 100 {
            assert!(headers.is_empty(), "{head}");
            return (None, rest);
        }
        assert!((200..=599).contains(&status), "{head}");
        assert_eq!(
            header("transfer-encoding"),
            None,
            "every answer tells its length"
        );
        let length = header("content-length").map_or(0, |l| l.parse::<usize>().expect("a length"));
        // What was asked may be in doubt; no body of ours starts like an answer.
        let is_head = is_head.unwrap_or(rest.is_empty() || rest.starts_with(b"HTTP/1."));
        let length = if is_head || status == 304 { 0 } else { length };
        assert!(rest.len() >= length, "cut: {text}");
        let (body, rest) = rest.split_at(length);
        let closes = match header("connection") {
            Some(said) => said == "close",
            None => old,
        };
        match header("x-request-id") {
            Some(_) if body.is_empty() => assert!(is_head || status == 304, "{head}"),
            Some(_) => check(status, header("content-encoding").is_some(), body),
            // Not ours: the library's, to what it couldn't parse.
            None => {
                assert!(
                    [400, 414, 431].contains(&status) && body.is_empty(),
                    "{text}"
                );
                assert!(closes, "{text}");
            }
        }
        (Some(Self { closes }), rest)
    }
}

/// Whether a body is what its answer's status promises.
pub(crate) fn check(status: u16, encoded: bool, body: &[u8]) {
    if encoded {
        assert!(body.starts_with(&[0x1f, 0x8b]), "not gzip");
        return;
    }
    if body.starts_with(b"<!doctype html>") {
        assert_eq!(status, 200, "a page");
        return;
    }
    let text = String::from_utf8_lossy(body);
    let json: serde_json::Value =
        serde_json::from_slice(body).unwrap_or_else(|why| panic!("{why}: {text}"));
    if status >= 400 && json.get("status").is_none() {
        let members = json.as_object().unwrap_or_else(|| panic!("{text}"));
        let error = members.get("error").and_then(serde_json::Value::as_str);
        assert!(
            members.len() == 1 && error.is_some_and(|e| !e.is_empty()),
            "{text}"
        );
    }
}
