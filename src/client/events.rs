//! Server-sent events out of bytes, however they come in pieces (HTML, 9.2.6: Interpreting an event stream).

use std::{mem, time::Duration};

/// No event is longer, in bytes.
const LONGEST_EVENT: usize = 64 * 1024 * 1024;
/// No time to come back after is longer.
const LONGEST_RETRY: Duration = Duration::from_secs(60 * 60);

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened, `message` if the server doesn't say.
    pub kind: String,
    /// Its lines, joined by line feeds.
    pub data: String,
}

/// An event is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// What has been read of a stream of events.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    begun: bool,
    after_return: bool,
    kind: String,
    data: String,
    /// The id that stands in the event that isn't whole yet.
    next_id: String,
    id: String,
    retry: Option<Duration>,
}

impl Events {
    /// Begins with another connection's bytes: the last id and the time to come back after stay.
    pub fn resume(&mut self) {
        let (id, retry) = (mem::take(&mut self.id), self.retry);
        *self = Self {
            next_id: id.clone(),
            id,
            retry,
            ..Self::default()
        };
    }

    /// The last id, to come back with; empty if there was none.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How long to wait before coming back, if the server said it; an hour at most.
    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Reads what comes next; the events that it completes are added to `found`.
    ///
    /// # Errors
    /// When an event gets longer than 64 MiB.
    pub fn read(&mut self, bytes: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // The line feed of a CR LF belongs to the line that has ended.
            if mem::take(&mut self.after_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
            let (of_line, after) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + of_line.len() + self.data.len() > LONGEST_EVENT {
                return Err(TooLong);
            }
            self.line.extend_from_slice(of_line);
            rest = after;
            if let [ending, after @ ..] = rest {
                self.after_return = *ending == b'\r';
                rest = after;
                let line = mem::take(&mut self.line);
                self.end_line(&String::from_utf8_lossy(&line), found);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &str, found: &mut Vec<Event>) {
        // One byte order mark may stand at the very beginning.
        let line = match mem::replace(&mut self.begun, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(line),
            true => line,
        };
        if line.is_empty() {
            self.id.clone_from(&self.next_id);
            let kind = mem::take(&mut self.kind);
            let mut data = mem::take(&mut self.data);
            // Nothing but an id, or a comment.
            if data.is_empty() {
                return;
            }
            data.pop();
            let kind = if kind.is_empty() {
                "message".into()
            } else {
                kind
            };
            found.push(Event { kind, data });
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.next_id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                let time = value.parse().map_or(LONGEST_RETRY, Duration::from_millis);
                self.retry = Some(time.min(LONGEST_RETRY));
            }
            // Comments have no name of a field; others than these mean nothing.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: &str, data: &str) -> Event {
        Event {
            kind: kind.into(),
            data: data.into(),
        }
    }

    fn read(text: &str) -> (Vec<Event>, Events) {
        let (mut events, mut found) = (Events::default(), Vec::new());
        events.read(text.as_bytes(), &mut found).unwrap();
        (found, events)
    }

    #[test]
    fn fields_mean_what_the_standard_says() {
        // Its own examples, then its rules.
        for (text, expected) in [
            (
                "data: YHOO\ndata: +2\ndata: 10\n\n",
                vec![event("message", "YHOO\n+2\n10")],
            ),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
                vec![
                    event("message", "first event"),
                    event("message", "second event"),
                ],
            ),
            (
                "data\n\ndata\ndata\n\ndata:",
                vec![event("message", ""), event("message", "\n")],
            ),
            (
                "data:test\n\ndata: test\n\n",
                vec![event("message", "test"), event("message", "test")],
            ),
            ("\u{feff}data: a\n\n", vec![event("message", "a")]),
            (
                "data: \u{feff}a\n\n\u{feff}data: b\n\n",
                vec![event("message", "\u{feff}a")],
            ),
            (
                "event: added\rdata: a\r\revent: b\r\ndata: b\r\n\r\n",
                vec![event("added", "a"), event("b", "b")],
            ),
            ("event: lost\n\ndata: a\n\n", vec![event("message", "a")]),
            (
                "Data: a\nid : 4\n data: b\ndata: c\n\n",
                vec![event("message", "c")],
            ),
            ("data: not ended\n", vec![]),
        ] {
            assert_eq!(read(text).0, expected, "{text:?}");
        }
    }

    #[test]
    fn an_id_counts_when_its_event_is_whole_and_stays_until_another_comes() {
        for (text, id) in [
            ("id: 7\ndata: a\n\n", "7"),
            ("id: 7\ndata: a\n", ""),
            ("id: 7\n\ndata: b\n\n", "7"),
            (": heartbeat\nid: 8\n\n", "8"),
            ("id: 7\n\nid\n\n", ""),
            ("id: 7\n\nid: 8\0\n\n", "7"),
        ] {
            assert_eq!(read(text).1.id(), id, "{text:?}");
        }
        let (_, mut resumed) = read("retry: 4\nid: 9\n\nid: 10\ndata: half");
        resumed.resume();
        let mut found = Vec::new();
        resumed
            .read("\u{feff}data: a\n\n".as_bytes(), &mut found)
            .unwrap();
        assert_eq!(found, [event("message", "a")]);
        assert_eq!(
            (resumed.id(), resumed.retry()),
            ("9", Some(Duration::from_millis(4)))
        );
    }

    #[test]
    fn a_time_to_come_back_after_is_digits_and_an_hour_at_most() {
        for (text, retry) in [
            ("retry: 1500\n", Some(Duration::from_millis(1500))),
            (
                "retry: 1500\nretry: -1\nretry: 2s\nretry:\nretry: +3\n",
                Some(Duration::from_millis(1500)),
            ),
            ("retry: 99999999999999999999999999\n", Some(LONGEST_RETRY)),
            ("retry: 1.5\n", None),
        ] {
            assert_eq!(read(text).1.retry(), retry, "{text:?}");
        }
    }

    #[test]
    fn an_event_that_never_ends_is_given_up() {
        let (mut events, mut found) = (Events::default(), Vec::new());
        let piece = vec![b'x'; 1024 * 1024];
        let read = (0..=64).try_for_each(|_| events.read(&piece, &mut found));
        assert_eq!((read, found.len()), (Err(TooLong), 0));
        let (mut events, line) = (
            Events::default(),
            [b"data:".as_slice(), &piece, b"\n"].concat(),
        );
        let read = (0..=64).try_for_each(|_| events.read(&line, &mut found));
        assert_eq!((read, found.len()), (Err(TooLong), 0));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing_and_no_bytes_do_harm(
            bytes in prop::collection::vec(prop_oneof![
                3 => prop::sample::select(&b"\r\n: 0\xef\xbb\xbf"[..]), 1 => any::<u8>()], 0..200),
            words in prop::collection::vec(prop::sample::select(vec!["data: a", "data", "event: e", "id: 1", "retry: 5", ":c", "\n", "\r", "\r\n", "\n\n"]), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            for text in [bytes, words.concat().into_bytes()] {
                let (mut whole, mut expected) = (Events::default(), Vec::new());
                whole.read(&text, &mut expected).unwrap();
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
                cuts.extend([0, text.len()]);
                cuts.sort_unstable();
                let (mut pieces, mut found) = (Events::default(), Vec::new());
                for ends in cuts.windows(2) {
                    pieces.read(&text[ends[0]..ends[1]], &mut found).unwrap();
                }
                prop_assert_eq!((found, pieces.id(), pieces.retry()), (expected, whole.id(), whole.retry()));
            }
        }

        #[test]
        fn what_is_written_is_read_whatever_the_line_ends(
            sent in prop::collection::vec(("[a-z]{1,8}", prop::collection::vec("[^\r\n]{0,20}", 1..4), "[0-9.-]{0,8}"), 0..8),
            ending in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        ) {
            let mut text = String::new();
            for (kind, lines, id) in &sent {
                text += &format!("event: {kind}{ending}:{kind}{ending}id: {id}{ending}");
                for line in lines {
                    text += &format!("data: {line}{ending}");
                }
                text += ending;
            }
            let (found, events) = read(&text);
            let expected: Vec<_> = sent.iter().map(|(kind, lines, _)| event(kind, &lines.join("\n"))).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(events.id(), sent.last().map_or("", |(.., id)| id.as_str()));
        }
    }
}
