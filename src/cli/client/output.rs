//! What commands write: data to stdout, as a table, JSON, YAML or names; words to stderr.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
};

use clap::ValueEnum;
use serde_json::Value;
use tokio::{io::Interest, net::unix::pipe};

use super::{Failed, failed::Code};
use crate::{
    pki::{json_escaped, printable},
    yaml,
};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns
    Table,
    /// More columns
    Wide,
    /// What the server answered
    Json,
    /// The same as YAML
    Yaml,
    /// NAMESPACE/NAME, a line each
    Name,
}

/// What a cell of a table says of a rollout.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    Good,
    Waiting,
    Bad,
}

/// Columns of text under headers.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// The column that is coloured, and how in each row under the header.
    moods: Option<(usize, Vec<Mood>)>,
}

impl Table {
    pub(super) fn new(headers: &[&str]) -> Self {
        Self {
            rows: vec![headers.iter().map(ToString::to_string).collect()],
            moods: None,
        }
    }

    /// Adds a row; what comes from outside can't do anything to a terminal.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Colours a column.
    pub(super) fn moods(&mut self, header: &str, moods: Vec<Mood>) {
        let column = self.rows[0].iter().position(|cell| cell == header);
        self.moods = column.map(|column| (column, moods));
    }

    /// Aligned, the last column as long as it is.
    pub(super) fn text(&self, colours: bool) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<_> = (0..columns).map(|c| width(c).unwrap_or_default()).collect();
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let colour = self
                    .moods
                    .as_ref()
                    .filter(|(coloured, _)| *coloured == column && colours);
                let mood = colour.and_then(|(_, moods)| moods.get(at.checked_sub(1)?));
                match mood {
                    Some(mood) => text.push_str(&painted(cell, *mood)),
                    None => text.push_str(cell),
                }
                if column + 1 < columns {
                    let gap = widths[column] - cell.chars().count() + 2;
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A table of which nobody knows how long it gets.
pub(super) struct Rows {
    /// Whether the headers are still to be written.
    headers: Option<Vec<String>>,
    widths: Vec<usize>,
    colours: bool,
}

impl Rows {
    pub(super) fn new(headers: &[&str]) -> Self {
        Self {
            headers: Some(headers.iter().map(ToString::to_string).collect()),
            widths: headers.iter().map(|header| header.len()).collect(),
            colours: colours(&io::stdout()),
        }
    }

    /// Rows as wide as all before them, the first cell of each coloured. Cells without a header are left out.
    pub(super) fn text(&mut self, rows: Vec<(Vec<String>, Option<Mood>)>) -> String {
        let headers = self.headers.take().map(|headers| (headers, None));
        let rows: Vec<_> = headers.into_iter().chain(rows).collect();
        for (cells, _) in &rows {
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width = printable(cell).chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for (cells, mood) in rows {
            let last = self.widths.len() - 1;
            for (column, (width, cell)) in self.widths.iter().zip(cells).enumerate() {
                let cell = printable(&cell);
                let gap = width + 2 - cell.chars().count();
                match mood.filter(|_| self.colours && column == 0) {
                    Some(mood) => text.push_str(&painted(&cell, mood)),
                    None => text.push_str(&cell),
                }
                if column < last {
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

pub(super) fn painted(text: &str, mood: Mood) -> String {
    let colour = match mood {
        Mood::Good => 32,
        Mood::Waiting => 33,
        Mood::Bad => 31,
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// Whether a stream is one for colours: a terminal that has them, and nobody said no.
pub(super) fn colours(stream: &impl io::IsTerminal) -> bool {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    stream.is_terminal() && moves(stream)
}

/// Whether a stream is a terminal whose cursor can be moved.
pub(super) fn moves(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// A time as it is typed: `1h30m`, `45s`.
pub(super) fn span(seconds: u64) -> String {
    let parts = [
        (seconds / 3600, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let parts = parts.iter().filter(|(n, _)| *n > 0);
    let text: String = parts.map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}

/// Writes a table.
pub(super) fn table(table: &Table) -> Result<(), Failed> {
    data(&table.text(colours(&io::stdout())))
}

/// Writes data as JSON or YAML.
pub(super) fn value(format: Format, value: &Value) -> Result<(), Failed> {
    match format {
        Format::Yaml => data(&yaml::written(value)),
        _ => data(&json_escaped(&format!("{value:#}\n"))),
    }
}

/// Writes data.
pub(super) fn data(text: &str) -> Result<(), Failed> {
    written(text).map(drop)
}

/// Writes data; whether somebody still reads it.
pub(super) fn written(text: &str) -> Result<bool, Failed> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(true),
        // Whoever reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failed::new(
            Code::Failed,
            format!("failed to write the output: {error}"),
        )),
    }
}

/// The same on another thread, so that signals are heard while nobody reads.
pub(super) async fn written_aside(text: String) -> Result<bool, Failed> {
    let written = tokio::task::spawn_blocking(move || written(&text)).await;
    written.unwrap_or_else(|error| {
        Err(Failed::new(
            Code::Failed,
            format!("failed to write the output: {error}"),
        ))
    })
}

/// Waits until nobody reads stdout any more, which a pipe alone tells.
pub(super) async fn unread() {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let watched = stdout.map(File::from);
    if let Ok(pipe) = watched.and_then(pipe::Sender::from_file_unchecked) {
        while let Ok(ready) = pipe.ready(Interest::ERROR).await {
            if ready.is_error() || ready.is_write_closed() {
                return;
            }
        }
    }
    std::future::pending().await
}

/// Says something to a person, line by line.
pub(super) fn words(text: &str) {
    // A closed stderr changes nothing about what was done.
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_come_later_are_as_wide_as_those_before() {
        let mut rows = Rows::new(&["EVENT", "NAME", "BY"]);
        rows.colours = true;
        let row = |cells: [&str; 4], mood| (cells.map(str::to_owned).to_vec(), mood);
        assert_eq!(
            rows.text(vec![row(["listed", "longer", "x", "no column"], None)]),
            "EVENT   NAME    BY\nlisted  longer  x\n"
        );
        assert_eq!(
            rows.text(vec![row(["gone", "a\u{1b}", "y", ""], Some(Mood::Bad))]),
            "\x1b[31mgone\x1b[0m    a\\u{1b}  y\n"
        );
        assert_eq!(rows.text(vec![]), "");
    }

    #[test]
    fn columns_are_aligned_with_and_without_colours_and_nothing_moves_a_cursor() {
        let mut table = Table::new(&["NAME", "STATUS", "BY"]);
        table.row(["a".into(), "complete".into(), "äb\u{1b}[2J".into()]);
        table.row(["longer".into(), "bad".into(), "x".into()]);
        table.moods("STATUS", vec![Mood::Good, Mood::Bad]);
        let plain = table.text(false);
        assert_eq!(
            plain,
            "NAME    STATUS    BY\na       complete  äb\\u{1b}[2J\nlonger  bad       x\n"
        );
        let coloured = table.text(true);
        assert!(
            coloured.contains("\x1b[32mcomplete\x1b[0m  "),
            "{coloured:?}"
        );
        let stripped = ["\x1b[32m", "\x1b[31m", "\x1b[0m"]
            .iter()
            .fold(coloured, |t, c| t.replace(c, ""));
        assert_eq!(stripped, plain);
    }
}
