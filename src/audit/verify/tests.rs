//! Everything that can be done to a trail by somebody without its checkpoints, and what is told of it.

use std::fs;

use proptest::{prelude::*, sample::Index};
use tempfile::TempDir;

use super::*;
use crate::audit::{Record, chain::sha256};

/// A trail of some records in a file, or in several.
struct Files {
    _folder: TempDir,
    paths: Vec<PathBuf>,
    head: Head,
}

impl Files {
    /// Files of so many records each.
    fn of(records: &[u64]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut head, mut paths) = (Head::new(), Vec::new());
        for (at, records) in records.iter().enumerate() {
            let mut lines = String::new();
            head.add(&Record::of("audit.file").into_fields(), &mut lines);
            for number in 1..*records {
                let record = Record::of("scale.applied")
                    .with("to", number)
                    .with("reason", "wärmer → \u{202e}");
                head.add(&record.into_fields(), &mut lines);
            }
            let path = folder.path().join(format!("{at}.log"));
            fs::write(&path, lines).unwrap();
            paths.push(path);
        }
        Self {
            _folder: folder,
            paths,
            head,
        }
    }

    fn verify(&self) -> Report {
        verify(&self.paths, &Expected::default()).unwrap()
    }

    /// Told of the end, as a checkpoint does.
    fn against_end(&self) -> Report {
        let expected = Expected {
            checkpoints: vec![Checkpoint {
                chain: self.head.chain.clone(),
                count: self.head.count,
                head: self.head.hash.clone(),
            }],
            ..Expected::default()
        };
        verify(&self.paths, &expected).unwrap()
    }

    fn change(&self, file: usize, change: impl FnOnce(&mut Vec<String>)) -> Report {
        self.change_lines(file, change);
        self.verify()
    }

    fn change_lines(&self, file: usize, change: impl FnOnce(&mut Vec<String>)) {
        let text = fs::read_to_string(&self.paths[file]).unwrap();
        let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&self.paths[file], lines.concat()).unwrap();
    }
}

fn says(report: &Report, words: &str) {
    assert!(
        report.wrong.iter().any(|wrong| wrong.contains(words)),
        "{words}: {report:#?}"
    );
}

#[test]
fn a_whole_trail_is_found_whole_in_whatever_order_its_files_are_named() {
    let mut files = Files::of(&[4, 3, 5]);
    for _ in 0..3 {
        files.paths.rotate_left(1);
        let report = files.against_end();
        assert!(
            report.wrong.is_empty() && report.notes.is_empty(),
            "{report:#?}"
        );
        assert_eq!(
            (report.first, report.records, report.checkpoints),
            (Some(1), 12, 1)
        );
        assert_eq!(report.head, Some(files.head.clone()));
    }
}

#[test]
fn an_edited_record_is_named_with_its_line() {
    let report = Files::of(&[5]).change(0, |lines| {
        lines[2] = lines[2].replace("\"to\":2", "\"to\":3")
    });
    says(&report, "0.log line 3: record 3 was edited");
    assert_eq!(report.wrong.len(), 1);
}

#[test]
fn an_edited_record_with_a_new_hash_is_found_by_the_one_behind_it() {
    let report = Files::of(&[5]).change(0, |lines| {
        let line = lines[2].replace("\"to\":2", "\"to\":3");
        let (content, _) = line.rsplit_once(",\"hash\":").unwrap();
        lines[2] = format!("{content},\"hash\":\"{}\"}}\n", sha256(content.as_bytes()));
    });
    says(
        &report,
        "0.log line 4: record 4 doesn't follow on the record before it: that one was replaced",
    );
}

#[test]
fn dropped_moved_and_repeated_records_are_told_apart() {
    let report = Files::of(&[6]).change(0, |lines| drop(lines.drain(2..4)));
    says(
        &report,
        "line 3: records 3 to 4 are missing before record 5",
    );
    let report = Files::of(&[6]).change(0, |lines| lines.swap(2, 3));
    says(
        &report,
        "line 4: record 3 stands behind record 4: it was moved or repeated",
    );
    let report = Files::of(&[6]).change(0, |lines| lines.insert(3, lines[2].clone()));
    says(&report, "line 4: record 3 stands behind record 3");
    let report = Files::of(&[6]).change(0, |lines| drop(lines.remove(0)));
    says(&report, "line 1: the beginning of the file is missing");
    let report = Files::of(&[6]).change(0, |lines| {
        lines.insert(2, "{\"event\":\"forged\"}\n".to_owned())
    });
    says(&report, "line 3: this is no record");
    assert_eq!(report.wrong.len(), 1, "{report:#?}");
}

#[test]
fn what_is_missing_between_files_is_found_and_what_is_missing_before_them_told() {
    let mut files = Files::of(&[3, 3, 3]);
    files.paths.remove(1);
    says(
        &files.verify(),
        "2.log line 1: records 4 to 6 are missing before record 7",
    );
    files.paths.remove(0);
    let report = files.verify();
    assert!(report.wrong.is_empty(), "{report:#?}");
    assert_eq!(report.notes, ["records 1 to 6 aren't in these files"]);
    let files = Files::of(&[3, 3]);
    let report = files.change(0, |lines| drop(lines.pop()));
    says(&report, "1.log line 1: record 3 is missing before record 4");
}

