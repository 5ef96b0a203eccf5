//! Whether files hold a chain without a gap, and whether it goes as far as it is known to have gone.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};

use super::{
    Checkpoint, Head,
    chain::{LONGEST_LINE, Link, hexadecimal},
};

/// So many of what is wrong are told; the rest is counted.
const TOLD: usize = 20;

/// What is known of a trail besides its files.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The hash of a record: of the one with the number `count`, or of any.
    pub head: Option<String>,
    /// The least number of records.
    pub count: Option<u64>,
    /// What the log was told, of any chain.
    pub checkpoints: Vec<Checkpoint>,
    /// The files are what a server wrote to standard output, which begins where it started.
    pub stdout: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, each a sentence with the place.
    pub wrong: Vec<String>,
    /// How much more is wrong.
    pub more: u64,
    /// What is worth knowing, and not wrong.
    pub notes: Vec<String>,
    /// Whether the last line has no end, as a crash leaves it.
    pub incomplete: bool,
    /// The number of the first record.
    pub first: Option<u64>,
    /// How far the chain goes.
    pub head: Option<Head>,
    /// The times of the first and the last record.
    pub times: (String, String),
    /// How many records there are.
    pub records: u64,
    /// How many checkpoints of the log they agree with.
    pub checkpoints: u64,
}

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the audit file {0:?}: {1}")]
pub struct UnreadableFile(pub PathBuf, pub io::Error);

/// Looks at these files, in the order of their first records.
///
/// # Errors
///
/// One can't be read. What is wrong with what they hold is in the report.
pub fn verify(files: &[PathBuf], expected: &Expected) -> Result<Report, UnreadableFile> {
    let mut ordered = Vec::new();
    for path in files {
        let unreadable = |error| UnreadableFile(path.clone(), error);
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut first = 0;
        while let Some(line) = Line::next(&mut file).map_err(unreadable)? {
            // One that begins with no record has its place all the same.
            if let Some(link) = Link::read(line.content()) {
                first = link.record;
                break;
            }
        }
        ordered.push((first, path));
    }
    ordered.sort();
    let mut walk = Walk::new(expected);
    for (at, (_, path)) in ordered.iter().enumerate() {
        let unreadable = |error| UnreadableFile((*path).clone(), error);
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        walk.begin(path);
        while let Some(line) = Line::next(&mut file).map_err(unreadable)? {
            walk.line(&line);
        }
        walk.end(at + 1 == ordered.len());
    }
    Ok(walk.finish())
}

/// A line, as far as one can be that has a record.
struct Line {
    bytes: Vec<u8>,
    /// Whether it has an end.
    ended: bool,
}

impl Line {
    fn next(file: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let most = LONGEST_LINE as u64 + 1;
        file.by_ref().take(most).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let ended = bytes.last() == Some(&b'\n');
        Ok(Some(Self { bytes, ended }))
    }

    fn content(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes)
    }
}

/// Lines that are no records, which the next record may tell of.
struct Torn {
    line: u64,
    /// Bytes without the last line's end.
    bytes: u64,
    hash: Context,
    ended: bool,
    lines: u64,
}

struct Walk<'e> {
    expected: &'e Expected,
    checkpoints: BTreeMap<u64, Vec<&'e Checkpoint>>,
    report: Report,
    file: PathBuf,
    line: u64,
    /// Where the next record belongs.
    head: Option<Head>,
    /// Whether what stood before the next record was no record, and may have been one.
    blurred: bool,
    torn: Option<Torn>,
    found: bool,
}

impl<'e> Walk<'e> {
    fn new(expected: &'e Expected) -> Self {
        let mut checkpoints = BTreeMap::<u64, Vec<_>>::new();
        for checkpoint in &expected.checkpoints {
            checkpoints
                .entry(checkpoint.count)
                .or_default()
                .push(checkpoint);
        }
        Self {
            expected,
            checkpoints,
            report: Report::default(),
            file: PathBuf::new(),
            line: 0,
            head: None,
            blurred: false,
            torn: None,
            found: expected.head.is_none(),
        }
    }

    fn wrong(&mut self, line: u64, what: &str) {
        if self.report.wrong.len() == TOLD {
            self.report.more += 1;
            return;
        }
        let place = self.file.display();
        self.report
            .wrong
            .push(format!("{place} line {line}: {what}"));
    }

    fn begin(&mut self, path: &Path) {
        self.file = path.to_owned();
        self.line = 0;
    }

    fn line(&mut self, line: &Line) {
        self.line += 1;
        match Link::read(line.content()) {
            Some(link) => {
                self.torn_before(&link);
                self.record(&link);
                if !line.ended {
                    self.report.incomplete = true;
                }
            }
            None => self.tear(line),
        }
    }

    fn tear(&mut self, line: &Line) {
        let at = self.line;
        let torn = self.torn.get_or_insert_with(|| Torn {
            line: at,
            bytes: 0,
            hash: Context::new(&SHA256),
            ended: true,
            lines: 0,
        });
        if torn.lines > 0 && torn.ended {
            torn.hash.update(b"\n");
            torn.bytes += 1;
        }
        torn.hash.update(line.content());
        torn.bytes += line.content().len() as u64;
        torn.lines += 1;
        torn.ended = line.ended;
    }

    /// Whether a record tells of the lines before it that are none.
    fn torn_before(&mut self, link: &Link) {
        let told = link
            .torn_bytes
            .map(|bytes| (bytes, link.torn_sha256.clone()));
        let Some(torn) = self.torn.take() else {
            // What an append left of nothing at all.
            return;
        };
        let found = (torn.bytes, hexadecimal(torn.hash.finish().as_ref()));
        if link.sound && told == Some(found) {
            let note = format!(
                "{} line {}: {} bytes of what couldn't be written whole, by a crash or a full disk; record {} tells of them",
                self.file.display(),
                torn.line,
                torn.bytes,
                link.record
            );
            self.report.notes.push(note);
        } else {
            self.not_a_record(torn.line);
        }
    }

