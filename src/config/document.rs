//! A YAML file as its parser sees it: where each key and value stands. For lines to tell of, and for edits that leave all else alone.

use std::ops::Range;

use granit_parser::{Event, Parser, Span, StrInput, StructureStyle};

/// A key, a value, or an element of a list.
#[derive(Debug)]
pub(super) struct Node {
    /// Its bytes. What is behind a block's last value may be among them.
    pub(super) bytes: Range<usize>,
    /// The line, from 1, on which it begins …
    pub(super) line: usize,
    /// … and the last one that it has something on.
    pub(super) last_line: usize,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Scalar(String),
    /// What was written elsewhere.
    Alias,
    List(Vec<Node>),
    Map {
        /// `{…}`, and not indented lines.
        flow: bool,
        entries: Vec<(Node, Node)>,
    },
}

impl Node {
    /// The file's mapping; `None` where there is none, or more than one document.
    pub(super) fn read(text: &str) -> Option<Self> {
        // Comments may be among the events, or not: that depends on who else uses the parser.
        let options = granit_parser::options! { emit_comments: false };
        let mut events = Parser::new_from_str_with_options(text, options);
        let mut root = None;
        while let Some((event, span)) = next(&mut events) {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => {
                    return root.filter(|root: &Self| matches!(root.kind, Kind::Map { .. }));
                }
                _ if root.is_some() => return None,
                event => root = Some(Self::of(&mut events, event, span)?),
            }
        }
        None
    }

    fn of<'a>(events: &mut Parser<'a, StrInput<'a>>, event: Event<'a>, span: Span) -> Option<Self> {
        let start = span.byte_range()?.start;
        let line = span.start.line();
        let mut end = span;
        let kind = match event {
            Event::Scalar(value, ..) => Kind::Scalar(value.into_owned()),
            Event::Alias(_) => Kind::Alias,
            Event::SequenceStart(..) => {
                let mut elements = Vec::new();
                loop {
                    match next(events)? {
                        (Event::SequenceEnd, span) => {
                            end = span;
                            break Kind::List(elements);
                        }
                        (event, span) => elements.push(Self::of(events, event, span)?),
                    }
                }
            }
            Event::MappingStart(style, ..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = next(events)?;
                    if matches!(event, Event::MappingEnd) {
                        end = span;
                        break Kind::Map {
                            flow: style == StructureStyle::Flow,
                            entries,
                        };
                    }
                    let key = Self::of(events, event, span)?;
                    let (event, span) = next(events)?;
                    entries.push((key, Self::of(events, event, span)?));
                }
            }
            _ => return None,
        };
        let last_within = match &kind {
            Kind::List(elements) => elements.last().map(|element| element.last_line),
            Kind::Map { entries, .. } => entries.last().map(|(_, value)| value.last_line),
            Kind::Scalar(_) | Kind::Alias => None,
        };
        // The end of a block is where the next thing begins; that of `{…}` and of a scalar is its own.
        let own_end = match end.end.col() {
            0 if end.end.line() > line => end.end.line() - 1,
            _ => end.end.line(),
        };
        let flow = matches!(kind, Kind::Map { flow: true, .. }) || !end.is_empty();
        Some(Self {
            bytes: start..end.byte_range()?.end,
            line,
            last_line: match last_within {
                Some(last) if !flow => last,
                _ => own_end.max(line),
            },
            kind,
        })
    }

    /// The entries of a mapping, in their order.
    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Map { entries, .. } => entries,
            _ => &[],
        }
    }

    /// The entry with this key.
    pub(super) fn entry(&self, name: &str) -> Option<&(Node, Node)> {
        self.entries().iter().find(|(key, _)| key.is(name))
    }

    /// Whether it is this text.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Scalar(value) if value == text)
    }

    /// The comments in its text, in their order.
    pub(super) fn comments<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut scalars = Vec::new();
        self.scalars(&mut scalars);
        let mut scalars = scalars.into_iter().peekable();
        let mut comments = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('#') {
            at += found;
            while scalars.next_if(|scalar| scalar.end <= at).is_some() {}
            match scalars.peek() {
                Some(scalar) if scalar.contains(&at) => at = scalar.end,
                _ => {
                    let comment = text[at..].lines().next().unwrap_or_default();
                    comments.push(comment.trim_end());
                    at += comment.len();
                }
            }
        }
        comments
    }

    fn scalars(&self, found: &mut Vec<Range<usize>>) {
        match &self.kind {
            Kind::Scalar(_) | Kind::Alias => found.push(self.bytes.clone()),
            Kind::List(elements) => elements.iter().for_each(|element| element.scalars(found)),
            Kind::Map { entries, .. } => {
                for (key, value) in entries {
                    key.scalars(found);
                    value.scalars(found);
                }
            }
        }
    }

    /// The line, from 1, of what stands at a path of keys and indices, or of the last that stands there.
    pub(super) fn line_at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> usize {
        let (mut node, mut line) = (self, self.line);
        for step in path {
            let next = match &node.kind {
                Kind::List(elements) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|at| elements.get(at))
                    .map(|element| (element.line, element)),
                _ => node.entry(step).map(|(key, value)| (key.line, value)),
            };
            let Some((next_line, next)) = next else {
                break;
            };
            (line, node) = (next_line, next);
        }
        line
    }
}

/// The next thing; nothing where the file can't be read, which others tell of.
fn next<'a>(events: &mut Parser<'a, StrInput<'a>>) -> Option<(Event<'a>, Span)> {
    events.next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(text: &str) -> Vec<(String, usize, usize)> {
        let root = Node::read(text).unwrap();
        let of = |(key, value): &(Node, Node)| {
            (
                text[key.bytes.clone()].to_owned(),
                key.line,
                value.last_line,
            )
        };
        root.entries().iter().map(of).collect()
    }

    #[test]
    fn an_entry_has_the_lines_of_its_value_and_no_comment_behind_it() {
        let text = "# ä\na: 1 # one\nb:\n  c: 2\n  # of c\n\n  d: [3,\n    4]\n\n# of e\ne: |\n  x\n\n  y\n\n'f': {g: {h: 1},\n  i: 2}\n";
        let expected = [("a", 2, 2), ("b", 3, 8), ("e", 11, 14), ("'f'", 16, 17)]
            .map(|(key, first, last)| (key.to_owned(), first, last));
        let found = extents(text);
        assert_eq!(found[..2], expected[..2]);
        assert_eq!(found[2].1, 11);
        assert!((14..=15).contains(&found[2].2), "{found:?}");
        assert_eq!(found[3], expected[3]);
    }

    #[test]
    fn lines_are_found_by_path_as_far_as_it_goes() {
        let root = Node::read("a:\n  b:\n    - c: 1\n    - c: 2\n      d: 3\n").unwrap();
        for (path, line) in [
            ("a", 1),
            ("a.b", 2),
            ("a.b.0", 3),
            ("a.b.1.c", 4),
            ("a.b.1.d", 5),
            ("a.b.1.e", 4),
            ("z", 1),
        ] {
            assert_eq!(root.line_at(path.split('.')), line, "{path}");
        }
    }

    #[test]
    fn what_is_no_single_mapping_is_none() {
        for text in ["", "a", "- a", "a: 1\n---\nb: 2\n", "a: [", "a: *b"] {
            assert!(Node::read(text).is_none(), "{text:?}");
        }
        assert!(Node::read("---\na: 1\n...\n").is_some());
    }
}
