//! What was measured, round by round, against what was aimed at; and the table of it.

use std::fmt::Write as _;

/// Who was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Headcount,
    Peer,
    /// The ceiling, or whatever else nobody can be better than.
    Limit,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// At most so many times the peer's.
    OfPeer(f64),
    /// At most so many times the limit.
    OfLimit(f64),
    /// At most this.
    AtMost(f64),
}

/// One row.
#[derive(Debug)]
struct Figure {
    title: String,
    unit: &'static str,
    aims: Vec<Aim>,
    headcount: Vec<f64>,
    peer: Vec<f64>,
    limit: Vec<f64>,
}

/// All rows, in the order in which they were first noted.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// Notes one measurement. The first one of a title decides about its aims.
    pub(crate) fn note(
        &mut self,
        title: &str,
        unit: &'static str,
        aims: &[Aim],
        side: Side,
        value: f64,
    ) {
        let position = self.0.iter().position(|figure| figure.title == title);
        let position = position.unwrap_or_else(|| {
            self.0.push(Figure {
                title: title.to_owned(),
                unit,
                aims: aims.to_vec(),
                headcount: Vec::new(),
                peer: Vec::new(),
                limit: Vec::new(),
            });
            self.0.len() - 1
        });
        let figure = &mut self.0[position];
        match side {
            Side::Headcount => figure.headcount.push(value),
            Side::Peer => figure.peer.push(value),
            Side::Limit => figure.limit.push(value),
        }
    }

    /// The titles of rows that miss an aim.
    pub(crate) fn missed(&self) -> Vec<&str> {
        let missed = |figure: &&Figure| figure.met() == Some(false);
        self.0
            .iter()
            .filter(missed)
            .map(|figure| figure.title.as_str())
            .collect()
    }

    /// The table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| figure | headcount | peer | limit | of peer | of limit | spread | aim | |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for figure in &self.0 {
            let _ = writeln!(
                table,
                "| {}, {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                figure.title,
                figure.unit,
                shown(median(&figure.headcount)),
                shown(median(&figure.peer)),
                shown(median(&figure.limit)),
                shown(ratio(&figure.headcount, &figure.peer)),
                shown(ratio(&figure.headcount, &figure.limit)),
                spread(&figure.headcount),
                figure.aim(),
                match figure.met() {
                    Some(true) => "met",
                    Some(false) => "**MISSED**",
                    None => "",
                },
            );
        }
        table
    }
}

impl Figure {
    fn aim(&self) -> String {
        let aims: Vec<_> = self
            .aims
            .iter()
            .map(|aim| match aim {
                Aim::OfPeer(factor) => format!("≤ {} × peer", shown(Some(*factor))),
                Aim::OfLimit(factor) => format!("≤ {} × limit", shown(Some(*factor))),
                Aim::AtMost(value) => format!("≤ {}", shown(Some(*value))),
            })
            .collect();
        aims.join(", ")
    }

    /// Whether all aims are met; none if there are none, or one of them can't be judged.
    fn met(&self) -> Option<bool> {
        let met = self.aims.iter().map(|aim| match *aim {
            Aim::OfPeer(factor) => ratio(&self.headcount, &self.peer).map(|r| r <= factor),
            Aim::OfLimit(factor) => ratio(&self.headcount, &self.limit).map(|r| r <= factor),
            Aim::AtMost(value) => median(&self.headcount).map(|m| m <= value),
        });
        let judged: Option<Vec<bool>> = met.collect();
        judged
            .filter(|judged| !judged.is_empty())
            .map(|judged| judged.into_iter().all(|met| met))
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The median of the rounds' ratios: a round that was slow for one was slow for the other. Medians otherwise.
fn ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    // Memory that a collector gave back meanwhile can make a difference negative: no ratio of a round then.
    let sound = ours.iter().chain(theirs).all(|value| *value > 0.0);
    if ours.len() == theirs.len() && sound {
        let rounds: Vec<_> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
        return median(&rounds);
    }
    Some(median(ours)? / median(theirs)?)
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    if values.len() < 2 {
        return String::new();
    }
    format!("{} – {}", shown(least), shown(most))
}

/// Three digits that matter.
fn shown(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_the_median_of_its_rounds_ratios() {
        let mut figures = Figures::default();
        let aims = [Aim::OfPeer(0.5)];
        // The second round was slow for both.
        for (ours, theirs) in [(1.0, 4.0), (10.0, 30.0), (1.0, 3.0)] {
            figures.note("read", "µs", &aims, Side::Headcount, ours);
            figures.note("read", "µs", &aims, Side::Peer, theirs);
        }
        assert!(figures.missed().is_empty());
        assert!(figures.table().contains("| 0.333 |"));
    }

    #[test]
    fn a_figure_without_its_yardstick_is_neither_met_nor_missed() {
        let mut figures = Figures::default();
        figures.note("read", "µs", &[Aim::OfLimit(1.0)], Side::Headcount, 1.0);
        assert!(figures.missed().is_empty());
        assert!(!figures.table().contains("met"));
    }
}