    fn not_a_record(&mut self, line: u64) {
        self.blurred = true;
        self.wrong(
            line,
            "this is no record: it was edited, or isn't of an audit trail",
        );
    }

    fn record(&mut self, link: &Link) {
        let (at, number) = (self.line, link.record);
        if !link.sound {
            self.wrong(
                at,
                &format!("record {number} was edited: its hash isn't that of what it says"),
            );
        }
        if at == 1 && link.event != "audit.file" {
            let at_start = self.expected.stdout && link.event == "audit.started";
            if !at_start {
                let more = if link.event == "audit.started" {
                    " (if it is captured standard output, say so with --stdout)"
                } else {
                    ""
                };
                self.wrong(at, &format!("the beginning of the file is missing: a file begins with audit.file, and this one with record {number}{more}"));
            }
        }
        match self.head.take() {
            None => {
                self.report.first = Some(number);
                self.report.times.0.clone_from(&link.timestamp);
                if number == 1 && link.previous.bytes().any(|b| b != b'0') {
                    self.wrong(at, "record 1 names one before it");
                }
                if number > 1 {
                    let note = format!("records 1 to {} aren't in these files", number - 1);
                    self.report.notes.push(note);
                }
            }
            Some(head) => self.follows(&head, link),
        }
        self.blurred = false;
        self.head = Some(link.head());
        self.report.times.1.clone_from(&link.timestamp);
        self.report.records += 1;
        self.compare(link);
    }

    /// Whether a record follows on the one before it.
    fn follows(&mut self, head: &Head, link: &Link) {
        let (at, number, next) = (self.line, link.record, head.count + 1);
        if link.chain != head.chain {
            self.wrong(at, &format!("another chain begins here with record {number}: the one before it ended with record {}, or was cut off", head.count));
            return;
        }
        // The line before may have been the one record that is missing.
        let skipped = self.blurred && number == next + 1;
        if number > next && !skipped {
            let missing = match number - 1 {
                last if last == next => format!("record {next} is missing"),
                last => format!("records {next} to {last} are missing"),
            };
            self.wrong(at, &format!("{missing} before record {number}"));
        } else if number < next {
            self.wrong(
                at,
                &format!(
                    "record {number} stands behind record {}: it was moved or repeated",
                    head.count
                ),
            );
        } else if !skipped && link.previous != head.hash {
            self.wrong(
                at,
                &format!(
                    "record {number} doesn't follow on the record before it: that one was replaced"
                ),
            );
        }
    }

    /// Whether a record is what was known of it.
    fn compare(&mut self, link: &Link) {
        let number = link.record;
        let of_chain: Vec<_> = self
            .checkpoints
            .get(&number)
            .into_iter()
            .flatten()
            .filter(|checkpoint| checkpoint.chain == link.chain)
            .map(|checkpoint| checkpoint.head == link.hash)
            .collect();
        for same in of_chain {
            if same {
                self.report.checkpoints += 1;
            } else {
                self.wrong(self.line, &format!("record {number} isn't the one that the log's checkpoint names: the trail was rewritten"));
            }
        }
        let Expected { head, count, .. } = self.expected;
        if let Some(head) = head
            && *head == link.hash
            && count.is_none_or(|count| count == number)
        {
            self.found = true;
        }
    }

    /// The end of a file.
    fn end(&mut self, last: bool) {
        if self.line == 0 {
            self.wrong(1, "there is nothing in the file");
        }
        let Some(torn) = self.torn.take() else {
            return;
        };
        if last && torn.lines == 1 && !torn.ended {
            self.report.incomplete = true;
        } else {
            self.not_a_record(torn.line);
        }
    }

    fn finish(mut self) -> Report {
        let end = self.head.clone();
        let count = end.as_ref().map_or(0, |head| head.count);
        let first = self.report.first.unwrap_or(0);
        let mut cut_off = |why: String| self.report.wrong.push(why);
        if let Some(expected) = self.expected.count
            && expected > count
        {
            cut_off(format!(
                "the end was cut off: there are to be {expected} records, and the last one is {count}"
            ));
        }
        if !self.found {
            cut_off(match self.expected.count {
                Some(number) => format!(
                    "record {number} isn't the one with the given head, or isn't there: the trail was rewritten or cut off"
                ),
                None => {
                    "no record has the given head: the trail was rewritten or cut off".to_owned()
                }
            });
        }
        let chain = end.as_ref().map_or("", |head| &head.chain);
        let of_chain = |checkpoint: &&Checkpoint| checkpoint.chain == chain;
        let newest = self
            .expected
            .checkpoints
            .iter()
            .filter(of_chain)
            .map(|c| c.count)
            .max();
        match newest {
            Some(newest) if newest > count => {
                cut_off(format!(
                    "the end was cut off: the log's checkpoint has {newest} records, and the last one is {count}"
                ));
            }
            None if !self.expected.checkpoints.is_empty() => {
                cut_off(format!(
                    "the log has checkpoints, and none of the chain {chain:?}: the trail was rewritten, or the log is another server's"
                ));
            }
            Some(newest) if newest < first => {
                let note = format!(
                    "the log's newest checkpoint, of record {newest}, is older than these files"
                );
                self.report.notes.push(note);
            }
            _ => {}
        }
        if end.is_none() {
            self.report.notes.push("there are no records".to_owned());
        }
        self.report.head = end;
        self.report
    }
}

#[cfg(test)]
mod tests;