#[test]
fn a_cut_off_end_is_found_by_what_is_known_of_it() {
    let files = Files::of(&[6]);
    let report = files.change(0, |lines| drop(lines.drain(4..)));
    assert!(report.wrong.is_empty(), "nothing in the file tells of it");
    says(
        &files.against_end(),
        "the end was cut off: the log's checkpoint has 6 records, and the last one is 4",
    );
    let known = |head: Option<&str>, count| {
        let head = head.map(str::to_owned);
        verify(
            &files.paths,
            &Expected {
                head,
                count,
                ..Expected::default()
            },
        )
        .unwrap()
    };
    says(
        &known(None, Some(6)),
        "there are to be 6 records, and the last one is 4",
    );
    says(
        &known(Some(&files.head.hash), None),
        "no record has the given head",
    );
    says(
        &known(Some(&files.head.hash), Some(4)),
        "record 4 isn't the one with the given head",
    );
    assert!(known(None, Some(4)).wrong.is_empty());
}

#[test]
fn a_trail_that_was_written_anew_from_the_beginning_is_found_by_the_logs_checkpoints() {
    let files = Files::of(&[6]);
    let forged = Files::of(&[6]);
    fs::copy(&forged.paths[0], &files.paths[0]).unwrap();
    says(&files.against_end(), "none of the chain");
    // Though it takes the chain's name.
    let text = fs::read_to_string(&files.paths[0]).unwrap();
    let (mut head, mut lines) = (
        Head {
            chain: files.head.chain.clone(),
            ..Head::new()
        },
        String::new(),
    );
    for line in text.lines() {
        let fields = line
            .split_once(",\"timestamp\"")
            .unwrap()
            .1
            .rsplit_once(",\"hash\"")
            .unwrap()
            .0;
        head.add(&format!("\"timestamp\"{fields}"), &mut lines);
    }
    fs::write(&files.paths[0], lines).unwrap();
    assert!(files.verify().wrong.is_empty());
    says(&files.against_end(), "the trail was rewritten");
}

#[test]
fn what_a_crash_left_is_no_tampering_and_is_said() {
    let files = Files::of(&[4]);
    files.change_lines(0, |lines| {
        let last = lines.last_mut().unwrap();
        last.truncate(40);
    });
    let report = files.verify();
    assert!(report.incomplete && report.wrong.is_empty(), "{report:#?}");
    // In the middle of a trail only with a record that tells of it.
    let files = Files::of(&[4, 4]);
    files.change_lines(0, |lines| lines.last_mut().unwrap().truncate(40));
    says(&files.verify(), "0.log line 4: this is no record");
}

#[test]
fn a_stream_begins_where_a_server_started_and_a_file_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    let (mut head, mut lines) = (Head::new(), String::new());
    head.add(&Record::of("audit.started").into_fields(), &mut lines);
    fs::write(&path, lines).unwrap();
    says(
        &verify(std::slice::from_ref(&path), &Expected::default()).unwrap(),
        "--stdout",
    );
    let stdout = Expected {
        stdout: true,
        ..Expected::default()
    };
    assert!(verify(&[path], &stdout).unwrap().wrong.is_empty());
}

#[derive(Debug, Clone)]
enum Tampering {
    Edit(Index, Index, u8),
    Insert(Index, Index, u8),
    Remove(Index, Index),
    Drop(Index),
    Swap(Index, Index),
    Repeat(Index, Index),
    Cut(Index),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = any::<Index>;
    prop_oneof![
        (at(), at(), 1u8..).prop_map(|(l, b, x)| Tampering::Edit(l, b, x)),
        (at(), at(), any::<u8>()).prop_map(|(l, b, x)| Tampering::Insert(l, b, x)),
        (at(), at()).prop_map(|(l, b)| Tampering::Remove(l, b)),
        at().prop_map(Tampering::Drop),
        (at(), at()).prop_map(|(a, b)| Tampering::Swap(a, b)),
        (at(), at()).prop_map(|(a, b)| Tampering::Repeat(a, b)),
        at().prop_map(Tampering::Cut),
    ]
}

impl Tampering {
    fn on(&self, bytes: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|b| *b == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let count = lines.len();
        match self {
            Self::Edit(line, byte, with) => {
                let line = &mut lines[line.index(count)];
                let at = byte.index(line.len());
                line[at] ^= with;
            }
            Self::Insert(line, byte, what) => {
                let line = &mut lines[line.index(count)];
                line.insert(byte.index(line.len()), *what);
            }
            Self::Remove(line, byte) => {
                let line = &mut lines[line.index(count)];
                line.remove(byte.index(line.len()));
            }
            Self::Drop(line) => drop(lines.remove(line.index(count))),
            Self::Swap(a, b) => lines.swap(a.index(count), b.index(count)),
            Self::Repeat(line, to) => {
                let line = lines[line.index(count)].clone();
                lines.insert(to.index(count), line);
            }
            Self::Cut(at) => {
                let mut all = lines.concat();
                all.truncate(at.index(all.len()));
                lines = vec![all];
            }
        }
        *bytes = lines.concat();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_single_change_is_found_with_a_checkpoint(change in tampering(), file in 0usize..2) {
        let files = Files::of(&[4, 5]);
        let before = fs::read(&files.paths[file]).unwrap();
        let mut after = before.clone();
        change.on(&mut after);
        prop_assume!(before != after);
        fs::write(&files.paths[file], &after).unwrap();
        let report = files.against_end();
        prop_assert!(!report.wrong.is_empty() || report.incomplete, "{change:?} {report:#?}");
        // Only the end of a line can be lost without a word of a record.
        if report.wrong.is_empty() {
            prop_assert_eq!(&after[..], &before[..before.len() - 1]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, bytes).unwrap();
        prop_assert!(verify(&[path], &Expected::default()).is_ok());
    }
}
